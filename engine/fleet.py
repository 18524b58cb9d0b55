"""The whole fleet's manners: how many accounts connect at once, and how far apart they start."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from attrs import define, field


@define
class Turnstile:
    """Lets ``at_once`` accounts connect at a time, each at least ``stagger`` seconds after the one before.

    First come, first served. A turn is held for the whole attempt, so it is bounded by the attempt's patience.
    """

    at_once: int
    stagger: float
    _places: anyio.CapacityLimiter = field(init=False)
    _gate: anyio.Lock = field(factory=anyio.Lock, init=False)
    _next_start: float = field(default=0.0, init=False)

    @_places.default
    def _make_places(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(self.at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and keep it until the block ends."""
        async with self._places:
            async with self._gate:
                await anyio.sleep(max(0.0, self._next_start - anyio.current_time()))
                self._next_start = anyio.current_time() + self.stagger
            yield
