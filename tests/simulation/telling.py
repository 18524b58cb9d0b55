"""Tells in words what the evidence of a run has: lives, connections, decisions of the journal, commands and messages.

The words of a decision are those of the law: the event, the state that follows, and why the rule is as it is.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from engine.console.format import seconds
from states import ROWS, Entry
from tests.simulation.evidence import ConnectionSeen, EngineLife, Evidence
from tests.simulation.outcome import Happening
from tests.simulation.story import IncidentKind, Story

WHY: Final = {row.name: row.why for row in ROWS}
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def tell(evidence: Evidence, story: Story, epoch: float) -> Iterator[Happening]:
    """Yield what happened, in no order. ``epoch`` is the wall clock's time at the beginning of the story."""
    for life in evidence.lives:
        yield from _life(life)
    for seen in evidence.connections:
        yield from _connection(seen)
    for dead in evidence.dead_keys:
        yield Happening(dead.at, "datacenter", f"refuses the key of {dead.account} for good: {dead.why}")
    for flood in evidence.floods:
        text = f"demands a wait of {seconds(flood.seconds)} ({flood.method or 'the whole connection'})"
        yield Happening(flood.at, "datacenter", text, flood.account or "engine")
    for command in evidence.commands:
        whom = f" {command.account}" if command.account else ""
        yield Happening(command.at, "program", f"{command.what}{whom}", "engine")
        if not command.ok:
            text = f"has not done it: {command.said or 'nobody knows why'}"
            yield Happening(command.answered or command.at, "engine", text, "program")
    for write in evidence.writes:
        if write.acknowledged is not None and write.kind in ("job", "checkpoint"):
            text = f"says that {write.kind} {write.key} is on the disk: {write.value}"
            yield Happening(write.acknowledged, "engine", text, "program")
    for update in evidence.updates:
        yield Happening(update.at, "datacenter", f"has '{update.mark}' for it", update.account)
    for hearing in evidence.hearings:
        yield Happening(hearing.at, hearing.account, f"a handler begins with '{hearing.mark}'", "program")
        if hearing.ended is not None:
            yield Happening(hearing.ended, "program", f"the handler of '{hearing.mark}' has ended")
    for delivery in evidence.deliveries:
        if delivery.account:
            yield Happening(delivery.at, delivery.account, f"sends '{delivery.text}'", "datacenter")
    for attempt in evidence.attempts:
        if attempt.failed and attempt.ended is not None:
            yield Happening(attempt.ended, "program", f"the function of job {attempt.number} raises an error")
    for line in evidence.logs:
        if line.level in ("error", "critical"):
            yield Happening(line.at, "engine", f"logs {line.level}: {line.text.partition(chr(10))[0]}")
    for complaint in evidence.complaints:
        yield Happening(complaint.at, "engine", f"Python complains: {complaint.text.partition(chr(10))[0]}")
    if evidence.journals:
        for entry, at in zip(
            evidence.journals[-1].entries, times(evidence.journals[-1].entries, story, epoch), strict=True
        ):
            yield Happening(at, entry.account, decision(entry))


def decision(entry: Entry) -> str:
    """Return a record in words: what came, what follows, how long it waits, and why."""
    event = _WORDS.sub(" ", entry.event).lower()
    moved = f"{entry.source} → {entry.target}" if entry.target is not entry.source else f"stays {entry.source}"
    parts = [f"{event}: {moved}"]
    if entry.delay is not None:
        parts.append(f"waits {seconds(entry.delay)}")
    if entry.detail:
        parts.append(entry.detail if len(entry.detail) <= 80 else entry.detail[:79] + "…")
    why = WHY.get(entry.rule)
    return ", ".join(parts) + (f" ({why})" if why else "")


def times(entries: Sequence[Entry], story: Story, epoch: float) -> list[float]:
    """Return the virtual time of each record, which has only what the wall clock showed when it was made.

    The clock was set and stood still where the story says so, and records are in the order of their making: of the
    times that a record can have, it has the first that is not before the record in front of it.
    """
    offset, offsets = 0.0, [(0.0, 0.0)]
    for incident in story.incidents:
        if incident.kind is IncidentKind.CLOCK_STEP:
            offset += float(incident.value or 0.0)
        elif incident.kind is IncidentKind.CLOCK_SUSPEND:
            offset += incident.seconds
        else:
            continue
        offsets.append((incident.at, offset))
    spans = [(begin, end, shift) for (begin, shift), (end, _) in pairwise([*offsets, (float("inf"), 0.0)])]
    found: list[float] = []
    latest = 0.0
    for entry in entries:
        possible = [entry.at - epoch - shift for _, _, shift in spans]
        fitting = [at for at, (begin, end, _) in zip(possible, spans, strict=True) if begin <= at <= end]
        latest = min((at for at in fitting if at >= latest - 0.001), default=latest)
        found.append(latest)
    return found


def _life(life: EngineLife) -> Iterator[Happening]:
    yield Happening(life.began, "program", f"starts the engine (life {life.number})", "engine")
    if life.asked_to_stop is not None:
        yield Happening(life.asked_to_stop, "program", "asks it to stop", "engine")
    if life.ended is not None:
        detail = f": {life.detail}" if life.detail else ""
        yield Happening(life.ended, "engine", f"{life.ending.value.replace('_', ' ')}{detail}")


def _connection(seen: ConnectionSeen) -> Iterator[Happening]:
    who = seen.account or "engine"
    if seen.accepted is None:
        yield Happening(seen.began, who, f"{seen.use} connection {seen.number} is not accepted", "network")
        return
    yield Happening(seen.began, who, f"opens connection {seen.number}", "datacenter")
    if seen.answered is not None:
        yield Happening(seen.answered, "datacenter", f"answers on connection {seen.number}", who)
    if seen.closed is not None:
        yield Happening(seen.closed, who, f"connection {seen.number} is over", "datacenter")


def in_order(happenings: Iterable[Happening]) -> tuple[Happening, ...]:
    """Return them by time; what happened at the same moment stays as it came, and nothing is told twice."""
    kept = dict.fromkeys(happenings)
    return tuple(sorted(kept, key=lambda each: each.at))
