"""Durable incidents and alerts of one file that several nodes share.

A node has its own book, and numbers its incidents in a range of its own. Whoever begins a life goes on with what dead
lives have left open; what its accounts were in that come to another node is over after a while. Of what several nodes
see at once, such as a way to Telegram that fails for all, the one whose incident has the lowest number tells: the
others' messages wait for as long as it is open.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

from attrs import define, evolve

from adapters.sqlite import alert_schema, incident_schema
from adapters.sqlite.connect import read_rows
from adapters.sqlite.incident_reader import IncidentReader
from adapters.sqlite.incidents import IncidentStore, Rows, members_from, row_of_incident, rows_of_changes
from adapters.sqlite.node_file import NodeFile, life_ended
from adapters.sqlite.outbox import Outbox, alerts_from
from adapters.sqlite.queue import Statement, cell
from adapters.stores.alerts import ASK_AGAIN, AlertClaim, StoredAlerts
from states.alerts import ChannelAlert, MessageKind
from states.incidents import Book, Change, restore

RANGE: Final = 1_000_000
"""Numbers of incidents that a node has for itself."""

_ALIVE: Final = "(SELECT id FROM nodes WHERE state <> 'dead')"
_TAKE_RANGE: Final = f"""INSERT OR IGNORE INTO incident_ranges (node, range, last)
    SELECT ?, number, number * {RANGE} FROM (SELECT max(
        coalesce((SELECT max(range) + 1 FROM incident_ranges), 0),
        coalesce((SELECT max(id) / {RANGE} + 1 FROM incidents), 0)) AS number)"""
_ADOPT: Final = f"""UPDATE incidents SET node = ?
    WHERE (closed IS NULL OR id IN (SELECT incident FROM alerts INDEXED BY alerts_open WHERE over = 0))
        AND (node IS NULL OR node NOT IN {_ALIVE})"""
_COLUMNS: Final = (*incident_schema.COLUMNS, "node")

INCIDENT_OF_LIFE = Statement(
    "incident of a life",
    f"""INSERT INTO incidents ({", ".join(_COLUMNS)}) SELECT {", ".join(map(cell, range(len(_COLUMNS))))}
    FROM rows WHERE true
    ON CONFLICT (id) DO UPDATE SET cause = excluded.cause, fleet = excluded.fleet, severity = excluded.severity,
        since = excluded.since, opened = excluded.opened, closed = excluded.closed, node = excluded.node,
        acked = coalesce(incidents.acked, excluded.acked)""",
    width=len(_COLUMNS),
    order=22,
)
"""(id, kind, cause, fleet, severity, since, opened, closed, acked, detail, life)"""

_OTHER_TELLS: Final = f"""SELECT EXISTS (
    SELECT 1 FROM incidents AS mine JOIN incidents AS other
        ON other.closed IS NULL AND other.id < mine.id AND other.kind = mine.kind AND other.cause = mine.cause
    JOIN alerts ON alerts.incident = other.id AND alerts.channel = ? AND alerts.over = 0
    WHERE mine.id = ? AND other.node <> mine.node AND other.node IN {_ALIVE})"""
"""(channel, incident)"""


@define(eq=False, kw_only=True)
class SharedIncidents(IncidentStore):
    """The incidents of a running node: what it writes goes through ``writer``, behind the fence of its life."""

    link: NodeFile
    life: int
    """The row of ``nodes`` that this node has now."""
    node: str
    """Its name: its range of numbers."""

    async def restore(self, now: float) -> Book:
        """Return the book with which this node begins: what lives that are over have left open."""

        def work(db: sqlite3.Connection) -> tuple[set[int], int]:
            _check_life(db, self.life, self.link)
            db.execute(_TAKE_RANGE, (self.node,))
            db.execute(_ADOPT, (self.life,))
            mine = {number for (number,) in db.execute("SELECT id FROM incidents WHERE node = ?", (self.life,))}
            last = db.execute("SELECT last FROM incident_ranges WHERE node = ?", (self.node,)).fetchone()[0]
            return mine, int(last)

        mine, last = await self.link.transact(work)
        return await self.link.read(lambda: self._book(mine, last, now))

    def _book(self, mine: Collection[int], last: int, now: float) -> Book:
        with IncidentReader.open(self.path) as reader:
            found = [each for each in reader.incidents(open_only=True) if each.id in mine]
            members = [row for row in reader.inside() if row[0] in mine]
        book = restore(found, members_from(members), last + 1, now)
        return evolve(book, next_id=last + 1)  # what it goes on with may have the numbers of others

    async def keep(self, changes: Iterable[Change], also: Rows = ()) -> None:
        """Store what a decision has changed, together with the rows ``also``, in one transaction."""
        await self.writer.write_together([*self._own(rows_of_changes(changes)), *also])

    async def keep_all(self, book: Book) -> None:
        """Store all that is open, anew: its times have moved."""
        rows = [*self._own(map(row_of_incident, book.open.values())), *self._members_of(book)]
        if rows:
            await self.writer.write_together(rows)

    async def acknowledged(self) -> set[int]:
        """Return which of this node's open incidents a person knows of, as commands have written it."""
        query = f"{incident_schema.ACKED} AND node = ?"
        rows = await self.link.transact(lambda db: read_rows(db, query, (self.life,)))
        return {number for (number,) in rows}

    def _own(self, rows: Iterable[tuple[Statement, Sequence[Any]]]) -> Iterator[tuple[Statement, Sequence[Any]]]:
        for statement, row in rows:
            if statement is incident_schema.INCIDENT:
                yield INCIDENT_OF_LIFE, (*row, self.life)
            else:
                yield statement, row


@define(eq=False, kw_only=True)
class SharedOutbox(Outbox):
    """The alerts of a running node, each with an incident of its own; it tells what no other node tells."""

    link: NodeFile
    life: int

    async def load(self, told_since: float) -> StoredAlerts:
        """Return the alerts of incidents that no other node has; and when each channel got messages of any."""
        await self.writer.flush()
        others = f"(SELECT id FROM incidents WHERE node <> ? AND node IN {_ALIVE})"
        query = f"{alert_schema.SELECT_OPEN} AND incident NOT IN {others}"

        def work(db: sqlite3.Connection) -> StoredAlerts:
            rows = read_rows(db, query, (self.life,))
            return alerts_from(rows, read_rows(db, alert_schema.SELECT_TOLD, (told_since,)))

        return await self.link.transact(work)

    async def claim(self, alerts: Sequence[ChannelAlert], now: float) -> AlertClaim:
        """Say which of these messages, which are due and stored, this node is to send; no other one sends them then."""

        def work(db: sqlite3.Connection) -> list[bool]:
            _check_life(db, self.life, self.link)
            return [
                each.message is not MessageKind.CLOSED
                and bool(db.execute(_OTHER_TELLS, (each.channel, each.about.id)).fetchone()[0])
                for each in alerts
            ]

        told = await self.link.transact(work)
        return AlertClaim(
            mine=tuple(each for each, other in zip(alerts, told, strict=True) if not other),
            others=tuple(evolve(each, due=now + ASK_AGAIN) for each, other in zip(alerts, told, strict=True) if other),
        )

    async def take_over(
        self, channels: Collection[str], now: float, known: Collection[tuple[int, str]] = ()
    ) -> tuple[ChannelAlert, ...]:
        """Return nothing: the next life of a dead node, which its parent starts, goes on with all that it has left."""
        return ()


def _check_life(db: sqlite3.Connection, life: int, link: NodeFile) -> None:
    if db.execute("SELECT 1 FROM nodes WHERE id = ? AND state <> 'dead'", (life,)).fetchone() is None:
        raise life_ended(link.path, life)
