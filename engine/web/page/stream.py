"""What keeps an open page up to date: its parts that changed, as server-sent events.

    hub, once a second: Views.fragments ──▶ Picture ──┬─▶ a visitor's stream: what is newer than what it has
                         for each view and role       └─▶ another's

Nothing is kept for a visitor but a number: how much of the picture it has. Whoever reads slowly gets fewer and larger
steps, and who does not read loses the connection (``engine.web.connection``). What is to be sent is made once for all
who have the same.
"""

import json
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec
import structlog
from attrs import define, evolve, field, frozen
from starlette.requests import Request

from engine.wakeup import Wakeup
from engine.web.page.source import Fragments, PageSource, View, Viewer, Views

EVERY: Final = 1.0
"""Seconds between two updates of a page."""
SHARE: Final = 0.2
"""Of a core, which drawing all views may take; with more to do, updates come less often."""
ALIVE_SECONDS: Final = 15.0
"""After which a visitor hears that nothing has changed."""
RETRY_SECONDS: Final = 30
"""After which a visitor for whom there is no place may try again."""
MAX_UNSEEN: Final = 16
"""Pictures that are kept although nobody sees them, so that a page that was just fetched finds its own."""
KEPT_SECONDS: Final = 60.0
"""For which a picture is kept that nobody sees, for a page that connects again."""
MAX_GONE: Final = 2_000
"""Elements that are remembered to be gone."""
MAX_BATCHES: Final = 8
"""Updates of one picture that are kept for others who have the same."""
CHUNK: Final = 65_536
"""Bytes that are handed over at once."""
TOLD_SECONDS: Final = 600.0
"""For which a page that cannot be drawn is not told again."""

log = structlog.get_logger("holdfast.web")


@frozen
class Picture:
    """The changing parts of a view at a moment, and since which version each is as it is."""

    version: int = 0
    texts: Mapping[str, tuple[int, str]] = field(factory=dict)
    """By id: the version and the HTML."""
    order: tuple[str, ...] = ()
    ordered: int = 0
    """The version of the order."""
    gone: Mapping[str, int] = field(factory=dict)
    """What is there no more, and since which version."""
    floor: int = 0
    """Who has a version below this one cannot be told what is gone since."""
    at: float = 0.0
    """When it was true (Unix seconds)."""

    def after(self, found: Fragments, at: float) -> "Picture":
        """Return the picture with these parts, which has a new version if they are not all as they were."""
        version, before = self.version + 1, self.texts
        texts = {
            key: old if (old := before.get(key)) is not None and old[1] == html else (version, html)
            for key, html in found.html.items()
        }
        order = tuple(found.order)
        gone = {key: version for key in before if key not in texts}
        moved = order != self.order
        if not gone and not moved and not any(each[0] == version for each in texts.values()):
            return evolve(self, at=at)
        gone = {key: each for key, each in self.gone.items() if key not in texts} | gone
        floor = self.floor
        if len(gone) > MAX_GONE:
            gone, floor = {}, version
        return Picture(version, texts, order, version if moved else self.ordered, gone, floor, at)

    def events(self, seen: int) -> list[tuple[str, Any]]:
        """Return what somebody with version ``seen`` does not have: names of events and their data."""
        found: list[tuple[str, Any]] = []
        if gone := [key for key, version in self.gone.items() if version > seen]:
            found.append(("remove", {"ids": gone}))
        found += [
            ("fragment", {"id": key, "html": html}) for key, (version, html) in self.texts.items() if version > seen
        ]
        if self.ordered > seen:
            found.append(("order", {"ids": self.order}))
        return found


@define(eq=False)
class StreamChannel:
    """The picture of one view for one role, and what its streams send of it."""

    viewer: Viewer
    view: View
    key: str = field(factory=lambda: secrets.token_hex(6))
    """Distinguishes it from others that had the same view."""
    picture: Picture = field(factory=Picture)
    streams: int = 0
    used_at: float = 0.0
    """When a page last asked for it (steady)."""
    news: Wakeup = field(factory=Wakeup)
    over: bool = False
    _batches: dict[int, Sequence[bytes]] = field(factory=dict)

    @property
    def mark(self) -> str:
        """What stands for having all of it as it is now."""
        return f"{self.key}-{self.picture.version}"

    def seen(self, mark: str) -> int | None:
        """Return the version that a mark stands for; None if it cannot be brought up to date from there."""
        key, _, version = mark.rpartition("-")
        if key != self.key or not version.isdecimal() or len(version) > 12:
            return None
        return int(version) if self.picture.floor <= int(version) <= self.picture.version else None

    def use(self, picture: Picture) -> None:
        """Have another picture."""
        changed = picture.version != self.picture.version
        self.picture = picture
        if changed:
            self._batches.clear()
            self.news.notify()

    def batch(self, seen: int) -> Sequence[bytes]:
        """Return what to send to whoever has version ``seen``, in parts; made once for all of them."""
        if (found := self._batches.get(seen)) is None:
            found = tuple(_parts(self.picture.events(seen)))
            if len(self._batches) < MAX_BATCHES:
                self._batches[seen] = found
        return found

    def end(self) -> None:
        """Let its streams end."""
        self.over = True
        self.news.notify()


@define(eq=False)
class StreamHub:
    """Keeps the pictures of all views that somebody has open."""

    source: PageSource
    views: Views
    streams: int = field(default=0, init=False)
    """How many are open."""
    _channels: "OrderedDict[tuple[Viewer, View], StreamChannel]" = field(factory=OrderedDict, init=False)
    _drawing: anyio.Lock = field(factory=anyio.Lock, init=False)
    _opened: Wakeup = field(factory=Wakeup, init=False)
    _told_at: float = field(default=float("-inf"), init=False)

    async def look(self, viewer: Viewer, view: View) -> StreamChannel:
        """Return the channel of a view, with a picture of this moment if it has none that is kept up to date."""
        key = (viewer, view)
        channel = self._channels.get(key) or StreamChannel(viewer, view)
        channel.used_at = anyio.current_time()
        self._channels[key] = channel
        self._channels.move_to_end(key)
        self._forget()
        if not channel.streams or not channel.picture.version:
            await self._draw(channel)
        return channel

    async def run(self) -> None:
        """Draw the pictures that somebody sees, until cancelled; then all streams end."""
        try:
            while True:
                opened = self._opened.upcoming
                if not self.streams:
                    await opened.wait()
                began, cost = anyio.current_time(), 0.0
                for channel in [each for each in self._channels.values() if each.streams]:
                    cost += await self._draw(channel)
                self._forget()
                took = anyio.current_time() - began
                await anyio.sleep(max(EVERY / 4, max(EVERY, cost / SHARE) - took))  # also on a machine that is busy
        finally:
            self.end()

    def end(self) -> None:
        """End all streams: their visitors have to show their cookies again."""
        for channel in self._channels.values():
            channel.end()
        self._channels.clear()

    def _keeps(self, channel: StreamChannel) -> bool:
        """Return whether a channel is the one that is drawn of its view, which it becomes if there is none."""
        return not channel.over and self._channels.setdefault((channel.viewer, channel.view), channel) is channel

    def _count(self, channel: StreamChannel, streams: int) -> None:
        """Count streams that begin, or end."""
        self.streams += streams
        channel.streams += streams
        channel.used_at = anyio.current_time()
        self._opened.notify()

    async def _draw(self, channel: StreamChannel) -> float:
        """Have a channel's picture drawn; return the seconds of computing that it took."""
        try:
            async with self._drawing:  # until the thread has ended: views are never drawn twice at once
                picture, cost = await anyio.to_thread.run_sync(self._drawn, channel)
                channel.use(picture)
        except Exception:
            if (now := anyio.current_time()) >= self._told_at + TOLD_SECONDS:
                self._told_at = now
                log.exception("web_request_failed", request="/stream")
            return 0.0
        return cost

    def _drawn(self, channel: StreamChannel) -> tuple[Picture, float]:
        began, now = time.thread_time(), time.time()
        picture = channel.picture.after(self.views.fragments(self.source, channel.viewer, now, channel.view), now)
        return picture, time.thread_time() - began

    def _forget(self) -> None:
        """Drop pictures that nobody sees: the old ones, and as many as are too many."""
        old = anyio.current_time() - KEPT_SECONDS
        unseen = [key for key, each in self._channels.items() if not each.streams]
        for number, key in enumerate(unseen):
            if self._channels[key].used_at < old or len(unseen) - number > MAX_UNSEEN:
                del self._channels[key]

    async def parts(self, channel: StreamChannel, seen: int | None) -> AsyncGenerator[bytes, None]:
        """Yield what a visitor with version ``seen`` of a channel is to get, until the channel is over."""
        self._count(channel, 1)
        try:
            yield b"retry: 2000\n\n"
            if seen is None or not self._keeps(channel):
                yield _event("reload", {})
                return
            is_due = True
            while not channel.over:
                news, picture = channel.news.upcoming, channel.picture
                if picture.version > seen:
                    for part in channel.batch(seen):
                        yield part
                if picture.version > seen or is_due:
                    yield _event("seen", {"at": picture.at}, f"{channel.key}-{picture.version}")
                seen, is_due = picture.version, False
                if channel.picture.version == seen and not channel.over:
                    with anyio.move_on_after(ALIVE_SECONDS) as quiet:
                        await news.wait()
                    is_due = quiet.cancelled_caught
        finally:
            self._count(channel, -1)


def _event(name: str, data: Any, mark: str = "") -> bytes:
    """Return an event; JSON has no line breaks, so that its data are one line."""
    try:
        text = msgspec.json.encode(data)
    except UnicodeEncodeError:  # half of a character, which only an escape can have
        text = json.dumps(data).encode()
    head = f"id: {mark}\n" if mark else ""
    return f"{head}event: {name}\ndata: ".encode() + text + b"\n\n"


def _parts(events: Sequence[tuple[str, Any]]) -> list[bytes]:
    """Return events, so many together as are handed over at once."""
    parts: list[bytes] = []
    part = bytearray()
    for name, data in events:
        part += _event(name, data)
        while len(part) >= CHUNK:
            parts.append(bytes(part[:CHUNK]))
            del part[:CHUNK]
    if part:
        parts.append(bytes(part))
    return parts


def last_seen(request: Request) -> str:
    """Return the mark of what a visitor has: after a broken connection the browser sends the last one."""
    return request.headers.get("last-event-id") or request.query_params.get("seen", "")
