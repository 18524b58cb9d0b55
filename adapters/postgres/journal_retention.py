"""What retention deletes from the journal in one small step, and what it must keep so that a replay can still begin.

As ``adapters.sqlite.retention``, but any number of nodes may do it at once: whoever comes second finds the rows gone,
and changes no life back. Not for an event loop.
"""

from itertools import takewhile
from typing import Any, Final

from attrs import frozen

from adapters.postgres.address import StoreAddress
from adapters.postgres.errors import Fenced
from adapters.postgres.fence import FENCE
from adapters.postgres.journal_reader import StoreRecords
from adapters.sqlite.codec import encode_snapshot
from adapters.sqlite.errors import Undecodable
from adapters.sqlite.retention import replay
from states.record import Entry

MAX_STEP_ROWS: Final = 256
"""Rows that one step deletes."""

_ACCOUNT: Final = "account = (SELECT id FROM names WHERE name = %s)"
_BASE: Final = f"UPDATE lives SET pruned_to = %s, base = %s WHERE {_ACCOUNT} AND life = %s AND pruned_to < %s"
_FORGET: Final = f"DELETE FROM lives WHERE {_ACCOUNT} AND life <= %s"
_DELETE: Final = "DELETE FROM journal WHERE seq = ANY(%s)"
_DELETE_HOURS: Final = """DELETE FROM journal_hours WHERE hour < floor(
    least(%s, (SELECT at FROM journal ORDER BY tx, seq LIMIT 1)) / 3600)"""


@frozen
class StorePlan:
    """The entries to delete, by number, and the statements that note in their lives what was deleted."""

    seqs: list[int]
    statements: tuple[tuple[str, tuple[Any, ...]], ...]


def prune(address: StoreAddress, node: int, before: float) -> int:
    """Delete some of the oldest entries, written before ``before`` (Unix seconds); return how many.

    The newest entry of all stays. ``node`` is the life that does it. Raises ``Fenced`` and ``StoreUnusable``.
    """
    with StoreRecords.open(address) as records:
        found = plan(records, before)
        if found is None:
            records.store.rows(_DELETE_HOURS, (before,))
            return 0
        carry_out(records, node, found)
        return len(found.seqs)


def plan(records: StoreRecords, before: float) -> StorePlan | None:
    """Return which of the oldest entries to delete; None if there are none."""
    with records.read_transaction():
        # An unreadable entry must not stand in the way: its number and time suffice to delete it.
        seqs = [seq for seq, _ in takewhile(lambda row: row[1] < before, records.oldest(MAX_STEP_ROWS))]
        if not seqs:
            return None
        statements: list[tuple[str, tuple[Any, ...]]] = []
        for (account, number), own in records.seqs_by_life(seqs).items():
            lives = {life.life: life for life in records.lives(account, from_life=number)}
            if max(lives, default=0) > number and not records.has_entry_after(account, number, own[-1]):
                statements.append((_FORGET, (account, number)))
            elif life := lives.get(number):
                base = replay(life, _read(records, own))
                text = None if base is None else encode_snapshot(base)
                statements.append((_BASE, (own[-1], text, account, number, own[-1])))
        return StorePlan(seqs, tuple(statements))


def carry_out(records: StoreRecords, node: int, found: StorePlan) -> None:
    """Delete what was planned, for the life of a node. Raises ``Fenced`` and ``StoreUnusable``."""
    with records.store.transaction():
        if not records.store.rows(FENCE, (node,)):
            raise Fenced(f"{records.address}: the life of this node has ended, so it deletes no old entries")
        for sql, values in found.statements:
            records.store.rows(sql, values)
        records.store.rows(_DELETE, (found.seqs,))


def _read(records: StoreRecords, seqs: list[int]) -> list[Entry] | None:
    """Return these entries, None if one of them cannot be read."""
    try:
        return [entry for seq in seqs if (entry := records.entry(seq))]
    except Undecodable:
        return None
