"""A loop in a thread of its own, for who must not wait on a loop and has to be answered at once.

Telethon asks its session for a peer without awaiting anything. So what the store says must be waited for where the
question is put, for a bounded time, while the connections go on elsewhere.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, Final, TypeVar

from attrs import define, field

from adapters.postgres.errors import StoreUnusable
from adapters.sqlite.errors import DatabaseUnusable
from states.events import DatabaseUnavailable

T = TypeVar("T")

_CLOSED: Final = "the connections to the server are closed; the engine is stopping"
END_TIMEOUT: Final = 2.0
"""Seconds that a cancelled thread gets to close its connections."""


@define(eq=False)
class StoreThread:
    """Runs coroutines for callers in any other thread. ``shown`` names the store, without a password."""

    shown: str
    name: str
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _guard: threading.Lock = field(factory=threading.Lock, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _main: "asyncio.Task[None] | None" = field(default=None, init=False)

    def start(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``main`` in the thread, and others as long as it runs. Raises ``DatabaseUnusable`` without a loop."""
        begun = threading.Event()

        async def run() -> None:
            with self._guard:
                self._loop = asyncio.get_running_loop()
                self._main = asyncio.current_task()
            begun.set()
            try:
                with suppress(asyncio.CancelledError):  # by ``end``, which is how it ends
                    await main()
            finally:
                with self._guard:  # nothing comes to a loop that ends
                    self._loop = None

        failure: list[Exception] = []

        def run_loop() -> None:
            try:
                with asyncio.Runner() as runner:
                    runner.run(run())
            except OSError as exc:  # no descriptor is left for its loop
                failure.append(exc)
            finally:
                begun.set()

        self._thread = threading.Thread(target=run_loop, name=self.name, daemon=True)
        self._thread.start()
        begun.wait()
        if self._main is None:
            raise self.unusable(f"the thread for it cannot begin ({', '.join(map(str, failure))}); see to its limits")

    def soon(self, callback: Callable[[], object]) -> None:
        """Call something in the thread; nothing happens once it has ended."""
        with self._guard:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback)

    def call(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        """Return what a coroutine returns in the thread within ``timeout`` seconds. Blocks.

        Raises ``DatabaseUnusable`` for a store that does not answer in time, or cannot be used.
        """
        future: Future[T] | None = None
        with self._guard:
            if self._loop is not None:
                future = asyncio.run_coroutine_threadsafe(work, self._loop)
        if future is None:
            work.close()
            raise self.unusable(_CLOSED)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise self.unusable("the server does not answer in time; check it, and the network") from None
        except CancelledError:
            raise self.unusable(_CLOSED) from None
        except StoreUnusable as exc:
            raise DatabaseUnusable(str(exc), exc.failure) from None

    def end(self, timeout: float) -> None:
        """Wait ``timeout`` seconds for ``main``, then cancel it."""
        assert self._thread is not None
        self._thread.join(timeout)
        if self._thread.is_alive() and self._main is not None:
            self.soon(self._main.cancel)
            self._thread.join(END_TIMEOUT)

    def unusable(self, why: str) -> DatabaseUnusable:
        """Return the error for a store that cannot be asked now; ``why`` is what happened, and what to do."""
        return DatabaseUnusable(f"{self.shown}: {why}", DatabaseUnavailable(detail=why.partition(";")[0]))
