"""The connectors of a config's accounts, to Telegram or to the operator's own datacenter. A composition root."""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from attrs import frozen

from adapters.session.store import SessionPlace
from adapters.telegram import Datacenter, Proxy, ProxyFailover, TelegramConnector
from engine import paths
from engine.app.job_registry import JobRegistry
from engine.app.node_work import is_node
from engine.config import AccountConfig, Config, DatacenterConfig, ProxyConfig, SandboxConfig
from states import Policy

if TYPE_CHECKING:
    from engine.app.engine import Engine

MIN_DISCONNECT_DELAY = 75
"""Seconds without a ping after which Telegram drops a connection, as Telethon sets it."""
DISCONNECT_MARGIN = 15
"""Seconds that the datacenter waits longer than the engine before it gives up a silent link."""


class ConnectorSource(Protocol):
    """Opens the connectors of an engine's accounts."""

    def check(self, registry: JobRegistry) -> None:
        """Raise ``BadJob`` if the source's section of the config has a job that cannot be added."""

    def opened(self, engine: "Engine") -> AbstractAsyncContextManager[Mapping[str, TelegramConnector]]:
        """Yield a connector for each account; the engine's journal and jobs are open.

        The block begins before the first account starts, and ends after the last one has ended.
        """

    async def add(self, config: Config, accounts: Sequence[AccountConfig]) -> Mapping[str, TelegramConnector]:
        """Return a connector for each of these accounts of another config, which come to an engine that runs."""

    async def run(self) -> None:
        """Do the source's own work while the fleet runs, until cancelled."""


@frozen
class TelegramConnectors:
    """Connectors to Telegram, or to a datacenter that the engine has not started itself."""

    config: Config

    def check(self, registry: JobRegistry) -> None:
        """Return: this source has no jobs."""

    @asynccontextmanager
    async def opened(self, engine: "Engine") -> AsyncIterator[Mapping[str, TelegramConnector]]:
        """Yield the connectors; there is nothing to close."""
        yield connectors_outside(self.config)

    async def add(self, config: Config, accounts: Sequence[AccountConfig]) -> Mapping[str, TelegramConnector]:
        """Return the connectors of accounts that come later."""
        datacenter = datacenter_outside(config)
        return {account.name: connector_of(config, account, datacenter) for account in accounts}

    async def run(self) -> None:
        """Wait until cancelled."""
        await anyio.sleep_forever()


@frozen
class ClaimedConnectors(TelegramConnectors):
    """Connectors of the accounts that a node has claimed: none at the start, then one for each claim."""

    @asynccontextmanager
    async def opened(self, engine: "Engine") -> AsyncIterator[Mapping[str, TelegramConnector]]:
        """Yield none: they come with the claims."""
        datacenter_outside(self.config)  # a key that is no good is told at the start
        yield {}


def source_of(config: Config) -> ConnectorSource:
    """Return the source for the datacenter that a config names."""
    if is_node(config):
        return ClaimedConnectors(config)
    if isinstance(config.telegram.datacenter, SandboxConfig):
        from engine.app.sandbox import SandboxDemo  # noqa: PLC0415  # production never imports the sandbox

        return SandboxDemo(config)
    return TelegramConnectors(config)


def connector_of(
    config: Config,
    account: AccountConfig,
    datacenter: Datacenter | None,
    place: SessionPlace | None = None,
    *,
    leased: bool = False,
) -> TelegramConnector:
    """Return the connector of an account to a datacenter; None means Telegram itself.

    With ``place`` the session is there, and not in its file. ``leased`` says that another node may have the account
    next.
    """
    elsewhere: dict[str, Any] = {"leased": leased} if place is None else {"place": place, "leased": True}
    return TelegramConnector(
        session=account.session,
        api_id=config.telegram.api_id,
        api_hash=config.telegram.api_hash,
        datacenter=datacenter,
        failover=ProxyFailover(tuple(map(_proxy, account.proxy))),
        disconnect_delay=disconnect_delay(config.states),
        wait_up_to=wait_up_to(config, account),
        backups=config.storage.directory / paths.BACKUPS,
        name=account.name,
        **elsewhere,
    )


def connectors_of(config: Config, datacenters: Mapping[str, Datacenter | None]) -> dict[str, TelegramConnector]:
    """Return the connectors of all accounts; ``datacenters`` has that of each account by its name."""
    return {account.name: connector_of(config, account, datacenters[account.name]) for account in config.accounts}


def connectors_outside(config: Config) -> dict[str, TelegramConnector]:
    """Return the connectors of all accounts to Telegram, or to the datacenter that the config gives by address."""
    datacenter = datacenter_outside(config)
    return connectors_of(config, {account.name: datacenter for account in config.accounts})


def datacenter_outside(config: Config) -> Datacenter | None:
    """Return the datacenter that the config gives by address, and make Telethon trust it; None means Telegram."""
    if not isinstance(config.telegram.datacenter, DatacenterConfig):
        return None
    given = config.telegram.datacenter
    datacenter = Datacenter(given.id, given.host, given.port, given.public_key)
    datacenter.trust()
    return datacenter


def wait_up_to(config: Config, account: AccountConfig) -> float:
    """Return the seconds that a request of an account waits in place for a flood wait."""
    return (account.requests or config.requests).wait_up_to


def disconnect_delay(policy: Policy) -> int:
    """Return the seconds without a ping after which the datacenter may drop a link: later than the engine does."""
    silent = policy.healthy.probe_every + sum(policy.timeout.patience)
    return max(MIN_DISCONNECT_DELAY, math.ceil(silent + DISCONNECT_MARGIN))


def _proxy(config: ProxyConfig | None) -> Proxy | None:
    if config is None:
        return None
    user, password, secret = config.user, config.password, config.secret
    return Proxy(config.scheme.value, config.host, config.port, user=user, password=password, secret=secret)
