"""Durable incidents in ``engine.db``: the engine's side (``IncidentStore``) and the commands' (``acknowledge``)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread
from attrs import define

from adapters.redaction import redacted
from adapters.sqlite import incident_schema
from adapters.sqlite.connect import open_read_only, read_rows
from adapters.sqlite.errors import JournalMissing, translating_errors
from adapters.sqlite.incident_reader import IncidentReader
from adapters.sqlite.job_codec import legible
from adapters.sqlite.jobs import own_transaction
from adapters.sqlite.queue import Statement
from adapters.sqlite.writer import GroupWriter
from states.incident import Incident
from states.incidents import Acked, Book, Change, Closed, Joined, Left, Member, Opened, Slot, restore

Rows = Sequence[tuple[Statement, Sequence[Any]]]
"""Rows for the writer, each with its statement."""


@define(eq=False)
class IncidentStore:
    """The incidents of a running engine. Reads in a worker thread, writes through ``writer``."""

    path: Path
    writer: GroupWriter

    async def restore(self, now: float) -> Book:
        """Return the book with which this engine begins: what earlier ones have left open. Raises ``StorageError``.

        A row that cannot be read is left out, and stays in the file.
        """
        return await anyio.to_thread.run_sync(_restore, self.path, now)

    async def keep(self, changes: Iterable[Change], also: Rows = ()) -> None:
        """Store what a decision has changed, together with the rows ``also``, in one transaction.

        It returns at once unless the writer's queue is full; a cancelled call has stored nothing.
        """
        await self.writer.write_together([*rows_of_changes(changes), *also])

    async def keep_all(self, book: Book) -> None:
        """Store all that is open, anew: its times have moved, or the file is another one."""
        rows = [*map(row_of_incident, book.open.values()), *self._members_of(book)]
        if rows:
            await self.writer.write_together(rows)

    def _members_of(self, book: Book) -> list[tuple[Statement, Sequence[Any]]]:
        return [
            (incident_schema.MEMBER, (track.incident, slot.value, legible(name), None))
            for (slot, name), track in book.tracks.items()
            if track.incident is not None
        ]

    async def acknowledged(self) -> set[int]:
        """Return which of the open incidents a person knows of, as commands have written it."""
        return await anyio.to_thread.run_sync(_acknowledged, self.path)

    async def flush(self) -> None:
        """Return when everything written before is durable."""
        await self.writer.flush()

    async def prune(self, before: float) -> int:
        """Delete the oldest incidents that were over before ``before`` (Unix seconds), at most a few hundred.

        Returns how many, durably; 0 when there is nothing more to delete.
        """
        old = await anyio.to_thread.run_sync(_count_old, self.path, before)
        if old:
            await self.writer.write(incident_schema.PRUNE_INCIDENTS, (before,))
            await self.writer.flush()
        return old


def rows_of_changes(changes: Iterable[Change]) -> Iterator[tuple[Statement, Sequence[Any]]]:
    """Yield what stores these changes."""
    for change in changes:
        number = change.incident.id
        match change:
            case Opened(members=members) | Joined(members=members):
                yield row_of_incident(change.incident)
                for slot, name in members:
                    yield incident_schema.MEMBER, (number, slot.value, legible(name), None)
            case Left(member=(slot, name), at=at):
                yield incident_schema.MEMBER, (number, slot.value, legible(name), at)
            case Closed() | Acked():
                yield row_of_incident(change.incident)


def row_of_incident(each: Incident) -> tuple[Statement, tuple[Any, ...]]:
    """Return what stores an incident as it is."""
    detail = legible(redacted(each.detail, each.accounts))
    return incident_schema.INCIDENT, (
        each.id, each.kind.value, legible(each.cause), int(each.fleet), each.severity.value, each.since, each.opened,
        each.closed, each.acked, detail,
    )  # fmt: skip


def _restore(path: Path, now: float) -> Book:
    with IncidentReader.open(path) as reader:
        found = reader.incidents(open_only=True)
        return restore(found, members_from(reader.inside()), reader.last_number() + 1, now)


def members_from(rows: Iterable[tuple[int, str, str]]) -> Iterator[tuple[int, Member]]:
    """Yield who is in which incident."""
    for number, slot, name in rows:
        with suppress(ValueError):  # a slot of a newer version
            yield number, (Slot(slot), name)


def _acknowledged(path: Path) -> set[int]:
    with IncidentReader.open(path) as reader:
        return set(reader.acknowledged())


def _count_old(path: Path, before: float) -> int:
    with translating_errors(path):
        connection = open_read_only(path)
        try:
            return int(read_rows(connection, incident_schema.COUNT_OLD, (before,))[0][0])
        finally:
            connection.close()


# --- for commands: never on an event loop -----------------------------------------------------------------------------


def acknowledge(path: Path, number: int, now: float) -> tuple[Incident | None, bool]:
    """Note that a person knows of an incident; return it as it is now, and whether that was noted just now.

    None if there is no such incident; one that is over, or acknowledged already, stays as it is. Raises
    ``StorageError``.
    """
    if not path.exists():
        raise JournalMissing(f"{path}: there is no such file; run the engine first")
    noted = 0
    if 0 < number < 2**63:
        with own_transaction(path) as db:
            noted = db.execute(incident_schema.ACKNOWLEDGE, (now, number)).rowcount
    with IncidentReader.open(path) as reader:
        return reader.incident(number), bool(noted)
