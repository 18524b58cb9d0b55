"""What arrived for one account and is not handled yet. It outlives clients, so that nothing is lost or told twice.

Telethon counts an update as seen when it arrives, and starts a task for its handlers that dies with the client. Here an
update is handed over in the moment in which it is counted; handlers run in tasks of the account's life, with whatever
client is connected then; and the session file learns that an update was seen only after its handlers have ended. So an
outage repeats and skips nothing, and after a crash what was not handled yet is fetched again.
"""

import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio
from attrs import define, field
from telethon import events

from adapters.log_events import event_logger
from adapters.telegram.job_errors import classify_job_error
from states.jobs import Lost

BACKLOG = 1000
"""Updates that may wait for handlers; more are left at the datacenter."""
AT_ONCE = 64
"""Handlers of one account that may run at the same time."""

TRIES = 3
"""Calls of a handler for one update, at the most, when connections are lost under it."""

Handler = Callable[[Any], Awaitable[Any]]

log = event_logger("holdfast.handlers")


@define(eq=False)
class Inbox:
    """Updates of one account on their way to its handlers, in order."""

    account: str = ""
    client: Any = field(default=None, init=False)
    """The client that is connected and proven, if one is."""
    _handlers: list[tuple[Handler, Any]] = field(factory=list, init=False)
    _waiting: deque[tuple[int, Any]] = field(factory=deque, init=False)
    _running: dict[int, Any] = field(factory=dict, init=False)
    _numbers: "itertools.count[int]" = field(factory=lambda: itertools.count(1), init=False)
    _last: int = field(default=0, init=False)
    _changed: anyio.Event = field(factory=anyio.Event, init=False)
    failures: int = field(default=0, init=False)
    """How often a handler has failed."""

    def on(self, handler: Handler, event: Any) -> None:
        """Let ``handler`` hear of such events, with each client from the next one on."""
        self._handlers.append((self._guarded(handler), event))

    def _guarded(self, handler: Handler) -> Handler:
        """Keep a handler's exceptions to itself, and log them where the operator looks.

        One that fails because its connection was lost is called again with the next client, a few times.
        """

        async def call(event: Any) -> None:
            for left in reversed(range(TRIES)):
                client = getattr(event, "client", None)
                try:
                    await handler(event)
                    return
                except events.StopPropagation:
                    raise
                except (Exception, SystemExit, KeyboardInterrupt) as exc:
                    lost = client is not None and isinstance(classify_job_error(exc, client), Lost)
                    if not (lost and left):
                        self._failed(handler)
                        return
                event._set_client(await self._another(client))

        return call

    def _failed(self, handler: Handler) -> None:
        self.failures += 1
        name = getattr(handler, "__qualname__", repr(handler))
        log.exception("handler_failed", account=self.account, handler=name, failures=self.failures)

    async def _another(self, client: Any) -> Any:
        """Wait for another client than this one."""
        while self.client is None or self.client is client:
            await self._change()
        return self.client

    def attach(self, client: Any) -> None:
        """Give a fresh client all handlers."""
        for handler, event in self._handlers:
            client.add_event_handler(handler, event)

    def connected(self, client: Any) -> None:
        """Let handlers use this client from now on."""
        self.client = client
        self._wake()

    def disconnected(self, client: Any) -> None:
        """Let no handler begin with this client any more."""
        if self.client is client:
            self.client = None

    @property
    def last(self) -> int:
        """The number of the last update that was handed over."""
        return self._last

    def handled(self, number: int) -> bool:
        """Return whether all updates up to this number have been handled."""
        oldest = min(self._running, default=self._last + 1)
        if self._waiting:
            oldest = min(oldest, self._waiting[0][0])
        return oldest > number

    def add(self, updates: Iterable[Any]) -> None:
        """Take updates over, at once and whatever the backlog."""
        for update in updates:
            self._last = next(self._numbers)
            self._waiting.append((self._last, update))
        self._wake()

    async def room(self) -> None:
        """Wait until the backlog is small enough to take more."""
        while len(self._waiting) > BACKLOG:
            await self._change()

    async def deliver(self) -> None:
        """Run the handlers, for ever; to be cancelled. What was begun and not ended then is begun again next time."""
        self._waiting.extendleft(sorted(self._running.items(), reverse=True))
        self._running.clear()
        while not self._waiting:  # most accounts of most fleets hear little, and a task group is no small thing
            await self._change()
        places = anyio.Semaphore(AT_ONCE)
        async with anyio.create_task_group() as tasks:
            while True:
                while not (self._waiting and self.client):
                    await self._change()
                await places.acquire()
                if not (self._waiting and self.client):  # the client went while a place was awaited
                    places.release()
                    continue
                number, update = self._waiting.popleft()
                self._running[number] = update
                tasks.start_soon(self._handle, self.client, number, update, places)
                self._wake()

    async def _handle(self, client: Any, number: int, update: Any, places: anyio.Semaphore) -> None:
        try:
            await client._dispatch_update(update)
        except Exception:
            log.exception("update_not_delivered", account=self.account)
        finally:
            places.release()
        del self._running[number]  # not when cancelled: then it was not handled

    def _wake(self) -> None:
        self._changed.set()

    async def _change(self) -> None:
        """Wait until something happens from now on."""
        if self._changed.is_set():
            self._changed = anyio.Event()
        await self._changed.wait()
