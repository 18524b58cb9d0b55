"""Several parts of a file at once, their results in order, and how many: as many as leave room for everything else.

A transfer shares a connection with the requests and the probes of its account. What is on its way has to be through in
about two seconds, or a probe that waits behind it would take the connection for a dead one.
"""

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

import anyio
from attrs import define

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_PARTS: Final = 4
"""Parts of one transfer that are on their way at the same time."""
SMALLEST: Final = 32 * 1024
LARGEST: Final = 512 * 1024
"""Bytes of a part; the largest is Telegram's limit for parts that are sent."""
QUICK_SECONDS: Final = 0.5
SLOW_SECONDS: Final = 2.0


@define
class PartWindow:
    """How many parts are on their way, and how large the next one is."""

    parts: int = 2
    size: int = 128 * 1024
    """Bytes of a part, a power of two."""

    def answered(self, took: float) -> None:
        """Learn from a part that took this many seconds: add slowly, take away at once."""
        if took > SLOW_SECONDS:
            if self.parts == 1:
                self.size = max(SMALLEST, self.size // 2)
            self.parts = max(1, self.parts // 2)
        elif took < QUICK_SECONDS:
            if self.parts < MOST_PARTS:
                self.parts += 1
            else:
                self.size = min(LARGEST, self.size * 2)

    def size_at(self, offset: int) -> int:
        """Return the size of the part that begins there.

        It begins at a multiple of its size, so that it is within one MiB, as Telegram demands.
        """
        aligned = offset & -offset or LARGEST
        return min(self.size, aligned)


async def in_order(
    items: Iterator[Item],
    perform: Callable[[Item], Awaitable[Result]],
    take: Callable[[Item, Result], Awaitable[None]],
    window: PartWindow,
) -> None:
    """Perform items, as many at once as the window says, and take their results in the order of the items.

    Raises the first failure; what is on its way then is given up, and what was taken stays taken.
    """
    results: dict[int, tuple[Item, Result]] = {}
    failures: list[Exception] = []
    changed = anyio.Event()

    async def one(number: int, item: Item) -> None:
        began = time.monotonic()
        try:
            results[number] = item, await perform(item)
        except Exception as exc:  # raised by the caller's task, alone: a group would wrap it
            failures.append(exc)
        else:
            window.answered(time.monotonic() - began)
        changed.set()

    begun = taken = 0
    more = True
    async with anyio.create_task_group() as tasks:
        while not failures:
            while more and begun - taken < window.parts:
                item = next(items, None)
                if item is None:
                    more = False
                else:
                    tasks.start_soon(one, begun, item)
                    begun += 1
            if taken in results:
                try:
                    await take(*results.pop(taken))
                except Exception as exc:
                    failures.append(exc)
                taken += 1
            elif taken == begun:
                break
            else:
                changed = anyio.Event()
                await changed.wait()
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]
