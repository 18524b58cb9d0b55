"""An asyncio event loop in virtual time: nothing waits, the clock jumps to the next timer.

Its sockets are those of ``network.py``; its threads are those of ``threads.py``. Each callback belongs to the simulated
process whose code scheduled it, and one of a dead process never runs.
"""

import asyncio
import heapq
from asyncio import base_events
from collections.abc import Callable
from contextvars import Context
from itertools import count
from typing import Any

from tests.simulation.network import Network, SimulatedSocket
from tests.simulation.process import SimulatedProcess, process_of
from tests.simulation.threads import Scheduler

_hashes = count(1)


class CountedTask(asyncio.Task[Any]):
    """A task whose hash does not depend on its address, so that sets of tasks have the same order in each run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._number = next(_hashes)
        self.process = process_of(kwargs.get("context"))
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


class CountedFuture(asyncio.Future[Any]):
    """A future whose hash does not depend on its address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._number = next(_hashes)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


class NothingLeft(Exception):
    """The loop waits, and nothing in this world will ever wake it."""


class _NoSelector:
    """Takes the place of the loop's selector: there are no descriptors, and waiting is a jump of the clock."""

    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        """Let the threads run, and virtual time pass until something is due, but not beyond ``timeout``."""
        self._loop.let_pass(timeout)
        return []

    def close(self) -> None:
        """Do nothing."""


class SimulatedLoop(base_events.BaseEventLoop):
    """See the module."""

    def __init__(self, network: Network, threads: Scheduler) -> None:
        super().__init__()
        self.network = network
        self.threads = threads
        self._selector = _NoSelector(self)
        self._clock_resolution = 1e-9
        self.set_task_factory(_make_task)
        network.loop = self

    # --- time ---

    def time(self) -> float:
        """Return virtual seconds."""
        return self.threads.now

    def let_pass(self, timeout: float | None) -> None:
        """Run the threads that can go on; then, if nothing else is ready, jump to what is due next."""
        threads = self.threads
        threads.run_ready(busy=timeout == 0)
        if timeout == 0 or self._ready:  # type: ignore[attr-defined]
            return
        thread = threads.next_timer()
        ends = [end for end in (thread, None if timeout is None else threads.now + timeout) if end is not None]
        if not ends:
            raise NothingLeft("the loop waits for something that will never happen:\n" + threads.describe())
        threads.advance(min(ends))
        threads.run_ready()

    # --- callbacks of dead processes never run ---

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        """Schedule a callback, unless its process is dead."""
        handle = super().call_soon(callback, *args, context=context)  # type: ignore[arg-type]
        if not process_of(context).alive:
            handle.cancel()
        return handle

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        """Schedule a callback from another thread."""
        handle = self.call_soon(callback, *args, context=context)
        self.threads.wake_main()
        return handle

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        """Schedule a callback, unless its process is dead."""
        handle = super().call_at(when, callback, *args, context=context)  # type: ignore[arg-type]
        if not process_of(context).alive:
            handle.cancel()
        return handle

    def forget(self, process: SimulatedProcess) -> None:
        """Drop every callback of a process that is dead."""
        for handle in (*self._ready, *self._scheduled):  # type: ignore[attr-defined]
            if process.owns(handle._context):
                handle.cancel()
        self._scheduled: list[Any] = [each for each in self._scheduled if not each._cancelled]
        heapq.heapify(self._scheduled)
        self._timer_cancelled_count = 0

    def timers_of(self, process: SimulatedProcess) -> list[asyncio.TimerHandle]:
        """Return the timers that are set by a process."""
        return [each for each in self._scheduled if process.owns(each._context) and not each.cancelled()]

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future."""
        return CountedFuture(loop=self)

    # --- the network ---

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """Connect over the simulated network, or take a simulated socket over."""
        sock = options.get("sock")
        protocol = protocol_factory()
        if isinstance(sock, SimulatedSocket):
            return self.network.attach(sock, protocol), protocol
        return await self.network.connect(host, port, protocol), protocol

    async def sock_accept(self, sock: Any) -> tuple[Any, Any]:
        """Wait for a connection at a listening socket."""
        return await self.network.accept(sock), ("127.0.0.1", 0)

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """Call something when a Unix socket has become readable."""
        fd.watch("read", callback, args)

    def remove_reader(self, fd: Any) -> bool:
        """Call it no more."""
        return bool(fd.unwatch("read"))

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """Call something when a Unix socket takes more."""
        fd.watch("write", callback, args)

    def remove_writer(self, fd: Any) -> bool:
        """Call it no more."""
        return bool(fd.unwatch("write"))

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Fill the queue of a socket that drops packets."""

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        """Return a numeric address as it is."""
        return [(2, 1, 6, "", (host, port))]

    # --- what BaseEventLoop asks of a loop ---

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        self.threads.wake_main()

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        """Do nothing: a signal to a simulated engine is its ``stop``."""

    def remove_signal_handler(self, sig: int) -> bool:
        """Return that there was none."""
        return False


def _make_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> CountedTask:
    return CountedTask(coro, loop=loop, **options)


def run_in(process: SimulatedProcess, loop: asyncio.AbstractEventLoop, coro: Any, name: str) -> "asyncio.Task[Any]":
    """Start a task that belongs to a process; its owner is the world, which waits for it or kills it."""
    return loop.create_task(coro, name=name, context=process.context.copy())
