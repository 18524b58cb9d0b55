"""The door of an engine for other programs, and the accounts behind it. A composition root."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import anyio
from attrs import define, field
from telethon import events

from adapters.sqlite import StorageError
from adapters.system import ContinuousClock
from adapters.telegram.connector import TelegramConnector
from adapters.telegram.remote_calls import RemoteCalls
from adapters.telegram.remote_updates import encode_update, is_for_programs, is_numbered, mark_of
from engine.app.account import Account, NotReady
from engine.app.account_places import AccountPlaces
from engine.app.handlers import Handlers
from engine.config import Config
from engine.remote.door import Door
from engine.remote.feeds import Feeds, UpdateStore
from engine.remote.frames import FailureKind
from engine.remote.ports import NotCarriedOut, Whereabouts
from engine.remote.programs import Programs

RETRY_SECONDS: Final = 5.0
GONE: Final = "this node does not have the account any more"


def unset_time() -> Callable[[], float]:
    """Return a clock of Unix seconds that goes on from now whatever the system's is set to: nothing is old by that."""
    clock = ContinuousClock().now
    shift = time.time() - clock()
    return lambda: clock() + shift


@define(eq=False)
class RemoteAccounts:
    """The accounts of an engine, as programs use them."""

    accounts: Callable[[], Mapping[str, Account]]
    """Returns them as they are now."""
    connectors: Mapping[str, TelegramConnector]
    has: Callable[[str], bool] = lambda account: True
    """Whether the engine has an account now; where nodes share them, another one may."""
    places: AccountPlaces | None = None
    """Where the accounts are that other nodes have; None: there are no others."""

    @property
    def names(self) -> Sequence[str]:
        """Their names."""
        return list(self.accounts())

    def datacenter(self, account: str) -> int:
        """Return the number of the datacenter in which an account lives; 0 if it is not known yet."""
        connector = self.connectors.get(account)
        if connector is None:
            return 0
        session = connector.memory.session
        if session is not None:
            return int(session.dc_id or 0)
        return connector.datacenter.id if connector.datacenter is not None else 0

    async def elsewhere(self, account: str) -> Whereabouts | None:
        """Return where an account is that this engine does not have."""
        return None if self.places is None or self.has(account) else await self.places.of(account)

    async def peers(self) -> Sequence[str]:
        """Return the data directories of the other nodes on this machine."""
        return () if self.places is None else await self.places.peers()

    async def client(self, account: str) -> Any:
        """Wait for the client of an account. Raises ``NotCarriedOut`` if no waiting helps."""
        known = self.accounts().get(account)
        if known is None:
            raise NotCarriedOut(FailureKind.NOT_READY, f"the engine has no account {account!r} any more")
        try:
            return await known.ready()
        except NotReady as exc:
            raise NotCarriedOut(FailureKind.NOT_READY, f"{exc}; nothing was sent") from None


@define(eq=False)
class RemoteParts:
    """The door of an engine, and the updates behind it, which go by the config as it is at each moment."""

    config: Callable[[], Config]
    accounts: RemoteAccounts
    store: UpdateStore
    handlers: Handlers
    programs: Programs = field(init=False)
    feeds: Feeds = field(init=False)
    door: Door = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.programs = Programs(lambda: self.config().remote)
        self.feeds = Feeds(
            self.store,
            self.programs,
            lambda: self.config().remote,
            lambda: self.accounts.names,
            self._begin_updates,
            now=unset_time(),
        )
        self.door = Door(self.programs, self.accounts, RemoteCalls(), self.feeds)
        self.handlers.first = self.handlers_of

    async def begin(self) -> None:
        """Go on where the file is. Raises ``StorageError``."""
        await self.feeds.load()

    def leave(self, accounts: Iterable[str]) -> None:
        """Let go of accounts that go on at another node; their programs connect again, and are told where that is."""
        for name in accounts:
            self.door.end(name, GONE)
            self.feeds.leave(name)

    async def use(self, renamed: Mapping[str, str]) -> None:
        """Go by the config as it is now; ``renamed`` has the new names of accounts by their old ones."""
        self.feeds.rename(renamed)
        await self.feeds.check()

    def handlers_of(self, account: str) -> list[tuple[Any, Any]]:
        """Return the handler that keeps an account's updates for programs, if one wants them."""
        return [(partial(self._keep, account), events.Raw())] if self.feeds.wants(account) else []

    def _begin_updates(self, account: str) -> None:
        if (connector := self.accounts.connectors.get(account)) is not None:
            self.handlers.renew(account, connector)

    async def _keep(self, account: str, update: Any) -> None:
        """Return when an update is stored for the programs: only then does the engine count it as handled."""
        if not is_for_programs(update) or getattr(update, "_stored", False):
            return  # handed over again because another handler was cancelled
        mark, encode = mark_of(update), partial(encode_update, update, update._client)
        while True:
            try:
                await self.feeds.add(account, mark, encode, numbered=is_numbered(update))
            except StorageError:  # the writer is over: the update is fetched again by the next engine
                await anyio.sleep(RETRY_SECONDS)
            else:
                update._stored = True
                return
