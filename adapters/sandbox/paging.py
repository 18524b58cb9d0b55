"""The window through which a client reads a chat: offset, shift and limit, as in messages.getHistory."""

import sqlite3
from typing import Any

import attrs


@attrs.frozen
class Window:
    """Counted from the newest message down; a negative shift reaches back up, which is how clients read forwards.

    Source: https://core.telegram.org/api/offsets
    """

    limit: int
    offset_id: int = 0
    """Begin below this message; 0 is the top of the chat."""
    offset_date: int = 0
    """Begin below this moment (seconds since the epoch); counts only without an `offset_id`."""
    add_offset: int = 0
    min_id: int = 0
    """Only messages above this one."""
    max_id: int = 0
    """Only messages below this one; 0 is no bound."""

    def read(self, db: sqlite3.Connection, select: str, chat: str, values: tuple[int, ...]) -> list[tuple[Any, ...]]:
        """The rows of the window, newest first; `chat` is the condition, with its values, that names the chat."""
        first = 0
        if self.offset_id or self.offset_date:
            column = "id" if self.offset_id else "date"
            above = f"SELECT count(*) FROM ({select} WHERE {chat} AND {column} >= ?)"
            (first,) = db.execute(above, (*values, self.offset_id or self.offset_date)).fetchone()
        start = max(first + self.add_offset, 0)
        size = max(first + self.add_offset + self.limit - start, 0)
        inner = f"{select} WHERE {chat} ORDER BY id DESC LIMIT ? OFFSET ?"
        rows = f"SELECT * FROM ({inner}) WHERE id > ? AND (? OR id < ?) ORDER BY id DESC"
        return db.execute(rows, (*values, size, start, self.min_id, not self.max_id, self.max_id)).fetchall()
