"""Waiting for answers: a cancellation of the waiter is not one that Telethon makes when a client goes down."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from attrs import define, field

from adapters.telegram.classify import RequestDropped

T = TypeVar("T")


async def translate_cancellation(awaitable: Awaitable[T]) -> T:
    """Await something of Telethon's; if Telethon cancels it, raise ``RequestDropped``.

    When a client goes down, it cancels all that waits for an answer, and that would look like a cancellation of the
    present task.
    """
    task = asyncio.current_task()
    try:
        return await awaitable
    except asyncio.CancelledError as exc:
        if task is not None and task.cancelling():
            raise
        raise RequestDropped from exc


def begin_request(
    send: Callable[[], "asyncio.Future[Any]"], timeout: float, conclude: Callable[[Callable[[], object]], None]
) -> Callable[[], None]:
    """Send a request whose answer no task awaits; return what gives it up.

    Within ``timeout`` seconds ``conclude`` is called, by the loop, with a function that returns the answer or raises
    why there is none; not once the request was given up.
    """
    return _Request(send, timeout, conclude).give_up


@define(eq=False)
class _Request:
    """A request that waits for its answer or its time."""

    send: Callable[[], "asyncio.Future[Any]"]
    timeout: float
    conclude: Callable[[Callable[[], object]], None]
    _over: bool = field(default=False, init=False)
    _answer: "asyncio.Future[Any]" = field(init=False)
    _silence: asyncio.TimerHandle = field(init=False)

    def __attrs_post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._answer = self.send()
        except Exception as exc:
            self._answer = loop.create_future()
            self._answer.set_exception(exc)
        self._answer.add_done_callback(self._answered)
        self._silence = loop.call_later(self.timeout, self._time_out)

    def give_up(self) -> None:
        """Forget the request: an answer means nothing any more."""
        self._over = True
        self._silence.cancel()
        self._answer.cancel()

    def _answered(self, answer: "asyncio.Future[Any]") -> None:
        self._silence.cancel()
        if not self._over:
            self.conclude(_raise_dropped if answer.cancelled() else answer.result)
        elif not answer.cancelled():
            answer.exception()  # retrieved, or asyncio would warn

    def _time_out(self) -> None:
        self.give_up()
        self.conclude(_raise_timeout)


def _raise_dropped() -> None:
    raise RequestDropped from asyncio.CancelledError()


def _raise_timeout() -> None:
    raise TimeoutError
