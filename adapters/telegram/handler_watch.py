"""Calls of an account's handlers that are under way, and what is told of one that does not end.

A handler is never cut off: nobody knows what it has done already. It costs its own account alone: it has one of the
account's places for handlers, and while none is free, updates wait, and more are left at the datacenter.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field, frozen

from adapters.log_events import event_logger

HANG_SECONDS: Final = 60.0
"""How long a call may take until it is told; it is told again each time it has taken twice as long."""

log = event_logger("holdfast.handlers")


@frozen
class HangingHandler:
    """A handler of which calls have not ended for long."""

    handler: str
    seconds: float
    """How long the longest has taken so far."""
    calls: int
    """How many have taken longer than ``HANG_SECONDS``."""


@define(eq=False)
class HandlerCalls:
    """The calls under way of one account's handlers."""

    account: str
    waiting: Callable[[], int]
    """Returns how many updates wait for a handler."""
    _calls: dict[int, tuple[str, float]] = field(factory=dict, init=False)
    """The handler of each, and when it began, by the loop's clock; oldest first."""
    _next: int = field(default=0, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _tell_at: dict[str, float] = field(factory=dict, init=False)
    """By handler, how long a call of it may take until it is told again."""

    def begin(self, handler: Any) -> int:
        """Note that a handler is called; return the number of the call."""
        loop = asyncio.get_running_loop()
        self._next += 1
        self._calls[self._next] = (name_of(handler), loop.time())
        if self._timer is None:
            self._timer = loop.call_later(HANG_SECONDS, self._look)
        return self._next

    def end(self, call: int) -> None:
        """Note that a call has ended."""
        handler, began = self._calls.pop(call)
        if handler in self._tell_at and not any(each.handler == handler for each in self.hanging()):
            del self._tell_at[handler]
            seconds = asyncio.get_running_loop().time() - began
            log.info("handler_goes_on", account=self.account, handler=handler, seconds=seconds)

    def hanging(self) -> list[HangingHandler]:
        """Return the handlers with calls that do not end, the longest first."""
        found: dict[str, HangingHandler] = {}
        if self._calls:
            now = asyncio.get_running_loop().time()
            for handler, began in self._calls.values():
                if now - began < HANG_SECONDS:
                    break  # so are all that began later
                first = found.get(handler)
                seconds = now - began if first is None else first.seconds
                found[handler] = HangingHandler(handler, seconds, 1 if first is None else first.calls + 1)
        return list(found.values())

    def close(self) -> None:
        """Tell nothing any more: the account's life is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        for each in self.hanging():
            if each.seconds >= self._tell_at.get(each.handler, 0.0):
                self._tell_at[each.handler] = 2 * each.seconds
                log.warning(
                    "handler_hangs",
                    account=self.account,
                    handler=each.handler,
                    seconds=each.seconds,
                    calls=each.calls,
                    waiting=self.waiting(),
                )
        if self._calls:
            self._timer = asyncio.get_running_loop().call_later(HANG_SECONDS, self._look)


def name_of(handler: Any) -> str:
    """Return a handler's name for the operator."""
    return str(getattr(handler, "__qualname__", None) or repr(handler))
