"""Explains why the machine did what it did: one record of the journal is decided again, with all that it depends on."""

import math
from collections.abc import Sequence
from typing import Any

from attrs import field, frozen

from engine.journal.replay import Beginning, EventOf, UnreadableEvent
from states import ROWS, Entry, Event, Policy, Row, Snapshot, State
from states.answers import GuardAnswer, ask_guards
from states.events import Failure, FloodWait
from states.guards import Moment
from states.redo import differences, redo
from states.schedules import Backoff
from states.step import number_of_wait

ROW_BY_NAME = {row.name: row for row in ROWS}


@frozen(kw_only=True)
class Arithmetic:
    """How the length of a wait was computed: ``text`` to read, ``parts`` (seconds and plain numbers) for programs."""

    text: str
    parts: dict[str, Any]


@frozen(kw_only=True)
class Explanation:
    """One record, explained.

    ``row`` is None when this version has no such rule. ``asked`` are the guards in the order in which they were asked,
    that of the rule last. It is empty, and ``snapshot`` None, when ``doubt`` says why they are no longer known.
    """

    entry: Entry
    row: Row | None
    snapshot: Snapshot | None
    """Where the account was when the record was decided."""
    asked: tuple[GuardAnswer, ...]
    arithmetic: Arithmetic | None
    doubt: str | None
    before: Sequence[Entry] = field(factory=tuple)
    after: Sequence[Entry] = field(factory=tuple)


def explain(
    entry: Entry,
    *,
    life: Beginning | None,
    records: Sequence[Entry],
    event_of: EventOf,
    before: Sequence[Entry] = (),
    after: Sequence[Entry] = (),
) -> Explanation:
    """Explain ``entry``. ``records`` are those of its life up to and including it; ``before`` and ``after`` are shown.

    An error in the journal is not raised, but named in ``doubt``.
    """
    row = ROW_BY_NAME.get(entry.rule)
    snapshot, doubt = _reconstructed(entry, life, records, event_of)
    asked: tuple[GuardAnswer, ...] = ()
    arithmetic = None
    if snapshot is not None and life is not None:
        try:
            event = event_of(entry)
            policy = entry.policy or life.policy
            made = redo(snapshot, entry, event, policy)
        except UnreadableEvent as exc:
            doubt = str(exc)
        else:
            asked = ask_guards(Moment(snapshot, event, entry.at, policy))
            arithmetic = arithmetic_of(entry, event, made.snapshot, policy)
            wrong = differences(made.record, entry)
            if wrong:
                doubt = f"the rules of this version decide otherwise here ({', '.join(wrong)}); 'log replay' says how"
    return Explanation(
        entry=entry,
        row=row,
        snapshot=snapshot,
        asked=asked,
        arithmetic=arithmetic,
        doubt=doubt,
        before=before,
        after=after,
    )


def _reconstructed(
    entry: Entry, life: Beginning | None, records: Sequence[Entry], event_of: EventOf
) -> tuple[Snapshot | None, str | None]:
    """Return where the account was when ``entry`` was decided, or else why that is not known."""
    if life is None:
        return None, "the journal does not say how this life began, so what the guards saw is unknown"
    snapshot = life.start
    if snapshot is None:
        return None, "retention has deleted the beginning of this life, so what the guards saw is unknown"
    for record in records:
        if record.seq >= entry.seq:
            break
        try:
            made = redo(snapshot, record, event_of(record), record.policy or life.policy)
        except UnreadableEvent as exc:
            return None, f"{exc}, so what the guards saw is unknown"
        if made.record.rule != record.rule or made.record.target != record.target:
            return None, f"the replay parts from the journal at {record.seq} already; 'log replay' says how"
        snapshot = made.snapshot
    return snapshot, None


# --- the arithmetic of waits -----------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Return a number of seconds with at most four significant digits."""
    if math.isinf(value):
        return "∞"
    return f"{value:.4g}" if value < 10_000 else f"{value:.0f}"


def arithmetic_of(entry: Entry, event: Event, after: Snapshot, policy: Policy) -> Arithmetic | None:
    """Return how the length of the wait that ``entry`` began was computed; None if it began none."""
    if entry.delay is not None:
        if not isinstance(event, Failure):
            return Arithmetic(
                text=f"the wait that stood goes on: {number(entry.delay)} s were left of it",
                parts={"schedule": None, "delay": entry.delay},
            )
        if isinstance(event, FloodWait):
            slack = policy.backoff.flood.slack
            text = f"flood: the server said {number(event.seconds)} s, + slack {number(slack)} s"
            parts = {"schedule": "flood", "server_said": event.seconds, "slack": slack, "delay": entry.delay}
            return Arithmetic(text=f"{text} = {number(entry.delay)} s", parts=parts)
        schedule = getattr(policy.backoff, event.schedule)
        assert isinstance(schedule, Backoff), "every schedule but the flood's grows"
        nth = number_of_wait(event, after)
        return _backoff(event.schedule, schedule, nth, entry)
    return _patience(entry, after, policy)


def _backoff(name: str, schedule: Backoff, nth: int, entry: Entry) -> Arithmetic:
    """Return ``network: 10 s × 2^(3−1) = 40 s, jitter 0.2 with draw 0.71 → +8.4 % = 43.4 s``."""
    assert entry.delay is not None
    draw = entry.draw if entry.draw is not None else 0.5
    try:
        grown = schedule.first * schedule.factor ** (nth - 1)
    except OverflowError:
        grown = float("inf")
    steady = min(grown, schedule.cap)
    shift = entry.delay / steady - 1
    text = f"{name}: {number(schedule.first)} s × {schedule.factor:g}^({nth}−1) = {number(grown)} s"
    if grown > schedule.cap:
        text += f", capped at {number(schedule.cap)} s"
    if schedule.jitter:
        text += f", jitter {schedule.jitter:g} with draw {draw:.2f} → {shift * 100:+.1f} % = {number(entry.delay)} s"
    else:
        text += ", no jitter"
    parts = {
        "schedule": name, "first": schedule.first, "factor": schedule.factor, "nth": nth, "cap": schedule.cap,
        "steady": steady, "jitter": schedule.jitter, "draw": entry.draw, "shift": shift, "delay": entry.delay,
    }  # fmt: skip
    return Arithmetic(text=text, parts=parts)


def _patience(entry: Entry, after: Snapshot, policy: Policy) -> Arithmetic | None:
    """Return how the patience of an attempt or a probe was chosen; None for any other record."""
    if entry.deadline is None:
        return None
    if "Open" in entry.effects:
        schedule = policy.connecting if after.state is State.CONNECTING else policy.reconnecting
        nth = after.attempt
    elif "Probe" in entry.effects and after.state is State.TIMEOUT:
        schedule, nth = policy.timeout, after.silences + 1
    else:
        return None
    patience = schedule.nth(nth)
    given = ", ".join(f"{number(each)} s" for each in schedule.patience)
    return Arithmetic(
        text=f"{after.state.value}.patience [{given}], number {nth} = {number(patience)} s",
        parts={"schedule": after.state.value, "patience": list(schedule.patience), "nth": nth, "seconds": patience},
    )
