"""What retention deletes in one small step, and what it must keep so that a replay can still begin.

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
from adapters.sqlite.reader import JournalReader
from adapters.stores.journal_rows import StoredLife
from states.record import Entry
from states.redo import differences, redo
from states.snapshot import Snapshot

MAX_STEP_ROWS = 256
"""Rows that one step deletes: a few milliseconds of the writer's time."""


@frozen
class Plan:
    """The number of rows to delete, and the statements that delete them."""

    rows: int
    statements: tuple[tuple[Statement, tuple[Any, ...]], ...]


def plan_step(path: Path, before: float) -> Plan | None:
    """Return which of the oldest entries, written before ``before`` (Unix seconds), to delete; None if none.

    Entries are deleted from the front only, and never the newest one, so that a ``seq`` is given once and never again.
    Not for an event loop. Raises what ``JournalReader`` raises.
    """
    with JournalReader.open(path) as reader, reader.read_transaction():  # another worker may delete meanwhile
        # An unreadable entry must not stand in the way: its number and time suffice to delete it.
        seqs = [seq for seq, _ in takewhile(lambda row: row[1] < before, reader.oldest(MAX_STEP_ROWS))]
        if not seqs:
            return None
        statements: list[tuple[Statement, tuple[Any, ...]]] = []
        for (account, number), own in reader.seqs_by_life(seqs[-1]).items():
            lives = {life.life: life for life in reader.lives(account, from_life=number)}
            if max(lives, default=0) > number and not reader.has_entry_after(account, number, seqs[-1]):
                statements.append((schema.FORGET, (account, number)))
            elif life := lives.get(number):
                base = replay(life, _read(reader, own))
                text = None if base is None else encode_snapshot(base)
                statements.append((schema.BASE, (account, number, seqs[-1], text)))
        return Plan(len(seqs), (*statements, (schema.PRUNE, (seqs[-1],))))


def _read(reader: JournalReader, seqs: Iterable[int]) -> list[Entry] | None:
    """Return these entries, None if one of them cannot be read."""
    try:
        return [entry for seq in seqs if (entry := reader.entry(seq))]
    except Undecodable:
        return None


def replay(life: StoredLife, entries: Iterable[Entry] | None) -> Snapshot | None:
    """Return the account's snapshot after ``entries``; None if the rules no longer decide the same."""
    snapshot = life.start
    if snapshot is None or entries is None:
        return None
    for entry in entries:
        try:
            event = event_from(entry.event, entry.payload)
        except Undecodable:
            return None
        made = redo(snapshot, entry, event, entry.policy or life.policy)
        if differences(made.record, entry):
            return None
        snapshot = made.snapshot
    return snapshot
