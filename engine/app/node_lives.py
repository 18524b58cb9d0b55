"""The lives of a node, one after another in one process: what each of them writes is opened anew.

A row that waits to be stored belongs to the life in which it was written. Once that is over, another node may have the
account, so such rows are refused by the store, counted and told: nothing of a life is ever written by the next one.
What was acknowledged is stored; the rest is what a process that is killed would lose.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import anyio
import structlog
from attrs import define, field

from adapters.sqlite.errors import StorageError
from engine.app.node_stores import StoreParts
from engine.app.node_work import ClaimedAccounts
from engine.fleet.watchers import pause_after
from engine.wakeup import Flag, Wakeup

log = structlog.get_logger("holdfast.node")


@define(eq=False)
class NodeLives:
    """Opens what each life of a node writes. ``begun`` tells of a life, ``run`` follows."""

    work: ClaimedAccounts
    life: int = field(default=0, init=False)
    """The life that the store has given to this node last."""
    written: int = field(default=0, init=False)
    """The life under which everything is written."""
    first: Flag = field(factory=Flag, init=False)
    """Set when the first life has begun."""
    _open: Callable[[int], AbstractAsyncContextManager[StoreParts]] = field(init=False)
    _parts: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    """What is open, and is closed at the end."""
    _changed: Wakeup = field(factory=Wakeup, init=False)
    _present: StoreParts = field(init=False)
    _told: int = field(default=0, init=False)
    """The last life of which ``refused`` has told."""
    _renewed: Wakeup = field(factory=Wakeup, init=False)
    """Wakes when ``written`` is another life."""

    def begun(self, life: int) -> None:
        """Take a life, before anything acts under it: its accounts wait until what it writes is open."""
        self.life = life
        if self.first.is_set():
            self.work.wait_for_life()
        self.first.set()
        self._changed.notify()

    @asynccontextmanager
    async def opened(
        self, open_life: Callable[[int], AbstractAsyncContextManager[StoreParts]]
    ) -> AsyncIterator[StoreParts]:
        """Yield what the first life writes; at the end, close what the last one has. Raises ``StorageError``."""
        self._open = open_life
        try:
            life = self.life
            shared = await self._parts.enter_async_context(open_life(life))
            self._take(life, shared)
            yield shared
        finally:
            await self._parts.aclose()

    async def run(self, use: Callable[[StoreParts], Awaitable[None]]) -> None:
        """Have ``use`` called with what each further life writes, until cancelled.

        A store that is silent is waited for: ``use``, which raises ``StorageError`` then, is called once more.
        """
        failures = 0
        while True:
            changed, life = self._changed.upcoming, self.life
            if life == self.written:
                self.work.go_on()
                await changed.wait()
                continue
            try:
                await self._begin(life, use)
            except StorageError as exc:
                failures += 1
                delay = pause_after(failures) * random.uniform(0.5, 1.0)
                log.warning("node_life_waits", detail=str(exc), delay=delay, life=life)
                with anyio.move_on_after(delay):
                    await changed.wait()
                continue
            failures = 0
            log.info("node_goes_on", life=life)

    async def _begin(self, life: int, use: Callable[[StoreParts], Awaitable[None]]) -> None:
        parts = AsyncExitStack()
        shared = await parts.enter_async_context(self._open(life))
        former, self._parts = self._parts, parts
        try:
            await use(shared)
            self._take(life, shared)
        finally:
            await former.aclose()  # in bounded time, for the store takes nothing of that life any more

    def _take(self, life: int, shared: StoreParts) -> None:
        self.written, self._present = life, shared
        self._renewed.notify()

    def drop(self, accounts: Collection[str]) -> None:
        """Have nothing more of these accounts stored, which were dropped, until they begin again."""
        self._present.drop(accounts)

    async def refused(self) -> int:
        """Return the number of a life when the store has refused something of it, once for each life."""
        while True:
            renewed, life, present = self._renewed.upcoming, self.written, self._present
            if life != self._told:
                await _first_of(present.refused, renewed)
                if present.refused.is_set():
                    self._told = life
                    return life
            else:
                await renewed.wait()


async def _first_of(*events: anyio.Event) -> None:
    """Return when one of these is set."""

    async def wait(event: anyio.Event) -> None:
        await event.wait()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for event in events:
            tasks.start_soon(wait, event)
