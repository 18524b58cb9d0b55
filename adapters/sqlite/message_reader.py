"""Reads the messages of a chat for commands, page by page: a million of them need no more memory than a thousand."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from attrs import define

from adapters.sqlite.connect import read_rows
from adapters.sqlite.read_only import reading

FIRST_VERSION: Final = 3
"""The first schema with messages."""
VERSION_WITH_EDITS: Final = 10
"""The first that knows of edits, deletions, replies and media."""
COLUMNS: Final = (
    "owner", "chat", "id", "at", "sender", "text", "edited", "deleted", "reply_to", "media", "media_id", "media_size",
    "media_name", "raw",
)  # fmt: skip
_EARLIER: Final = 6
"""How many of them earlier schemas have."""
PAGE_ROWS: Final = 1000


@define(eq=False)
class MessageReader:
    """Reads the messages of one file. A context manager; not for an event loop."""

    _db: sqlite3.Connection
    _version: int

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open the file for the block. Raises ``JournalMissing``, ``JournalTooNew`` and ``DatabaseUnusable``."""
        with reading(path, "add a job or run the engine first") as (db, version):
            yield cls(db, version)

    def chat_named(self, name: str) -> int | None:
        """Return the id of the chat that a job calls so, whichever job has read it last; None if none has."""
        if self._version < FIRST_VERSION:
            return None
        named = "lower(ltrim(json_extract(data, '$.chat'), '@')) = lower(ltrim(?, '@'))"
        valid = "checkpoint IS NOT NULL AND json_valid(data) AND json_valid(checkpoint)"
        query = f"SELECT checkpoint FROM jobs WHERE {valid} AND {named} ORDER BY id DESC"
        for (checkpoint,) in read_rows(self._db, query, (name,)):
            chat = json.loads(checkpoint).get("chat")
            if isinstance(chat, int):
                return chat
        return None

    def messages(self, chat: int, since: float | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield ``COLUMNS`` of the chat's messages of this time and later, by owner and number.

        They are read in pages, so that a slow consumer holds up no checkpoint; what is stored meanwhile may be there.
        """
        for owner in self._owners() if self._version >= FIRST_VERSION else ():
            after = -(2**63)
            while page := self._page(owner, chat, after, since):
                yield from page
                after = page[-1][2]

    def _owners(self) -> Iterator[str]:
        """Yield who has messages: one look into the index for each."""
        owner = read_rows(self._db, "SELECT min(owner) FROM messages")[0][0]
        while owner is not None:
            yield owner
            owner = read_rows(self._db, "SELECT min(owner) FROM messages WHERE owner > ?", (owner,))[0][0]

    def _page(self, owner: str, chat: int, after: int, since: float | None) -> list[tuple[Any, ...]]:
        known = len(COLUMNS) if self._version >= VERSION_WITH_EDITS else _EARLIER
        columns = ", ".join([*COLUMNS[:known], *(["NULL"] * (len(COLUMNS) - known))])
        query = f"""SELECT {columns} FROM messages WHERE owner = ? AND chat = ? AND id > ?
            AND at >= ? ORDER BY id LIMIT {PAGE_ROWS}"""
        return read_rows(self._db, query, (owner, chat, after, -1e15 if since is None else since))
