"""The alerts in ``engine.db``: written with their incident in one transaction, read when the engine starts.

An alert is stored before its message is sent and again after that. So a process that dies between the two sends the
message once more, and none is forgotten.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
from attrs import define

from adapters.sqlite import alert_schema
from adapters.sqlite.connect import open_read_only, read_rows
from adapters.sqlite.errors import naming_file, translating_errors
from adapters.sqlite.job_codec import is_legible
from adapters.sqlite.queue import Statement
from adapters.sqlite.writer import GroupWriter
from adapters.stores.alerts import KEPT, StoredAlerts, is_time, stored_alerts
from states.alerts import ChannelAlert, MessageKind, about_from

T = TypeVar("T")


@define(eq=False)
class Outbox:
    """The alerts of a running engine. Reads in a worker thread, writes through ``writer``."""

    path: Path
    writer: GroupWriter

    def row_of(self, alert: ChannelAlert, now: float) -> tuple[Statement, Sequence[object]]:
        """Return the row that stores an alert, for the transaction of its incident."""
        message = None if alert.message is None else alert.message.value
        row = (
            alert.about.id, alert.channel, message, alert.due, alert.told, alert.messages, alert.tries,
            int(alert.over), now, alert.about.written(),
        )  # fmt: skip
        return alert_schema.ALERT, row

    async def save(self, alerts: Iterable[ChannelAlert], now: float) -> None:
        """Store alerts in one transaction; durable a moment later, see ``flush``."""
        if rows := [self.row_of(alert, now) for alert in alerts]:
            await self.writer.write_together(rows)

    async def flush(self) -> None:
        """Return when everything written before is durable."""
        await self.writer.flush()

    async def prune(self, now: float) -> None:
        """Delete the oldest alerts that have long been over, at most a thousand."""
        await self.writer.write(alert_schema.PRUNE_ALERTS, (now - KEPT,))

    async def load(self, told_since: float) -> StoredAlerts:
        """Return the stored alerts, and the times of messages after ``told_since`` (Unix seconds)."""
        await self.writer.flush()
        return await self._read(lambda db: _load(db, told_since))

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            with translating_errors(self.path), naming_file(self.path):
                db = open_read_only(self.path)
                try:
                    return query(db)
                finally:
                    db.close()

        return await anyio.to_thread.run_sync(run)


def _load(db: sqlite3.Connection, told_since: float) -> StoredAlerts:
    rows = read_rows(db, alert_schema.SELECT_OPEN)
    return alerts_from(rows, read_rows(db, alert_schema.SELECT_TOLD, (told_since,)))


def alerts_from(rows: Iterable[Sequence[object]], told_rows: Iterable[Sequence[object]]) -> StoredAlerts:
    """Return what a start finds, from rows of ``SELECT_OPEN`` and ``SELECT_TOLD``."""
    return stored_alerts(rows, told_rows, _alert_from)


def _alert_from(row: Sequence[object]) -> ChannelAlert:
    """Return the alert of a row. Raises ``ValueError`` or ``TypeError`` for one that something else has spoilt."""
    incident, channel, message, due, told, messages, tries, _, _, about = row
    if not (is_legible(channel) and is_legible(about)):
        raise ValueError
    if not all(each is None or is_time(each) for each in (due, told)):
        raise ValueError
    if not (isinstance(messages, int) and isinstance(tries, int)):
        raise TypeError
    found = about_from(str(about))
    if found.id != incident or (message is None) != (due is None):
        raise ValueError
    return ChannelAlert(
        channel=str(channel),
        about=found,
        message=None if message is None else MessageKind(str(message)),
        due=_number(due),
        told=_number(told),
        messages=messages,
        tries=tries,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
