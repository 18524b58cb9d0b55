"""Telethon sessions as rows of PostgreSQL: written behind in groups, refused to all but their owners.

    loop    change memory ──▶ dirty set ──▶ wake ──▶ thread    BEGIN; fence; owners FOR SHARE; rows of many; COMMIT
      ▲                                                 │
      └──────────── futures, reports ◀──────────────────┘

All sessions of a process are written by one connection: what gathers while one transaction is on its way is the next
one. A key is committed before it is used, as with files, for ``save`` waits for it.
"""

import asyncio
import atexit
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

from attrs import define, field, frozen
from psycopg import Error, IntegrityError

from adapters.log_events import event_logger
from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StorePool, StoreTimeouts
from adapters.postgres.errors import StoreUnusable
from adapters.postgres.live_rows import NOTHING, LiveRows, Ownership
from adapters.postgres.session_keys import PLAIN, SessionKeys
from adapters.postgres.session_sql import (
    LIVING,
    LOGIN,
    OWNERS,
    WRITE_IDENTITY,
    from_text,
    identity_values,
    refusal_text,
    writes_of,
)
from adapters.postgres.store_thread import StoreThread
from adapters.session.address import Address, address_of
from adapters.session.contents import Changes, DirtySet, Identity
from adapters.session.errors import SessionError, SessionNotSaved
from adapters.session.failures import LiveFileTimeouts, SessionObserver
from adapters.session.file import StatStamp
from adapters.session.schema import as_number
from adapters.sqlite.errors import DatabaseUnusable, StorageError
from states.events import DatabaseLocked, DatabaseUnavailable

T = TypeVar("T")
MAX_SESSIONS: Final = 200
"""Sessions of one transaction."""
MAX_ROWS: Final = 20_000
"""Rows after which a transaction takes no further session in."""
READERS: Final = 3
"""Connections that read, beside the one that writes."""
MIN_PAUSE: Final = 0.05
"""Seconds between a transaction that failed and the next try, at the least."""
READ_TIMEOUT: Final = 5.0
"""Seconds that a look at a session that is not open may take."""
SILENCE: Final = 5.0
"""Seconds in which no loop waits for a server that did not answer one in time."""
EXIT_TIMEOUT: Final = 5.0
"""Seconds that the end of the process waits for unwritten changes."""

REPORT_AFTER: Final = 20.0
"""Seconds for which no session tells that the server does not take it, as long as a failover takes. The lease and the
journal tell at once, once for all; each session would, with two records in each account's journal afterwards."""
PATIENT: Final = LiveFileTimeouts(report_after=REPORT_AFTER, report_broken_after=REPORT_AFTER)

log = event_logger("holdfast.session")


class _SessionWrite(NamedTuple):
    """What one session has to write."""

    live: LiveRows
    dirty: DirtySet
    changes: Changes
    waiting: "list[Future[None]]"


@define(eq=False)
class SessionRows:
    """The sessions in one store. ``close`` it when no session is used any more."""

    address: StoreAddress
    timeouts: LiveFileTimeouts = PATIENT
    store_timeouts: StoreTimeouts = field(factory=StoreTimeouts)
    keys: SessionKeys = PLAIN
    """The session keys, by which the keys of sessions are encrypted there."""
    pool: StorePool = field(init=False)
    """The connections that read; for the store's thread alone."""
    _writer: StorePool = field(init=False)
    _thread: StoreThread = field(init=False)
    _due: dict[LiveRows, float] = field(factory=dict, init=False)
    """When which session is to be written, by ``time.monotonic``."""
    _guard: threading.Lock = field(factory=threading.Lock, init=False)
    _changed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _silent_until: float = field(default=0.0, init=False)
    """When loops may wait for the server again, by ``time.monotonic``."""
    _end_at: float | None = field(default=None, init=False)
    """Until when it goes on trying to write; None as long as it is used."""

    def __attrs_post_init__(self) -> None:
        self.pool, self._writer = (
            StorePool(self.address, application=name, size=size, timeouts=self.store_timeouts)
            for name, size in (("holdfast sessions", READERS), ("holdfast session writer", 1))
        )
        self._thread = StoreThread(str(self.address), "session store")
        self._thread.start(self._run)
        atexit.register(self.close, EXIT_TIMEOUT)

    def place(self, account: str, ownership: Ownership) -> "RowPlace":
        """Return where the session of an account is, for the life that owns it now."""
        return RowPlace(self, account, ownership)

    def read_login(self, account: str) -> tuple[str, int | None, Address | None]:
        """Return fingerprint, user and address of an account's login. Blocks. Raises ``StorageError``."""
        found = self.call(self.pool.execute(LOGIN, (account,)), READ_TIMEOUT)
        if not found:
            return "", None, None
        login, dc_id, address, port, user = found[0]
        return login, as_number(user), address_of(Identity(dc_id, from_text(address), port))

    def call(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        """Return what a coroutine returns in the store's thread; see ``StoreThread.call``.

        After a question for which a loop has waited in vain, further ones of loops are refused for a moment: they stop
        all accounts of a process, each time.
        """
        on_loop = asyncio._get_running_loop() is not None
        if on_loop and time.monotonic() < self._silent_until:
            work.close()
            raise self._thread.unusable("the server has not answered a moment ago; check it, and the network")
        try:
            found = self._thread.call(work, timeout)
        except DatabaseUnusable:
            if on_loop:
                self._silent_until = time.monotonic() + SILENCE
            raise
        self._silent_until = 0.0
        return found

    def wake(self, live: LiveRows, after: float = 0.0) -> None:
        """Have a session written in ``after`` seconds, or earlier if it is due earlier already. From any thread."""
        due = time.monotonic() + after
        with self._guard:
            before = self._due.get(live)
            if before is not None and before <= due:
                return
            self._due[live] = due
        self._thread.soon(self._changed.set)

    def close(self, timeout: float = EXIT_TIMEOUT) -> int:
        """Write everything, within ``timeout`` seconds, and end the thread; return how many sessions are not written.

        Blocks. A session is let go of by its owner; see ``LiveRows.close``.
        """
        atexit.unregister(self.close)
        with self._guard:
            self._end_at = time.monotonic() + timeout
        self._thread.soon(self._changed.set)
        self._thread.end(timeout)
        with self._guard:
            left = [live for live in self._due if live.unsaved]
        if left:
            log.error("sessions_not_written", files=len(left))
        for live in left:
            _, _, waiting = live.take()
            for future in waiting:
                if future.set_running_or_notify_cancel():
                    future.set_exception(SessionNotSaved(f"{live.where}: the session could not be written in time"))
        return len(left)

    # --- in the thread -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._goes_on():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._wait()):
                        await self._changed.wait()
                self._changed.clear()
                if batch := self._take_due():
                    await self._write(batch)
        finally:
            self._writer.close()
            self.pool.close()

    def _goes_on(self) -> bool:
        with self._guard:
            end_at = self._end_at
            return end_at is None or (time.monotonic() < end_at and bool(self._due))

    def _wait(self) -> float | None:
        """Return the seconds until a session is due; None if none is waiting."""
        with self._guard:
            if not self._due:
                return None
            wanted = min(self._due.values())
            if self._end_at is not None:
                wanted = min(wanted, time.monotonic() + MIN_PAUSE)
        return max(0.0, wanted - time.monotonic())

    def _take_due(self) -> list[_SessionWrite]:
        """Return what is to be written in one transaction: once one session is due, those that are soon are, too."""
        now = time.monotonic()
        with self._guard:
            waiting = sorted(self._due, key=self._due.__getitem__)
            hasten = self._end_at is not None
            if not waiting or (self._due[waiting[0]] > now and not hasten):
                return []
        batch: list[_SessionWrite] = []
        rows, accounts = 0, set[int]()
        for live in waiting:
            with self._guard:
                soon = hasten or self._due[live] <= now + self.timeouts.gather
                if not soon or live.account in accounts or len(batch) == MAX_SESSIONS or rows >= MAX_ROWS:
                    continue
                del self._due[live]  # a change from now on asks for another visit
            taken = _SessionWrite(live, *live.take())
            rows += taken.changes.rows
            accounts.add(live.account)
            batch.append(taken)
        return batch

    async def _write(self, batch: list[_SessionWrite]) -> None:
        """Write a batch, and tell each session what became of it."""
        written = [each for each in batch if each.changes is not NOTHING]
        refused: dict[LiveRows, SessionError] = {}
        try:
            if written:
                refused = await self._commit(written)
        except StoreUnusable as exc:
            self._fail(batch, exc.failure)
            return
        except asyncio.CancelledError:  # the end did not wait any longer
            self._fail(batch, DatabaseUnavailable(detail="the session could not be written before the end"))
            raise
        except IntegrityError as exc:
            if len(batch) > 1:
                return await self._write_each(batch)
            why = SessionError(f"{batch[0].live.where}: {refusal_text(exc)}")
            refused = {batch[0].live: why}
        except Exception as exc:  # a bug, or a database that is not as it was made: the next session is to be written
            log.error("session_writer_failed", account=batch[0].live.name, exc_info=_without_values(exc))
            if len(batch) > 1:
                return await self._write_each(batch)
            self._fail(batch, DatabaseUnavailable(detail=f"the session cannot be written ({type(exc).__name__})"))
            return
        for each in batch:
            if (objection := refused.get(each.live)) is not None:
                each.live.refuse(each.dirty, each.waiting, objection)
            else:
                each.live.confirm(each.changes, each.waiting)
                if each.live.unsaved:
                    self.wake(each.live)

    async def _write_each(self, batch: list[_SessionWrite]) -> None:
        """Write each by itself: one of them is at fault, and the others are not to wait for it."""
        left = list(batch)
        try:
            while left:
                await self._write(left[:1])
                del left[0]
        finally:
            self._fail(left[1:], DatabaseUnavailable(detail="the session could not be written before the end"))

    async def _commit(self, batch: list[_SessionWrite]) -> dict[LiveRows, SessionError]:
        """Write what its owners write, in one transaction; return the sessions of which nothing was, and why."""
        refused: dict[LiveRows, SessionError] = {}
        granted: list[tuple[int, Changes]] = []
        lives = sorted({each.live.ownership.life for each in batch})
        async with self._writer.transaction() as connection:
            living = {number for (number,) in await connection.execute(LIVING, (lives,))}
            owners = {
                row[0]: row[1:] for row in await connection.execute(OWNERS, ([each.live.account for each in batch],))
            }
            for each in batch:
                objection = each.live.objection(owners.get(each.live.account), living, each.changes)
                if objection is None:
                    granted.append((each.live.account, each.changes))
                    if owners[each.live.account][2] is None and each.changes.identity is None:
                        await connection.execute(
                            WRITE_IDENTITY, identity_values(each.live.account, Identity(), self.keys)
                        )
                else:
                    refused[each.live] = objection
            for sql, values in writes_of(granted, self.keys):
                await connection.execute(sql, values)
        return refused

    def _fail(self, batch: list[_SessionWrite], failure: DatabaseLocked | DatabaseUnavailable) -> None:
        for each in batch:
            pause = each.live.fail(each.dirty, each.waiting, failure)
            self.wake(each.live, max(pause, MIN_PAUSE))


def _without_values(exc: Exception) -> Exception:
    """Return what the log may say of an error: PostgreSQL's own text can quote a whole row, with its key."""
    return RuntimeError(f"{type(exc).__name__} ({exc.sqlstate})") if isinstance(exc, Error) else exc


@frozen
class RowPlace:
    """The session of one account in a store, for the life that owns it; see ``SessionPlace``.

    Whoever owns the account again makes a new one, for what a connector remembers is of one ownership.
    """

    rows: SessionRows
    name: str
    ownership: Ownership

    @property
    def where(self) -> str:
        """The store and the account."""
        return f"{self.rows.address} ({self.name})"

    def make(self, report: SessionObserver) -> LiveRows:
        """Return the session, which is not open yet."""
        return LiveRows(self.rows, self.name, self.ownership, report)

    def known_login(self) -> str:
        """Return nothing: what was read may have changed."""
        return ""

    def read_login(self) -> tuple[str, int | None]:
        """Return the fingerprint of the key and the user; of a store that cannot be read, that there is none."""
        with suppress(StorageError):
            return self.rows.read_login(self.name)[:2]
        return "", None

    def read_address(self) -> Address | None:
        """Return number, host and port of the datacenter; None if it cannot be read, too."""
        with suppress(StorageError):
            return self.rows.read_login(self.name)[2]
        return None

    def stamp(self) -> StatStamp:
        """Return nothing that changes: nobody but the owner of the account writes its session."""
        return ()
