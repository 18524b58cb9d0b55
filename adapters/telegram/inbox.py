"""The updates of one account that are not handled yet. They outlive clients, so that none is lost or handled twice.

Telethon counts an update as seen when it arrives, and starts a task for its handlers that dies with the client. Here an
update is handed over at the moment when it is counted. Handlers run in tasks of the account's life, with the client
that is connected then. The session file records an update as seen only after its handlers have ended. So an outage
repeats and skips nothing, and after a crash the updates that were not handled yet are fetched again.
"""

import asyncio
import math
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import anyio
from attrs import define, field
from telethon import events

from adapters.log_events import event_logger
from adapters.telegram.account_ledger import AccountLedger
from adapters.telegram.boxes import Advance
from adapters.telegram.handler_watch import HandlerCalls, name_of
from adapters.telegram.job_errors import classify_job_error
from adapters.telegram.taps import Taps
from states.jobs import Lost

MAX_BACKLOG = 1000
"""Updates that may wait for handlers; more are left at the datacenter."""
MAX_RUNNING = 64
"""Updates of one account that may be with their handlers at the same time."""

MAX_TRIES = 3
"""Calls of a handler for one update, when connections are lost during them."""

Handler = Callable[[Any], Awaitable[Any]]
Start = Callable[[Callable[[], Awaitable[None]]], object]
"""Starts a task, of which the starter is the owner."""

log = event_logger("holdfast.handlers")


def is_cancelled(exc: BaseException) -> bool:
    """Return whether this is the engine's cancellation, and not one that code has raised or asked for by itself."""
    return isinstance(exc, asyncio.CancelledError) and anyio.current_effective_deadline() == -math.inf


def _age_of(update: Any) -> float | None:
    """Return how old an update is, in seconds; None for one that has no date of its own."""
    date = getattr(getattr(update, "message", None), "date", None) or getattr(update, "date", None)
    return max(0.0, time.time() - date.timestamp()) if isinstance(date, datetime) else None


@define(eq=False)
class Inbox:
    """Updates of one account on their way to its handlers, in order."""

    account: str = ""
    taps: Taps = field(factory=Taps, init=False)
    """The jobs that store what comes in a box; an update is handled only when they have."""
    client: Any = field(default=None, init=False)
    """The client that is connected and proven, if one is."""
    _handlers: list[tuple[Handler, Any]] = field(factory=list, init=False)
    _registered: "weakref.ref[Any] | None" = field(default=None, init=False)
    """The client that has the handlers, for as long as somebody uses it."""
    _waiting: list[tuple[int, Any]] = field(factory=list, init=False)
    _running: dict[int, Any] = field(factory=dict, init=False)
    _last: int = field(default=0, init=False)
    _changed: anyio.Event | None = field(default=None, init=False)
    """None while no task waits for a change."""
    _start: Start | None = field(default=None, init=False)
    """Starts the delivery of updates that wait; None while the account does not live."""
    _delivering: bool = field(default=False, init=False)
    failures: int = field(default=0, init=False)
    """How often a handler has failed."""
    observer: Callable[[float], None] | None = field(default=None, init=False)
    """Called when the handlers of a message begin, with its age in seconds by the datacenter's date, which is whole."""
    note_handled: Callable[[], None] = field(default=lambda: None, init=False)
    """Called when no handler runs any more and there is no client, which would look for itself."""
    ledger: AccountLedger | None = field(default=None, init=False)
    """Where it is noted what was handled; None if nobody keeps that."""

    calls: HandlerCalls = field(init=False)
    """The calls of handlers under way."""

    @calls.default
    def _make_calls(self) -> HandlerCalls:
        return HandlerCalls(self.account, lambda: self.waiting)

    def on(self, handler: Handler, event: Any) -> None:
        """Call ``handler`` with such events, with each client from the next one on."""
        self._handlers.append((self._guard(handler), event))

    def _guard(self, handler: Handler) -> Handler:
        """Return a handler that logs exceptions where the operator reads them, and never raises them.

        A handler that fails because its connection was lost is called again with the next client, a few times.
        """

        async def call(event: Any) -> None:
            number = self.calls.begin(handler)
            try:
                await retry(event)
            finally:
                self.calls.end(number)

        async def retry(event: Any) -> None:
            for left in reversed(range(MAX_TRIES)):
                client = getattr(event, "client", None)
                try:
                    await handler(event)
                    return
                except events.StopPropagation:
                    raise
                except BaseException as exc:
                    if is_cancelled(exc):
                        raise
                    of_client = client is not None and isinstance(exc, Exception)
                    if not (left and of_client and isinstance(classify_job_error(exc, client), Lost)):
                        self._log_failure(handler)
                        return
                event._set_client(await self._wait_for_other(client))

        return call

    def _log_failure(self, handler: Handler) -> None:
        self.failures += 1
        log.exception("handler_failed", account=self.account, handler=name_of(handler), failures=self.failures)

    async def _wait_for_other(self, client: Any) -> Any:
        """Wait for another client than this one, and return it."""
        while self.client is None or self.client is client:
            await self._wait_for_change()
        return self.client

    def use_handlers(self, handlers: Iterable[tuple[Handler, Any]]) -> None:
        """Call these handlers, and no others, for updates from now on; calls that are under way end as they began."""
        before, self._handlers = self._handlers, [(self._guard(handler), event) for handler, event in handlers]
        client = self._registered() if self._registered is not None else None
        if client is not None:
            for handler, _ in before:
                client.remove_event_handler(handler)
            self.register_handlers(client)

    def has_handler(self, handler: Any) -> bool:
        """Return whether a client has this handler from here."""
        return any(handler is own for own, _ in self._handlers)

    def register_handlers(self, client: Any) -> None:
        """Register all handlers with a fresh client, which is the account's last one from now on."""
        self._registered = weakref.ref(client)
        for handler, event in self._handlers:
            client.add_event_handler(handler, event)

    def use_client(self, client: Any) -> None:
        """Let handlers use this client from now on."""
        self.client = client
        self._wake()

    def drop_client(self, client: Any) -> None:
        """Let no handler begin with this client any more."""
        if self.client is client:
            self.client = None

    @property
    def waiting(self) -> int:
        """How many updates wait for a handler."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many are with their handlers."""
        return len(self._running)

    @property
    def last(self) -> int:
        """The number of the last update that was handed over."""
        return self._last

    def is_handled(self, number: int) -> bool:
        """Return whether all updates up to this number have been handled."""
        oldest = min(self._running, default=self._last + 1)
        if self._waiting:
            oldest = min(oldest, self._waiting[0][0])
        return oldest > number

    def is_recorded(self, number: int) -> bool:
        """Return whether all updates up to this number have been handled, and the ledger durably says so."""
        return self.is_handled(number) and (self.ledger is None or self.ledger.is_stored(number))

    def use_ledger(self, ledger: AccountLedger) -> None:
        """Note in this ledger what is handled from now on."""
        self.ledger = ledger
        ledger.note_stored = self._note_recorded

    def _note_recorded(self) -> None:
        if not self._running and self.client is None:
            self.note_handled()

    @property
    def is_full(self) -> bool:
        """Whether no more updates are taken before some are handled."""
        return len(self._waiting) > MAX_BACKLOG

    @property
    def backlog(self) -> tuple[int | None, int]:
        """The number of the oldest update that is not handled, if there is one, and how many there are."""
        numbers = [*self._running, *(number for number, _ in self._waiting[:1])]
        return min(numbers, default=None), len(self._running) + len(self._waiting)

    def add(self, updates: Iterable[Any], advances: Sequence[Advance] = ()) -> None:
        """Take updates over at once, however large the backlog is; ``advances`` are what the boxes have come to."""
        for update in updates:
            self._last += 1
            self._waiting.append((self._last, update))
        if advances and self.ledger is not None:
            self._last += 1  # a number of its own, which is seen when the others are handled and this is stored
            self.ledger.add(self._last, advances)
            self._claim_handled()
        self._wake()
        self._deliver_soon()

    def _claim_handled(self) -> None:
        """Have the ledger claim what came before the oldest update that is not handled."""
        if self.ledger is not None:
            oldest = next(iter(self._running), self._last + 1)  # they begin in order, so the first is the oldest
            if self._waiting:
                oldest = min(oldest, self._waiting[0][0])
            self.ledger.handled(oldest - 1)

    async def wait_for_room(self) -> None:
        """Wait until the backlog is small enough to take more."""
        while len(self._waiting) > MAX_BACKLOG:
            await self._wait_for_change()

    def deliver(self, start: Start | None) -> None:
        """Pass updates to the handlers from now on, in tasks that ``start`` starts; with None, to none any more.

        Most accounts of most fleets get few updates, so a task is there only while there are some. An update whose
        handlers are cancelled is handled again from the next call on.
        """
        self._start = start
        if start is None:
            self.calls.close()
        else:
            self._waiting[:0] = sorted(self._running.items())
            self._running.clear()
            self._deliver_soon()

    def _deliver_soon(self) -> None:
        if self._waiting and self._start is not None and not self._delivering:
            self._delivering = True
            self._start(self._deliver)

    async def _deliver(self) -> None:
        """Run the handlers until no update waits or is with them."""
        try:
            await self._run_handlers()
        finally:
            self._delivering = False
        self._deliver_soon()

    async def _run_handlers(self) -> None:
        slots = anyio.Semaphore(MAX_RUNNING)
        async with anyio.create_task_group() as tasks:
            while self._waiting or self._running:
                if not (self._waiting and self.client):
                    await self._wait_for_change()
                    continue
                await slots.acquire()
                if not (self._waiting and self.client):  # the client went away during the wait for a slot
                    slots.release()
                    continue
                number, update = self._waiting.pop(0)
                self._running[number] = update
                tasks.start_soon(self._handle, self.client, number, update, slots)
                self._wake()

    async def _handle(self, client: Any, number: int, update: Any, slots: anyio.Semaphore) -> None:
        if self.observer is not None and (age := _age_of(update)) is not None:
            self.observer(age)
        stored = self.taps.offer(update)
        try:
            await client._dispatch_update(update)
            for event in stored:
                await event.wait()
        except BaseException as exc:  # of a filter: nothing of a program's own code may end the fleet
            if is_cancelled(exc):
                raise
            log.exception("update_not_delivered", account=self.account)
        finally:
            slots.release()
        del self._running[number]  # not when cancelled: then the update was not handled
        self._claim_handled()
        if not self._running:
            self._wake()
            if self.client is None:
                self.note_handled()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _wait_for_change(self) -> None:
        """Wait for the next change from now on."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()
