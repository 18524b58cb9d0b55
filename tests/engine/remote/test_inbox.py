"""The program's side of updates: each is handled once, and the engine learns that it was."""

from pathlib import Path
from typing import Any

import anyio
from telethon import events
from telethon.tl import types

from adapters.telegram.remote_updates import encode_update
from engine import RemoteClient
from engine.remote.frames import FrameKind
from tests.timeouts import TIMEOUT


class Heard:
    """A client of a program whose engine is the test."""

    def __init__(self, directory: Path) -> None:
        self.client = RemoteClient(directory, "Account 1", name="script")
        self.inbox = self.client._inbox
        self.said: list[tuple[FrameKind, int]] = []
        self.inbox.link = self
        self.pinned: list[int] = []
        self.client.add_event_handler(self.note, events.Raw(types.UpdatePinnedDialogs))

    def send(self, kind: FrameKind, number: int = 0) -> None:
        """Hear what the program says."""
        self.said.append((kind, number))

    async def note(self, update: Any) -> None:
        """Handle an update."""
        self.pinned.append(update.folder_id)
        await self.handle(update.folder_id)

    async def handle(self, number: int) -> None:
        """Do nothing with it."""

    def connect(self, number: int, feed: str = "a") -> None:
        """Let the engine begin the updates after a number, on a new connection."""
        self.inbox.subscribe()
        self.inbox.take(FrameKind.SUBSCRIBED, number, b'{"feed": "%s"}' % feed.encode())

    async def come(self, number: int) -> None:
        """Let an update come."""
        body = await encode_update(types.UpdatePinnedDialogs(folder_id=number), self.client)
        self.inbox.take(FrameKind.UPDATE, number, body)

    def acknowledged(self) -> list[int]:
        """Return what was acknowledged since this was asked last."""
        found = [number for kind, number in self.said if kind is FrameKind.ACKNOWLEDGE]
        self.said.clear()
        return found

    async def idle(self) -> None:
        """Wait until no handler runs."""
        with anyio.fail_after(TIMEOUT):
            while self.inbox._handling:
                await anyio.sleep(0.001)


async def test_what_an_engine_forgot_is_acknowledged_when_it_comes_again(tmp_path: Path) -> None:
    """An engine that was killed may not know: it sends the update once more, and would never learn otherwise."""
    heard = Heard(tmp_path)
    heard.connect(0)
    for number in (1, 2):
        await heard.come(number)
    await heard.idle()
    assert heard.acknowledged()[-1] == 2
    heard.connect(0)  # it cannot know yet which updates it sends, so this comes too early
    heard.said.clear()
    for number in (1, 2):
        await heard.come(number)
    assert heard.acknowledged()[-1] == 2
    assert heard.pinned == [1, 2]


async def test_a_number_of_another_feed_is_acknowledged_by_nobody(tmp_path: Path) -> None:
    """What was handled in a feed that is no more says nothing of the updates of the next one."""
    heard = Heard(tmp_path)
    goes_on, other = anyio.Event(), anyio.Event()

    async def handle(number: int) -> None:
        await {1: goes_on, 5: other}.get(number, goes_on).wait()

    heard.handle = handle  # type: ignore[method-assign]
    heard.connect(0)
    await heard.come(1)
    await anyio.wait_all_tasks_blocked()
    heard.inbox.subscribe()  # a new connection, on which nothing was said yet
    heard.said.clear()
    heard.inbox.take(FrameKind.SUBSCRIBED, 0, b'{"feed": "b"}')
    heard.inbox.take(FrameKind.UPDATE, 1, await encode_update(types.UpdatePinnedDialogs(folder_id=5), heard.client))
    await anyio.wait_all_tasks_blocked()
    goes_on.set()  # number 1 of the feed before has ended, and number 1 of this one has not
    await anyio.wait_all_tasks_blocked()
    assert heard.acknowledged() == []
    other.set()
    await heard.idle()
    assert heard.acknowledged() == [1]
