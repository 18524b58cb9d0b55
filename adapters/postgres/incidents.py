"""Durable incidents in PostgreSQL: what ``adapters.sqlite.incidents`` is for one engine, for a node of many.

A node has its own book, and numbers its incidents in a range of its own. What it stores is its *part* of an incident.
Parts of several nodes that see the same trouble (``alike``) make one incident, which is over when the last part is: so
one row, and one message, tells of a way to Telegram that fails for the accounts of many nodes, and the incident of an
account goes on with its next owner.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from attrs import define

from adapters.postgres import incident_statements as of_incidents
from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import blocking_store
from adapters.postgres.group_writer import StoreWriter
from adapters.postgres.incident_reader import PostgresIncidentReader
from adapters.postgres.jobs import JobLink
from adapters.postgres.statements import RowStatement
from adapters.redaction import redacted
from adapters.sqlite.errors import Undecodable
from adapters.stores.incidents import MAX_NUMBER, incident_from, names_by_number
from states.incident import Incident
from states.incidents import Acked, Book, Change, Closed, Joined, Left, Member, Opened, Slot, restore

Rows = Sequence[tuple[RowStatement, Sequence[Any]]]
"""Rows for the writer, each with its statement."""


@define(eq=False, kw_only=True)
class PostgresIncidents:
    """The incidents of a running node: what it writes goes through ``writer``, behind the fence of its life."""

    writer: StoreWriter
    link: JobLink
    life: int
    """The row of ``nodes`` that this node has now."""
    node: str
    """Its name: what an earlier life of it has left open, this one goes on with."""

    async def restore(self, now: float) -> Book:
        """Return the book with which this node begins: what its earlier lives have left open. Raises ``StoreUnusable``.

        A row that cannot be read is left out, and stays in the database.
        """
        *_, last, parts, accounts, members = await self.link.transact(
            [
                (of_incidents.LOCK_RANGES, ()),
                (of_incidents.TAKE_RANGE, (self.node, self.node)),
                (of_incidents.ADOPT, (self.life, self.node, self.life)),
                (of_incidents.LAST_OF_NODE, (self.node,)),
                (of_incidents.OWN_PARTS, (self.life,)),
                (of_incidents.OWN_ACCOUNTS, (self.life,)),
                (of_incidents.OWN_MEMBERS, (self.life,)),
            ]
        )
        names, found = names_by_number(accounts), list[Incident]()
        for row in parts:
            with suppress(Undecodable):
                found.append(incident_from(row, names.get(row[0], ())))
        return restore(found, _members(members), int(last[0][0]) + 1, now)

    async def keep(self, changes: Iterable[Change], also: Rows = ()) -> None:
        """Store what a decision has changed, together with the rows ``also``, in one transaction.

        It returns at once unless the writer's queue is full; a cancelled call has stored nothing.
        """
        await self.writer.write_together([*self._rows_of(changes), *also])

    async def keep_all(self, book: Book) -> None:
        """Store all that is open, anew: its times have moved."""
        members = [
            (of_incidents.MEMBER, (track.incident, slot.value, name, None))
            for (slot, name), track in book.tracks.items()
            if track.incident is not None
        ]
        rows = [*map(self._row, book.open.values()), *members]
        if rows:
            await self.writer.write_together(rows)

    async def acknowledged(self) -> set[int]:
        """Return which of this node's open incidents a person knows of, as commands have written it."""
        return {number for (number,) in await self.link.query(of_incidents.OWN_ACKED, (self.life,))}

    async def flush(self) -> None:
        """Return when everything written before is durable."""
        await self.writer.flush()

    async def prune(self, before: float) -> int:
        """Delete the oldest incidents that were over before ``before`` (Unix seconds), at most a few hundred.

        Returns how many, durably; 0 when there is nothing more to delete. Any number of nodes may do that.
        """
        old = int((await self.link.query(of_incidents.COUNT_OLD, (before,)))[0][0])
        if old:
            await self.writer.write(of_incidents.PRUNE_INCIDENTS, (before,))
            await self.writer.flush()
        return old

    def _rows_of(self, changes: Iterable[Change]) -> Iterator[tuple[RowStatement, Sequence[Any]]]:
        for change in changes:
            number = change.incident.id
            match change:
                case Opened(members=members) | Joined(members=members):
                    yield self._row(change.incident)
                    for slot, name in members:
                        yield of_incidents.MEMBER, (number, slot.value, name, None)
                case Left(member=(slot, name), at=at):
                    yield of_incidents.MEMBER, (number, slot.value, name, at)
                case Closed() | Acked():
                    yield self._row(change.incident)

    def _row(self, each: Incident) -> tuple[RowStatement, tuple[Any, ...]]:
        return of_incidents.INCIDENT, (
            each.id, each.kind.value, each.cause, each.fleet, each.severity.value, each.since, each.opened,
            each.closed, each.acked, redacted(each.detail, each.accounts), of_incidents.alike(each), self.node,
            self.life,
        )  # fmt: skip


def _members(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[int, Member]]:
    for number, slot, name in rows:
        with suppress(ValueError):  # a slot of a newer version
            yield number, (Slot(slot), name)


# --- for commands: never on an event loop -----------------------------------------------------------------------------


def acknowledge_stored(address: StoreAddress, number: int, now: float) -> tuple[Incident | None, bool]:
    """Note that a person knows of an incident; return it as it is now, and whether that was noted just now.

    None if there is no such incident; one that is over, or acknowledged already, stays as it is. The number of any of
    its parts is its number. A command is no life of a node, so it has no fence: what it notes, no node takes back.
    Raises ``StoreError``.
    """
    if not 0 < number <= MAX_NUMBER:
        return None, False
    with blocking_store(address) as store:
        noted = store.rows(of_incidents.ACKNOWLEDGE, (now, number, number))
        return PostgresIncidentReader(store).incident(number), bool(noted)
