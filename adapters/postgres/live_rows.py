"""One session in use whose rows are in PostgreSQL: who owns it, what is not written yet, and what the store says.

A session file is owned by a lock. Here the account has an owner, the life of a node, and an epoch that counts owners;
whoever is not the present one can neither read the session nor write it. A write that comes late is refused in its
own transaction, and everything that waits for it is told.
"""

import asyncio
import threading
from collections.abc import Container, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field, frozen

from adapters.postgres.connect import StoreConnection
from adapters.postgres.session_sql import (
    BY_ID,
    BY_TEXT,
    BY_USERNAME,
    ENTITIES,
    FILES,
    IDENTITY,
    OWN_ENTITIES,
    OWNED,
    PAGE,
    STATES,
    as_text,
    contents_of,
    entity_of,
    identity_of,
)
from adapters.session.contents import (
    ID,
    MAX_ENTITIES,
    USERNAME,
    Changes,
    Contents,
    DirtySet,
    Identity,
    key_fingerprint,
)
from adapters.session.errors import (
    LoginMissing,
    NotASession,
    SessionError,
    SessionHeld,
    SessionNotSaved,
    SessionReplaced,
    SessionTaken,
)
from adapters.session.failures import FailureReports, SessionObserver
from states.events import DatabaseLocked, DatabaseUnavailable

if TYPE_CHECKING:
    from adapters.postgres.sessions import SessionRows

OPEN_TIMEOUT: Final = 15.0
"""Seconds that opening may take in a thread without a loop."""
LOOP_OPEN_TIMEOUT: Final = 0.25
"""Seconds that it may take where a loop waits for it."""
_NOT_OPEN: Final = "the session is not open here, so its new login is not saved; see what the log says of it"
_MISSING: Final = (
    "there is no session in the database: bring this account's file with 'session bring', or mend storage.database if "
    "it names the wrong one"
)
NOTHING: Final = Changes(None, [], [], [], 0)
_MIN: Final = -(2**63)
_MAX: Final = 2**63 - 1


@frozen
class Ownership:
    """That the life of a node owns an account: the number of the life, and the account's epoch since then."""

    life: int
    epoch: int


@define(eq=False)
class LiveRows:
    """The session of an account that this process owns; see ``SessionStore``."""

    rows: "SessionRows"
    name: str
    ownership: Ownership
    report: SessionObserver
    contents: Contents = field(factory=Contents, init=False)
    account: int = field(default=0, init=False)
    """The account's number in the store."""
    _key: bytes = field(default=b"", init=False, repr=False)
    _known: bool = field(default=False, init=False)
    """Whether it was read before."""
    _owned: bool = field(default=False, init=False)
    _lost: SessionError | None = field(default=None, init=False)
    """Why it is not this process's any more: for good."""
    _closing: bool = field(default=False, init=False)
    _guard: threading.Lock = field(factory=threading.Lock, init=False)
    _opening: threading.Lock = field(factory=threading.Lock, init=False)
    _waiting: "list[Future[None]]" = field(factory=list, init=False)
    _failures: FailureReports = field(init=False)

    @_failures.default
    def _make_failures(self) -> FailureReports:
        return FailureReports(self.report, self.rows.timeouts)

    @property
    def where(self) -> str:
        """The store and the account."""
        return f"{self.rows.address} ({self.name})"

    @property
    def owned(self) -> bool:
        """Whether the session is open here."""
        return self._owned

    @property
    def is_current(self) -> bool:
        """Whether the session is open here: nobody else writes to it then."""
        return self._owned

    @property
    def agrees(self) -> bool:
        """Whether the session is open here: nothing is known of it when it is not."""
        return self._owned

    @property
    def unsaved(self) -> bool:
        """Whether something waits to be written; nothing can be while the session is not open here."""
        return self._owned and (bool(self.contents.dirty) or self._closing)

    # --- for the program ---------------------------------------------------------------------------------------------

    def open(self, *, create: bool, adopt: bool = False) -> bool:
        """Read the session if this node owns its account; return whether memory was replaced. See ``SessionStore``."""
        timeout = OPEN_TIMEOUT if asyncio._get_running_loop() is None else LOOP_OPEN_TIMEOUT
        with self._opening:
            if self._lost is not None:
                raise self._lost
            with self._guard:
                self._closing = False
                if self._owned:
                    return False
            account, contents = self.rows.call(self._load(create), timeout)
            return self._take_over(account, contents, adopt=adopt)

    async def _load(self, create: bool) -> tuple[int, Contents]:
        async with self.rows.pool.connection() as connection:
            found = await connection.execute(OWNED, (self.name,))
            if not found:
                raise self._held(None)
            account, owner, epoch, state, node, host, has_session, taken_to = found[0]
            if (owner, epoch) != (self.ownership.life, self.ownership.epoch) or state == "dead":
                raise self._held(None if state in (None, "dead") else (node, host))
            if taken_to is not None:
                raise self._taken(taken_to)
            if not has_session and not create:
                raise LoginMissing(2, _MISSING, self.where)
            return account, await self._read(connection, account)

    async def _read(self, connection: StoreConnection, account: int) -> Contents:
        found = await connection.execute(IDENTITY, (account,))
        identity = identity_of(found[0], self.rows.keys, self.where) if found else Identity()
        if found and key_fingerprint(identity.key) != found[0][6]:
            raise NotASession(f"{self.where}: the session's key is another one than was written; log in again")
        entities = await connection.execute(ENTITIES, (account,))
        complete = len(entities) <= MAX_ENTITIES
        if not complete:
            entities = await connection.execute(OWN_ENTITIES, (account, account))
        states = await connection.execute(STATES, (account,))
        files = await connection.execute(FILES, (account,))
        return contents_of(identity, entities, states, files, complete=complete)

    def _take_over(self, account: int, contents: Contents, *, adopt: bool) -> bool:
        key = contents.identity.key
        other = not self._known or key != self._key
        if self._known and other and not adopt:
            raise SessionReplaced(
                f"{self.where}: the account was given another login while its session was closed; make a new client "
                "for it"
            )
        with self._guard:
            other = other or not self.contents.dirty
            if other:
                self.contents = contents
            self.account, self._key, self._known, self._owned = account, key, True, True
        return other

    def touch(self) -> bool:
        """Have what differs written soon; return False, and do nothing, if the session is not open."""
        if not self._owned:
            return False
        if self.contents.dirty:
            self.rows.wake(self, self.rows.timeouts.gather)
        return True

    def flush(self) -> "Future[None]":
        """Return a future that is done when all that differs now is committed."""
        return self._ask()

    def close(self) -> "Future[None]":
        """Have everything written and the session closed; return a future of it. The account keeps its owner."""
        if not self._owned:
            future: Future[None] = Future()
            future.set_result(None)
            return future
        with self._guard:
            self._closing = True
        return self._ask()

    def _ask(self) -> "Future[None]":
        future: Future[None] = Future()
        with self._guard:
            self._waiting.append(future)
        self.rows.wake(self)
        return future

    def delete(self) -> bool:
        """Return False: nothing here deletes a login."""
        return False

    def read_entities(
        self, column: int, values: Sequence[Any], known: Container[int], timeout: float
    ) -> list[tuple[Any, ...]]:
        """Return the entities that decide about these values; see ``SessionStore``."""
        if self._lost is not None:
            raise self._lost
        return self.rows.call(self._find(column, values, known), timeout)

    async def _find(self, column: int, values: Sequence[Any], known: Container[int]) -> list[tuple[Any, ...]]:
        async with self.rows.pool.connection() as connection:
            if column == ID:
                numbers = [value for value in values if isinstance(value, int) and _MIN <= value <= _MAX]
                return [entity_of(row) for row in await connection.execute(BY_ID, (self.account, numbers))]
            text = as_text(values[0])
            if column == USERNAME:
                return [entity_of(row) for row in await connection.execute(BY_USERNAME, (self.account, text, text))]
            after = _MIN
            while found := await connection.execute(BY_TEXT[column], (self.account, text, text, after)):
                first = next((row for row in found if row[0] not in known), None)
                if first is not None:
                    return [entity_of(first)]
                if len(found) < PAGE:
                    break
                after = found[-1][0]
            return []

    # --- for the writer, in its thread -------------------------------------------------------------------------------

    def take(self) -> "tuple[DirtySet, Changes, list[Future[None]]]":
        """Return what is to be written now, and who waits for it; end with ``confirm``, ``fail`` or ``refuse``."""
        with self._guard:
            waiting, self._waiting = self._waiting, []
            contents, open_here = self.contents, self._owned
        if not open_here:  # whoever waits for a new key must not take it for one that is stored
            unsaved = SessionNotSaved(f"{self.where}: {_NOT_OPEN}") if contents.identity_unsaved else None
            _resolve(waiting, self._lost or unsaved)
            return DirtySet(), NOTHING, []
        with_dates = self._closing and contents.dates_decide()
        dirty, changes = contents.take()
        if not changes.rows and not with_dates:
            contents.give_back(dirty)
            return DirtySet(), NOTHING, waiting
        return dirty, changes, waiting

    def objection(self, owner: tuple[Any, ...] | None, living: Container[int], changes: Changes) -> SessionError | None:
        """Return why nothing may be written by what the transaction has found; None if it may.

        ``owner`` is owner, epoch, login and where the session was taken to.
        """
        if owner is None or owner[:2] != (self.ownership.life, self.ownership.epoch) or owner[0] not in living:
            return self._held(None)
        if owner[3] is not None:
            return self._taken(owner[3])
        expected = {key_fingerprint(self._key)} if self._key else {"", None}
        if changes.identity is not None:
            expected.add(key_fingerprint(changes.identity.key))
        if owner[2] not in expected:
            return SessionReplaced(f"{self.where}: the account was given another login, so nothing is written for it")
        return None

    def confirm(self, changes: Changes, waiting: "list[Future[None]]") -> None:
        """Note that it was committed."""
        if changes is not NOTHING:
            if changes.identity is not None:
                self._key = changes.identity.key
            self.contents.confirm()
            self._failures.clear(changes.rows)
        with self._guard:
            if self._closing and not self.contents.dirty:
                self._closing = self._owned = False
        _resolve(waiting, None)

    def fail(
        self, dirty: DirtySet, waiting: "list[Future[None]]", failure: DatabaseLocked | DatabaseUnavailable
    ) -> float:
        """Keep what could not be written; return in how many seconds to try again."""
        self.contents.give_back(dirty)
        with self._guard:
            self._waiting = [*waiting, *self._waiting]
        if str(self.rows.address) not in failure.detail:
            failure = evolve(failure, detail=f"{self.where}: {failure.detail}")
        return self._failures.add(failure, unsaved=self.contents.dirty.rows, in_haste=self._closing)

    def refuse(self, dirty: DirtySet, waiting: "list[Future[None]]", why: SessionError) -> None:
        """Write nothing any more: the account is another's, or has another login, which can be read."""
        self.contents.give_back(dirty)
        with self._guard:
            self._lost = why if isinstance(why, SessionHeld | SessionTaken) else None
            self._owned = self._closing = False
            waiting = [*waiting, *self._waiting]
            self._waiting = []
        self.report(DatabaseUnavailable(detail=str(why), unsaved=dirty.rows))
        _resolve(waiting, why)

    def _held(self, owner: Sequence[Any] | None) -> SessionHeld:
        who = (
            f"node {owner[0]!s:.64} on {owner[1]!s:.64} owns the account"
            if owner
            else "this node does not own the account"
        )
        return SessionHeld(
            f"{self.where}: {who}, so its session is neither used nor written here; the node that owns it goes on"
        )

    def _taken(self, to: str) -> SessionTaken:
        return SessionTaken(taken_away(self.where, to))


def taken_away(where: str, to: str) -> str:
    """Return the sentence for a session that was taken out of the store."""
    return (
        f"{where}: the session was taken away to {to}, and two programs with one login make Telegram destroy it; bring "
        "that file back with 'session bring'"
    )


def _resolve(waiting: "list[Future[None]]", error: SessionError | None) -> None:
    for future in waiting:
        if not future.set_running_or_notify_cancel():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
