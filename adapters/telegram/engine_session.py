"""A session file as the engine uses it: owned while the account lives, and its key never written."""

import datetime
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

import anyio.to_thread
from attrs import define, field
from telethon.tl.types.updates import State

from adapters.session import file as files
from adapters.session.address import address_of
from adapters.session.contents import SELF, Identity, key_fingerprint
from adapters.session.errors import LoginInUse, LoginMissing, NotASession, SessionEmpty, SessionError, SessionHeld
from adapters.session.failures import SessionObserver
from adapters.session.file import StatStamp, stat_stamp
from adapters.session.login_claim import LoginClaim
from adapters.session.schema import as_number
from adapters.session.store import SessionPlace
from adapters.telegram.classify import NotLoggedIn
from adapters.telegram.inbox import Inbox
from adapters.telegram.lent import LentClientError, LentKey
from adapters.telegram.naming_session import NamingSession
from states.events import DatabaseRecovered, Failure

States = dict[int, Any]
"""Update states (``telethon.tl.types.updates.State``): 0 is the account's own, the others are those of channels."""

MAX_DATE_LAG = datetime.timedelta(hours=1)
"""How old the date in a file may be while the account has seen no update: the date moves with every check for updates,
and writing it costs a commit."""
MAX_CAPTURED = 16
"""Moments that are remembered, while handlers run, of how far updates were seen then."""


def _differ(old: Any, new: Any) -> bool:
    """Return whether two update states are at different positions in the sequence of updates."""
    return old is None or (old.pts, old.qts, old.seq) != (new.pts, new.qts, new.seq)


def _is_stale(entity: int, written: Any, state: Any) -> bool:
    """Return whether a state must be written to the file. The dates of channels' states mean nothing."""
    return _differ(written, state) or (entity == 0 and state.date - written.date > MAX_DATE_LAG)


@define(eq=False)
class SessionMemory:
    """What the engine remembers of one session file: its login, and how far its account has seen its updates.

    Update states are always in memory, and in the file only once their updates were handled. All of it outlives links:
    the next client goes on where the last one was, whatever the file says.
    """

    states: States = field(factory=dict, init=False)
    """How far updates were seen."""
    session: "EngineSession | None" = field(default=None, init=False)
    """The session as it was last opened. Links come one after another, so one at a time uses it."""
    _key: bytes = field(default=b"", init=False, repr=False)
    _captured: list[tuple[int, States]] = field(factory=list, init=False)  # an empty deque takes 700 bytes
    """Numbers of updates that are not handled yet, and the states that were seen up to each of them, oldest first."""

    def use_key(self, key: bytes) -> None:
        """Forget everything if this key is another one than before."""
        if self._key and key != self._key:
            self.states = {}
            self._captured.clear()
        self._key = key

    def put_state(self, entity: int, state: Any) -> None:
        """Remember how far updates were seen. A channel's state always has another date, which means nothing."""
        if _differ(self.states.get(entity), state) or (entity == 0 and self.states[entity].date != state.date):
            self.states[entity] = state

    def fingerprint(self) -> str:
        """Return the fingerprint of the session's key if the file certainly holds that key; otherwise nothing."""
        if self.session is None or not self.session.is_current():
            return ""
        return key_fingerprint(self.session.key)

    def login_in_file(self) -> tuple[str, int | None] | None:
        """Return fingerprint and user of the login that the file certainly holds; None if that has to be read there."""
        session = self.session
        if session is None or not session.agrees_with_file():
            return None
        return key_fingerprint(session.key), session.user

    def handled_states(self, inbox: Inbox) -> States:
        """Return the states up to which all updates have been handled, and the ledger says so; none if not known.

        While handlers run, they are known for the moments at which this was asked.
        """
        if inbox.is_recorded(inbox.last):
            self._captured.clear()
            return dict(self.states)
        states: States = {}
        while self._captured and inbox.is_recorded(self._captured[0][0]):
            states = self._captured.pop(0)[1]
        if not self._captured or self._captured[-1][0] != inbox.last:
            if len(self._captured) == MAX_CAPTURED:
                self._captured.pop()
            self._captured.append((inbox.last, dict(self.states)))
        return states


class SessionContext(Protocol):
    """What ``open_session`` needs to know of an account; a ``Connector`` has it."""

    @property
    def place(self) -> SessionPlace:
        """Where the session is."""

    @property
    def address(self) -> tuple[int, str, int] | None:
        """The address to connect to, if not the one in the file."""

    @property
    def memory(self) -> "SessionMemory":
        """What the engine remembers of the session."""


class EngineSession(NamingSession):
    """A session file of one account: its key and address are never written, and links leave it open.

    The address can be another than the one in the file (``redirect``). It is kept in memory only, so a file that was
    pointed at a sandbox by mistake still opens at Telegram afterwards. ``observer`` is called with what keeps the file
    from being written; whatever it is, memory has everything, and requests go on.
    """

    __slots__ = ("_admitted", "_engine_memory", "_home", "_lent_key", "_redirect", "claim", "key", "login", "observer")

    def __init__(self, place: SessionPlace, redirect: tuple[int, str, int] | None, memory: SessionMemory) -> None:
        self._redirect = redirect
        self._engine_memory = memory
        self.claim = LoginClaim(place.name, place.where)
        self.observer: SessionObserver = lambda _: None
        self.usernames = None
        self._admitted = False
        super().__init__(store=place.make, create=False)

    def _report(self, event: Failure | DatabaseRecovered) -> None:
        self.observer(event)

    def _adopt(self) -> None:
        """Take the account's row, and keep the login where nothing that is done to Telethon's fields reaches it."""
        super()._adopt()
        self.key = self._contents.identity.key or b""
        self.login = key_fingerprint(self.key)
        self._lent_key = LentKey(self.key) if self.key else None
        self._home = (as_number(self._dc_id) or 0, self._server_address, self._port)

    @property
    def dc_id(self) -> int:
        """Number of the datacenter."""
        return (self._redirect or self._home)[0]

    @property
    def server_address(self) -> str | None:
        """Host of the datacenter."""
        return (self._redirect or self._home)[1]

    @property
    def port(self) -> int | None:
        """Port of the datacenter."""
        return (self._redirect or self._home)[2]

    @property
    def auth_key(self) -> Any:
        """What stands for the key. After each connect, before it sends, a client sets the key that it uses."""
        return self._lent_key

    @auth_key.setter
    def auth_key(self, value: Any) -> None:
        if not (value and value.key):
            return
        if value.key != self.key:
            raise self._refuse("key")
        if not self._admitted:
            raise LentClientError(
                f"the login of {self._name} is in use, and a second client with it would make Telegram destroy it; use "
                "the client that the engine lends"
            )
        self._admitted = False

    @property
    def user(self) -> int | None:
        """The id of the user whose session it is; None if it does not say."""
        found = self._contents.entities.get(SELF)
        return as_number(found[0]) if found else None

    def admit(self) -> None:
        """Let one more client connect with the key."""
        self._admitted = True

    def set_dc(self, dc_id: int, server_address: str | None, port: int | None) -> None:
        """Raise ``LentClientError`` for another datacenter, which Telethon would write into the file."""
        if (dc_id, server_address, port) != (self.dc_id, self.server_address, self.port):
            raise self._refuse("datacenter")

    def _store_identity(self) -> None:
        """Keep what may change of the account's row: the takeout, and a temporary key if that is wanted."""
        temporary = self._tmp_auth_key if self.store_tmp_auth_key_on_disk else None
        self._contents.set_identity(
            takeout_id=self._takeout_id, temporary_key=temporary.key if temporary and temporary.key else b""
        )
        self._touch()

    def _refuse(self, what: str) -> LentClientError:
        return LentClientError(
            f"the session of {self._name} keeps its {what}, which the engine uses; log in anew with "
            "`python -m engine login`"
        )

    def set_update_state(self, entity_id: int, state: Any) -> None:
        """Remember how far updates were seen; ``write_states`` brings it into the file."""
        self._engine_memory.put_state(entity_id, state)

    def get_update_states(self) -> list[tuple[int, Any]]:
        """Return how far updates were seen."""
        states = self._engine_memory.states
        if not states:
            states.update(super().get_update_states())
        return list(states.items())

    def begin_account(self, state: Any) -> None:
        """Have the file say at once where the account begins, if neither it nor this process knows of any update."""
        if 0 not in self._engine_memory.states and self.get_update_state(0) is None:
            self._engine_memory.put_state(0, state)
            super().set_update_state(0, state)
            self.write_soonest()

    def begin_channels(self, numbers: dict[int, int]) -> None:
        """Have the file say these numbers of channels of which it has none, whatever handlers do.

        Nothing of such a channel was handled before, so that is true at once. Without it a crash would lose what comes
        until handlers have ended and the file is written: nobody would know from where to ask.
        """
        now = datetime.datetime.now(datetime.UTC)
        for channel, number in numbers.items():
            state = State(number, 0, now, 0, unread_count=0)
            if channel not in self._engine_memory.states:
                self._engine_memory.put_state(channel, state)
            if self.get_update_state(channel) is None:
                super().set_update_state(channel, state)

    def write_soonest(self) -> None:
        """Have the file written at once, and not only when more has come."""
        if self._live is not None and self._live.touch():
            self._live.flush()

    def write_states(self, inbox: Inbox) -> None:
        """Have the update states written whose updates have been handled."""
        for entity, state in self._engine_memory.handled_states(inbox).items():
            if _is_stale(entity, self.get_update_state(entity), state):
                super().set_update_state(entity, state)

    def save(self) -> None:  # type: ignore[override]  # Telethon awaits the result only if it is awaitable
        """Do nothing: changes are written within a moment, and the key never changes."""

    def close(self) -> None:  # type: ignore[override]  # as above
        """Stay open, because the next link comes soon. ``release`` closes the file."""

    def delete(self) -> bool:
        """Raise ``LentClientError``: the login would be lost."""
        raise LentClientError(
            f"the session of {self._name} is not deleted while the engine uses it; to end its login, pause the account "
            "and use `python -m engine logout CONFIG ACCOUNT`"
        )

    async def release(self) -> None:
        """Write everything, close the file and release its lock, so that other programs may use it. Bounded."""
        try:
            await super().close()
        finally:
            self.claim.release()

    def release_blocking(self) -> None:
        """Do the same from a thread without an event loop."""
        try:
            super().close().wait()
        finally:
            self.claim.release()


READ_TIMEOUT = 5.0
"""Seconds that a look at a file may wait for another program's lock."""
MAX_LOGINS = 20_000
"""Session files whose logins are remembered."""
_LOGINS: dict[Path, tuple[StatStamp, str, int | None]] = {}
"""For each session file its stat stamp, and the fingerprint and the user that the file had then."""


def cached_fingerprint(path: Path) -> str:
    """Return what ``read_fingerprint`` last found in a file, if the file has not changed since; otherwise nothing.

    Costs two stat calls, and reads nothing.
    """
    stamp, found, _ = _LOGINS.get(path, (None, "", None))
    return found if stamp == stat_stamp(path) else ""


def read_fingerprint(path: Path) -> str:
    """Return the fingerprint of a file's key, see ``key_fingerprint``; empty if the file has no key.

    Read-only: the file is neither created nor upgraded.
    """
    stamp = stat_stamp(path)
    identity, user = _read_login(path)
    found = key_fingerprint(identity.key if identity else None)
    if found:  # without one, the file may only be locked for a moment
        if len(_LOGINS) >= MAX_LOGINS:
            _LOGINS.clear()
        _LOGINS[path] = (stamp, found, user)
    return found


def _read_login(path: Path) -> tuple[Identity | None, int | None]:
    """Return the account's row of a session file and its user; None for what is not there, or cannot be read."""
    identity = user = None
    with (
        suppress(sqlite3.Error, OSError, SessionError),
        closing(files.open_quietly(path, timeout=READ_TIMEOUT)) as database,
    ):
        database.execute("begin")  # both are of one moment, and neither is missing because of another's lock
        identity = files.load_identity(database)
        row = database.execute(f"select hash from entities where id = {SELF}").fetchone()
        user = as_number(row[0]) if row else None
    return identity, user


def stored_address(path: Path) -> tuple[int, str, int] | None:
    """Return number, host and port of the datacenter that a session file names; None if it names none. Read-only."""
    identity, _ = _read_login(path)
    return address_of(identity) if identity else None


def stored_user(path: Path) -> int | None:
    """Return the id of the user whose session a file is; None if the file does not say. Read-only.

    A file that has not changed since ``read_fingerprint`` read it is not read again.
    """
    stamp, _, user = _LOGINS.get(path, (None, "", None))
    return user if stamp == stat_stamp(path) else _read_login(path)[1]


def login_in(path: Path) -> tuple[str, int | None]:
    """Return a file's fingerprint, empty without a login, and its user; read only if the file has changed."""
    return cached_fingerprint(path) or read_fingerprint(path), stored_user(path)


async def open_session(connector: "SessionContext") -> EngineSession:
    """Own and open a session file that holds a login.

    Raises ``NotLoggedIn``, ``SessionError`` or ``DatabaseUnusable``. A missing file is not created: an empty session
    is of no use. Opening reads, and may wait for a lock, so it happens in a thread. A session that is open and has not
    changed is used as it is.
    """
    session = connector.memory.session
    if session is None or not session.is_current():
        session = await anyio.to_thread.run_sync(_open, connector)
    return session


def _open(connector: "SessionContext") -> EngineSession:
    memory = connector.memory
    try:
        if memory.session is None:
            memory.session = EngineSession(connector.place, connector.address, memory)
        else:
            memory.session.reopen(adopt=True)
    except (FileNotFoundError, SessionEmpty) as exc:
        raise NotLoggedIn(exc.strerror if isinstance(exc, LoginMissing) else "") from None
    session = memory.session
    if not session.key:
        session.release_blocking()
        raise NotLoggedIn
    if not session.dc_id or not session.server_address:
        session.release_blocking()
        raise NotASession(
            f"{session.filename}: the session has a key and does not say of which datacenter; log in again"
        )
    login = key_fingerprint(session.key)
    try:
        session.claim.take(login)
    except LoginInUse as exc:
        session.release_blocking()
        if not isinstance(exc.other, Path) or read_fingerprint(exc.other) == login:
            raise
        raise SessionHeld(  # two accounts have swapped their files: the other one gives its old login up in a moment
            f"{session.filename}: its login is still in use by the account of {exc.other}, which has another one now"
        ) from exc
    except SessionError:
        session.release_blocking()
        raise
    memory.use_key(session.key)
    return session
