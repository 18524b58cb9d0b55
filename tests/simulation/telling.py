"""Tells in words what the evidence of a run has: lives, connections, decisions of the journal, commands and messages.

The words of a decision are those of the law: the event, the state that follows, and why the rule is as it is.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from engine.console.format import seconds
from states import ROWS, Entry
from tests.simulation.disk_troubles import DATABASE as DATABASE_PATH
from tests.simulation.evidence import (
    ConnectionSeen,
    ConnectionUse,
    Ending,
    EngineLife,
    Evidence,
    Inspection,
    JobAttempt,
    Write,
)
from tests.simulation.outcome import Happening
from tests.simulation.story import IncidentKind, Story

WHY: Final = {row.name: row.why for row in ROWS}
DATABASE: Final = DATABASE_PATH.rpartition("/")[2]
MAX_TOLD: Final = 3
"""Of what a disk has, and has not."""
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
    yield from _kept(evidence)
    for update in evidence.updates:
        where = f" (position {update.position})" if update.position else ""
        yield Happening(update.at, "datacenter", f"has '{update.mark}' for it{where}", update.account)
    for hearing in evidence.hearings:
        yield Happening(hearing.at, hearing.account, f"a handler begins with '{hearing.mark}'", "program")
        if hearing.ended is not None:
            yield Happening(hearing.ended, "program", f"the handler of '{hearing.mark}' has ended")
    for delivery in evidence.deliveries:
        if delivery.account:
            yield Happening(delivery.at, delivery.account, f"sends '{delivery.text}'", "datacenter")
    for attempt in evidence.attempts:
        yield from _attempt(attempt)
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


def _kept(evidence: Evidence) -> Iterator[Happening]:
    """Tell what was acknowledged, what was synced for that, and what was found of it after each life."""
    syncs = [each for each in evidence.syncs if each.file.startswith(DATABASE)]
    told = [each for each in evidence.writes if each.acknowledged is not None and each.kind in ("job", "checkpoint")]
    for write in told:
        assert write.acknowledged is not None
        done = [each for each in syncs if write.asked <= each.at <= write.acknowledged]
        if done:
            yield Happening(done[-1].at, "engine", f"syncs {done[-1].file}", "disk")
        what = f"{write.kind} {write.key} is on the disk"
        unsynced = "" if done or not evidence.syncs else " (and has synced nothing)"
        yield Happening(write.acknowledged, "engine", f"says that {what}{unsynced}: {write.value}", "program")
    for inspection in evidence.inspections:
        life = next((each for each in evidence.lives if each.number == inspection.life), None)
        if life is None or life.ending is not Ending.STOPPED:
            yield from _found(inspection, told, evidence)


def _found(inspection: Inspection, told: Sequence[Write], evidence: Evidence) -> Iterator[Happening]:
    """Tell what a life that did not end in order has left."""
    keys = dict.fromkeys((each.kind, each.key) for each in told if (each.acknowledged or 0.0) <= inspection.at)
    there = {key: inspection.found[key] for key in keys if key in inspection.found}
    missing = [f"{kind} {key}" for kind, key in keys if (kind, key) not in there]
    marks = [f"{kind} {key} {value}" for (kind, key), value in there.items() if kind == "checkpoint"]
    if keys:
        jobs = sum(kind == "job" for kind, _ in there)
        parts = [f"{jobs} job{'' if jobs == 1 else 's'}", *marks[-MAX_TOLD:]]
        lost = f"; it has no {', no '.join(missing[:MAX_TOLD])}" if missing else ""
        yield Happening(inspection.at, "disk", f"has {', '.join(parts)}{lost}", "disk")
    heard = {each.account for each in evidence.updates if each.at <= inspection.at}
    for account, position in inspection.positions.items():
        if account in heard:
            yield Happening(inspection.at, "disk", f"the session file has position {position} as handled", account)


def _attempt(attempt: JobAttempt) -> Iterator[Happening]:
    number, nth = attempt.number, f", attempt {attempt.attempt}" if attempt.attempt else ""
    since = f", from {attempt.checkpoint}" if attempt.checkpoint else ""
    yield Happening(attempt.began, attempt.account, f"begins job {number}{nth}{since}", "program")
    if attempt.ended is None:
        return
    how = "returns" if attempt.returned else "raises an error" if attempt.raised or attempt.failed else "is cut off"
    yield Happening(attempt.ended, "program", f"the function of job {number} {how}")


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
        yield Happening(
            seen.began,
            who,
            f"{'probe' if seen.use is ConnectionUse.PROBE else 'connection'} {seen.number} is not accepted",
            "network",
        )
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
