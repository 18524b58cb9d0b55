"""A session file in the engine's use: owned while the account lives, and its key never written."""

import datetime
import hashlib
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import anyio.to_thread
from attrs import define, field

from adapters.session import HoldfastSession
from adapters.telegram.classify import NotLoggedIn
from adapters.telegram.inbox import Inbox
from states.events import DatabaseRecovered, Failure

States = dict[int, Any]
"""Update states (``telethon.tl.types.updates.State``): 0 is the account's own, others are channels'."""
Trouble = Callable[[Failure | DatabaseRecovered], None]
"""Hears, in a thread of the writer's, what keeps the file from being written, and when it is written again."""

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
    session: "EngineSession | None" = field(default=None, init=False)
    """The session as it was last opened. Links come one after another, so one at a time uses it."""
    _key: bytes = field(default=b"", init=False, repr=False)
    _captured: tuple[int, States] = field(factory=lambda: (0, {}), init=False)

    def belong_to(self, key: bytes) -> None:
        """Forget everything if another login takes over."""
        if self._key and key != self._key:
            self.seen, self._captured = {}, (0, {})
        self._key = key

    def see(self, entity: int, state: Any) -> None:
        """Note how far updates were seen. The date of a channel's state means nothing, and is always another one."""
        if _differ(self.seen.get(entity), state) or (entity == 0 and self.seen[entity].date != state.date):
            self.seen[entity] = state

    def fingerprint(self) -> str:
        """Return the fingerprint of the session's key, if that is what the file has for sure; else nothing."""
        if self.session is None or not self.session.is_current():
            return ""
        return key_fingerprint(self.session.auth_key.key)

    def handled(self, inbox: Inbox) -> States:
        """Return the states up to which all updates have been handled; none if handlers still run."""
        if inbox.handled(inbox.last):
            self._captured = (inbox.last, dict(self.seen))
        number, states = self._captured
        if not inbox.handled(number):
            return {}
        if number != inbox.last:  # what has come since is looked at the next time
            self._captured = (inbox.last, dict(self.seen))
        return states


class SessionContext(Protocol):
    """Whose session it is; a ``Connector``."""

    @property
    def session(self) -> Path:
        """The file."""

    @property
    def address(self) -> tuple[int, str, int] | None:
        """Where to connect, if not where the file says."""

    @property
    def memory(self) -> "SessionMemory":
        """What is known of the file."""

    @property
    def backups(self) -> Path:
        """Where copies of it go."""

    @property
    def name(self) -> str:
        """What they are called."""


class EngineSession(HoldfastSession):
    """A session file of one account: its key and address are never written, and links leave it open.

    The address can be another than the one in the file (``redirect``): that is answered from memory, so a file that was
    pointed at a sandbox by mistake still opens at Telegram afterwards. ``trouble`` hears what keeps the file from being
    written; whatever it is, memory has it all, and requests go on.
    """

    def __init__(
        self, path: Path, redirect: tuple[int, str, int] | None, memory: SessionMemory, backups: Path, name: str
    ) -> None:
        self._redirect = redirect
        self._seen = memory
        self.trouble: Trouble = lambda _: None
        super().__init__(path, backups=backups, name=name, create=False)

    def _report(self, event: Failure | DatabaseRecovered) -> None:
        self.trouble(event)

    @property
    def dc_id(self) -> int:
        """Number of the datacenter."""
        return self._redirect[0] if self._redirect else int(self._dc_id)

    @property
    def server_address(self) -> str | None:
        """Where it listens."""
        return self._redirect[1] if self._redirect else self._server_address

    @property
    def port(self) -> int | None:
        """Where it listens."""
        return self._redirect[2] if self._redirect else self._port

    @property
    def auth_key(self) -> Any:
        """The key; what Telethon sets after each connect is what it has read, so nothing is written."""
        return self._auth_key

    @auth_key.setter
    def auth_key(self, value: Any) -> None:
        assert value is None or not self._auth_key or value.key == self._auth_key.key, "a link changes no key"

    def set_update_state(self, entity_id: int, state: Any) -> None:
        """Remember how far updates were seen; the file learns of it by ``keep_states``."""
        self._seen.see(entity_id, state)

    def get_update_states(self) -> list[tuple[int, Any]]:
        """Return how far updates were seen."""
        if not self._seen.seen:
            self._seen.seen.update(super().get_update_states())
        return list(self._seen.seen.items())

    def keep_states(self, inbox: Inbox) -> None:
        """Have the update states written whose updates have been handled."""
        for entity, state in self._seen.handled(inbox).items():
            if _stale(entity, self.get_update_state(entity), state):
                super().set_update_state(entity, state)

    def save(self) -> None:  # type: ignore[override]  # Telethon awaits what there is to await
        """Do nothing: what changes is written within a moment, and no key is ever changed."""

    def close(self) -> None:  # type: ignore[override]  # Telethon awaits what there is to await
        """Stay open: the next link comes soon. ``give_up`` is the end."""

    async def give_up(self) -> None:
        """Write everything, close the file and give it up, so that others may use it. Bounded."""
        await super().close()

    def end(self) -> None:
        """Do what ``give_up`` does, from a thread without an event loop."""
        super().close().wait()


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
    """Return datacenter, host and port that a session file names; None if it names none. Read-only."""
    row = _read(path, "select dc_id, server_address, port from sessions")
    return (int(row[0]), str(row[1]), int(row[2])) if row and row[1] else None


def stored_user(path: Path) -> int | None:
    """Return the id of the user whose session a file is; None if it does not say. Read-only."""
    row = _read(path, "select hash from entities where id = 0")  # where Telethon keeps it
    return int(row[0]) if row else None


async def open_session(connector: "SessionContext") -> EngineSession:
    """Own and open a session file that somebody has logged in with.

    Raises ``NotLoggedIn``, ``SessionError`` or ``DatabaseUnusable``. A file that does not exist is not made: an empty
    session helps nobody. Opening reads, and may wait for a lock, so it happens in a thread; what is open and holds the
    same key still is used as it is.
    """
    session = connector.memory.session
    if session is None or not session.is_current():
        session = await anyio.to_thread.run_sync(_open, connector)
    return session


def _open(connector: "SessionContext") -> EngineSession:
    memory = connector.memory
    try:
        if memory.session is None:
            memory.session = EngineSession(
                connector.session, connector.address, memory, connector.backups, connector.name
            )
        else:
            memory.session.reopen(adopt=True)
    except FileNotFoundError:
        raise NotLoggedIn from None
    session = memory.session
    if not session.auth_key:
        session.end()
        raise NotLoggedIn
    memory.belong_to(session.auth_key.key)
    return session
