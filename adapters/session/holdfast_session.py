"""``HoldfastSession``: a session for any Telethon program, in Telethon's own file, that never locks and never blocks.

Telethon's ``SQLiteSession`` keeps a write transaction open for up to a minute, waits on the event loop for other
programs' locks, and loses up to a minute of changes in a crash. Here everything is in memory, threads write it to the
file, and no transaction stays open between two commits. Of a file with many entities only those that were used last
are in memory, and the others are read when they are asked for.
"""

import asyncio
import datetime
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from telethon import utils
from telethon.client.telegrambaseclient import DEFAULT_DC_ID, DEFAULT_IPV4_IP, DEFAULT_IPV6_IP
from telethon.crypto import AuthKey
from telethon.sessions import MemorySession
from telethon.sessions.memory import _SentFileType
from telethon.tl.types import InputDocument, InputPhoto, PeerChannel, PeerChat, PeerUser
from telethon.tl.types.updates import State

from adapters.file_names import EXTENSION
from adapters.log_events import event_logger
from adapters.session import file as files
from adapters.session.address import address_of
from adapters.session.contents import ID, NAME, PHONE, USERNAME, Contents, UpdateState, as_stored
from adapters.session.errors import SessionFixed, SessionNotSaved
from adapters.session.failures import LiveFileTimeouts
from adapters.session.live import MAX_ROWS, LiveFile
from adapters.session.recall import recall
from adapters.session.store import SessionStore, StoreMaker
from states.events import DatabaseRecovered, Failure

SAVE_TIMEOUT: Final = 60.0
"""Seconds that a new key may wait to become durable before it must not be used."""
CLOSE_TIMEOUT: Final = 10.0
"""Seconds that closing may wait for the last commit; it is then still tried until the process ends."""
READ_TIMEOUT: Final = 5.0
"""Seconds that a look into the file may take in a thread that has no event loop."""
LOOP_READ_TIMEOUT: Final = 0.25
"""Seconds that it may take where a loop waits for it: whoever can await it uses ``recall``."""
MAX_DATE: Final = 2**31 - 1
"""The latest time that Telegram's protocol can say (Unix seconds, in 2038)."""
TELETHONS_CHOICE: Final = ((DEFAULT_DC_ID, DEFAULT_IPV4_IP), (DEFAULT_DC_ID, DEFAULT_IPV6_IP))
"""What Telethon takes for a session whose address it does not like."""
BACKUPS: Final = "backups"
"""Where backups go by default: beside the session."""
_in_memory: Final = ContextVar("in_memory", default=False)
"""Whether ``NotInMemory`` is to be raised instead of a look into the file."""

log = event_logger("holdfast.session")

# Telethon warns that sessions which return something to await are an experiment. It has awaited them since 1.26, and
# nothing more is needed here.
warnings.filterwarnings("ignore", "Using async sessions support", UserWarning, r"telethon\.utils")


class NotInMemory(Exception):
    """Only the file can say what was asked."""


class SaveReceipt:
    """What ``save`` and ``close`` return: awaiting it confirms that the file has everything. Awaiting is optional."""

    def __init__(
        self, future: "Future[None] | None", path: str, timeout: float, *, needed: bool, name: str = ""
    ) -> None:
        self._future, self._path, self._timeout, self._needed, self._name = future, path, timeout, needed, name

    def __await__(self) -> Generator[Any, None, None]:
        if self._future is not None and not self._future.done():
            wrapped = asyncio.wrap_future(self._future)
            wrapped.add_done_callback(_see)  # it is raised below, or nobody waits for it any more
            yield from asyncio.wait((wrapped,), timeout=self._timeout).__await__()
        self._check()

    def wait(self) -> None:
        """Wait without an event loop."""
        if self._future is not None:
            with suppress(NotDone):
                self._future.exception(self._timeout)
        self._check()

    def _check(self) -> None:
        if self._future is None:
            return
        if self._future.done():
            self._future.result()
            return
        if self._needed:
            raise SessionNotSaved(
                f"{self._path}: the session could not be written within {self._timeout:g} s; see what holds the file"
            )
        log.error("session_not_saved", account=self._name, path=self._path, timeout=self._timeout)


def _see(future: "asyncio.Future[None]") -> None:
    """Look at what a future has come to, so that asyncio does not log it as never seen."""
    if not future.cancelled():
        future.exception()


class HoldfastSession(MemorySession):  # type: ignore[misc]  # Telethon ships no types
    """Telethon's session file, owned by this process, read from memory, written behind by shared threads.

    ``TelegramClient(HoldfastSession("account1"), …)`` is all it takes. The file is Telethon's own: each side opens what
    the other wrote. It is created if it does not exist. Opening it reads it, except for entities of which there are
    more than stay in memory; so while an event loop runs, make the session in a thread.

    With ``store`` it is not a file but whatever that makes, such as rows of a database.

    A question that only the file can answer is put to it at once, and raises ``DatabaseUnusable`` if it cannot be read
    within a moment, since "not found" would send Telethon to the network.

    Raises ``SessionHeld`` if another program uses the file, ``NotASession`` or ``SessionTooNew`` for a file that it
    cannot use and leaves as it is, ``SessionDamaged`` for a damaged file, which it sets aside, and ``DatabaseUnusable``
    for a file that is locked or cannot be reached; each message is one sentence for the operator.
    """

    __slots__ = (
        "_auth_key", "_dc_id", "_entities", "_files", "_live", "_memory", "_port", "_server_address", "_takeout_id",
        "_tmp_auth_key", "_update_states", "filename", "save_entities", "store_tmp_auth_key_on_disk",
    )  # fmt: skip
    # An engine has one for each account, and a dictionary takes three times as much.

    def __init__(
        self,
        session_id: str | os.PathLike[str] | None = None,
        store_tmp_auth_key_on_disk: bool = False,
        *,
        backups: str | os.PathLike[str] | None = None,
        name: str | None = None,
        create: bool = True,
        timeouts: LiveFileTimeouts | None = None,
        store: StoreMaker | None = None,
    ) -> None:
        super().__init__()
        self._entities, self._files, self._update_states = (), (), ()  # Telethon's own; here is ``Contents``
        self.save_entities = True
        self.store_tmp_auth_key_on_disk = store_tmp_auth_key_on_disk
        self._live: SessionStore | None = None
        self.filename = ":memory:"
        if store is not None:
            self._live = store(self._report)
        elif session_id is None:
            self._memory = Contents()
            return
        else:
            path = files.session_path(session_id)
            copies = path.parent / BACKUPS if backups is None else Path(backups)
            self._live = LiveFile(path, copies, name or path.stem, self._report, timeouts or LiveFileTimeouts())
        self.filename = str(self._live.where)
        self._live.open(create=create)
        self._adopt()

    def _adopt(self) -> None:
        """Take the account's row from what was read."""
        mine = self._contents.identity
        self._dc_id, self._server_address, self._port = address_of(mine) or (mine.dc_id, mine.address, mine.port)
        self._takeout_id = mine.takeout_id
        self._auth_key, self._tmp_auth_key = AuthKey(mine.key or None), AuthKey(mine.temporary_key or None)

    @property
    def _contents(self) -> Contents:
        return self._live.contents if self._live else self._memory

    @property
    def _name(self) -> str:
        return self._live.name if self._live else ""

    def _report(self, event: Failure | DatabaseRecovered) -> None:
        """Log what keeps the file from being written; called in a thread of the writer's."""
        if isinstance(event, DatabaseRecovered):
            log.info("session_written", account=self._name, path=self.filename, waited=event.waited)
        else:
            unsaved = getattr(event, "unsaved", 0)
            detail = event.detail
            log.warning("session_waits", account=self._name, path=self.filename, detail=detail, unsaved=unsaved)

    def _touch(self) -> None:
        """Have a change written soon. A file that was closed is owned and opened again first."""
        if self._live is not None and not self._live.touch():
            self.reopen()
            self._live.touch()

    @property
    def entities_in_memory(self) -> int:
        """How many users and chats are in memory; a large file has more."""
        return len(self._contents.entities)

    def is_current(self) -> bool:
        """Return whether the file is owned, and as it was last read or written here. Reads directories only."""
        return self._live is None or self._live.is_current

    def agrees_with_file(self) -> bool:
        """Return whether the file is as it was last read or written here, also after it was closed."""
        return self._live is None or self._live.agrees

    def reopen(self, *, adopt: bool = False) -> None:
        """Own a closed file again, and read it if another program wrote to it. Blocks for a moment.

        Raises what the constructor raises, and ``SessionReplaced`` if the file holds another login now, unless
        ``adopt``: then this session takes that login over.
        """
        if self._live is not None and self._live.open(create=False, adopt=adopt):
            self._adopt()

    # --- the account's row -------------------------------------------------------------------------------------------

    def set_dc(self, dc_id: int, server_address: str | None, port: int | None) -> None:
        """Remember the datacenter.

        Raises ``SessionFixed`` where Telethon would lose the login: a client that is not made for the kind of address
        that the session has gives it, before it connects, the address of a datacenter that does not know the key.
        """
        if self._auth_key and (dc_id, server_address) in TELETHONS_CHOICE and self._server_address:
            six = ":" in self._server_address
            if six != (":" in str(server_address)):
                raise SessionFixed(
                    f"{self.filename}: the session's datacenter has an {'IPv6' if six else 'IPv4'} address, and this "
                    f"client is made for the other kind; make it with use_ipv6={six}"
                )
        super().set_dc(dc_id, server_address, port)
        self._store_identity()
        if not self._auth_key:  # as Telethon has it after reading the row back
            self._auth_key = None
        if not self._tmp_auth_key or not self.store_tmp_auth_key_on_disk:
            self._tmp_auth_key = None

    @property
    def auth_key(self) -> Any:
        """The key. A new one must be durable before it is used: await ``save``."""
        return self._auth_key

    @auth_key.setter
    def auth_key(self, value: Any) -> None:
        self._auth_key = value
        self._store_identity()

    @property
    def tmp_auth_key(self) -> Any:
        """The temporary key, kept in the file only if ``store_tmp_auth_key_on_disk``."""
        return self._tmp_auth_key

    @tmp_auth_key.setter
    def tmp_auth_key(self, value: Any) -> None:
        self._tmp_auth_key = value
        self._store_identity()

    @property
    def takeout_id(self) -> Any:
        """The takeout under way, if any."""
        return self._takeout_id

    @takeout_id.setter
    def takeout_id(self, value: Any) -> None:
        self._takeout_id = value
        self._store_identity()

    def _store_identity(self) -> None:
        temporary = self._tmp_auth_key if self.store_tmp_auth_key_on_disk else None
        mine = self._contents.identity
        where: Any = (self._dc_id, self._server_address, self._port)
        if where == address_of(mine):  # in other letters, perhaps: those of the file stay
            where = (mine.dc_id, mine.address, mine.port)
        self._contents.set_identity(
            dc_id=where[0],
            address=where[1],
            port=where[2],
            key=self._auth_key.key if self._auth_key else b"",
            takeout_id=self._takeout_id,
            temporary_key=temporary.key if temporary else b"",
        )
        self._touch()

    # --- how far updates were seen -----------------------------------------------------------------------------------

    def get_update_state(self, entity_id: int) -> Any:
        """Return how far the updates of an account (0) or a channel were seen; None if nothing is known."""
        found = self._contents.states.get(entity_id)
        return None if found is None else _state(found)

    def set_update_state(self, entity_id: int, state: Any) -> None:
        """Remember how far updates were seen; the file has it a moment later."""
        self._contents.put_state(entity_id, (state.pts, state.qts, _as_integer(state.date.timestamp()), state.seq))
        self._touch()

    def get_update_states(self) -> list[tuple[int, Any]]:
        """Return all update states, in the order of their numbers."""
        return [(number, _state(found)) for number, found in sorted(self._contents.states.items())]

    # --- entities ----------------------------------------------------------------------------------------------------

    def process_entities(self, tlo: Any) -> SaveReceipt | None:
        """Remember the users and chats that an answer names.

        Returns a receipt to await when so many rows wait to be written that no more must come in meanwhile.
        """
        rows = self._entities_to_rows(tlo) if self.save_entities else ()
        if not rows:
            return None
        self._contents.put_entities(rows, int(time.time()))
        self._touch()
        if self._live is None or self._contents.rows_unsaved < MAX_ROWS:
            return None
        return SaveReceipt(self._live.flush(), self.filename, SAVE_TIMEOUT, needed=False, name=self._name)

    def get_entity_rows_by_phone(self, phone: Any) -> tuple[int, int] | None:
        """Return id and access hash."""
        return self._look_up(PHONE, (phone,), lambda contents: contents.find(PHONE, phone))

    def get_entity_rows_by_username(self, username: str) -> tuple[int, int] | None:
        """Return id and access hash of the peer that was last seen with this username."""
        return self._look_up(USERNAME, (username,), lambda contents: contents.find_username(username))

    def get_entity_rows_by_name(self, name: str) -> tuple[int, int] | None:
        """Return id and access hash."""
        return self._look_up(NAME, (name,), lambda contents: contents.find(NAME, name))

    def get_entity_rows_by_id(self, id: int, exact: bool = True) -> tuple[int, int] | None:
        """Return id and access hash; unless ``exact``, of a peer of any kind with this bare number."""
        peers = (id,) if exact else sorted(utils.get_peer_id(kind(id)) for kind in (PeerUser, PeerChat, PeerChannel))
        return self._look_up(ID, peers, lambda contents: contents.find_id(peers))

    def _look_up(
        self, column: int, values: Sequence[Any], find: Callable[[Contents], tuple[int, int] | None]
    ) -> tuple[int, int] | None:
        """Return what ``find`` finds in memory, once that has what the file says of these values."""
        contents, live = self._contents, self._live
        if contents.complete or live is None:
            found = find(contents)
        else:
            stored = [as_stored(column, value) for value in values]
            if _in_memory.get() and contents.lacks(column, stored):
                raise NotInMemory
            with contents.lookup():
                recall(contents, live, column, stored, LOOP_READ_TIMEOUT if _loop_runs() else READ_TIMEOUT)
                found = find(contents)
            contents.shrink()
        if contents.dirty and (column == USERNAME or not contents.complete):  # it was taken from others, or see shrink
            self._touch()
        return found

    async def recall(self, *keys: Any) -> None:
        """Read in a thread what only the file says of these peers: asking for them next costs no look into the file.

        Raises ``DatabaseUnusable`` or ``SessionError`` if the file cannot be read.
        """
        if self._contents.complete:
            return
        token = _in_memory.set(True)
        try:
            for key in keys:
                with suppress(ValueError):
                    self.get_input_entity(key)
        except NotInMemory:
            await asyncio.to_thread(self._recall, keys)
        finally:
            _in_memory.reset(token)

    def _recall(self, keys: Iterable[Any]) -> None:
        _in_memory.set(False)  # of this thread's own context
        for key in keys:
            with suppress(ValueError):
                self.get_input_entity(key)

    # --- files that were sent ----------------------------------------------------------------------------------------

    def get_file(self, md5_digest: bytes, file_size: int, cls: Any) -> Any:
        """Return a file that was sent before; None if it was not."""
        found = self._contents.files.get((md5_digest, file_size, _SentFileType.from_type(cls).value))
        return None if found is None else cls(*found)

    def cache_file(self, md5_digest: bytes, file_size: int, instance: Any) -> None:
        """Remember a file that was sent. Raises ``TypeError`` for anything but a document or a photo."""
        if not isinstance(instance, InputDocument | InputPhoto):
            raise TypeError(f"Cannot cache {type(instance)} instance")
        key = (md5_digest, file_size, _SentFileType.from_type(type(instance)).value)
        self._contents.put_file(key, (instance.id, instance.access_hash))
        self._touch()

    # --- the file ----------------------------------------------------------------------------------------------------

    def save(self) -> SaveReceipt:
        """Have everything written now. Awaiting the receipt waits for a key that is not durable yet, and nothing else.

        Awaiting raises ``SessionNotSaved`` if that takes more than a minute.
        """
        live = self._live
        if live is None:
            return SaveReceipt(None, self.filename, 0, needed=False, name=self._name)
        needed = live.contents.identity_unsaved
        if not needed and not live.contents.dirty:
            return SaveReceipt(None, self.filename, 0, needed=False, name=self._name)
        future = live.flush()
        return SaveReceipt(future if needed else None, self.filename, SAVE_TIMEOUT, needed=True, name=self._name)

    def flush(self) -> SaveReceipt:
        """Have everything written now. Awaiting the receipt waits until all of it is durable."""
        future = self._live.flush() if self._live and self._live.owned else None
        return SaveReceipt(future, self.filename, SAVE_TIMEOUT, needed=True, name=self._name)

    def close(self) -> SaveReceipt:
        """Write everything, close the file and release its lock. The next change opens the file again.

        Await the receipt where an event loop runs; without one, this call has waited already.
        """
        receipt = SaveReceipt(
            self._live.close() if self._live else None, self.filename, CLOSE_TIMEOUT, needed=False, name=self._name
        )
        if not _loop_runs():
            receipt.wait()
        return receipt

    def delete(self) -> bool:
        """Delete the file, as Telethon does after a log-out: its key is worthless then. Return whether it is gone."""
        if self._live is None:
            return True
        return self._live.delete()

    def clone(self, to_instance: Any = None) -> Any:
        """Return a session in memory with the same options, or give them to ``to_instance``."""
        cloned = super().clone(HoldfastSession() if to_instance is None else to_instance)
        cloned.save_entities = self.save_entities
        return cloned

    @classmethod
    def list_sessions(cls) -> list[str]:
        """Return the names of the session files in the present directory."""
        return [name.removesuffix(EXTENSION) for name in os.listdir(".") if name.endswith(EXTENSION)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.filename!r})"


def _loop_runs() -> bool:
    """Return whether an event loop runs in this thread."""
    return asyncio._get_running_loop() is not None


def _state(found: UpdateState) -> Any:
    pts, qts, date, seq = found
    # Telegram's times have 32 bits; a file that another program wrote may hold a number that is no date at all.
    date = min(max(date, 0), MAX_DATE)
    return State(pts, qts, datetime.datetime.fromtimestamp(date, tz=datetime.UTC), seq, unread_count=0)


def _as_integer(value: float) -> float:
    """Return what a column of integers makes of a number."""
    return int(value) if value == int(value) else value
