"""Attempts through proxies, for tests."""

import attrs

from adapters.telegram import Connector, Failover, Proxy, TelegramLink
from states import Event
from states.events import Connected, Failure
from tests.adapters.telegram.place import Place
from tests.adapters.telegram.proxies import SECRETS, LocalProxy

PATIENCE = 10.0


def through(place: Place, *proxies: Proxy | None, failover: Failover | None = None) -> Connector:
    """Return a connector whose links go through these proxies."""
    return attrs.evolve(place.connector(), failover=failover or Failover(proxies))


async def attempt(connector: Connector, *, patience: float = PATIENCE) -> Event:
    """Return what comes of an attempt, and close it."""
    link = connector.link(1)
    try:
        return (await link.open(patience=patience))[-1]
    finally:
        await link.close(patience=1)
        await connector.settle()


async def failure(connector: Connector, *, patience: float = PATIENCE) -> Failure:
    """Return the failure of an attempt; nothing that is secret is in it."""
    event = await attempt(connector, patience=patience)
    assert isinstance(event, Failure)
    assert not [secret for secret in SECRETS if secret in repr(event)]
    return event


async def opened(connector: Connector) -> TelegramLink:
    """Return a link that is proven."""
    link = connector.link(1)
    assert isinstance((await link.open(patience=PATIENCE))[-1], Connected)
    return link


async def refused_port() -> int:
    """Return a port of loopback that nobody listens on."""
    async with LocalProxy("socks5").listening() as gone:
        return gone.port
