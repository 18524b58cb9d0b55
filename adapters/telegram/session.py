"""Telethon's own session file, opened without harm."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio.to_thread
from telethon.sessions import SQLiteSession

from adapters.telegram.classify import NotLoggedIn


class RedirectedSession(SQLiteSession):  # type: ignore[misc]  # Telethon ships no types
    """A session file used at another address than the one it names.

    The address is answered from memory and never written: a file that was pointed at a sandbox by mistake still
    opens at Telegram afterwards, as its owner left it.
    """

    def __init__(self, path: str, dc_id: int, host: str, port: int) -> None:
        self._redirect = (dc_id, host, port)
        super().__init__(path)

    @property
    def dc_id(self) -> int:
        """Number of the data centre."""
        return self._redirect[0]

    @property
    def server_address(self) -> str:
        """Where it listens."""
        return self._redirect[1]

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._redirect[2]


def fingerprint(path: Path) -> str:
    """Return what tells this file's key from another, and tells nothing else; empty if it has none.

    Read-only: the file is neither made nor upgraded.
    """
    if not path.exists():
        return ""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            row = database.execute("select auth_key from sessions").fetchone()
    except sqlite3.Error:
        return ""
    return hashlib.sha256(row[0]).hexdigest()[:16] if row and row[0] else ""


async def open_session(path: Path, address: tuple[int, str, int] | None) -> Any:
    """Open a session file that somebody has logged in with; raise ``NotLoggedIn`` or a ``sqlite3`` error.

    A file that does not exist is not made: an empty session helps nobody. Opening reads, and may wait for a lock
    (Telethon's own five seconds), so it happens in a thread.
    """
    return await anyio.to_thread.run_sync(_open, path, address)


def _open(path: Path, address: tuple[int, str, int] | None) -> Any:
    if not path.exists():
        raise NotLoggedIn
    session = SQLiteSession(str(path)) if address is None else RedirectedSession(str(path), *address)
    if not session.auth_key:
        session.close()
        raise NotLoggedIn
    return session
