"""Telethon's client as a link uses it: it does nothing by itself, and reports what it learns.

Every request has a deadline and respects the holds of its account. A failure that says something about the account is
reported. Updates go to the account's inbox at the very moment at which Telethon counts them as seen.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Self, TypeVar

from telethon import TelegramClient, utils
from telethon.errors import BadMessageError, MultiError
from telethon.tl.functions.updates import GetChannelDifferenceRequest, GetDifferenceRequest
from telethon.tl.types import UpdateNewMessage
from telethon.tl.types.updates import ChannelDifferenceTooLong, DifferenceTooLong

from adapters.telegram.classify import (
    Migrated,
    RequestDropped,
    RequestHeld,
    classify,
    is_of_chat,
    kind_in_chat,
    kind_of,
)
from adapters.telegram.inbox import Inbox
from adapters.telegram.protocol_watch import ProtocolWatch, bound_error_texts
from states.events import (
    AccountBanned,
    AccountLimited,
    AuthRejected,
    CaughtUp,
    ConfigRefused,
    Event,
    FloodWait,
    ProtocolBroken,
    SessionDuplicated,
    TimedOut,
)
from states.snapshot import Hold

T = TypeVar("T")

TELETHON_LOGGER = logging.getLogger("holdfast.telethon")
REQUEST_TIMEOUT = 60.0
"""Seconds that any request may wait for its answer."""
DIFFERENCE_TIMEOUT = 15.0
"""The same for requests that fetch missed updates: until they are answered, no other update arrives."""
DIFFERENCES = (GetDifferenceRequest, GetChannelDifferenceRequest)
TOO_LONG = (DifferenceTooLong, ChannelDifferenceTooLong)
REPORTED = (AccountBanned, AccountLimited, AuthRejected, ConfigRefused, FloodWait, SessionDuplicated, TimedOut)
"""Failures of one request that concern more than that request. The link itself reports its own loss."""


class Unanswered(TimeoutError):
    """A request had no answer within its deadline. The datacenter may have carried it out all the same."""


class OneLogger(logging.Logger):
    """One logger for all of Telethon's modules, which want a dozen of them for each account."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.parent = TELETHON_LOGGER

    def getChild(self, suffix: str) -> Self:
        """Return itself."""
        return self


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


class LinkClient(TelegramClient):  # type: ignore[misc]  # Telethon ships no types
    """The client of one link, for use like any of Telethon's.

    A request raises what Telethon raises, and besides that ``Unanswered`` (a ``TimeoutError``) after
    ``request_timeout`` seconds, ``RequestHeld`` (a ``FloodWaitError``) while requests of its kind are held, and
    ``RequestDropped`` (a ``ConnectionError``) when its link goes down.
    """

    number = 0
    inbox: Inbox
    report: Callable[[Event], None] = staticmethod(lambda _: None)
    schedule_save: Callable[[], None] = staticmethod(lambda: None)
    """Called when the session file falls behind the account."""
    request_timeout = REQUEST_TIMEOUT
    _holds: dict[str, float]
    _catching_up = True
    _of_difference = False
    _recovered = 0
    _too_long = False

    def attach(
        self, number: int, inbox: Inbox, report: Callable[[Event], None], holds: Iterable[Hold], timeout: float
    ) -> None:
        """Attach the client to a link; call it once, before connecting."""
        self.number, self.inbox, self.report, self.request_timeout = number, inbox, report, timeout
        self._holds = {hold.request: hold.until for hold in holds}
        ProtocolWatch(self._sender._state)
        bound_error_texts(self._sender)
        inbox.register_handlers(self)

    def hold(self, request: str, until: float) -> None:
        """Send no request of this kind until then (Unix seconds)."""
        self._holds[request] = until

    # --- requests ---

    async def __call__(self, request: Any, ordered: bool = False, flood_sleep_threshold: int | None = None) -> Any:
        """Send a request, or several at once, and return the answer."""
        for single in request if utils.is_list_like(request) else (request,):
            await self._check_holds(single)
        if isinstance(request, DIFFERENCES):
            return await self._fetch(request)
        return await self._send(request, self.request_timeout, ordered=ordered)

    async def _fetch(self, request: Any) -> Any:
        """Fetch missed updates; repeat the request until it is answered, since Telethon would send it only once."""
        while True:
            with suppress(Unanswered):
                answer = await self._send(request, min(DIFFERENCE_TIMEOUT, self.request_timeout))
                self._of_difference = True
                self._too_long |= isinstance(answer, TOO_LONG)
                return answer

    async def _send(self, request: Any, timeout: float, *, ordered: bool = False) -> Any:
        """Send a request and return its answer; report a failure that concerns the account or the link."""
        try:
            async with asyncio.timeout(timeout) as deadline:
                return await self.ask(request, ordered=ordered)
        except Exception as exc:
            if not deadline.expired():
                self._report_failure(exc)
                raise
        silence = Unanswered(f"{kind_of(request)} was not answered within {timeout:g} s")
        self._report_failure(silence)
        raise silence

    async def ask(self, request: Any, *, ordered: bool = False) -> Any:
        """Send a request without checking holds, without a deadline of its own, and without a report."""
        return await translate_cancellation(super().__call__(request, ordered=ordered))

    async def _check_holds(self, request: Any) -> None:
        if not self._holds:
            return
        now = time.time()
        self._holds = {kind: until for kind, until in self._holds.items() if until > now}
        until, kind = max((self._holds.get(kind, 0.0), kind) for kind in await self._kinds(request))
        if until:
            raise RequestHeld(request, math.ceil(until - now), kind)

    async def _kinds(self, request: Any) -> list[str]:
        """Return the kinds under which a request may be held; for a chat's slow mode its peer must be known."""
        kinds = ["any", kind_of(request)]
        if any(map(is_of_chat, self._holds)) and hasattr(request, "resolve"):
            await request.resolve(self, utils)
            kinds.append(kind_in_chat(request))
        return kinds

    def _report_failure(self, exc: BaseException) -> None:
        """Report a failed request if the failure concerns the account or the link."""
        for single in _split(exc):
            event = classify(single, link=self.number, what="request")
            broken = isinstance(event, ProtocolBroken) and isinstance(single, BadMessageError)
            if (isinstance(event, REPORTED) or broken) and not isinstance(single, RequestHeld | RequestDropped):
                self.report(event)

    # --- a session in use keeps its key ---

    async def _switch_dc(self, new_dc: int) -> None:
        raise Migrated(self.session.dc_id, new_dc)  # Telethon would throw the key away

    # --- the end ---

    async def _disconnect_coro(self) -> None:
        """Disconnect for good. Telethon cancels requests that were sent, and would leave those in its queue waiting."""
        try:
            await super()._disconnect_coro()
        finally:
            for state in self._sender._send_queue._deque:
                state.future.cancel()

    # --- updates ---

    async def _preprocess_updates(self, updates: Any, users: Any, chats: Any) -> list[Any]:
        """Hand updates over in the very step in which Telethon has counted them; leave none for it to dispatch."""
        # For an empty list of updates Telethon takes the envelope for an update.
        updates = [update for update in updates if update.SUBCLASS_OF_ID == UpdateNewMessage.SUBCLASS_OF_ID]
        entities = {utils.get_peer_id(peer): peer for peer in (*users, *chats)}
        for update in updates:
            update._entities = entities
        has_handlers = bool(self._event_builders or self._conversations)
        self.inbox.add(updates if has_handlers else ())
        self.schedule_save()
        if self._catching_up and self._of_difference:
            self._recovered += len(updates)
            if not self._message_box.getting_diff_for:
                self._catching_up = False
                self.report(CaughtUp(link=self.number, recovered=self._recovered, too_long=self._too_long))
        self._of_difference = False
        await super()._preprocess_updates([], users, chats)
        await self.inbox.wait_for_room()
        return []

    async def _save_states_and_entities(self) -> None:
        """Save the update state and entities, as Telethon does each minute and at the end.

        A client that never got as far as loading its state has none. Saving it would say that no update was seen, and
        the next client would begin at the present instead of where the last one was.
        """
        if self._message_box.is_empty():
            return
        await super()._save_states_and_entities()
        self.session.write_states(self.inbox)

    async def save(self) -> bool:
        """Bring the session file up to date with the handled updates; return whether those are all."""
        await self._save_states_and_entities()
        return self.inbox.is_handled(self.inbox.last)


def _split(exc: BaseException) -> Iterator[BaseException]:
    """Yield the failure of a request, or of each of several that were sent together."""
    if isinstance(exc, MultiError):
        yield from (single for single in exc.exceptions if single is not None)
    else:
        yield exc
