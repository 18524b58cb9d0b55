"""Telethon's client as a link uses it and as others borrow it: it does nothing by itself, and reports what it learns.

Every request has a deadline and respects the holds of its account. A failure that says something about the account is
reported. What would end the connection or the login is refused. Updates go to the account's inbox at the very moment at
which Telethon counts them as seen.
"""

import asyncio
import random
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator
from copy import copy
from functools import partial
from typing import Any, Self

from telethon import errors, utils
from telethon.crypto import AuthKey
from telethon.errors import BadMessageError, MultiError
from telethon.tl import TLRequest
from telethon.tl.functions.contacts import ResolveUsernameRequest
from telethon.tl.types import Updates, UpdatesCombined
from telethon.tl.types.updates import State

from adapters.telegram.account_ledger import advances_of
from adapters.telegram.cancellation import translate_cancellation
from adapters.telegram.classify import (
    ClosedInside,
    DatacenterLost,
    RequestDropped,
    RequestHeld,
    Unanswered,
    classify,
    kind_of,
)
from adapters.telegram.differences import DIFFERENCES, Differences
from adapters.telegram.exported import LOSSES, ExportedSenders
from adapters.telegram.holds import AwakeOutlet, HoldingClient, RequestHolds, unwrapped
from adapters.telegram.inbox import Inbox
from adapters.telegram.lean import number_channels
from adapters.telegram.lean_client import LeanClient
from adapters.telegram.lent import check_allowed
from adapters.telegram.lent_client import LentClient
from adapters.telegram.request_times import ANSWERED, RequestObserver, method_class, note_failure
from adapters.telegram.sender import LinkSender
from adapters.telegram.unreadable import describe_unreadable
from adapters.telegram.usernames import AccountUsernames, lookups_in
from adapters.tl_reader import HostileData
from states.events import (
    AccountBanned,
    AccountLimited,
    AuthRejected,
    ConfigRefused,
    Event,
    FloodWait,
    ProtocolBroken,
    SessionDuplicated,
    TimedOut,
)
from states.limits import OF_REQUESTS
from states.snapshot import Hold

REQUEST_TIMEOUT = 60.0
"""Seconds that any request may wait for its answer."""
OF_ACCOUNT = (AccountLimited, FloodWait)
"""Failures of one request that concern the account, whichever datacenter says so."""
OF_LINK = (AccountBanned, AuthRejected, ConfigRefused, SessionDuplicated, TimedOut)
"""Those that concern the account or its link if they come over it. The link itself reports its own loss."""
KEEPALIVE_SECONDS = 60.0
"""How often Telethon's chores are done, as by Telethon; a ping is one of them, after such a silence."""
REPEATED = (errors.FileMigrateError, errors.FilerefUpgradeNeededError, errors.FileReferenceExpiredError)
"""Upon these Telethon sends a request for a part of a file again, without end."""
MAX_REPETITIONS = 5
"""How often in a row it may do so."""
EMPTY_ENVELOPES = (Updates, UpdatesCombined)
"""What Telethon takes for an update when there is none in it. A short message is its own envelope, and is one."""


class LinkClient(LentClient, HoldingClient, ExportedSenders, LeanClient):
    """The client of one link, for use like any of Telethon's, except for its connection, which is the engine's.

    A request that meets a hold, or a flood wait, of at most ``flood_sleep_threshold`` s waits in place. It raises what
    Telethon raises, and besides that ``Unanswered`` (a ``TimeoutError``) after ``request_timeout`` seconds,
    ``RequestHeld`` (a ``FloodWaitError``) if requests of its kind are held for longer,
    ``RequestDropped`` (a ``ConnectionError``) when its link goes down, ``DatacenterLost`` when a connection to another
    datacenter does, and ``LentClientError`` for what only the engine may do.
    """

    number = 0
    inbox: Inbox
    report: Callable[[Event], None] = staticmethod(lambda _: None)
    schedule_save: Callable[[], None] = staticmethod(lambda: None)
    """Called when the session file falls behind the account."""
    note_unreadable: Callable[[Exception], str] = staticmethod(describe_unreadable)
    """Called with what Telethon could not read; returns what it is in a few words."""
    request_timeout = REQUEST_TIMEOUT
    request_done: RequestObserver | None = None
    """Whoever measures requests; nobody does unless there are metrics."""
    differences: Differences
    usernames: AccountUsernames | None = None
    """What the engine's accounts know of usernames; None if each is looked up."""
    proof: TLRequest | None = None
    """The authorised request that the connection is begun with; None if that must wait."""
    limit: errors.RPCError | None = None
    """The limit that was the answer to it."""
    _keepalive: asyncio.TimerHandle | None = None
    _updates_due: asyncio.TimerHandle | None = None
    """When Telethon wants to look for updates that are missing."""
    _begun = False
    _saved: tuple[Any, ...] | None = None
    """How far updates were seen at the last ``save``; None if some were not handled then."""

    def attach(
        self, number: int, inbox: Inbox, report: Callable[[Event], None], holds: Iterable[Hold], timeout: float
    ) -> None:
        """Attach the client to a link; call it once, before connecting."""
        self.number, self.inbox, self.report, self.request_timeout = number, inbox, report, timeout
        self.holds, self.known = RequestHolds(), {}
        for hold in holds:
            self.hold(hold.request, hold.until)
        self.differences = Differences(weakref.ref(self))
        self._sender = LinkSender(self, AuthKey(self.session.auth_key), main=True)
        inbox.register_handlers(self)

    # --- requests: all pass here, see ``LinkSender`` ---

    async def __call__(self, request: Any, ordered: bool = False, flood_sleep_threshold: float | None = None) -> Any:
        """Send a request, or several at once, and return the answer; Telethon's own forgets how long it may wait."""
        return await self._call(self._sender, request, ordered, flood_sleep_threshold)

    async def _call(
        self, sender: Any, request: Any, ordered: bool = False, flood_sleep_threshold: float | None = None
    ) -> Any:
        """Send a request, or several at once, by this sender and return the answer."""
        self._check_loop()
        if type(request) in DIFFERENCES:  # Telethon's; those of a job are requests like any
            return await self.differences.fetch(sender, request)
        bound = self._bound_of(flood_sleep_threshold)
        kinds: list[str] = []
        if type(request) is ResolveUsernameRequest and self.usernames is not None:
            return await self.usernames.resolve(self, request, partial(self._look_up, sender, request, bound))
        for single in request if utils.is_list_like(request) else (request,):
            check_allowed(single)
            kinds += await self._kinds(single, resolve=bound > 0)
        send = partial(self._send, sender, request, self.request_timeout, ordered=ordered)
        if self.usernames is not None and (lookups := lookups_in(request)):
            send = partial(self.usernames.send_charged, lookups, send)
        answer = await self.holds.send(request, kinds, bound, self._probing(request, kinds, send))
        if self.limits:
            self._note_success(request, kinds)
        return answer

    async def _look_up(self, sender: Any, request: Any, bound: float, charge: Callable[[], Awaitable[None]]) -> Any:
        """Send a request as ``_call`` does; ``charge`` is awaited each time before it goes out."""

        async def send() -> Any:
            await charge()
            return await self._send(sender, request, self.request_timeout)

        return await self.holds.send(request, await self._kinds(request), bound, send)

    async def _send(self, sender: Any, request: Any, timeout: float, *, ordered: bool = False) -> Any:
        """Send a request and return its answer, measured if anybody wants to know; see ``_exchange``."""
        if (observer := self.request_done) is None:
            return await self._exchange(sender, request, timeout, ordered=ordered)
        began = time.perf_counter()
        try:
            answer = await self._exchange(sender, request, timeout, ordered=ordered)
        except BaseException as exc:
            note_failure(observer, request, exc, began)
            raise
        observer(method_class(request), ANSWERED, time.perf_counter() - began)
        return answer

    async def _exchange(self, sender: Any, request: Any, timeout: float, *, ordered: bool) -> Any:
        """Send a request and return its answer; report a failure that concerns the account or the link."""
        own = sender is self._sender
        try:
            async with asyncio.timeout(timeout) as deadline:
                telethons = super()._call(AwakeOutlet(sender.direct.send), request, ordered=ordered)
                answer = await translate_cancellation(unwrapped(telethons))
        except Exception as exc:
            if not deadline.expired():
                if isinstance(exc, REPEATED):
                    self._count_repetition(request, exc)
                self._report_failure(exc, own=own)
                if not own and isinstance(exc, (*LOSSES, errors.UnauthorizedError)):
                    raise self._lost(sender, exc) from exc
                raise
        else:
            if getattr(request, "repetitions", 0):
                request.repetitions = 0
            return answer
        silence = Unanswered(f"{kind_of(request)} was not answered within {timeout:g} s")
        self._report_failure(silence, own=own)
        raise silence

    def _count_repetition(self, request: Any, exc: Exception) -> None:
        """Raise ``DatacenterLost`` if a request for a part of a file is refused again and again.

        Telethon sends it again for as long as it is refused like this, as fast as the answers come.
        """
        request.repetitions = getattr(request, "repetitions", 0) + 1
        if request.repetitions > MAX_REPETITIONS:
            request.repetitions = 0
            raise DatacenterLost(
                f"a part of a file was asked for {MAX_REPETITIONS + 1} times, and each time the answer was "
                f"{type(exc).__name__.removesuffix('Error')}; try again later"
            ) from exc

    def _report_failure(self, exc: BaseException, *, own: bool) -> None:
        """Report a failed request if the failure concerns the account or, on its ``own`` connection, the link."""
        for single in _split(exc):
            event = classify(single, link=self.number, what="request")
            if isinstance(single, RequestHeld | RequestDropped):
                continue
            if isinstance(event, FloodWait):
                # Held from this moment on, and by its own kind: Telethon's memory knows a takeout's wrapper only.
                self._flood_waited_requests.clear()
                self.holds.flood(event.request, event.seconds)
            if isinstance(event, AccountLimited) and event.limit in OF_REQUESTS:
                self._note_limit(event)
                continue
            broken = isinstance(event, ProtocolBroken) and isinstance(single, BadMessageError | HostileData)
            if isinstance(event, OF_ACCOUNT) or (own and (isinstance(event, OF_LINK) or broken)):
                self.report(event)

    def note_late_error(self, exc: Exception, *, own: bool) -> None:
        """Report what an answer says for which nobody waits any more, of the login or of a flood wait.

        Where answers take longer than their deadline, no other comes.
        """
        if not isinstance(classify(exc), TimedOut):
            self._report_failure(exc, own=own)

    # --- the connection ---

    async def connect(self) -> None:
        """Connect once, for the link. After that do nothing; raise ``RequestDropped`` when the link is over."""
        if not self._begun:
            self._begun = True
            await self._connect()
            if not self._message_box.is_empty():
                self.session.begin_account(State(**self._message_box.session_state()[0], unread_count=0))
            self._keepalive = self.loop.call_later(KEEPALIVE_SECONDS, self._keep_alive)
            self._sender.gated, self._sender.lent = True, True
            self._updates_queue.begin = self._begin_updates
            await asyncio.sleep(0)  # the update loop has begun, so that it notices whatever is done to it
        elif not self.is_connected():
            raise RequestDropped

    async def start(self, *_: Any, **__: Any) -> Self:
        """Return the client: it is connected and logged in."""
        await self.connect()
        return self

    async def _begin(self) -> None:
        """Begin the connection with the proof, which saves a request: Telethon's own first one only begins it.

        A limit of the account may have kept the datacenter from taking note of the beginning; then Telethon's request
        follows. A flood wait ends the attempt: nothing is sent before it is over.
        """
        if self.proof is not None:
            try:
                await self._introduce(self.proof)
            except errors.RPCError as exc:
                if not isinstance(classify(exc), AccountLimited):
                    raise
                self.limit = exc
                self._init_request = copy(self._init_request)  # the limit's own still says of which kind it is
            else:
                return
        await super()._begin()

    def fetch_unread(self) -> None:
        """Have the account's difference fetched: a live message could not be read."""
        self.differences.fetch_unread()

    async def catch_up(self) -> None:
        """Have missed updates fetched now."""
        self._check_loop()
        await super().catch_up()

    # --- the end ---

    def _begin_updates(self) -> None:
        """Let Telethon's update loop run until there is nothing for it."""
        if self.is_connected() and (self._updates_handle is None or self._updates_handle.done()):
            self._updates_handle = self.loop.create_task(self._update_loop())

    def _rest_from_updates(self) -> None:
        """Let the loop begin again when an update comes, and when Telethon would look for missing ones."""
        self._updates_handle, self._catch_up = None, False
        loop = asyncio.get_running_loop()
        self._updates_due = loop.call_at(self._message_box.check_deadlines(), self._begin_updates)

    async def _update_loop(self) -> None:
        """Run Telethon's loop until it is idle.

        What it cannot process ends neither it nor the link; a refused login ends the link.
        """
        if self._updates_due is not None:
            self._updates_due.cancel()
        self._updates_queue.idle = False
        while True:
            await super()._update_loop()
            error = self._updates_error
            if error is None:
                if self._updates_queue.idle and self.is_connected():
                    self._rest_from_updates()
                elif self._sender.lent and self.is_connected():  # cancelled, not by the engine: updates would be lost
                    await self._sender._disconnect(error=ClosedInside())
                return
            if not self.is_connected() or not await self.differences.go_on_after(error):
                await self._sender._disconnect(error=error)  # Telethon would disconnect the whole client
                return

    def _keep_alive(self) -> None:
        """Do what Telethon does each minute, without a task for it.

        Ping after a silence, have saved what was seen since the last save, close connections that are idle.
        """
        if not self.is_connected():
            return
        loop = asyncio.get_running_loop()
        self._keepalive = loop.call_later(KEEPALIVE_SECONDS, self._keep_alive)
        if self._borrowed_senders and (self._keepalive_handle is None or self._keepalive_handle.done()):
            self._keepalive_handle = loop.create_task(self._clean_exported_senders())  # Telethon cancels it at the end
        if time.monotonic() - self._sender.heard_at >= KEEPALIVE_SECONDS:
            self._sender._keepalive_ping(random.randrange(-(2**63), 2**63))
        if self._seen() != self._saved:
            self.schedule_save()

    async def end(self) -> None:
        """End the link. Telethon cancels requests that were sent, and would leave those in its queue waiting."""
        self._sender.lent = False
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None
        if self._updates_due is not None:
            self._updates_due.cancel()
            self._updates_due = None
        self._updates_queue.begin = None
        self.differences.close()
        self.holds.close()
        await asyncio.sleep(0)  # what has arrived already is still processed
        try:
            await super()._disconnect_coro()
        finally:
            for state in self._sender._send_queue._deque:
                state.future.cancel()

    def detach(self) -> None:
        """Let go of the link, which refers to the client: both go when nobody uses them, not at a collection."""
        self.__dict__.pop("report", None)
        self.__dict__.pop("schedule_save", None)
        self.__dict__.pop("wait_up_to", None)

    async def _disconnect_coro(self) -> None:
        """Do nothing, as ``disconnect``."""

    # --- updates ---

    def list_event_handlers(self) -> list[tuple[Any, Any]]:
        """Return those that were added to this client. Those of the engine go on for as long as it runs."""
        return [entry for entry in super().list_event_handlers() if not self.inbox.has_handler(entry[0])]

    async def _preprocess_updates(self, updates: Any, users: Any, chats: Any) -> list[Any]:
        """Hand updates over in the very step in which Telethon has counted them; leave none for it to dispatch."""
        # For an empty list of updates Telethon takes the envelope for an update.
        updates = [update for update in updates if not isinstance(update, EMPTY_ENVELOPES)]
        entities = {utils.get_peer_id(peer): peer for peer in (*users, *chats)}
        for update in updates:
            update._entities = entities
        has_handlers = bool(self._event_builders or self._conversations or self.inbox.taps)
        begun, unnumbered, present = self._message_box.take_begun()
        self.inbox.add(updates if has_handlers else (), advances_of(self, handled=has_handlers))
        if begun:
            self.session.begin_channels(begun)
        self.schedule_save()
        if present:
            self._updates_queue.put_nowait(number_channels(present, []))
        self.differences.processed(len(updates), unnumbered)
        await super()._preprocess_updates([], users, chats)
        if begun:
            self.session.write_soonest()
        await self.inbox.wait_for_room()
        if self._updates_queue.ends_turn():
            await asyncio.sleep(0)
        return []

    async def _save_states_and_entities(self) -> None:
        """Save the update state and entities, as Telethon does each minute and at the end.

        A client that never got as far as loading its state has none. Saving it would say that no update was seen, and
        the next client would begin at the present instead of where the last one was.
        """
        if self._message_box.is_empty():
            return
        self.differences.keep_date()
        if self._saved is not None and self._seen() == self._saved:
            return
        await super()._save_states_and_entities()
        self.session.write_states(self.inbox)

    async def save(self) -> bool:
        """Bring the session file up to date with the handled updates; return whether those are all."""
        seen = self._seen()
        await self._save_states_and_entities()
        all_recorded = self.inbox.is_recorded(self.inbox.last)
        self._saved = seen if all_recorded else None
        return all_recorded

    def _seen(self) -> tuple[Any, ...]:
        """Return how far updates were seen, and who the account is: all that a save may have to bring into the file."""
        account, channels = self._message_box.session_state()
        return self._mb_entity_cache.self_id, *account.values(), *channels.items()


def _split(exc: BaseException) -> Iterator[BaseException]:
    """Yield the failure of a request, or of each of several that were sent together."""
    if isinstance(exc, MultiError):
        yield from (single for single in exc.exceptions if single is not None)
    else:
        yield exc
