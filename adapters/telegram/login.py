"""Logging in and out, so that nothing is lost on the way.

A login happens in a session file of its own, beside the real one. Only when another client, on another connection, has
proven that it holds does it take the real one's place, of which a backup is kept.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import define, field, frozen
from telethon import TelegramClient, errors
from telethon.tl.functions.auth import LogOutRequest
from telethon.tl.functions.updates import GetStateRequest

from adapters.session import HoldfastSession, OwnerLock, SessionError
from adapters.session.backup import back_up, put_in_place, set_aside
from adapters.sqlite.errors import StorageError
from adapters.telegram.classify import NotLoggedIn, classify
from adapters.telegram.client import asked
from adapters.telegram.conversation import ByCode, Conversation, LoginFailed, Person, Way, connect, translating_errors
from adapters.telegram.engine_session import open_session, stored_user
from adapters.telegram.link import TelegramConnector
from states.events import AuthRejected

TEST_PREFIX: Final = "99966"
KEY_TRIES: Final = 3
TIMEOUT: Final = 60.0
"""Seconds that each request of a login may take."""
CLOSE_SECONDS: Final = 5.0
OWNING_SECONDS: Final = 5.0
"""How long the session file may still be in use: an engine that was just told to let go of it needs a moment."""
COMPANIONS: Final = ("", "-wal", "-shm", "-journal")
LOGGED_OUT: Final = "{}.logged-out"
"""What copies of sessions are called that are good for nothing but their contents."""


@frozen
class LoggedIn:
    """What came of a login."""

    backup: Path | None
    """Where the session that was there before is now; None if there was none."""


@define(eq=False)
class Login:
    """One login of one account, by ``person``; to be run once."""

    connector: TelegramConnector
    person: Person
    timeout: float = TIMEOUT
    placed: bool = field(default=False, init=False)
    """Whether the new session has taken its place: from then on something has changed."""

    @property
    def name(self) -> str:
        """What people call the account."""
        return self.connector.name

    async def run(self, way: Way) -> LoggedIn:
        """Log in, prove it, and put the session where the connector expects it, all of it as its only owner.

        Raises ``LoginFailed``; ``StorageError``, ``SessionHeld`` among them, for a file that cannot be used; and what
        the person raises. Nothing has changed then, unless the message says so.
        """
        async with owned(self.connector.session), self._unfinished() as unfinished:
            async with self._client(unfinished, create=True) as client:
                await Conversation(client, self.person, self.name, self.timeout).log_in(way)
            user = await self._prove(unfinished)
            await self._same_user(user, unfinished)
            with anyio.CancelScope(shield=True):
                backup = await anyio.to_thread.run_sync(self._place, unfinished)
                self.placed = True
        return LoggedIn(backup)

    @asynccontextmanager
    async def _unfinished(self) -> AsyncIterator[Path]:
        """Yield a file that does not exist yet, and is gone afterwards."""
        path = self.connector.session.with_name(f".{self.connector.session.stem}.login.session")
        await anyio.to_thread.run_sync(_remove, path)
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
        """Yield a client on the new session, through the account's proxy, that connects when it is told to."""
        session = await anyio.to_thread.run_sync(lambda: HoldfastSession(path, create=create))
        try:
            if create and self.connector.address is not None:
                session.set_dc(*self.connector.address)
            # One key exchange in 256 has to be repeated (dh_gen_retry), which Telethon does only when it may retry.
            proxy = self.connector.failover.choose()
            client = self.connector.client(
                session, timeout=self.timeout, proxy=proxy, kind=TelegramClient, retries=KEY_TRIES
            )
            try:
                yield client
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
                    await client.disconnect()
        finally:
            with anyio.CancelScope(shield=True):
                await session.close()

    async def _prove(self, path: Path) -> int:
        """Have the new session answered on a connection of its own; return whose it is."""
        async with self._client(path) as client:
            with translating_errors(self.name), anyio.fail_after(self.timeout):
                await connect(client)
                await asked(client._sender.send(GetStateRequest()))
                me = await asked(client.get_me())
            dc_id = client.session.dc_id
        if me is None:
            raise LoginFailed(f"{self.name} is not logged in: Telegram forgot the login at once; try again")
        if self.connector.address is not None and dc_id != self.connector.address[0]:
            raise LoginFailed(
                f"{self.name} is not logged in: it lives in datacenter {dc_id}, and telegram.datacenter names "
                f"{self.connector.address[0]}; mend the config"
            )
        return int(me.id)

    async def _same_user(self, user: int, unfinished: Path) -> None:
        """Ask before another user takes the place of the one that there was; who says no is logged out again."""
        before = await anyio.to_thread.run_sync(stored_user, self.connector.session)
        if before is None or before == user:
            return
        question = f"This is another user than {self.name} was logged in as until now. Shall it take that one's place?"
        if await self.person.confirm(question):
            return
        with anyio.move_on_after(self.timeout), suppress(errors.RPCError, OSError):
            async with self._client(unfinished) as client:
                await connect(client)
                await asked(client._sender.send(LogOutRequest()))
        raise LoginFailed(f"{self.name} is as it was: another user logged in, and was logged out again")

    def _place(self, unfinished: Path) -> Path | None:
        """Put the new session in the real one's place, and return where that one is now. Blocks."""
        session, backup = self.connector.session, None
        try:
            if session.exists():
                try:
                    backup = back_up(session, self.connector.backups, name=self.name)
                except SessionError:  # it is no session of anybody: out of the way with it, but never overwritten
                    backup = set_aside(session)
            put_in_place(unfinished, session)
        except (StorageError, OSError) as exc:
            raise NotPlaced(f"{exc}; the new login is in {unfinished}: mend that, and rename it to {session}") from exc
        return backup


class NotPlaced(LoginFailed):
    """The login is good, but its session could not take its place, and is kept where it is."""


@asynccontextmanager
async def owned(session: Path) -> AsyncIterator[None]:
    """Be the owner of a session file, which need not exist. Raises ``SessionHeld``, and ``OSError``."""
    session.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = OwnerLock(session)
    await anyio.to_thread.run_sync(lock.acquire, OWNING_SECONDS)
    try:
        yield
    finally:
        lock.release()


def _remove(session: Path) -> None:
    for suffix in COMPANIONS:
        session.with_name(session.name + suffix).unlink(missing_ok=True)


# --- out -------------------------------------------------------------------------------------------------------------


async def log_out(connector: TelegramConnector, *, timeout: float = TIMEOUT) -> Path:
    """Log an account out at the datacenter, and move its session, which is worth nothing then, to its backups.

    Returns where it is now. A login that the datacenter does not know any more counts as logged out. Raises
    ``LoginFailed`` if that cannot be reached, ``StorageError`` for a file that cannot be used; nothing has changed
    then.
    """
    try:
        session = await open_session(connector)
    except NotLoggedIn:
        raise LoginFailed(f"{connector.name} is not logged in: there is nothing to log out") from None
    try:
        await _log_out(connector, session, timeout)
    finally:
        with anyio.CancelScope(shield=True):
            await session.give_up()
    with anyio.CancelScope(shield=True):
        async with owned(connector.session):
            copy = await anyio.to_thread.run_sync(_move_away, connector)
    return copy


async def _log_out(connector: TelegramConnector, session: Any, timeout: float) -> None:
    proxy = connector.failover.choose()
    client = connector.client(session, timeout=timeout, proxy=proxy, kind=TelegramClient)
    try:
        with anyio.fail_after(timeout):
            await connect(client)
            await asked(client._sender.send(LogOutRequest()))
    except Exception as exc:
        failure = classify(exc)
        if not isinstance(failure, AuthRejected):
            raise LoginFailed(f"{connector.name} is still logged in: {failure.detail}; try again later") from exc
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
            await client.disconnect()


def _move_away(connector: TelegramConnector) -> Path:
    copy = back_up(connector.session, connector.backups, name=LOGGED_OUT.format(connector.name))
    _remove(connector.session)
    return copy


# --- test numbers ----------------------------------------------------------------------------------------------------


@frozen
class KnownCode:
    """Answers for one of Telegram's test numbers, which need no person."""

    code: str

    async def ask_phone(self) -> str:
        """Never asked."""
        raise LoginFailed("a test number is known beforehand")

    async def ask_code(self, where: str) -> str:
        """Return the code, which everybody knows."""
        return self.code

    async def ask_password(self, hint: str) -> str:
        """Give up: nobody is there to ask."""
        raise LoginFailed("it has a password that only a person knows; log in with: python -m engine login")

    async def show_qr(self, url: str) -> None:
        """Show nothing."""

    async def say(self, sentence: str) -> None:
        """Say nothing."""

    async def confirm(self, question: str) -> bool:
        """Change nobody for another one."""
        return False


async def log_in_test_account(connector: TelegramConnector, phone: str, *, timeout: float = TIMEOUT) -> None:
    """Log in with a test number (99966XYYYY, code XXXXX) and put the session where the connector expects it.

    Raises ``ValueError`` for another number, ``TimeoutError`` after ``timeout`` seconds, and what ``Login.run`` does.
    """
    digits = phone.lstrip("+")
    if not (digits.startswith(TEST_PREFIX) and digits.isdigit() and len(digits) == len(TEST_PREFIX) + 5):
        raise ValueError("the sandbox knows test numbers only: +99966XYYYY, where X is 1, 2 or 3")
    assert connector.address is not None, "test numbers log in at a datacenter of one's own"
    with anyio.fail_after(timeout):
        await Login(connector, KnownCode(digits[5] * 5), timeout + 1).run(ByCode(digits))
