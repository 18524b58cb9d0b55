"""Attempts through proxies, for tests."""

import attrs

from adapters.telegram import Proxy, ProxyFailover, TelegramConnector, TelegramLink
from states import Event
from states.events import Connected, Failure
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.proxies import SECRETS, LocalProxy
from tests.timeouts import TIMEOUT


def proxied(
    harness: DatacenterHarness, *proxies: Proxy | None, failover: ProxyFailover | None = None
) -> TelegramConnector:
    """Return a connector whose links go through these proxies."""
    return attrs.evolve(harness.connector(), failover=failover or ProxyFailover(proxies))


async def attempt(connector: TelegramConnector, *, timeout: float = TIMEOUT) -> Event:
    """Return what comes of an attempt, and close it."""
    link = connector.link(1)
    try:
        return (await link.open(timeout=timeout))[-1]
    finally:
        await link.close(timeout=TIMEOUT)
        await connector.settle()


async def failure(connector: TelegramConnector, *, timeout: float = TIMEOUT) -> Failure:
    """Return the failure of an attempt; nothing that is secret is in it."""
    event = await attempt(connector, timeout=timeout)
    assert isinstance(event, Failure)
    assert not [secret for secret in SECRETS if secret in repr(event)]
    return event


async def opened(connector: TelegramConnector) -> TelegramLink:
    """Return a link that is proven."""
    link = connector.link(1)
    assert isinstance((await link.open(timeout=TIMEOUT))[-1], Connected)
    return link


async def refused_port() -> int:
    """Return a port of loopback that nothing listens on."""
    async with LocalProxy("socks5").listening() as gone:
        return gone.port
