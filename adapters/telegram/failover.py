"""ProxyFailover: an account with several proxies goes on with the next one when one fails, and returns to the first.

The choice is remembered in memory only: after a restart the first one is tried first. Nobody asks on the side whether
a proxy is well again: a return happens when an attempt is due anyway, costs one failed attempt at most, and never cuts
a link that works.
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

_OF_THE_WAY: Final = (NetworkLost, TimedOut, ProtocolBroken)
"""Failures of an attempt that another way may not have. A flood is none of them: it is Telegram's word, and heeded."""
_NAMED: Final = (*_OF_THE_WAY, TransportFlood)
"""Failures that say which proxy the link went through."""


def _never_empty(proxies: Sequence[Proxy | None]) -> tuple[Proxy | None, ...]:
    return tuple(proxies) or (None,)


@define
class ProxyFailover:
    """The ways of one account in their order; None is one without a proxy, and the only one if none is given."""

    proxies: tuple[Proxy | None, ...] = field(default=(), converter=_never_empty)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _index: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False, repr=False)

    def choose(self) -> Proxy | None:
        """Return the proxy of the next attempt."""
        if self._index and self.clock() - self._since >= RETURN_AFTER:
            self._index = 0
        return self.proxies[self._index]

    def failed(self, proxy: Proxy | None, failure: Failure) -> None:
        """Hear that an attempt through ``proxy`` failed: if that may be its fault, the next attempt takes another."""
        if isinstance(failure, _OF_THE_WAY) and proxy == self.proxies[self._index]:
            self._index = (self._index + 1) % len(self.proxies)
            self._since = self.clock()


def named(event: E, proxy: Proxy | None) -> E:
    """Return ``event`` with the proxy's name in it, if it is one that a proxy may have to do with."""
    if proxy is None:
        return event
    if isinstance(event, Connected):
        return attrs.evolve(event, via=str(proxy))
    if isinstance(event, _NAMED) and str(proxy) not in event.detail:
        return attrs.evolve(event, detail=f"{event.detail} via {proxy}")
    return event
