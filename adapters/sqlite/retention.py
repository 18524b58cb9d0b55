"""What retention deletes in one small step, and what must be kept of it so that a replay can still begin.

The plan is made here, in a worker thread and by a reader; the writer's thread carries it out in one transaction.
"""

from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import Any

from attrs import frozen

from adapters.sqlite import schema
from adapters.sqlite.codec import encode_snapshot, event_from
from adapters.sqlite.errors import Undecodable
from adapters.sqlite.queue import Statement
from adapters.sqlite.reader import JournalReader, StoredLife
from states.redo import differences, redo
from states.snapshot import Snapshot
from states.step import Entry

STEP_ROWS = 256
"""Rows that one step deletes at most: a few milliseconds of the writer's time."""


@frozen
class Plan:
    """How many rows go, and the statements that make them go."""

    rows: int
    statements: tuple[tuple[Statement, tuple[Any, ...]], ...]


def plan(path: Path, before: float) -> Plan | None:
    """Return what to delete of the oldest entries, written before ``before`` (Unix seconds); None if nothing.

    Only from the front, and never the newest entry, so that a ``seq`` is given once and never again. Not for an event
    loop. Raises what ``JournalReader`` raises.
    """
    with JournalReader.open(path) as reader:
        # What cannot be read must not stand in the way: its number and time suffice to delete it.
        seqs = [seq for seq, _ in takewhile(lambda row: row[1] < before, reader.oldest(STEP_ROWS))]
        if not seqs:
            return None
        statements: list[tuple[Statement, tuple[Any, ...]]] = []
        for (account, number), own in reader.seqs_by_life(seqs[-1]).items():
            lives = {life.life: life for life in reader.lives(account, from_life=number)}
            if max(lives, default=0) > number and not reader.goes_on(account, number, seqs[-1]):
                statements.append((schema.FORGET, (account, number)))
            elif life := lives.get(number):
                base = _base(life, _readable(reader, own))
                text = None if base is None else encode_snapshot(base)
                statements.append((schema.BASE, (account, number, seqs[-1], text)))
        return Plan(len(seqs), (*statements, (schema.PRUNE, (seqs[-1],))))


def _readable(reader: JournalReader, seqs: Iterable[int]) -> list[Entry] | None:
    """Return these entries, None if one of them cannot be read."""
    try:
        return [entry for seq in seqs if (entry := reader.entry(seq))]
    except Undecodable:
        return None


def _base(life: StoredLife, entries: Iterable[Entry] | None) -> Snapshot | None:
    """Return where the account was after ``entries``; None if the rules do not lead there by the same way."""
    snapshot = life.start
    if snapshot is None or entries is None:
        return None
    for entry in entries:
        try:
            event = event_from(entry.event, entry.payload)
        except Undecodable:
            return None
        made = redo(snapshot, entry, event, life.policy)
        if differences(made.record, entry):
            return None
        snapshot = made.snapshot
    return snapshot
