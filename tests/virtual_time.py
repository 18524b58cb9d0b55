"""An event loop whose time is virtual: it jumps to the next timer, so that a test of hours takes milliseconds."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of waiting for it. For tests without threads and sockets."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._virtual

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            while self._scheduled and self._scheduled[0]._cancelled:  # type: ignore[attr-defined]
                heapq.heappop(self._scheduled)._scheduled = False  # type: ignore[attr-defined]
            if self._scheduled:  # type: ignore[attr-defined]
                self._virtual = max(self._virtual, self._scheduled[0]._when)  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def virtually(main: Callable[[], Awaitable[T]]) -> T:
    """Run ``main`` in virtual time that begins at 0: for properties, where each example needs a loop of its own.

    A test that is one story is ``async`` and marked ``virtual`` instead.
    """
    return anyio.run(main, backend_options={"loop_factory": VirtualLoop})
