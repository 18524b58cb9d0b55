"""Updates in a program: each goes to the handlers once, and is acknowledged when they have ended."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from attrs import define, field
from telethon import utils
from telethon.tl import types

from adapters.telegram.remote_updates import decode_update
from engine.remote.errors import EngineUnreachable, RequestRefused
from engine.remote.frames import FrameKind, RemoteFailure, decode_object
from engine.remote.link import EngineLink
from engine.remote.window import HandledWindow

SUBSCRIBE_TIMEOUT: Final = 30.0
"""Seconds that the engine has to begin the updates."""
HANDLER_GRACE: Final = 5.0
"""Seconds that handlers have to end when the client disconnects."""
MAX_CACHED: Final = 5000
"""Users and chats that events find at once, as many as in Telethon."""


@define(eq=False)
class RemoteInbox:
    """The updates of one program: from the engine to the handlers of its client, and what they handled back."""

    client: Any
    link: EngineLink
    _wanted: bool = field(default=False, init=False)
    _begun: asyncio.Event = field(factory=asyncio.Event, init=False)
    _closing: bool = field(default=False, init=False)
    _feed: str | None = field(default=None, init=False)
    _window: HandledWindow = field(factory=HandledWindow, init=False)
    _follows: bool = field(default=False, init=False)
    """Whether the engine has said on this connection which updates follow."""
    _handling: "dict[asyncio.Task[None], tuple[HandledWindow, int]]" = field(factory=dict, init=False)
    """The tasks that run handlers, each with the number of its update and what that is a number in."""

    def open(self) -> None:
        """Take updates from now on."""
        self._closing = False

    def want(self) -> None:
        """Have updates from now on."""
        if not self._wanted:
            self._wanted = True
            self.subscribe()

    def subscribe(self) -> None:
        """Ask for updates, with each new connection."""
        self._follows = False
        if self._wanted:
            self.link.send(FrameKind.SUBSCRIBE)

    async def subscribed(self) -> None:
        """Return when updates are kept for this program, if it wants them. Raises ``RequestRefused``."""
        if not self._wanted:
            return
        begun = asyncio.ensure_future(self._begun.wait())
        ends: list[asyncio.Future[Any]] = [begun, self.link.over]
        try:
            await asyncio.wait(ends, timeout=SUBSCRIBE_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            begun.cancel()
        if not self._begun.is_set():
            raise self.link.error or EngineUnreachable(
                f"the engine has not begun the updates in {SUBSCRIBE_TIMEOUT:g} s"
            )

    def take(self, kind: FrameKind, number: int, body: bytes) -> None:
        """Take a frame. Raises ``BadFrame`` and ``RequestRefused``."""
        match kind:
            case FrameKind.SUBSCRIBED:
                self._begin(number, str(decode_object(body).get("feed")))
            case FrameKind.UPDATE:
                self._handle_once(number, body)
            case FrameKind.DROPPED:
                self._handle_once(number, None, decode_object(body).get("updates"))
            case FrameKind.FAILURE:
                raise RequestRefused(RemoteFailure.decode(body).text)

    def _begin(self, number: int, feed: str) -> None:
        """Go on after a number of a feed; another feed than before has other updates, and some may be missing."""
        self._follows = True
        if feed != self._feed:
            again, self._feed = self._feed is not None, feed
            self._window = HandledWindow(number, number)
            if again:
                self._start(0, None, None)
        else:
            self._acknowledge()
        self._begun.set()

    def _handle_once(self, number: int, body: bytes | None, lost: Any = None) -> None:
        if self._closing:
            return
        if self._window.begin(number):
            self._start(number, body, lost)
        elif number <= self._window.acknowledged:  # the engine was lost with that
            self._acknowledge()

    def _start(self, number: int, body: bytes | None, lost: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._handle(body, lost))
        self._handling[task] = self._window, number
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        known = self._handling.pop(task, None)
        if task.cancelled() and self._closing:
            return  # not handled: it comes again
        if not task.cancelled() and (error := task.exception()) is not None:
            self.client._log[__name__].error("An update could not be handled", exc_info=error)
        if known is not None:
            self._end(*known)

    def _end(self, window: HandledWindow, number: int) -> None:
        if window.end(number) and window is self._window:
            self._acknowledge()

    def _acknowledge(self) -> None:
        if self._follows and self._window.acknowledged:
            self.link.send(FrameKind.ACKNOWLEDGE, self._window.acknowledged)

    async def _handle(self, body: bytes | None, lost: Any) -> None:
        """Pass an update to the handlers, as Telethon does."""
        client = self.client
        entities: dict[int, Any] = {}
        update: Any
        if body is None:
            update = types.UpdatesTooLong()
            update.lost = lost
            why = "the engine's file is another one" if lost is None else f"{lost} fell out"
            client._log[__name__].warning("Updates are missing: %s", why)
        else:
            update, named, peers = decode_update(body)
            entities = {utils.get_peer_id(each): each for each in named}
            client.session.process_entities(named)
            client.session.add_peers(peers)
            cache = client._mb_entity_cache
            if len(cache) >= MAX_CACHED:
                cache.retain(lambda each: each == cache.self_id)
            cache.extend(
                [each for each in named if isinstance(each, types.User)],
                [each for each in named if not isinstance(each, types.User | types.UserEmpty)],
            )
        update._entities = entities
        await client._dispatch_update(update)

    def note_disconnect(self) -> None:
        """Count the update whose handler disconnects as handled: it will not end before the connection does."""
        self._closing = True
        with suppress(RuntimeError):
            task = asyncio.current_task()
            if task is not None and (known := self._handling.pop(task, None)) is not None:
                self._end(*known)

    async def close(self) -> None:
        """Let handlers end, for a while; those that do not are cancelled, and their updates come again."""
        self._closing = True
        if self._handling:
            await asyncio.wait(list(self._handling), timeout=HANDLER_GRACE)
        for task in (left := list(self._handling)):
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=HANDLER_GRACE)
        self._begun, self._feed = asyncio.Event(), None
