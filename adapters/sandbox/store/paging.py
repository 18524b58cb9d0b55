"""What a client reads of a chat: the window (offset, shift and limit, as in messages.getHistory), and the search."""

import sqlite3
from typing import Any, Final, Self

from attrs import evolve, frozen

TOP_ID: Final = 2**63 - 1
ID: Final = 1
"""The column of a message's id, in both tables of messages."""


@frozen
class SqlCondition:
    """The text after WHERE, with its values."""

    sql: str
    values: tuple[int | str | None, ...] = ()

    def also(self, sql: str, *values: int | str | None) -> Self:
        return evolve(self, sql=f"{self.sql} AND {sql}", values=(*self.values, *values))


@frozen
class SearchCriteria:
    """What a search looks for, as in messages.search; by default all messages."""

    text: str = ""
    """Found anywhere in the message, in letters of any case. (Telegram looks for the beginnings of words.)"""
    author: int | None = None
    """The id of an account, or that of a channel for its own messages; None is any author. Channels only."""
    after: int = 0
    """Only messages later than this moment, in seconds since the epoch."""
    before: int = 0
    """Only messages earlier than this moment; 0 means no bound."""

    def within(self, chat: SqlCondition) -> SqlCondition:
        """Return the condition for the messages of the chat that match; the database knows ``casefold``."""
        if self.after:
            chat = chat.also("date > ?", self.after)
        if self.before:
            chat = chat.also("date < ?", self.before)
        return chat.also("instr(casefold(text), ?)", self.text.casefold()) if self.text else chat


ALL_MESSAGES: Final = SearchCriteria()


@frozen
class HistoryWindow:
    """A window counted from the newest message down; a negative shift reaches back up, as clients read forwards.

    Source: https://core.telegram.org/api/offsets
    """

    limit: int
    offset_id: int = 0
    """Begin below this message; 0 is the top of the chat."""
    offset_date: int = 0
    """Begin below this moment (seconds since the epoch); counts only without an ``offset_id``."""
    add_offset: int = 0
    min_id: int = 0
    """Only messages above this one."""
    max_id: int = 0
    """Only messages below this one; 0 means no bound."""

    def read(self, db: sqlite3.Connection, select: str, chat: SqlCondition) -> list[tuple[Any, ...]]:
        """Return the rows of the window, newest first; ``chat`` is the condition for the messages of the chat.

        Both halves begin at the offset's id, in the index, so that a page costs the same however deep it lies.
        """
        offset, end = self._offset(db, select, chat), self.add_offset + self.limit
        rows = []
        if self.add_offset < 0:
            skipped = max(-end, 0)
            above = chat.also("id >= ?", offset)
            query = f"{select} WHERE {above.sql} ORDER BY id"
            rows += _rows(db, query, above, -self.add_offset - skipped, skipped)[::-1]
        if end > 0:
            skipped = max(self.add_offset, 0)
            below = chat.also("id < ?", offset)
            query = f"{select} WHERE {below.sql} ORDER BY id DESC"
            rows += _rows(db, query, below, end - skipped, skipped)
        return [row for row in rows if self.min_id < row[ID] and (not self.max_id or row[ID] < self.max_id)]

    def _offset(self, db: sqlite3.Connection, select: str, chat: SqlCondition) -> int:
        """Return the id below which the window is counted."""
        if self.offset_id or not self.offset_date:
            return self.offset_id or TOP_ID
        late = chat.also("date >= ?", self.offset_date)
        first = _rows(db, f"{select} WHERE {late.sql} ORDER BY id", late, 1, 0)
        return int(first[0][ID]) if first else TOP_ID


def _rows(db: sqlite3.Connection, query: str, chosen: SqlCondition, limit: int, skipped: int) -> list[tuple[Any, ...]]:
    return db.execute(f"{query} LIMIT ? OFFSET ?", (*chosen.values, limit, skipped)).fetchall()
