"""The work of ``whatif``: the journal is read, the past is run again, and the answer becomes data."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen
from rich.console import Console
from rich.progress import Progress

from adapters.stores.journal_rows import UnreadableRow
from adapters.system import holder_of
from engine import paths
from engine.app.journal_events import decode_event
from engine.cli.common import EXIT_BAD_INPUT, fail
from engine.cli.times import Period
from engine.config import Config
from engine.config.overrides import BadOverride, Changed, ConfigVariants, Override
from engine.console.format import iso
from engine.whatif.answer import Figure, LeastMost, Outcome, Recorded, WhatIf, unknowns
from engine.whatif.happenings import Meter
from engine.whatif.past import PastBuilder
from states import State

if TYPE_CHECKING:  # only the types
    from engine.journal.ports import JournalRecords

MAX_CANDIDATES: Final = 32
"""Choices of settings in one table, at most: each is run again by itself."""
MAX_DRAWS: Final = 100
REPORT_EVERY: Final = 2000
"""Records between two reports of how far the reading is."""


Report = Callable[[str, int | None, int | None], None]
"""Shows what the command does, how much of it is done, and how much there is."""


@frozen
class Asked:
    """What the command was asked for. ``until`` is the end of the period, or now."""

    period: Period
    until: float
    draws: int | None
    seed: int


@frozen(kw_only=True)
class Answer:
    """All that the command prints. ``accounts`` are those that were asked for; ``gone`` are no longer in the config."""

    period: Period
    until: float
    records: int
    recorded: Recorded
    choices: Sequence[tuple[Changed, Outcome]]
    """The config as it is, unless nothing else was asked for, and then each choice."""
    accounts: Sequence[str]
    gone: Sequence[str]
    unknowns: Sequence[str]
    doubts: Mapping[str, int]
    seed: int


def choices_of(config: Path, changes: Sequence[str]) -> list[Changed]:
    """Return the config as it is, and then each choice of values."""
    variants = ConfigVariants(config)
    try:
        overrides = [variants.parse(change) for change in changes]
        _check(overrides)
        combined = product(*([(override, value) for value in override.values] for override in overrides))
        return [variants.changed([]), *(variants.changed(choice) for choice in combined if choice)]
    except BadOverride as exc:
        fail(EXIT_BAD_INPUT, f"--set: {exc}")


def _check(overrides: Sequence[Override]) -> None:
    """Raise ``BadOverride`` for keys that are given twice, and for too many choices."""
    count = 1
    for override in overrides:
        count *= len(override.values)
        if [other.key for other in overrides].count(override.key) > 1:
            raise BadOverride(f"{override.name} is given twice; write several values as a list, such as [1s,2s]")
    if count > MAX_CANDIDATES:
        raise BadOverride(f"these are {count} choices, and {MAX_CANDIDATES} are the most; give fewer values")


@contextmanager
def no_garbage() -> Iterator[None]:
    """Let nothing look for circles of objects: there are none, and with a million records each look takes seconds."""
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()


@contextmanager
def progress_bar() -> Iterator[Report]:
    """Yield what shows on a terminal how far the command is."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Reading the journal", total=None)

        def report(what: str, done: int | None, total: int | None) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield report


def read_past(
    reader: "JournalRecords",
    config: Config,
    period: Period,
    end: float,
    report: Report,
) -> PastBuilder:
    """Return the past of the period. The journal may be written meanwhile: what comes later is not read."""
    lost: list[UnreadableRow] = []
    reader.on_unreadable = lost.append
    lives = {(life.account, life.life): life for life in reader.lives()}
    past = PastBuilder(lives, decode_event)
    reader.on_unreadable = lambda row: past.leave_out(row.account)
    past.doubts.unreadable += len(lost)
    oldest = max(1, reader.first_seq())
    first = oldest if period.since is None else reader.first_since(period.since)
    past.doubts.late = int(period.since is not None and first == oldest)
    last = reader.last_seq()
    for entry in reader.entries(after_seq=first - 1, until=period.until):
        if entry.seq > last and reader.is_gapless:
            break
        past.take(entry)
        if entry.seq == last:
            break
        if past.records % REPORT_EVERY == 0:
            report("Reading the journal", entry.seq - first, last - first + 1)
    _finish(reader, config, past, end, first if period.since is not None else None)
    return past


def _finish(reader: "JournalRecords", config: Config, past: PastBuilder, end: float, first: int | None) -> None:
    """End the lives, and add the accounts that were healthy all the time."""
    holder = holder_of(config.storage.directory / paths.LOCK)
    present = reader.present(holder.engine) if holder is not None else set()
    seen = reader.last_seen()
    past.finish({name: end if name in present else min(at, end) for name, at in seen.items()})
    if first is None:
        return
    policies = {name: life.policy for (name, _), life in past.lives.items()}
    for name, move in reader.last_moves(first).items():
        if move.target is State.HEALTHY and name in policies and (name in present or seen.get(name, 0.0) > move.at):
            past.add_healthy(name, policies[name], move.life)


def answer_of(
    past: PastBuilder,
    config: Config,
    choices: Sequence[Changed],
    asked: Asked,
    report: Report,
) -> Answer:
    """Run the past again with each choice."""
    names = {account.name: account.proxy or None for account in config.accounts}
    gone = sorted(name for name in past.accounts if name not in names)
    model = WhatIf(past, names, asked.seed, lambda: report("Running it again", None, None))
    recorded = model.check(config.fleet)
    draws = asked.draws or model.draws(len(choices))
    outcomes = []
    for number, choice in enumerate(choices):
        report(f"Running it again: {number} of {len(choices)} choices", number, len(choices))
        outcomes.append((choice, model.outcome(choice.policy, choice.fleet, draws)))
    period, doubts = asked.period, past.doubts
    return Answer(
        period=period,
        until=asked.until,
        records=past.records,
        recorded=recorded,
        choices=outcomes,
        accounts=sorted(past.accounts),
        gone=gone,
        unknowns=unknowns(past, gone=gone),
        doubts={name: getattr(doubts, name) for name in doubts.__slots__ if not name.startswith("_")},
        seed=asked.seed,
    )


def only_of(found: Answer, wanted: Sequence[str]) -> Answer:
    """Return the answer with these accounts alone; the fleet's figures stay those of the fleet."""
    return evolve(found, accounts=[name for name in found.accounts if name in wanted])


def as_data(found: Answer) -> dict[str, Any]:
    """Return what ``whatif --json`` prints; times are seconds, shares from 0 to 1."""
    recorded = found.recorded
    missed = [name for name in found.accounts if name in recorded.misses]
    return {
        "since": iso(found.period.since),
        "until": iso(found.until),
        "records": found.records,
        "seed": found.seed,
        "then": {**_meter_data(recorded.fleet), "attempts_per_minute": recorded.peak},
        "check": {"downtime": recorded.again, "miss": recorded.miss, "accounts_missed": len(missed)},
        "accounts": [
            {"name": name, "in_config": name not in found.gone, **_meter_data(recorded.accounts[name])}
            for name in found.accounts
        ],
        "settings": [_outcome_data(choice, outcome, found.accounts) for choice, outcome in found.choices],
        "doubts": dict(found.doubts),
        "unknown": list(found.unknowns),
    }


def _meter_data(meter: Meter) -> dict[str, Any]:
    return {
        "downtime": meter.seconds, "attempts": meter.attempts, "outages": meter.outages, "longest": meter.longest,
    }  # fmt: skip


def _outcome_data(choice: Changed, outcome: Outcome, accounts: Sequence[str]) -> dict[str, Any]:
    return {
        "set": dict(choice.values),
        "draws": outcome.draws,
        **_figure_data(outcome.fleet),
        "attempts_per_minute": _bounds_data(outcome.peak),
        "parked": _bounds_data(outcome.parked),
        "accounts": [{"name": name, **_figure_data(outcome.accounts[name])} for name in accounts],
    }


def _figure_data(figure: Figure) -> dict[str, Any]:
    return {"downtime": _bounds_data(figure.downtime), "attempts": _bounds_data(figure.attempts)}


def _bounds_data(bounds: LeastMost) -> dict[str, float]:
    return {"least": bounds.least, "most": bounds.most}
