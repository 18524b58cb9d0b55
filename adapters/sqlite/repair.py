"""Snapshots that cannot be read any more are made anew when the file is opened: one spoilt row ends no engine.

The journal has every decision of an account's last life, so its snapshot follows from the snapshot with which that life
began. Where that cannot be followed (a record is spoilt too, or other rules decided it), the account begins anew with
what can still be read: its holds, whether it is paused, and why it was stopped.
"""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs
from attrs import frozen

from adapters.sqlite import schema
from adapters.sqlite.codec import decode_snapshot, encode_snapshot, event_from, read_fields
from adapters.sqlite.connect import read_rows, transaction
from adapters.sqlite.errors import Undecodable, translating_errors
from adapters.sqlite.job_codec import is_legible
from adapters.sqlite.reader import JournalReader
from adapters.sqlite.retention import replay
from adapters.stores.journal_rows import StoredLife
from states.record import Entry
from states.redo import redo
from states.schedules import Policy
from states.snapshot import Cause, Snapshot, State

_MISSING: Final = """SELECT name FROM names WHERE EXISTS (SELECT 1 FROM lives WHERE account = names.id)
    AND NOT EXISTS (SELECT 1 FROM snapshots WHERE account = names.id)"""
_LAST_LIFE: Final = """SELECT coalesce(max(life), 0) FROM lives
    WHERE account = (SELECT id FROM names WHERE name = ?) AND typeof(life) = 'integer'"""
_STORED: Final = """SELECT (SELECT name FROM names WHERE id = account), at, seq, snapshot FROM snapshots"""


@frozen(kw_only=True)
class Repair:
    """A snapshot that was made anew."""

    account: str
    why: str
    """Why the stored one could not be used."""
    exact: bool
    """Whether it is the one that was stored; otherwise the account begins anew, with what could still be read."""
    holds: int
    """How many holds it has."""


OnRepair = Callable[[Repair], None]


def repair_snapshots(connection: sqlite3.Connection, path: Path) -> list[Repair]:
    """Make the snapshots anew that cannot be read; return which. Raises ``DatabaseUnusable``.

    Rows that name no account are left alone: nobody knows whose they are. Only before accounts run. Blocks.
    """
    with translating_errors(path):
        missing = [name for (name,) in read_rows(connection, _MISSING) if is_legible(name)]
        broken: dict[str, tuple[str, Any]] = dict.fromkeys(missing, ("it is missing", None))
        for name, at, seq, text in read_rows(connection, _STORED):
            if not is_legible(name):
                continue
            if (why := _flaw(at, seq, text)) is not None:
                broken[name] = why, text
        if not broken:
            return []
        with JournalReader.open(path) as reader:
            reader.on_unreadable = lambda row: None  # what cannot be read is made up for here
            made = []
            for name, (why, text) in sorted(broken.items()):
                life = read_rows(connection, _LAST_LIFE, [name])[0][0]
                made.append((name, why, *_remake(reader, name, life, text)))
        _store(connection, [(name, snapshot, exact) for name, _, snapshot, exact in made])
        return [
            Repair(account=name, why=why, exact=exact, holds=len(snapshot.holds)) for name, why, snapshot, exact in made
        ]


def _flaw(at: Any, seq: Any, text: Any) -> str | None:
    """Return what is wrong with a row, None if nothing is."""
    try:
        decode_snapshot(text)
    except Undecodable as exc:
        return str(exc).partition(";")[0]
    if not isinstance(seq, int) or not isinstance(at, int | float):
        return "its number or its time is no number"
    return None


def _remake(reader: JournalReader, name: str, number: int, text: Any) -> tuple[Snapshot, bool]:
    """Return an account's snapshot, and whether it is the one that was stored."""
    stored = _decoded(text)
    if stored is not None:
        return stored, True
    life = next((life for life in reader.lives(name, from_life=number) if life.life == number), None)
    entries = [entry for entry in reader.entries(accounts=[name]) if entry.life == number]
    if life is not None and len(entries) == reader.count(name, number):
        exact = replay(life, entries)
        if exact is not None and _decoded(encode_snapshot(exact)) is not None:
            return exact, True
    return _salvage(life, number, entries, text), False


def _salvage(life: StoredLife | None, number: int, entries: Iterable[Entry], text: Any) -> Snapshot:
    """Return a snapshot that has what can be read: from the records, and over it from the text that was stored."""
    found = (life.start or life.snapshot) if life is not None else Snapshot(life=number)
    policy = life.policy if life is not None else Policy()
    last = None
    for entry in entries:
        last = entry
        try:
            following = redo(found, entry, event_from(entry.event, entry.payload), entry.policy or policy).snapshot
        except (Undecodable, ArithmeticError, TypeError, ValueError):
            continue  # of a spoilt record, only its columns are of use
        if _decoded(encode_snapshot(following)) is not None:
            found = following
    if last is not None and found.state is not last.target:
        cause = Cause(event=last.event, detail=last.detail) if last.target is State.AUTH_FAILED else found.cause
        found = attrs.evolve(found, state=last.target, since=last.at, deadline=None, wait=None, cause=cause)
        if last.target is State.BACKOFF:  # without its deadline it would wait for the operator
            found = attrs.evolve(found, state=State.CONNECTING)
    read = attrs.evolve(found, **read_fields(text))
    found = read if _decoded(encode_snapshot(read)) is not None else found
    return attrs.evolve(found, life=max(number, 1))


def _decoded(text: Any) -> Snapshot | None:
    try:
        return decode_snapshot(text)
    except Undecodable:
        return None


def _store(connection: sqlite3.Connection, made: Iterable[tuple[str, Snapshot, bool]]) -> None:
    """Store the snapshots; no replay can follow a life whose end is not the one that was decided."""
    with transaction(connection):
        for name, snapshot, exact in made:
            at = max(snapshot.since, snapshot.last_success or 0.0, snapshot.proved_at or 0.0)
            schema.SNAPSHOT.execute(connection, [(name, at, encode_snapshot(snapshot))])
            if not exact:
                last = connection.execute(schema.LAST_SEQ, (name,)).fetchone()[0]
                schema.BASE.execute(connection, [(name, snapshot.life, last, None)])
