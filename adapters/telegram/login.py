"""Logging in and out, without losing a session on the way.

A login happens in a session file of its own, beside the real one. Only when another client, on another connection, has
proven the login does that file take the real one's place, of which a backup is kept.
"""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import define, field, frozen
from telethon import TelegramClient, errors
from telethon.crypto import AuthKey
from telethon.tl.functions.auth import LogOutRequest
from telethon.tl.functions.updates import GetStateRequest

from adapters.session import HoldfastSession, OwnerLock, SessionError
from adapters.session import file as files
from adapters.session.backup import COMPANIONS, back_up, put_in_place, set_aside
from adapters.session.schema import as_bytes, choose_row, read_table
from adapters.sqlite.errors import StorageError
from adapters.telegram.cancellation import translate_cancellation
from adapters.telegram.classify import NotLoggedIn, classify
from adapters.telegram.connector import TelegramConnector
from adapters.telegram.conversation import (
    ByCode,
    Conversation,
    LoginFailed,
    LoginMethod,
    LoginPrompts,
    connect,
    translating_login_errors,
)
from adapters.telegram.engine_session import open_session, stored_user
from states.events import AuthRejected

TEST_PREFIX: Final = "99966"
MAX_KEY_TRIES: Final = 3
REQUEST_TIMEOUT: Final = 60.0
"""Seconds that each request of a login may take."""
CLOSE_TIMEOUT: Final = 5.0
OWN_TIMEOUT: Final = 5.0
"""Seconds that the session file may still be in use: an engine that was just told to release it needs a moment."""
LOGGED_OUT: Final = "{}.logged-out"
"""Name of the backup of a session whose login has ended; only its entities are still of use."""

NOT_PLACED: Final = "{}.not-placed"
"""Name of the backup of a login that was good, and whose session never took the old one's place."""


@frozen
class LoggedIn:
    """The result of a login."""

    backup: Path | None
    """The backup of the session that was there before; None if there was none."""


@define(eq=False)
class Login:
    """One login of one account, with the operator's answers from ``prompts``; run it once."""

    connector: TelegramConnector
    prompts: LoginPrompts
    timeout: float = REQUEST_TIMEOUT
    placed: bool = field(default=False, init=False)
    """Whether the new session has taken the old one's place; until then nothing has changed."""

    @property
    def name(self) -> str:
        """The account's name in the config."""
        return self.connector.name

    async def run(self, method: LoginMethod) -> LoggedIn:
        """Log in, prove the login, and put the session where the connector expects it; own the file all the while.

        Raises ``LoginFailed``; ``StorageError``, ``SessionHeld`` among them, for a file that cannot be used; and what
        the prompts raise. Nothing has changed then, unless the message says so.
        """
        async with own_session(self.connector.session), self._unfinished_file() as unfinished:
            async with self._client(unfinished, create=True) as client:
                await Conversation(client, self.prompts, self.name, self.timeout).log_in(method)
            user = await self._prove(unfinished)
            await self._confirm_user(user, unfinished)
            with anyio.CancelScope(shield=True):
                backup = await anyio.to_thread.run_sync(self._put_in_place, unfinished)
                self.placed = True
        return LoggedIn(backup)

    @asynccontextmanager
    async def _unfinished_file(self) -> AsyncIterator[Path]:
        """Yield the path of a file that does not exist yet; remove the file afterwards.

        What an earlier login left there, because it was killed or had no place for its session, is kept if it is good.
        """
        path = self.connector.session.with_name(f".{self.connector.session.stem}.login.session")
        kept = await anyio.to_thread.run_sync(_make_room, self.connector, path)
        if kept is not None:
            await self.prompts.say(f"An earlier login of {self.name} never took its place; its session is {kept} now.")
        keep = False
        try:
            yield path
        except NotPlaced:
            keep = True
            raise
        finally:
            if not keep:
                _remove(path)

    @asynccontextmanager
    async def _client(self, path: Path, *, create: bool = False) -> AsyncIterator[Any]:
        """Yield a client for the new session, through the account's proxy; it is not connected yet."""
        session = await anyio.to_thread.run_sync(lambda: HoldfastSession(path, create=create))
        try:
            if create and self.connector.address is not None:
                session.set_dc(*self.connector.address)
            # One key exchange in 256 has to be repeated (dh_gen_retry), which Telethon does only if it may retry.
            proxy = self.connector.failover.choose()
            client = self.connector.make_client(
                session, timeout=self.timeout, proxy=proxy, kind=TelegramClient, retries=MAX_KEY_TRIES
            )
            try:
                yield client
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_TIMEOUT):
                    await client.disconnect()
        finally:
            with anyio.CancelScope(shield=True):
                await session.close()

    async def _prove(self, path: Path) -> int:
        """Prove the new session on a connection of its own; return the id of its user."""
        async with self._client(path) as client:
            with translating_login_errors(self.name), anyio.fail_after(self.timeout):
                await connect(client)
                await translate_cancellation(client._sender.send(GetStateRequest()))
                me = await translate_cancellation(client.get_me())
            dc_id = client.session.dc_id
        if me is None:
            raise LoginFailed(f"{self.name} is not logged in: Telegram forgot the login at once; try again")
        if self.connector.address is not None and dc_id != self.connector.address[0]:
            raise LoginFailed(
                f"{self.name} is not logged in: the account lives in datacenter {dc_id}, and telegram.datacenter names "
                f"{self.connector.address[0]}; mend the config"
            )
        return int(me.id)

    async def _confirm_user(self, user: int, unfinished: Path) -> None:
        """Ask before another user takes the place of the present one; after a no, log the new one out again."""
        before = await anyio.to_thread.run_sync(stored_user, self.connector.session)
        if before is None or before == user:
            return
        question = f"Until now {self.name} was logged in as another user. Shall this user take that one's place?"
        if await self.prompts.confirm(question):
            return
        with anyio.move_on_after(self.timeout), suppress(errors.RPCError, OSError):
            async with self._client(unfinished) as client:
                await connect(client)
                await translate_cancellation(client._sender.send(LogOutRequest()))
        raise LoginFailed(f"{self.name} is as it was: another user logged in, and was logged out again")

    def _put_in_place(self, unfinished: Path) -> Path | None:
        """Put the new session in the real one's place, and return the backup of that one. Blocks."""
        session, backup = self.connector.session, None
        try:
            if session.exists():
                try:
                    backup = back_up(session, self.connector.backups, name=self.name)
                except SessionError:  # the file is not a usable session: it is moved away, but never overwritten
                    backup = set_aside(session)
            put_in_place(unfinished, session)
        except (StorageError, OSError) as exc:
            raise NotPlaced(
                f"{exc}; the new login is in {unfinished}: solve that, and rename {unfinished.name} to {session}"
            ) from exc
        return backup


class NotPlaced(LoginFailed):
    """The login is good, but its session could not take the old one's place; the session is kept where it is."""


@asynccontextmanager
async def own_session(session: Path) -> AsyncIterator[None]:
    """Own a session file, which need not exist, for the block. Raises ``SessionHeld``, and ``OSError``."""
    session.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = OwnerLock(session)
    await anyio.to_thread.run_sync(lock.acquire, OWN_TIMEOUT)
    try:
        yield
    finally:
        lock.release()


def _make_room(connector: TelegramConnector, path: Path) -> Path | None:
    """Remove the file of an earlier login; keep it among the backups if a user is logged in there, and return that.

    One that was killed after its last step left a copy of the session itself: that is kept already.
    """
    kept = None
    if stored_user(path) is not None and _key(path) != _key(connector.session):
        with suppress(SessionError):  # it is damaged, and was never more than a copy
            kept = back_up(path, connector.backups, name=NOT_PLACED.format(connector.name))
    _remove(path)
    return kept


def _key(path: Path) -> bytes | None:
    """Return the key in a session file; None if there is none that can be read."""
    with suppress(sqlite3.Error, OSError, SessionError), closing(files.connect(path, mode="ro", timeout=1.0)) as read:
        row = choose_row(read_table(read, "sessions"))
        return as_bytes(row[3]) if row else None
    return None


def _remove(session: Path) -> None:
    for suffix in ("", *COMPANIONS):
        session.with_name(session.name + suffix).unlink(missing_ok=True)


# --- out -------------------------------------------------------------------------------------------------------------


async def log_out(connector: TelegramConnector, *, timeout: float = REQUEST_TIMEOUT) -> Path:
    """Log an account out at the datacenter, and move its session, which is worthless then, to its backups.

    Returns the session's new path. A login that the datacenter does not know any more counts as logged out. Raises
    ``LoginFailed`` if the datacenter cannot be reached, and ``StorageError`` for a file that cannot be used; then
    nothing has changed.
    """
    try:
        session = await open_session(connector)
    except NotLoggedIn:
        raise LoginFailed(f"{connector.name} is not logged in: there is nothing to log out") from None
    try:
        await _log_out(connector, session, timeout)
    finally:
        with anyio.CancelScope(shield=True):
            await session.release()
    with anyio.CancelScope(shield=True):
        async with own_session(connector.session):
            copy = await anyio.to_thread.run_sync(_move_away, connector)
    return copy


async def _log_out(connector: TelegramConnector, session: Any, timeout: float) -> None:
    proxy = connector.failover.choose()
    client = connector.make_client(session, timeout=timeout, proxy=proxy, kind=TelegramClient)
    client._sender.auth_key = client._sender._state.auth_key = AuthKey(session.key)  # which the session lends to nobody
    session.admit()
    try:
        with anyio.fail_after(timeout):
            await connect(client)
            await translate_cancellation(client._sender.send(LogOutRequest()))
    except Exception as exc:
        failure = classify(exc)
        if not isinstance(failure, AuthRejected):
            raise LoginFailed(f"{connector.name} is still logged in: {failure.detail}; try again later") from exc
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_TIMEOUT):
            await client.disconnect()


def _move_away(connector: TelegramConnector) -> Path:
    copy = back_up(connector.session, connector.backups, name=LOGGED_OUT.format(connector.name))
    _remove(connector.session)
    return copy


# --- test numbers ----------------------------------------------------------------------------------------------------


@frozen
class KnownCodePrompts:
    """The answers for one of Telegram's test numbers, whose code follows from the number."""

    code: str

    async def ask_phone(self) -> str:
        """Raise: the number is always given."""
        raise LoginFailed("a test number is known beforehand")

    async def ask_code(self, where: str) -> str:
        """Return the code."""
        return self.code

    async def ask_password(self, hint: str) -> str:
        """Raise: the password cannot be known here."""
        raise LoginFailed("the account has a password, which only the command 'login' asks for")

    async def show_qr(self, url: str) -> None:
        """Show nothing."""

    async def say(self, sentence: str) -> None:
        """Say nothing."""

    async def confirm(self, question: str) -> bool:
        """Return False: no user takes another one's place."""
        return False


async def log_in_test_account(connector: TelegramConnector, phone: str, *, timeout: float = REQUEST_TIMEOUT) -> None:
    """Log in with a test number (99966XYYYY, code XXXXX) and put the session where the connector expects it.

    Raises ``ValueError`` for another number, ``TimeoutError`` after ``timeout`` seconds, and what ``Login.run`` does.
    """
    digits = phone.lstrip("+")
    if not (digits.startswith(TEST_PREFIX) and digits.isdigit() and len(digits) == len(TEST_PREFIX) + 5):
        raise ValueError("the sandbox knows test numbers only: +99966XYYYY, where X is 1, 2 or 3")
    assert connector.address is not None, "test numbers log in at a private datacenter"
    with anyio.fail_after(timeout):
        await Login(connector, KnownCodePrompts(digits[5] * 5), timeout + 1).run(ByCode(digits))
