"""ProxyFailover: an account with several proxies goes on with the next one when one fails, and returns to the first.

The choice is in memory only: after a restart the first proxy is tried first. There is no separate check whether a proxy
works again. The return happens when an attempt is due anyway, costs one failed attempt at most, and never cuts a link
that works.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import attrs
from attrs import define, field

from adapters.telegram.proxy import Proxy
from states.events import Connected, Event, Failure, NetworkLost, ProtocolBroken, TimedOut, TransportFlood

E = TypeVar("E", bound=Event)

RETURN_AFTER: Final = 600.0
"""Seconds on a later proxy after which the next attempt begins with the first one again."""

_PROXY_FAILURES: Final = (NetworkLost, TimedOut, ProtocolBroken)
"""Failures that an attempt through another proxy may avoid. A flood is not among them: Telegram sent it, and it is
respected."""
_NAMING_FAILURES: Final = (*_PROXY_FAILURES, TransportFlood)
"""Failures whose detail names the proxy."""


def _or_direct(proxies: Sequence[Proxy | None]) -> tuple[Proxy | None, ...]:
    return tuple(proxies) or (None,)


@define
class ProxyFailover:
    """The proxies of one account in their order; None is a direct connection, and the default."""

    proxies: tuple[Proxy | None, ...] = field(default=(), converter=_or_direct)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _index: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False, repr=False)

    def choose(self) -> Proxy | None:
        """Return the proxy of the next attempt."""
        if self._index and self.clock() - self._since >= RETURN_AFTER:
            self._index = 0
        return self.proxies[self._index]

    def report_failure(self, proxy: Proxy | None, failure: Failure) -> None:
        """Take the next proxy for the next attempt if ``failure`` of an attempt through ``proxy`` may be its fault."""
        if isinstance(failure, _PROXY_FAILURES) and proxy == self.proxies[self._index]:
            self._index = (self._index + 1) % len(self.proxies)
            self._since = self.clock()


def name_proxy(event: E, proxy: Proxy | None) -> E:
    """Return ``event`` with the proxy's name in it, if it is an event that a proxy can affect."""
    if proxy is None:
        return event
    if isinstance(event, Connected):
        return attrs.evolve(event, via=str(proxy))
    if isinstance(event, _NAMING_FAILURES) and str(proxy) not in event.detail:
        return attrs.evolve(event, detail=f"{event.detail} via {proxy}")
    return event
