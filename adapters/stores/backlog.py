"""Writes that are not durable yet: who waits for them, and who waits for room to write."""

import asyncio
from collections import deque
from collections.abc import Callable

import anyio
from attrs import define, field


@define(eq=False)
class Backlog:
    """The writes of one writer from when they are queued until they are durable. Belongs to the loop."""

    _written: int = field(default=0, init=False)
    _durable: int = field(default=0, init=False)
    _flushes: deque[tuple[int, asyncio.Future[None]]] = field(factory=deque, init=False)
    _admission: anyio.Lock = field(factory=anyio.Lock, init=False)
    """Held by the caller that waits for room; the others queue behind it."""
    _room: anyio.Event = field(factory=anyio.Event, init=False)

    @property
    def waiting(self) -> int:
        """How many writes are not durable yet."""
        return self._written - self._durable

    @property
    def is_awaited(self) -> bool:
        """Whether a caller waits for room: all others queue behind it, so that none overtakes."""
        return self._admission.locked()

    async def admit(self, put: Callable[[], bool]) -> None:
        """Call ``put`` until it has found room, in the order of the callers; raises what it raises."""
        if not self.is_awaited and put():
            return
        async with self._admission:
            while not put():
                await self._room.wait()

    def add(self) -> None:
        """Count a write that was queued."""
        self._written += 1

    def store(self, writes: int) -> None:
        """Count writes as durable, and tell those that wait for them, or for room."""
        self._durable += writes
        while self._flushes and self._flushes[0][0] <= self._durable:
            resolve(self._flushes.popleft()[1])
        self.make_room()

    async def flush(self, raise_if_over: Callable[[], None]) -> None:
        """Return when everything written before is durable; ``raise_if_over`` raises why that will never be."""
        target = self._written
        if self._durable >= target:
            return
        raise_if_over()
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append((target, reached))
        await reached
        if self._durable < target:
            raise_if_over()

    def end(self) -> None:
        """Let all go on that wait: nothing becomes durable any more."""
        while self._flushes:
            resolve(self._flushes.popleft()[1])
        self.make_room()

    def make_room(self) -> None:
        """Let the caller that waits for room try again."""
        self._room.set()
        self._room = anyio.Event()


def resolve(future: "asyncio.Future[None]") -> None:
    """Let go on who waits for a future."""
    if not future.done():  # its caller may have been cancelled
        future.set_result(None)
