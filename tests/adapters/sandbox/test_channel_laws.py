"""Laws of channels, for any course of events; Telethon's own message box is the client."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from telethon._updates import EntityCache, MessageBox
from telethon._updates.messagebox import GapError
from telethon._updates.session import ChannelState, SessionState
from telethon.tl import functions, types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.faults.active_faults import ActiveFaults
from adapters.sandbox.mtproto import tl
from adapters.sandbox.mtproto.cipher import AuthKey
from adapters.sandbox.mtproto.datacenter_key import process_key
from adapters.sandbox.server.hub import Hub
from adapters.sandbox.services import RequestContext, ServiceContext, perform
from adapters.sandbox.store.database import SandboxStore
from adapters.sandbox.store.paging import HistoryWindow

ALICE, BOB = 9996620001, 9996620002
CHANNELS = ("first", "second")


@define
class Clock:
    """The datacenter's time; it goes on only when a test moves it."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class FakeDatacenter:
    """A datacenter without sockets, with two channels that Alice and Bob are in."""

    def __init__(self, stack: ExitStack) -> None:
        self.clock = Clock()
        self.store = stack.enter_context(SandboxStore(None, self.clock))
        self.shared = ServiceContext(self.store, 2, self.clock, lambda: {2: ("127.0.0.1", 1)})
        self.hub = Hub(process_key(), self.store, self.shared, ActiveFaults(self.clock), b"")
        self.key = AuthKey.of(bytes(256))
        for name in CHANNELS:
            channel = self.store.channels.create(name, name, megagroup=True)
            for account in (ALICE, BOB):
                self.store.channels.join(channel, self.store.account(str(account)).id)

    def ask(self, account: int, request: Any) -> Any:
        """Answer a request, both as they are on the wire."""
        context = RequestContext(self.shared, 2, self.key, self.store.account_by_id(account))
        return tl.read(tl.dump(perform(context, tl.read(tl.dump(request)))))

    def post(self, name: str, text: str, sender: int | None = None, random_id: int | None = None) -> None:
        sent = self.store.channels.send(self.store.channels.named(name), sender, text, random_id)
        self.hub.deliver([sent])


class FakeClient:
    """Alice's client: Telethon's message box with the loop of ``_update_loop`` around it, and no waiting.

    It is pushed updates only while it is ``online``; every text that a handler would be given is in ``received``.
    """

    def __init__(self, dc: FakeDatacenter, page: int) -> None:
        self.dc, self.page, self.online = dc, page, False
        self.received: list[str] = []
        self.box, self.cache = MessageBox(logging.getLogger("box")), EntityCache(self_bot=False)
        state = self.dc.ask(ALICE, functions.updates.GetStateRequest())
        dialogs = self.dc.ask(
            ALICE, functions.messages.GetDialogsRequest(None, 0, types.InputPeerEmpty(), limit=100, hash=0)
        )
        self.cache.extend(dialogs.users, dialogs.chats)
        self.box.load(
            SessionState(0, 0, False, state.pts, state.qts, int(state.date.timestamp()), state.seq, None),
            [ChannelState(d.peer.channel_id, d.pts) for d in dialogs.dialogs if d.pts],
        )
        self.dc.hub.subscribe(ALICE, self)

    def push(self, update: Any) -> None:
        if self.online:
            self.process(tl.read(tl.dump(update)))

    def process(self, updates: Any) -> None:
        found: list[Any] = []
        try:
            self.box.process_updates(updates, self.cache, found)
        except GapError:
            return
        self.record(found)

    def record(self, updates: Any) -> None:
        self.received += [u.message.message for u in updates if hasattr(u, "message")]

    def catch_up(self) -> None:
        self.process(types.UpdatesTooLong())
        while request := self.box.get_difference():
            request.pts_limit = self.page
            answer = self.dc.ask(ALICE, request)
            self.record(self.box.apply_difference(answer, self.cache)[0])
        while request := self.box.get_channel_difference(self.cache):
            request.limit = self.page
            answer = self.dc.ask(ALICE, request)
            self.record(self.box.apply_channel_difference(request, answer, self.cache)[0])


def post(dc: FakeDatacenter, client: FakeClient, number: int) -> None:
    dc.post(CHANNELS[number % 2], f"m{number}")


def write(dc: FakeDatacenter, client: FakeClient, number: int) -> None:
    sent = dc.store.send(BOB, ALICE, f"m{number}", None)
    dc.hub.deliver(sent.copies)


def go_away(dc: FakeDatacenter, client: FakeClient, number: int) -> None:
    client.online = False


def come_back(dc: FakeDatacenter, client: FakeClient, number: int) -> None:
    client.online = True
    client.catch_up()


def tick(dc: FakeDatacenter, client: FakeClient, number: int) -> None:
    dc.clock.now += 1


Move = Callable[["FakeDatacenter", "FakeClient", int], None]

MOVES = st.lists(st.sampled_from([post, post, write, go_away, come_back, tick]), max_size=40)


@settings(max_examples=200)
@given(moves=MOVES, page=st.integers(1, 5))
def test_every_message_arrives_once_whatever_was_missed(moves: list[Move], page: int) -> None:
    """After posts, absences and catching up in slices of any size each message arrived once, a channel's in order."""

    async def live() -> None:
        with ExitStack() as stack:
            dc = FakeDatacenter(stack)
            client = FakeClient(dc, page)
            for number, move in enumerate(moves):
                move(dc, client, number)
            come_back(dc, client, 0)
            sent = [f"m{number}" for number, move in enumerate(moves) if move in (post, write)]
            assert sorted(client.received) == sorted(sent)
            for parity in range(len(CHANNELS)):
                posted = [number for number, move in enumerate(moves) if move is post and number % 2 == parity]
                assert [int(text[1:]) for text in client.received if int(text[1:]) in posted] == posted

    asyncio.run(live())


POSTS = st.lists(st.tuples(st.sampled_from(CHANNELS), st.sampled_from([None, ALICE, BOB]), st.integers(1, 4)))


@settings(deadline=None)
@given(POSTS)
def test_the_numbers_of_a_channel_have_no_gap(posts: list[tuple[str, int | None, int]]) -> None:
    """Whatever is written or refused (only a used random_id is), ids and pts go up by one."""
    with ExitStack() as stack:
        dc = FakeDatacenter(stack)
        used = set()
        for name, sender, random_id in posts:
            if (sender, random_id) in used:
                with pytest.raises(RpcRefusal, match="RANDOM_ID_DUPLICATE"):
                    dc.post(name, "text", sender, random_id)
            else:
                dc.post(name, "text", sender, None if sender is None else random_id)
            if sender is not None:
                used.add((sender, random_id))
        for name in CHANNELS:
            channel = dc.store.channels.named(name)
            numbers = [(m.id, m.pts) for m in dc.store.channels.messages(channel)]
            assert numbers == [(n, n + 1) for n in range(1, len(numbers) + 1)]
            assert (channel.last_message, channel.pts) == (len(numbers), len(numbers) + 1)


@settings(max_examples=200)
@given(
    count=st.integers(0, 12),
    window=st.builds(
        HistoryWindow,
        limit=st.integers(1, 8),
        offset_id=st.integers(0, 14),
        add_offset=st.integers(-9, 9),
        min_id=st.integers(0, 13),
        max_id=st.integers(0, 13),
    ),
)
def test_a_window_is_a_slice_of_the_chat(count: int, window: HistoryWindow) -> None:
    """What a client reads is a slice of the list, newest first, counted from the offset and then bounded."""
    with ExitStack() as stack:
        dc = FakeDatacenter(stack)
        for number in range(count):
            dc.post("first", str(number))
        ids = list(range(count, 0, -1))
        first = sum(id_ >= window.offset_id for id_ in ids) if window.offset_id else 0
        start, end = (max(first + window.add_offset + size, 0) for size in (0, window.limit))
        expected = [i for i in ids[start:end] if i > window.min_id and (not window.max_id or i < window.max_id)]
        found = dc.store.channels.history(dc.store.channels.named("first"), window)
        assert [m.id for m in found] == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_dialogs_in_pages_of_any_size_are_all_dialogs(size: int) -> None:
    """Going on from the last dialog of each page lists every chat, empty channels included, and none twice."""
    with ExitStack() as stack:
        dc = FakeDatacenter(stack)
        for number in range(8):
            dc.clock.now += number % 3 == 0
            channel = dc.store.channels.create(f"more{number}", "More", megagroup=False)
            dc.store.channels.join(channel, ALICE)
            if number % 2:
                dc.post(f"more{number}", "hello")
                dc.store.send(dc.store.account(f"99966200{number + 10}").id, ALICE, "hi", None)
        request = functions.messages.GetDialogsRequest(None, 0, types.InputPeerEmpty(), limit=size, hash=0)
        found, last = [], None
        while True:
            page = dc.ask(ALICE, request)
            found += [dialog.peer for dialog in page.dialogs]
            if isinstance(page, types.messages.Dialogs) or len(page.dialogs) < size:
                break
            tops = {(str(m.peer_id), m.id): m for m in page.messages}
            shown = [tops[str(d.peer), d.top_message] for d in page.dialogs if d.top_message]
            last = shown[-1] if shown else last
            peer = page.dialogs[-1].peer
            if isinstance(peer, types.PeerChannel):
                request.offset_peer = types.InputPeerChannel(peer.channel_id, 0)
            else:
                request.offset_peer = types.InputPeerUser(peer.user_id, 0)
            request.offset_id, request.offset_date = (last.id, last.date) if last else (0, None)
        assert len(found) == len(set(map(str, found))) == 8 + 4 + len(CHANNELS)
