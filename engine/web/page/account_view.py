"""The page of one account, and what changes of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from markupsafe import Markup

from engine.console.account_status import AccountStatus
from engine.console.format import date_and_time
from engine.console.safe_text import one_line
from engine.journal.explain_page import as_data as explanation_data
from engine.web.page.drawings import KIND_WORDS, Walked, machine
from engine.web.page.fleet import told_until_now
from engine.web.page.fleet_view import AROUND, MAX_INCIDENTS
from engine.web.page.history import DAY, Past
from engine.web.page.moments import for_input, time_of
from engine.web.page.sight import Sight, number_of, read
from engine.web.page.source import MAX_ROWS, AccountHeat, Fragments, PageName
from engine.web.page.words import MAX_NAME, account_words, entry_words, incident_words, job_words, taken
from states import Entry, Snapshot, State
from states.job import Job

RECORDS: Final = 50
"""Records of the journal on one page."""
MAX_JOBS: Final = 20
MAX_GAPS: Final = 20
PATH_STEPS: Final = 5
"""Changes of state that are marked as the account's path."""
HEAT_SECONDS: Final = 7 * DAY


async def account_document(sight: Sight, query: Mapping[str, str], account: str) -> str:
    """Return the page of an account."""
    await sight.source.look()
    await sight.with_history()
    source, since = sight.source, sight.now - HEAT_SECONDS
    records, values = await _journal(sight, account, query)
    heat, values["heat_trouble"] = await read(source.heat(account, since), AccountHeat(since))
    nothing: Sequence[Job] = []
    jobs, values["jobs_trouble"] = await read(source.jobs_of(account, MAX_JOBS), nothing)
    accounts = source.accounts()
    values["jobs"] = [job_words(each, accounts) for each in jobs]
    values["explained_seq"], values["explanation"] = number_of(query.get("explain", "")), Markup("")
    if values["explained_seq"] is not None:
        values["explanation"] = await _explanation(sight, values["explained_seq"])
    return await run_sync(partial(_document, sight, account, records, values, heat))


async def _journal(sight: Sight, account: str, query: Mapping[str, str]) -> tuple[Sequence[Entry], dict[str, Any]]:
    """Return the records that are asked for: the newest, those before one, those around one, or around a time."""
    at, before = time_of(query.get("at", ""), sight.now), number_of(query.get("before", ""))
    explained = number_of(query.get("explain", ""))
    nothing: Sequence[Entry] = []
    if at is not None:
        found, trouble = await read(sight.source.journal_at(at - AROUND, at + AROUND, MAX_ROWS, account), nothing)
        found = list(reversed(found))
    else:
        found, trouble = await read(sight.source.journal(account, before, RECORDS), nothing)
        if explained is not None and before is None and all(each.seq != explained for each in found):
            found, trouble = await read(sight.source.journal(account, explained + 1, RECORDS), nothing)
            before = explained + 1
    keep = {"at": query.get("at", "")} if at is not None else {"before": str(before)} if before is not None else {}
    return found, {
        "entries": list(map(entry_words, found)),
        "journal_trouble": trouble,
        "older": found[-1].seq if found and (len(found) >= RECORDS or at is not None) else None,
        "jumped": at is not None or before is not None,
        "keep": f"{urlencode(keep, errors='backslashreplace')}&" if keep else "",
        "at_words": "" if at is None else date_and_time(at),
        "at_value": for_input(at or sight.now),
    }


async def _explanation(sight: Sight, seq: int) -> Markup:
    found, trouble = await read(sight.source.explain(seq), None)
    if found is None:
        return sight.part("explanation.html", trouble=trouble or "It cannot be explained now")
    asked = [
        {
            **each,
            "question": each["question"].replace("``", ""),
            "saw": ", ".join(f"{name} {value}" for name, value in each["saw"].items() if value is not None),
        }
        for each in explanation_data(found)["guards"]
    ]
    return sight.part("explanation.html", trouble="", x=found, asked=asked)


def _document(sight: Sight, account: str, records: Sequence[Entry], values: dict[str, Any], heat: AccountHeat) -> str:
    source, desk, now = sight.source, sight.desk, sight.now
    accounts = source.accounts()
    at = accounts.get(account, AccountStatus(None))
    with desk.lock:
        desk.standing.update(accounts)
        bars = desk.bars(account, now) if account in accounts else {}
    mine = [each for each in source.incidents() if account in each.accounts]
    return sight.document(
        "account.html", PageName.ACCOUNT, one_line(account, MAX_NAME), {"name": account},
        a=account_words(account, at, source.trouble_since(account), now), **bars, **values,
        state_now=_now(sight, account, at), machine=_machine(at, heat, () if values["jumped"] else records),
        ways=taken(heat), heat_since=heat.since, gaps=_gaps(told_until_now(desk.histories.past.get(account), at)),
        incidents=list(map(incident_words, mine[:MAX_INCIDENTS])),
    )  # fmt: skip


def _machine(at: AccountStatus, heat: AccountHeat, records: Sequence[Entry]) -> Markup:
    counts: Counter[tuple[State, State]] = Counter()
    for (before, _, after), count in heat.moves.items():
        counts[before, after] += count
    path = [(each.source, each.target) for each in records if each.source is not each.target][:PATH_STEPS]
    current = at.last.state if at.known and at.last is not None and not at.paused else None
    return machine(Walked(current, counts, path))


def _now(sight: Sight, account: str, at: AccountStatus) -> Markup:
    last = at.last or Snapshot()
    words = account_words(account, at, sight.source.trouble_since(account), sight.now)
    holds = [hold for hold in last.holds if hold.until > sight.now]
    place = sight.source.whereabouts(account)
    return sight.part("account_now.html", a=words, place=place, gap=last.offline, holds=holds, visit=last.generation)


def account_fragments(sight: Sight, account: str) -> Fragments:
    """Return what changes of the page; nothing if the account was removed."""
    at = sight.source.accounts().get(account)
    return Fragments({} if at is None else {"now": str(_now(sight, account, at))})


def _gaps(past: Past | None) -> list[dict[str, Any]]:
    """Return the newest times in which an account was not healthy, the newest first."""
    if past is None:
        return []
    spans = [*past.spans, *([past.open] if past.open is not None else [])]
    return [
        {"begin": each.begin, "end": each.end, "what": KIND_WORDS[each.kind], "cause": each.cause}
        for each in reversed(spans[-MAX_GAPS:])
    ]
