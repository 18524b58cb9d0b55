"""The page of all accounts, and what changes of it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from anyio.to_thread import run_sync
from attrs import evolve
from markupsafe import Markup

from engine.console.format import date_and_time, local
from engine.console.job_lines import counts_text
from engine.console.safe_text import one_line
from engine.web.page.fleet import PER_PAGE, SORTS, Filter, heading, select, tiles
from engine.web.page.moments import for_input, time_of
from engine.web.page.nodes import node_words
from engine.web.page.render import Steady
from engine.web.page.sight import Sight, read
from engine.web.page.source import Fragments, PageName, PageSource, element_id
from engine.web.page.words import MAX_NAME, MAX_WHY, choices, entry_words
from states import Entry
from states.job import by_state

AROUND: Final = 300.0
"""Seconds before and after a time of which somebody asks what happened."""
MAX_RECORDS: Final = 100
MAX_INCIDENTS: Final = 12
MAX_PAST: Final = 50


async def fleet_document(sight: Sight, query: Mapping[str, str]) -> str:
    """Return the page of all accounts."""
    await sight.source.look()
    await sight.with_history()
    sight.desk.over, _ = await read(sight.source.past_incidents(MAX_PAST), sight.desk.over)
    at = time_of(query.get("at", ""), sight.now)
    asked = {"happened": None, "trouble": "", "cut": False} if at is None else await _happened(sight, at)
    return await run_sync(partial(_document, sight, Filter.of(query), at, asked))


async def _happened(sight: Sight, at: float) -> dict[str, Any]:
    """Return what happened around a time."""
    nothing: Sequence[Entry] = []
    found, trouble = await read(sight.source.journal_at(at - AROUND, at + AROUND, MAX_RECORDS), nothing)
    return {"happened": list(map(entry_words, found)), "trouble": trouble, "cut": len(found) >= MAX_RECORDS}


def _document(sight: Sight, chosen: Filter, at: float | None, asked: dict[str, Any]) -> str:
    desk, now = sight.desk, sight.now
    with desk.lock:
        desk.standing.update(sight.source.accounts())
        names = select(desk.standing, desk.histories.past, _known(sight, chosen), now)
        pages = max(1, -(-len(names) // PER_PAGE))
        chosen = evolve(chosen, page=min(chosen.page, pages))
        rows = [desk.row(sight.source, name, sight.viewer, now) for name in _window(names, chosen)]
        parts = {
            "summary": _summary(sight, chosen),
            "timeline": sight.part("timeline.html", **desk.timeline(sight.source, now)),
            "trend": sight.part("trend.html", trend=desk.trend(now)),
            "choices": choices(desk.standing.counts),
            "nodes": _nodes(sight),
        }
        total = len(desk.standing.accounts)
        desk.forget()
    begin, end = (local((at or now) + shift) for shift in (-AROUND, AROUND))
    return sight.document(
        "fleet.html", PageName.FLEET, "Fleet", chosen.words, rows=rows, **parts, **asked, filter=chosen, pages=pages,
        incidents=sight.open_incidents("/", MAX_INCIDENTS), jobs=_jobs(sight), per_page=PER_PAGE, sorts=SORTS,
        everything=total <= PER_PAGE and not chosen.active,
        matching_words=f"{len(names):,}" if len(names) == total else f"{len(names):,} of {total:,}",
        at_value=for_input(at or now), at_words="" if at is None else date_and_time(at),
        span_words="" if begin is None or end is None else f"{begin:%H:%M:%S} to {end:%H:%M:%S}",
    )  # fmt: skip


def _known(sight: Sight, chosen: Filter) -> Filter:
    """Return the filter with what it has to ask of where an account is."""
    return evolve(chosen, node_of=_node_of(sight.source)) if chosen.node else chosen


def _node_of(source: PageSource) -> Callable[[str], str]:
    def node(account: str) -> str:
        place = source.whereabouts(account)
        return "" if place is None else place.node

    return node


def _nodes(sight: Sight) -> Markup:
    """Return the section of the nodes; empty if all accounts are this engine's."""
    if (found := sight.source.nodes()) is None:
        return Markup("")
    return sight.part(
        "nodes.html", own=one_line(found.own, MAX_NAME), nodes=node_words(found, sight.now), total=len(found.nodes),
        read=found.read, trouble=one_line(found.trouble, MAX_WHY),
    )  # fmt: skip


def _window(names: Sequence[str], chosen: Filter) -> Sequence[str]:
    return names[(chosen.page - 1) * PER_PAGE : chosen.page * PER_PAGE]


def _summary(sight: Sight, chosen: Filter) -> Markup:
    info, standing = sight.source.info, sight.desk.standing
    return sight.part(
        "summary.html", heading=heading(standing, info), silent=not info.running, up_since=info.since,
        tiles=tiles(standing, chosen),
    )  # fmt: skip


def _jobs(sight: Sight) -> Markup:
    return sight.part("jobs_summary.html", told=counts_text(by_state(sight.source.jobs())))


def fleet_fragments(sight: Sight, query: Mapping[str, str]) -> Fragments:
    """Return what changes of the page."""
    desk, chosen = sight.desk, Filter.of(query)
    assert isinstance(sight.now, Steady), "or every second would be a change"
    with desk.lock:
        desk.histories = known if (known := sight.source.known_history()).at >= desk.histories.at else desk.histories
        desk.standing.update(sight.source.accounts())
        names = _window(select(desk.standing, desk.histories.past, _known(sight, chosen), sight.now), chosen)
        rows = {element_id(name): str(desk.row(sight.source, name, sight.viewer, sight.now)) for name in names}
        drawn, trend = desk.timeline(sight.source, sight.now), desk.trend(sight.now)
        summary = _summary(sight, chosen)
    parts = {
        "summary": summary,
        "timeline": sight.part("timeline.html", **drawn),
        "trend": sight.part("trend.html", trend=trend),
        "incidents": sight.open_incidents("/", MAX_INCIDENTS),
        "jobs-summary": _jobs(sight),
    }
    if nodes := _nodes(sight):
        parts["nodes"] = nodes
    return Fragments({**rows, **{key: str(part) for key, part in parts.items()}}, list(rows))
