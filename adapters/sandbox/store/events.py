"""What happens to messages after they were sent: edits and deletions, each an event of its box with its own pts.

A box is an account or a channel, and is named by its id: the ids of accounts and channels are never the same. An edit
is one event; a deletion counts one for each message, as in Telegram. Source:
https://core.telegram.org/api/updates#message-related-event-sequences
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar

from attrs import frozen

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    box INTEGER NOT NULL, pts INTEGER NOT NULL, pts_count INTEGER NOT NULL, kind TEXT NOT NULL,
    ids TEXT NOT NULL, date INTEGER NOT NULL, PRIMARY KEY (box, pts)
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_date ON events (box, date);
"""
ADDED_COLUMNS: Final = {
    "messages": ("edited", "deleted", "reply_to", "twin"),
    "channel_messages": ("edited", "deleted", "reply_to"),
}
"""Columns (INTEGER) that stores of earlier versions do not have."""
INDEXES: Final = """
CREATE INDEX IF NOT EXISTS channel_messages_deleted ON channel_messages (channel) WHERE deleted IS NOT NULL;
"""
EVENT: Final = "SELECT box, pts, pts_count, kind, ids, date FROM events"


class EventKind(StrEnum):
    """What happened to the messages of an event."""

    EDIT = "edit"
    DELETE = "delete"


@frozen
class ChatEvent:
    """An edit or a deletion, as one account sees it, or all members of a channel."""

    box: int
    """The account or the channel."""
    pts: int
    """Its number, or the last of its numbers."""
    pts_count: int
    kind: EventKind
    ids: tuple[int, ...]
    date: int
    """Seconds since the epoch."""


class Numbered(Protocol):
    """A message with the number of the event that brought it."""

    @property
    def pts(self) -> int: ...
    @property
    def deleted(self) -> int | None: ...


M = TypeVar("M", bound=Numbered)


@frozen
class Missed(Generic[M]):
    """A part of what a client missed."""

    messages: list[M]
    """New messages with their present text, without those that are deleted by now."""
    events: list[ChatEvent]
    reached: int | None
    """The pts up to which this part goes; None if there is nothing."""


def add_columns(db: sqlite3.Connection) -> None:
    """Give the tables of messages the columns that they lack, and the indexes on them."""
    for table, columns in ADDED_COLUMNS.items():
        there = {row[1] for row in db.execute(f"PRAGMA table_info ({table})")}
        for column in columns:
            if column not in there:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column} INTEGER")
    db.executescript(INDEXES)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Hold a transaction: all of the block is stored, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def record(db: sqlite3.Connection, event: ChatEvent) -> None:
    """Write an event down; the caller holds the transaction."""
    row = (event.box, event.pts, event.pts_count, event.kind.value, json.dumps(event.ids), event.date)
    db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)


def since(db: sqlite3.Connection, box: int, pts: int, limit: int) -> list[ChatEvent]:
    """Return the events of a box after this one, the oldest first."""
    rows = db.execute(f"{EVENT} WHERE box = ? AND pts > ? ORDER BY pts LIMIT ?", (box, pts, limit))
    return [
        ChatEvent(id_, last, count, EventKind(kind), tuple(json.loads(ids)), date)
        for id_, last, count, kind, ids, date in rows
    ]


def merge(messages: Sequence[M], events: Iterable[ChatEvent], limit: int) -> Missed[M]:
    """Return the first ``limit`` of new messages and other events, in the order of their numbers."""
    both: list[M | ChatEvent] = [*messages, *events]
    both = sorted(both, key=lambda one: one.pts)[:limit]
    return Missed(
        [one for one in both if not isinstance(one, ChatEvent) and one.deleted is None],
        [one for one in both if isinstance(one, ChatEvent)],
        both[-1].pts if both else None,
    )
