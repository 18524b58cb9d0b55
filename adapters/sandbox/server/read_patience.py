"""How long a connection waits for the next packet of a silent client."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio
from attrs import define, field


@define(eq=False)
class ReadPatience:
    """Ends its block when the client has been silent for too long between ``begin`` and ``end``.

    One timer serves all packets of a connection. A scope with a deadline around each read would cost as much as
    decrypting what was read.
    """

    _deadline: Callable[[float], float]
    """Returns the loop's time until which to wait for a client that has been silent since another one."""
    _scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop)
    _timer: asyncio.TimerHandle | None = None
    _silent_since: float | None = None
    """None while no packet is waited for."""

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._timer is not None:
            self._timer.cancel()
        return bool(self._scope.__exit__(kind, error, trace))

    def begin(self) -> None:
        """Wait for a packet from now on."""
        self._silent_since = self._loop.time()
        self.shorten()

    def end(self) -> None:
        """Wait no longer: the packet is there."""
        self._silent_since = None

    def shorten(self) -> None:
        """Look whether the deadline has come nearer. One that is farther away is noticed when the timer fires."""
        if self._silent_since is None:
            return  # the next ``begin`` looks
        deadline = self._deadline(self._silent_since)
        if self._timer is None or deadline < self._timer.when():
            self._set_timer(deadline)

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._silent_since is None:
            return
        deadline = self._deadline(self._silent_since)
        if deadline <= self._loop.time():
            self._scope.cancel()
        else:
            self._set_timer(deadline)
