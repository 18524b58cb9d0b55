"""What a session file says of chats by their names, read without the engine and without Telegram."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from adapters.session.errors import SessionError
from adapters.session.file import open_quietly

READ_TIMEOUT: Final = 2.0
"""Seconds that reading may wait for another program's lock."""
SELF: Final = 0
"""The number of the entity that has the user's own id in the place of an access hash."""


def chat_named(path: Path, name: str) -> int | None:
    """Return the id of the chat with this @name, as Telethon marks ids; None if the file does not know it. Blocks."""
    found = _ask(path, "select id from entities where lower(username) = ?", name.removeprefix("@").lower())
    return found if isinstance(found, int) else None


def knows_chat(path: Path, chat: int) -> bool:
    """Return whether a session file knows a chat by its marked id. Blocks."""
    return _ask(path, "select id from entities where id = ?", chat) is not None


def user_of(path: Path) -> int | None:
    """Return the id of the user whose session a file is; None if it does not say. Blocks."""
    found = _ask(path, "select hash from entities where id = ?", SELF)
    return found if isinstance(found, int) else None


def _ask(path: Path, query: str, value: str | int) -> object:
    with suppress(sqlite3.Error, OSError, SessionError), closing(open_quietly(path, timeout=READ_TIMEOUT)) as database:
        row = database.execute(f"{query} limit 1", (value,)).fetchone()
        return row[0] if row else None
    return None
