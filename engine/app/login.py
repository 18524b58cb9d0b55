"""``login`` and ``logout`` of one account, whether the engine runs or not. A composition root."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from attrs import define, field, frozen

from adapters.sqlite import JournalMissing, StorageError
from adapters.system import EngineLock, Holder, holder_of
from adapters.telegram import (
    AsBot,
    Datacenter,
    Login,
    LoginFailed,
    LoginMethod,
    LoginPrompts,
    TelegramConnector,
    log_out,
)
from engine import paths
from engine.app.records import open_records
from engine.app.sandbox import sandbox_datacenter, sandbox_of
from engine.app.telegram import connector_of, datacenter_outside
from engine.config import AccountConfig, Config, SandboxConfig
from engine.console.format import date_and_time
from engine.console.shell import engine_command
from engine.control import CommandOutcome, CommandRefused, EngineSilent, RefusalReason, Verb, hold, send_command
from states import Snapshot, State

NOTICE_TIMEOUT: Final = 15.0
"""Seconds that the engine has to notice the new login and to connect with it."""
POLL_INTERVAL: Final = 0.2
SETTLED: Final = (State.HEALTHY, State.AUTH_FAILED)
"""The states that show what became of a new login."""


@frozen
class LoginOutcome:
    """Whether the command succeeded, and what to print about it."""

    done: bool
    sentences: tuple[str, ...]


def _stored_snapshot(config: Config, account: str) -> Snapshot:
    try:
        with open_records(config.storage) as reader:
            reader.on_unreadable = lambda row: None  # as if nothing were stored
            found = reader.snapshots().get(account)
    except JournalMissing:
        found = None
    return found[0] if found else Snapshot()


@define(eq=False)
class _RunningEngine:
    """The engine that another process runs on the same data, as far as it concerns one account."""

    config: Config
    account: str
    holder: Holder

    def read_snapshot(self) -> Snapshot:
        """Return the account's snapshot as stored; the default one if the engine has not stored any."""
        return _stored_snapshot(self.config, self.account)

    async def hold(self, stack: ExitStack) -> bool:
        """Have the engine pause the account until ``stack`` is closed, if ``resume`` is not called before.

        Returns False if the engine does not know the account. Raises ``LoginFailed`` if it does not answer, or do it.
        """

        def ask() -> CommandOutcome:
            outcome, connection = hold(self.config, self.account)
            stack.enter_context(connection)
            return outcome

        return await self._send(ask)

    async def resume(self) -> bool:
        """Have the engine resume the account; as ``hold``."""
        return await self._send(lambda: send_command(self.config, Verb.RESUME, self.account)[0])

    async def _send(self, ask: Callable[[], CommandOutcome]) -> bool:
        try:
            outcome = await anyio.to_thread.run_sync(ask)
        except EngineSilent as exc:
            raise LoginFailed(
                f"{exc}; process {self.holder.pid} holds the data: if it is just starting, or another login is under "
                "way, try again in a moment"
            ) from exc
        except CommandRefused as exc:
            if exc.kind == RefusalReason.UNKNOWN_ACCOUNT:
                return False
            raise LoginFailed(str(exc)) from exc
        if not outcome.done:
            raise LoginFailed(outcome.said)
        return True

    async def wait_until(self, holds: Callable[[Snapshot], bool]) -> Snapshot:
        """Return the account's snapshot as soon as ``holds`` is true of it, or after ``NOTICE_TIMEOUT``."""
        with anyio.move_on_after(NOTICE_TIMEOUT):
            # Another process writes the snapshot, so it has to be polled.
            while not holds(await anyio.to_thread.run_sync(self.read_snapshot)):  # noqa: ASYNC110
                await anyio.sleep(POLL_INTERVAL)
        return await anyio.to_thread.run_sync(self.read_snapshot)


@define(eq=False)
class CredentialsCommand:
    """A login or logout of one account; ``prompts`` carries the dialogue."""

    config: Config
    account: AccountConfig
    prompts: LoginPrompts
    login: Login | None = field(default=None, init=False)

    @property
    def changed(self) -> bool:
        """Whether the account has a new session already."""
        return self.login is not None and self.login.placed

    async def log_in(self, method: LoginMethod) -> LoginOutcome:
        """Log the account in. Raises ``LoginFailed``, ``LockHeld``, ``StorageError``, ``SandboxError``, ``OSError``."""
        name = self.account.name
        if not isinstance(method, AsBot) and not await self._may_replace():
            return LoginOutcome(False, ("Nothing was changed",))
        async with AsyncExitStack() as stack:
            engine, before, connector = await self._prepare(stack)
            async with self._session_free(engine, before) as known:
                self.login = Login(connector, self.prompts)
                backup = (await self.login.run(method)).backup
            sentences = [f"{name} is logged in"]
            if backup is not None:
                sentences.append(f"The previous session is kept as {backup}")
            if self.config.storage.database is not None:
                sentences += await anyio.to_thread.run_sync(self._way_to_nodes)
            if engine is None:
                return LoginOutcome(True, tuple(sentences))
            if not known:
                advice = f"The running engine does not know {name} yet; restart it"
                return LoginOutcome(True, (*sentences, advice))
            if before.paused:
                return LoginOutcome(True, (*sentences, f"The engine has {name} paused; resume it to go on"))
            after = await engine.wait_until(lambda at: at.credentials != before.credentials and at.state in SETTLED)
            return _describe_effect(self.config.path, name, before, after, sentences)

    def _way_to_nodes(self) -> list[str]:
        """Return how a login that is in a file now comes to the nodes, whose sessions are in the database."""
        from adapters.postgres.address import StoreAddress  # noqa: PLC0415 - only such a config needs the client
        from adapters.postgres.session_lookup import logins_of  # noqa: PLC0415

        assert self.config.storage.database is not None, "the caller has asked"
        path, name = self.config.path, self.account.name
        bring = engine_command("session bring", path)
        try:
            is_there = logins_of(StoreAddress.parse(self.config.storage.database)).get(name, "") is None
        except StorageError as exc:
            return [f"The login is in {self.account.session}; for the nodes: {bring} (the database now: {exc})"]
        if not is_there:
            return [f"The login is in {self.account.session}, which no node reads; to move it to the database: {bring}"]
        take = engine_command("session take", path, name, options=("--to", f"{name}-old.session"))
        return [
            f"The login is in {self.account.session}; the nodes use the former one until you take that out of the "
            f"database ({take}) and move the new one in ({bring})"
        ]

    async def _may_replace(self) -> bool:
        """Ask before a code is sent for an account that needs none: its login worked when it was last seen."""
        at = await anyio.to_thread.run_sync(_stored_snapshot, self.config, self.account.name)
        refused = State.AUTH_FAILED in (at.state, at.resumes)
        if not at.last_success or refused or not self.account.session.exists():
            return True
        worked = f"{self.account.name} has a login, which worked at {date_and_time(at.last_success)}."
        return await self.prompts.confirm(f"{worked} Replace it by a new one?")

    async def log_out(self) -> LoginOutcome:
        """Log the account out. Raises as ``log_in`` does."""
        name = self.account.name
        if self.config.storage.database is not None and not self.account.session.exists():
            take = engine_command("session take", self.config.path, name)
            raise LoginFailed(
                f"{name}: its session is in the database, where nodes may use it, and a login is ended from its file; "
                f"take it out first: {take}"
            )
        async with AsyncExitStack() as stack:
            engine, before, connector = await self._prepare(stack)
            async with self._session_free(engine, before) as known:
                copy = await log_out(connector)
            sentences = [
                f"{name} is logged out; its session, which is useless now, was moved to {copy}",
                f"To log in again: {engine_command('login', self.config.path, name)}",
            ]
            if engine is not None and known and not before.paused:
                at = await engine.wait_until(lambda at: at.state is State.AUTH_FAILED)
                sentences.append(f"The engine has {name} in {at.state.value} now, and leaves it there")
            return LoginOutcome(True, tuple(sentences))

    async def _prepare(self, stack: AsyncExitStack) -> tuple[_RunningEngine | None, Snapshot, TelegramConnector]:
        """Return the engine, if one runs, the account's snapshot in it, and the account's connector."""
        engine = await stack.enter_async_context(self._running_engine())
        before = await anyio.to_thread.run_sync(engine.read_snapshot) if engine else Snapshot()
        return engine, before, await stack.enter_async_context(self._connector(engine))

    @asynccontextmanager
    async def _running_engine(self) -> AsyncIterator[_RunningEngine | None]:
        """Yield the engine that runs on this data; if none does, keep one from starting where it would do harm."""
        lock = self.config.storage.directory / paths.LOCK
        holder = holder_of(lock)
        if self.config.storage.database is not None:
            yield None  # nodes use what is in the database, and this command the file
        elif holder is not None:
            yield _RunningEngine(self.config, self.account.name, holder)
        elif isinstance(self.config.telegram.datacenter, SandboxConfig):
            # This command starts the sandbox. A second one on the same state would overwrite the first one's logins.
            self.config.storage.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with EngineLock(lock).held(0.0):
                yield None
        else:
            yield None

    @asynccontextmanager
    async def _connector(self, engine: _RunningEngine | None) -> AsyncIterator[TelegramConnector]:
        """Yield the account's connector to the datacenter that the config names."""
        match self.config.telegram.datacenter:
            case SandboxConfig() if engine is not None:
                found = sandbox_of(self.config, engine.holder.pid)
                if found is None:
                    raise LoginFailed(
                        f"the sandbox of process {engine.holder.pid} cannot be found; if that is just starting, or "
                        "another login is under way, try again in a moment"
                    )
                yield self._connector_to(found)
            case SandboxConfig():
                await self.prompts.say("Starting the sandbox datacenter; the first time it makes its keys.")
                async with sandbox_datacenter(self.config) as datacenter:
                    yield self._connector_to(datacenter)
            case _:
                yield self._connector_to(datacenter_outside(self.config))

    def _connector_to(self, datacenter: Datacenter | None) -> TelegramConnector:
        return connector_of(self.config, self.account, datacenter)

    @asynccontextmanager
    async def _session_free(self, engine: _RunningEngine | None, at: Snapshot) -> AsyncIterator[bool]:
        """Keep the engine off the account's session meanwhile; yield whether the engine knows the account.

        An account with unusable credentials need not be paused: its session is not in use, and the engine waits for
        other credentials in it.
        """
        if engine is None or at.paused or at.state is State.AUTH_FAILED:
            yield engine is not None
            return
        with ExitStack() as held:  # by this process: the account goes on also if it is killed
            paused = await engine.hold(held)
            if paused:
                await self.prompts.say(f"{self.account.name} is paused in the running engine meanwhile.")
            try:
                yield paused
            finally:
                if paused:
                    with anyio.CancelScope(shield=True):
                        await self._resume(engine)

    async def _resume(self, engine: _RunningEngine) -> None:
        """Resume the account; if the engine has stopped meanwhile, the login has succeeded all the same."""
        try:
            await engine.resume()
        except LoginFailed as exc:
            name = self.account.name
            mend = engine_command("resume", self.config.path, name)
            await self.prompts.say(f"{name} may still be paused ({exc}); to resume it: {mend}")


def _describe_effect(path: Path, name: str, before: Snapshot, after: Snapshot, sentences: list[str]) -> LoginOutcome:
    """Return the outcome of a login, with what the engine has done with it so far."""
    if after.credentials == before.credentials:
        see = engine_command("status", path, name)
        effect = f"The engine has not noticed yet; it looks every few seconds, see: {see}"
        return LoginOutcome(True, (*sentences, effect))
    if after.state is State.AUTH_FAILED:
        why = f" ({after.cause.detail})" if after.cause else ""
        effect = f"The engine tried the new login, and has {name} in auth_failed again{why}"
        return LoginOutcome(False, (*sentences, effect))
    return LoginOutcome(True, (*sentences, f"The engine uses the new login: {name} is {after.state.value}"))
