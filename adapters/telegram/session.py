"""Telethon's own session file, opened without harm."""

import datetime
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio.to_thread
from attrs import define, field
from telethon.sessions import SQLiteSession

from adapters.telegram.classify import NotLoggedIn
from adapters.telegram.inbox import Inbox

OPENING_SECONDS = 5.0
"""How long the opening of a file may wait for somebody else's lock; it waits in a thread."""
BUSY_SECONDS = 0.1
"""How long a statement may wait for somebody else's lock; it waits on the event loop."""

States = dict[int, Any]
"""Update states (``telethon.tl.types.updates.State``): 0 is the account's own, others are channels'."""


ENTITIES_REMEMBERED = 5000
"""Entities of one account that are known to be in its file as they are."""


DATE_MAY_LAG = datetime.timedelta(hours=1)
"""How old the date in a file may be while the account has seen no update: it moves with every look, and costs a
commit."""


def _differ(old: Any, new: Any) -> bool:
    """Say whether two update states are of different places in the sequence of updates."""
    return old is None or (old.pts, old.qts, old.seq) != (new.pts, new.qts, new.seq)


def _stale(entity: int, written: Any, state: Any) -> bool:
    """Say whether the file should learn of a state. Channels' dates mean nothing."""
    return _differ(written, state) or (entity == 0 and state.date - written.date > DATE_MAY_LAG)


@define(eq=False)
class SessionMemory:
    """What is known of one session file: whom it names, and how far its account has seen its updates.

    Update states are in memory always, and in the file only when they were handled. All of it outlives links: the next
    client goes on where the last one was, whatever the file says.
    """

    seen: States = field(factory=dict, init=False)
    _key: bytes = field(default=b"", init=False, repr=False)
    _captured: tuple[int, States] = field(factory=lambda: (0, {}), init=False)
    _written: States = field(factory=dict, init=False)
    _entities: dict[int, tuple[Any, ...]] = field(factory=dict, init=False)
    hashes: dict[int, int] = field(factory=dict, init=False)
    """Access hashes of entities that are in the file."""
    session: "EngineSession | None" = field(default=None, init=False)
    """The session as it was last opened. Links come one after another, so one at a time uses it."""

    def belong_to(self, key: bytes) -> None:
        """Forget everything if another login takes over."""
        if self._key and key != self._key:
            self.seen, self._captured, self._written = {}, (0, {}), {}
            self.doubt()
        self._key = key

    def fresh(self, rows: Iterable[tuple[Any, ...]] | None) -> list[tuple[Any, ...]]:
        """Return the rows of entities that the file has not, or has otherwise."""
        return [row for row in rows or () if self._entities.get(row[0]) != row]

    def wrote(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Note that the file has these rows of entities."""
        if len(self._entities) > ENTITIES_REMEMBERED:
            self.doubt()
        self._entities.update((row[0], row) for row in rows)
        self.hashes.update((row[0], row[1]) for row in rows)

    def doubt(self) -> None:
        """Note that nobody knows what the file has of entities."""
        self._entities.clear()
        self.hashes.clear()

    def see(self, entity: int, state: Any) -> None:
        """Note how far updates were seen. The date of a channel's state means nothing, and is always another one."""
        if _differ(self.seen.get(entity), state) or (entity == 0 and self.seen[entity].date != state.date):
            self.seen[entity] = state

    def due(self, inbox: Inbox) -> States:
        """Return the states that the file should be brought to; none if it is there, or handlers still run."""
        if inbox.handled(inbox.last):
            self._captured = (inbox.last, dict(self.seen))
        number, states = self._captured
        if not inbox.handled(number):
            return {}
        fresh = {entity: state for entity, state in states.items() if _stale(entity, self._written.get(entity), state)}
        if number != inbox.last:  # what has come since is looked at the next time
            self._captured = (inbox.last, dict(self.seen))
        return fresh

    def written(self, states: States) -> None:
        """Note that the file has these."""
        self._written.update(states)


class EngineSession(SQLiteSession):  # type: ignore[misc]  # Telethon ships no types
    """A session file in the engine's use: its key and address are never written, its trouble is never raised.

    The address can be another than the one in the file (``redirect``): that is answered from memory, so a file that was
    pointed at a sandbox by mistake still opens at Telegram afterwards. Entities and update states are a help, not a
    need: when they cannot be written, ``trouble`` hears of it, and the request that brought them goes on. ``touched``
    hears when there is something to save.
    """

    _conn: sqlite3.Connection | None

    def __init__(self, path: str, redirect: tuple[int, str, int] | None, memory: SessionMemory) -> None:
        self._redirect = redirect
        self._memory = memory
        self._patience = OPENING_SECONDS
        self.trouble: Callable[[sqlite3.Error], None] = lambda _: None
        self.touched: Callable[[], None] = lambda: None
        super().__init__(path)
        self._patience = BUSY_SECONDS
        self._execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
        self.save()

    def _cursor(self) -> sqlite3.Cursor:
        if self._conn is None:  # never made where it was deleted
            where = f"{Path(self.filename).absolute().as_uri()}?mode=rw"
            self._conn = sqlite3.connect(where, uri=True, timeout=self._patience, check_same_thread=False)
        return self._conn.cursor()

    def is_current(self) -> bool:
        """Say whether the file still holds the key that was read from it. Looks at the file's marks only."""
        return bool(self._auth_key) and known_fingerprint(Path(self.filename)) == key_fingerprint(self._auth_key.key)

    @property
    def dc_id(self) -> int:
        """Number of the data centre."""
        return self._redirect[0] if self._redirect else self._dc_id

    @property
    def server_address(self) -> str:
        """Where it listens."""
        return self._redirect[1] if self._redirect else self._server_address

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._redirect[2] if self._redirect else self._port

    @property
    def auth_key(self) -> Any:
        """The key; what Telethon sets after each connect is what it has read, so nothing is written."""
        return self._auth_key

    @auth_key.setter
    def auth_key(self, value: Any) -> None:
        assert value is None or self._auth_key is None or value.key == self._auth_key.key, "a link changes no key"

    def process_entities(self, tlo: Any) -> None:
        """Remember who was named; a commit costs the disk a moment, so what the file has already is not written."""
        fresh = self._memory.fresh(self._entities_to_rows(tlo))
        if fresh:
            now = int(time.time())
            statement = "insert or replace into entities values (?,?,?,?,?,?)"
            if self._tolerant(lambda: self._cursor().executemany(statement, [(*row, now) for row in fresh])):
                self._memory.wrote(fresh)
            self.touched()

    def get_entity_rows_by_id(self, id: int, exact: bool = True) -> Any:
        """Return id and access hash, from memory if they are known there."""
        known = self._memory.hashes.get(id) if exact else None
        if known is not None:
            return id, known
        row = super().get_entity_rows_by_id(id, exact)
        if exact and row:
            self._memory.hashes[row[0]] = row[1]
        return row

    def save(self) -> None:
        """Commit."""
        self._tolerant(super().save)

    def set_update_state(self, entity_id: int, state: Any) -> None:
        """Remember how far updates were seen; the file learns of it by ``keep_states``."""
        self._memory.see(entity_id, state)

    def get_update_states(self) -> list[tuple[int, Any]]:
        """Return how far updates were seen."""
        if not self._memory.seen:
            stored = dict(super().get_update_states())
            self._memory.seen.update(stored)
            self._memory.written(stored)
        return list(self._memory.seen.items())

    def keep_states(self, inbox: Inbox) -> None:
        """Write the update states whose updates have been handled."""
        states = self._memory.due(inbox)
        write = super().set_update_state

        def keep() -> None:
            for entity_id, state in states.items():
                write(entity_id, state)

        if self._tolerant(keep):
            self._memory.written(states)

    def close(self) -> None:
        """Commit and close the file; what cannot be committed is given up. It is opened again when it is needed."""
        if not self._tolerant(super().close) and self._conn is not None:
            self._conn.close()
            self._conn = None

    def _tolerant(self, work: Callable[[], Any]) -> bool:
        """Do it; report trouble of the file instead of raising it, and return whether there was none."""
        try:
            work()
        except sqlite3.Error as exc:
            self._memory.doubt()
            self.trouble(exc)
            return False
        return True


FINGERPRINTS_REMEMBERED = 20_000
_FINGERPRINTS: dict[Path, tuple[tuple[object, ...], str]] = {}
"""For each session file its marks, and the fingerprint that was read when it had them."""


def key_fingerprint(key: bytes | None) -> str:
    """Return what tells a key from another, and tells nothing else; empty for none."""
    return hashlib.sha256(key).hexdigest()[:16] if key else ""


def known_fingerprint(path: Path) -> str:
    """Return what ``fingerprint`` found when the file was last looked at, if it has not changed since; else nothing.

    Costs two looks at the directory, and reads nothing.
    """
    marks, found = _FINGERPRINTS.get(path, (None, ""))
    return found if marks == _all_marks(path) else ""


def fingerprint(path: Path) -> str:
    """Return what tells this file's key from another, and tells nothing else; empty if it has none.

    Read-only: the file is neither made nor upgraded.
    """
    marks = _all_marks(path)
    row = _read(path, "select auth_key from sessions")
    found = key_fingerprint(row[0] if row else None)
    if found:  # otherwise it may be locked for a moment
        if len(_FINGERPRINTS) >= FINGERPRINTS_REMEMBERED:
            _FINGERPRINTS.clear()
        _FINGERPRINTS[path] = (marks, found)
    return found


def _all_marks(path: Path) -> tuple[object, ...]:
    return _marks(path), _marks(path.with_name(f"{path.name}-wal"))


def _marks(path: Path) -> tuple[int, int, int, int] | None:
    """Return what changes when a file does."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


def _read(path: Path, question: str) -> Any:
    """Return the first row of an answer from a session file; None if there is none, or no such file."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(question).fetchone()
    except sqlite3.Error:
        return None


def stored_address(path: Path) -> tuple[int, str, int] | None:
    """Return data centre, host and port that a session file names; None if it names none. Read-only."""
    row = _read(path, "select dc_id, server_address, port from sessions")
    return (int(row[0]), str(row[1]), int(row[2])) if row and row[1] else None


async def open_session(path: Path, address: tuple[int, str, int] | None, memory: SessionMemory) -> EngineSession:
    """Open a session file that somebody has logged in with; raise ``NotLoggedIn`` or a ``sqlite3`` error.

    A file that does not exist is not made: an empty session helps nobody. Opening reads, and may wait for a lock, so it
    happens in a thread; what was opened before, and holds the same key still, is used again.
    """
    if memory.session is None or not memory.session.is_current():
        memory.session = await anyio.to_thread.run_sync(_open, path, address, memory)
    return memory.session


def _open(path: Path, address: tuple[int, str, int] | None, memory: SessionMemory) -> EngineSession:
    memory.session = None
    if not path.exists():
        raise NotLoggedIn
    session = EngineSession(str(path), address, memory)
    if not session.auth_key:
        session.close()
        raise NotLoggedIn
    memory.belong_to(session.auth_key.key)
    return session


async def settle_states(path: Path, memory: SessionMemory, inbox: Inbox) -> None:
    """Bring a file that no link uses up to date with what was handled; does nothing if it is, or is gone."""
    due = memory.due(inbox)
    if due:
        await anyio.to_thread.run_sync(_write_states, path, due)
        memory.written(due)


def _write_states(path: Path, due: States) -> None:
    if not path.exists():
        return
    session = SQLiteSession(str(path))
    try:
        for entity_id, state in due.items():
            session.set_update_state(entity_id, state)
    finally:
        session.close()
