"""The stores of sessions that the contract is asked of: Telethon's files, and rows of PostgreSQL."""

import itertools
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
from telethon.crypto import AuthKey

from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreTimeouts
from adapters.postgres.live_rows import Ownership
from adapters.postgres.session_keys import PLAIN
from adapters.postgres.sessions import SessionRows
from tests.adapters.session.support import KEY, QUICK, RecordingSession, locked
from tests.timeouts import TIMEOUT

ACCOUNT = "A"


class SessionsUnderTest(Protocol):
    """One session without a login, and what its store holds of it."""

    def open(self, gather: float = QUICK.gather) -> RecordingSession:
        """Open it, as the process that owns it."""

    def move(self) -> None:
        """Let the next ``open`` be that of another process, which owns it from now on."""

    def held(self) -> Any:
        """Let nothing be written in the block."""

    def ids(self) -> list[int]:
        """Return which entities are stored."""

    def key(self) -> bytes:
        """Return the key that is stored."""

    def close(self) -> None:
        """End."""


class FileSessions:
    """A file, which has an owner by its lock."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "a.session"

    def open(self, gather: float = QUICK.gather) -> RecordingSession:
        from attrs import evolve

        return RecordingSession(self.path, timeouts=evolve(QUICK, gather=gather))

    def move(self) -> None:
        """A file has no owner once it is closed."""

    @contextmanager
    def held(self) -> Iterator[None]:
        with locked(self.path):
            yield

    def ids(self) -> list[int]:
        with closing(sqlite3.connect(self.path)) as database:
            return [row[0] for row in database.execute("select id from entities order by id")]

    def key(self) -> bytes:
        with closing(sqlite3.connect(self.path)) as database:
            return bytes(database.execute("select auth_key from sessions").fetchone()[0])

    def close(self) -> None:
        """Nothing is left."""


class RowSessions:
    """Rows of a database; each ``move`` is the claim of another node."""

    def __init__(self, url: str, name: str = ACCOUNT) -> None:
        self.url, self.name = url, name
        self.keys = PLAIN
        self._numbers = itertools.count(1)
        self._opened: list[SessionRows] = []
        self.execute("INSERT INTO accounts (name) VALUES (%s) ON CONFLICT DO NOTHING", name)
        self.ownership = self.claim()

    def claim(self) -> Ownership:
        """Let a new life of a node own the account, while the former one is declared dead."""
        number = next(self._numbers)
        self.execute(
            "UPDATE nodes SET state = 'dead' WHERE id IN (SELECT owner FROM accounts WHERE name = %s)", self.name
        )
        [(life,)] = self.execute(
            "INSERT INTO nodes (id, name, host, epoch, lease) VALUES (%s, %s, 'host', 1, 15) RETURNING id",
            random.getrandbits(62),
            f"node {number} of {self.name}",
        )
        [(epoch,)] = self.execute(
            "UPDATE accounts SET owner = %s, epoch = epoch + 1 WHERE name = %s RETURNING epoch", life, self.name
        )
        return Ownership(life, epoch)

    def store(self, url: str | None = None, gather: float = QUICK.gather, query: float = TIMEOUT) -> SessionRows:
        """Return the sessions as another process has them."""
        from attrs import evolve

        rows = SessionRows(
            StoreAddress.parse(url or self.url),
            evolve(QUICK, gather=gather),
            StoreTimeouts(connect=TIMEOUT, query=query, turn=query),
            self.keys,
        )
        self._opened.append(rows)
        return rows

    def session(self, rows: SessionRows, **options: Any) -> RecordingSession:
        """Open the account's session as the present owner."""
        return RecordingSession(store=rows.place(self.name, self.ownership).make, **options)

    def open(self, gather: float = QUICK.gather) -> RecordingSession:
        return self.session(self.store(gather=gather))

    def move(self) -> None:
        self.ownership = self.claim()

    @contextmanager
    def held(self) -> Iterator[None]:
        with psycopg.connect(self.url) as other:
            other.execute("LOCK TABLE session_entities, sessions, session_states IN SHARE MODE")
            yield
            other.rollback()

    def ids(self) -> list[int]:
        return [
            row[0]
            for row in self.execute(
                "SELECT e.id FROM session_entities e JOIN accounts a ON a.id = e.account WHERE a.name = %s ORDER BY 1",
                self.name,
            )
        ]

    def key(self) -> bytes:
        return bytes(
            self.execute(
                "SELECT s.key FROM sessions s JOIN accounts a ON a.id = s.account WHERE a.name = %s", self.name
            )[0][0]
        )

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Execute SQL as another program does."""
        with psycopg.connect(self.url, autocommit=True) as other:
            cursor = other.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        for rows in self._opened:
            rows.close(TIMEOUT)


def logged_in(session: RecordingSession, key: bytes = KEY) -> RecordingSession:
    """Give a session a login that is stored."""
    session.set_dc(2, "127.0.0.1", 443)
    session.auth_key = AuthKey(key)
    session.save().wait()
    return session
