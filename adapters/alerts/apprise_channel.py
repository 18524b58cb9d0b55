"""``AppriseChannel``: messages to one address, by Apprise.

Apprise waits for networks in the thread that calls it, and cannot be told to stop. So each message has a thread of its
own, which nothing waits for longer than the deadline, and which does not keep the process from its end. A channel has
one such thread at most: a message is not sent beside one that still hangs.
"""

import asyncio
import re
import threading
from contextlib import suppress
from typing import Final
from urllib.parse import unquote, unquote_plus

from attrs import define, field

from adapters.alerts.addresses import listening, service
from adapters.alerts.errors import AlertNotSent, without_secrets

_PARTS: Final = re.compile(r"[:/@?&=#,;+]+")
_REMEMBERED: Final = 100
TONES: Final = {"failure": "failure", "warning": "warning", "success": "success", "info": "info"}


@define(eq=False)
class _Attempt:
    """One message on its way."""

    key: str
    done: bool = False
    failure: str | None = None
    waiter: "asyncio.Future[None] | None" = None


@define(eq=False)
class AppriseChannel:
    """Sends to one address of Apprise. Use it on one loop, one message at a time."""

    address: str = field(repr=False)
    _current: _Attempt | None = field(default=None, init=False, repr=False)
    _arrived: dict[str, None] = field(factory=dict, init=False, repr=False)
    """The keys of messages that arrived after their deadline."""

    async def send(self, *, key: str, subject: str, body: str, tone: str, data: bytes, timeout: float) -> None:
        """Send a message within ``timeout`` seconds. Raises ``AlertNotSent``.

        ``key`` identifies the message: one that arrived after its deadline is not sent again. ``tone`` is ``failure``,
        ``warning``, ``success`` or ``info``. ``data`` is for programs, and not sent.
        """
        if (earlier := self._current) is not None:
            await self._wait(earlier, timeout)
            if earlier.failure is None:
                self._arrived[earlier.key] = None
        if key in self._arrived:
            return
        attempt = self._current = _Attempt(key)
        loop = asyncio.get_running_loop()
        thread = threading.Thread(
            target=self._work, args=(attempt, loop, subject, body, tone), name="alert", daemon=True
        )
        thread.start()
        await self._wait(attempt, timeout)
        self._current = None
        if attempt.failure is not None:
            raise AlertNotSent(attempt.failure)

    async def _wait(self, attempt: _Attempt, timeout: float) -> None:
        """Return when an attempt is over. Raises ``AlertNotSent`` if that takes too long."""
        if not attempt.done:
            attempt.waiter = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(attempt.waiter, timeout)
            except TimeoutError:
                raise AlertNotSent(f"no answer within {timeout:g} s") from None
        while len(self._arrived) > _REMEMBERED:
            del self._arrived[next(iter(self._arrived))]
        if self._current is attempt:
            self._current = None

    def _work(self, attempt: _Attempt, loop: asyncio.AbstractEventLoop, subject: str, body: str, tone: str) -> None:
        failure: str | None
        try:
            failure = self._deliver(subject, body, tone)
        except BaseException as exc:  # a thread has no caller
            failure = self._clean(f"{type(exc).__name__}: {exc}")
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_end, attempt, failure)

    def _deliver(self, subject: str, body: str, tone: str) -> str | None:
        """Send a message, in the thread; return why it could not be sent."""
        from apprise import NotifyFormat, NotifyType  # noqa: PLC0415 - a channel that sends nothing needs none of it

        with listening() as said:
            target = service(self.address)
            if target is None:
                return "Apprise cannot use the address any more"
            if target.notify(
                title=subject, body=body, notify_type=NotifyType(TONES[tone]), body_format=NotifyFormat.TEXT
            ):
                return None
            why = f" ({said.reason})" if said.reason else ""
            warning = self._clean(said.warnings[-1]) if said.warnings else "the service did not take the message"
            return f"{warning.removesuffix('.')}{why}"

    def _clean(self, text: str) -> str:
        rest = self.address.partition("://")[2]
        parts = {each for form in (rest, unquote(rest), unquote_plus(rest)) for each in (form, *_PARTS.split(form))}
        return without_secrets(text, parts)


def _end(attempt: _Attempt, failure: str | None) -> None:
    attempt.done, attempt.failure = True, failure
    if attempt.waiter is not None and not attempt.waiter.done():
        attempt.waiter.set_result(None)
