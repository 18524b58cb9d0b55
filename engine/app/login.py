"""``login`` and ``logout``: one account's credentials, with the engine running beside it or not. A composition root."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
from attrs import define, field, frozen

from adapters.sqlite import JournalMissing, JournalReader
from adapters.system import EngineLock, Holder, holder_of
from adapters.telegram import Datacenter, Login, LoginFailed, LoginMethod, LoginPrompts, TelegramConnector, log_out
from engine import paths
from engine.app.sandbox import sandbox_datacenter, sandbox_of
from engine.app.telegram import connector_of, datacenter_outside
from engine.config import AccountConfig, Config, SandboxConfig
from engine.control import EngineSilent, Request, Verb, ask
from engine.control.protocol import RefusalReason
from states import Snapshot, State

NOTICE_SECONDS: Final = 15.0
"""How long the engine may take to notice the new login, and to connect with it."""
LOOK_SECONDS: Final = 0.2
BEYOND_GRACE_SECONDS: Final = 40.0
"""Beyond the grace of a closing, after which the engine has given up on any wish itself."""
SETTLED: Final = (State.HEALTHY, State.AUTH_FAILED)


@frozen
class LoginOutcome:
    """What came of it, as sentences for people, and whether that is what was wanted."""

    done: bool
    sentences: tuple[str, ...]


@define(eq=False)
class _Running:
    """The engine that runs beside us, as far as it concerns one account."""

    config: Config
    account: str
    holder: Holder

    def at(self) -> Snapshot:
        """Return where the account is."""
        try:
            with JournalReader.open(self.config.storage.directory / paths.DATABASE) as reader:
                found = reader.snapshots().get(self.account)
        except JournalMissing:
            found = None
        return found[0] if found else Snapshot()

    async def tell(self, verb: Verb) -> bool:
        """Have it pause or resume the account; return False if it has no such account.

        Raises ``LoginFailed`` if it does not do it.
        """
        timeout = self.config.states.shutting_down.grace + BEYOND_GRACE_SECONDS
        wish = partial(ask, self.config.storage.directory / paths.SOCKET, Request(verb, self.account), timeout=timeout)
        try:
            answer = await anyio.to_thread.run_sync(wish)
        except EngineSilent as exc:
            raise LoginFailed(
                f"{exc}; process {self.holder.pid} holds the data: if it is just starting, or another login is under "
                "way, try again in a moment"
            ) from exc
        if answer.get("kind") == RefusalReason.UNKNOWN_ACCOUNT:
            return False
        if not answer.get("ok"):
            raise LoginFailed(str(answer.get("error")))
        (outcome,) = answer["accounts"]
        if not outcome["done"]:
            raise LoginFailed(str(outcome["said"]))
        return True

    async def wait(self, holds: Callable[[Snapshot], bool]) -> Snapshot:
        """Return where the account is as soon as ``holds``, or after ``NOTICE_SECONDS``."""
        with anyio.move_on_after(NOTICE_SECONDS):
            while not holds(await anyio.to_thread.run_sync(self.at)):  # noqa: ASYNC110  # another process writes it
                await anyio.sleep(LOOK_SECONDS)
        return await anyio.to_thread.run_sync(self.at)


@define(eq=False)
class CredentialsCommand:
    """One command on one account; what it says is up to the ``prompts``."""

    config: Config
    account: AccountConfig
    prompts: LoginPrompts
    login: Login | None = field(default=None, init=False)

    @property
    def changed(self) -> bool:
        """Whether the account has another session now."""
        return self.login is not None and self.login.placed

    async def log_in(self, way: LoginMethod) -> LoginOutcome:
        """Log the account in. Raises ``LoginFailed``, ``LockHeld``, ``StorageError``, ``SandboxError``, ``OSError``."""
        name = self.account.name
        async with AsyncExitStack() as parts:
            engine = await parts.enter_async_context(self._beside())
            before = await anyio.to_thread.run_sync(engine.at) if engine else Snapshot()
            connector = await parts.enter_async_context(self._connector(engine))
            async with self._at_rest(engine, before) as known:
                self.login = Login(connector, self.prompts)
                backup = (await self.login.run(way)).backup
            said = [f"{name} is logged in"]
            if backup is not None:
                said.append(f"The session before it is kept as {backup}")
            if engine is None or not known:
                return LoginOutcome(True, (*said, *self._start_it(engine)))
            if before.paused:
                return LoginOutcome(True, (*said, f"The engine has {name} paused; resume it to go on"))
            after = await engine.wait(lambda at: at.credentials != before.credentials and at.state in SETTLED)
            return _noticed(name, before, after, said)

    async def log_out(self) -> LoginOutcome:
        """Log the account out. Raises as ``log_in`` does."""
        name = self.account.name
        async with AsyncExitStack() as parts:
            engine = await parts.enter_async_context(self._beside())
            before = await anyio.to_thread.run_sync(engine.at) if engine else Snapshot()
            connector = await parts.enter_async_context(self._connector(engine))
            async with self._at_rest(engine, before) as known:
                copy = await log_out(connector)
            said = [
                f"{name} is logged out; its session, which is worth nothing now, was moved to {copy}",
                f"To log in again: python -m engine login {self.config.path} {_quoted(name)}",
            ]
            if engine is not None and known and not before.paused:
                at = await engine.wait(lambda at: at.state is State.AUTH_FAILED)
                said.append(f"The engine has {name} in {at.state.value} now, and leaves it there")
            return LoginOutcome(True, tuple(said))

    @asynccontextmanager
    async def _beside(self) -> AsyncIterator[_Running | None]:
        """Yield the engine that runs on this data; without one, keep one from starting where that would disturb."""
        lock = self.config.storage.directory / paths.LOCK
        holder = holder_of(lock)
        if holder is not None:
            yield _Running(self.config, self.account.name, holder)
        elif isinstance(self.config.telegram.datacenter, SandboxConfig):
            # Its sandbox is started here, and two on one state would forget each other's logins.
            self.config.storage.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with EngineLock(lock).held(0.0):
                yield None
        else:
            yield None

    @asynccontextmanager
    async def _connector(self, engine: _Running | None) -> AsyncIterator[TelegramConnector]:
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
    async def _at_rest(self, engine: _Running | None, at: Snapshot) -> AsyncIterator[bool]:
        """Have the engine leave the account's session alone meanwhile; yield whether it knows the account at all.

        One that is stopped for its credentials it leaves alone anyway, and looks whether there are others.
        """
        if engine is None or at.paused or at.state is State.AUTH_FAILED:
            yield engine is not None
            return
        paused = await engine.tell(Verb.PAUSE)
        if paused:
            await self.prompts.say(f"{self.account.name} is paused in the running engine meanwhile.")
        try:
            yield paused
        finally:
            if paused:
                with anyio.CancelScope(shield=True):
                    await self._resume(engine)

    async def _resume(self, engine: _Running) -> None:
        """Have the account go on; an engine that has stopped meanwhile is no failure of the login."""
        try:
            await engine.tell(Verb.RESUME)
        except LoginFailed as exc:
            name = self.account.name
            await self.prompts.say(
                f"{name} may be paused still ({exc}); see: python -m engine resume … {_quoted(name)}"
            )

    def _start_it(self, engine: _Running | None) -> tuple[str, ...]:
        if engine is None:
            return ()
        return (f"The running engine does not know {self.account.name} yet; restart it",)


def _noticed(name: str, before: Snapshot, after: Snapshot, said: list[str]) -> LoginOutcome:
    """Return what the engine has made of the new login so far."""
    if after.credentials == before.credentials:
        return LoginOutcome(
            True, (*said, f"The engine has not noticed yet; it looks every few seconds, see: status {name}")
        )
    if after.state is State.AUTH_FAILED:
        why = f" ({after.cause.detail})" if after.cause else ""
        return LoginOutcome(False, (*said, f"The engine tried it, and has {name} in auth_failed again{why}"))
    return LoginOutcome(True, (*said, f"The engine uses the new login: {name} is {after.state.value}"))


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name
