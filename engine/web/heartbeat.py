"""``Heartbeat``: a URL that is fetched for as long as the engine lives, so that another machine notices its silence."""

from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import structlog
from attrs import define, field

HEARTBEAT_TIMEOUT: Final = 10.0
"""Seconds that each step of a request may take."""
_GIVE_UP: Final = 20.0
"""Seconds after which nobody waits for a request any more: looking up a name has no limit of its own."""

Ping = Callable[[str, float], None]
"""Fetches a URL within some seconds, in a thread."""

log = structlog.get_logger("holdfast.health")


@define(eq=False)
class Heartbeat:
    """Fetches ``url`` every ``every`` seconds while ``lives`` says so. A failure is told once, until it works again.

    ``failure`` is the exception of ``ping`` whose text is for people.
    """

    url: str = field(repr=False)
    every: float
    ping: Ping
    failure: type[Exception]
    lives: Callable[[], bool]
    failing: bool = field(default=False, init=False)

    @property
    def host(self) -> str:
        """The host of the URL, which may be shown: the rest is a key."""
        return urlsplit(self.url).hostname or ""

    async def run(self) -> None:
        """Send heartbeats until cancelled."""
        threads = anyio.CapacityLimiter(1)  # its own: a host that does not answer holds up no other work
        while True:
            if self.lives():
                self._note(await self._beat(threads))
            await anyio.sleep(self.every)

    async def _beat(self, threads: anyio.CapacityLimiter) -> str | None:
        """Send one heartbeat; return why it failed, None if it did not."""
        work = partial(self.ping, self.url, HEARTBEAT_TIMEOUT)
        try:
            with anyio.fail_after(_GIVE_UP):
                await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=threads)
        except TimeoutError:
            return "no answer in time"
        except self.failure as exc:
            return str(exc)
        return None

    def _note(self, why: str | None) -> None:
        if why is not None and not self.failing:
            log.warning("heartbeat_failed", host=self.host, detail=why, every=self.every)
        elif why is None and self.failing:
            log.info("heartbeat_answered", host=self.host)
        self.failing = why is not None
