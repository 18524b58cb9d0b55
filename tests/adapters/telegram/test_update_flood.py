"""Updates that come faster than they are handled: what waits is bounded, and nothing that has a number is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from telethon import events
from telethon._updates.messagebox import epoch
from telethon.tl import types

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sandbox.services.context import MAX_SLICE
from adapters.telegram import TelegramConnector, TelegramLink, inbox, lean, message_box
from adapters.telegram.inbound import BURST_SECONDS, HEAVY_SECONDS, LIGHT_SHARE, TURN_SECONDS, InboundAccount
from adapters.telegram.lean import Idle, UpdateQueue
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.adapters.telegram.test_inbox import delivering, linked, until
from tests.timeouts import TIMEOUT

CHANNEL = "holdfast_news"


def message(pts: int, channel: int | None = None) -> Any:
    """Return an update with a number, of the account or of a channel."""
    peer = types.PeerUser(1) if channel is None else types.PeerChannel(channel)
    kind = types.UpdateNewMessage if channel is None else types.UpdateNewChannelMessage
    return types.Updates([kind(types.Message(pts, peer, None, "text"), pts, 1)], [], [], None, 0)


def typing() -> Any:
    """Return an update without a number."""
    return types.UpdateShort(types.UpdateUserTyping(1, types.SendMessageTypingAction()), epoch())


async def drained(queue: UpdateQueue) -> list[Any]:
    """Take all out of a queue."""
    found = []
    try:
        while True:
            found.append(await queue.get())
    except Idle:
        return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let little wait, and few handlers run."""
    monkeypatch.setattr(lean, "MAX_WAITING", 10)
    monkeypatch.setattr(lean, "MAX_UNNUMBERED", 40)
    monkeypatch.setattr(inbox, "MAX_BACKLOG", 20)
    monkeypatch.setattr(inbox, "MAX_RUNNING", 4)


@pytest.mark.usefixtures("small")
async def test_what_finds_no_room_is_asked_for_when_all_else_is_done() -> None:
    """From the first that is left at the datacenter, all are, until nothing waits; then each box is asked for once."""
    queue = UpdateQueue()
    queue.known = {5: None}
    for pts in range(1, 31):
        queue.take(message(pts))
        queue.take(message(pts, channel=5))
    assert queue.waiting == 10
    assert queue.left == 50
    await queue.get()
    queue.take(message(31))
    assert queue.waiting == 9, "a later one would be ahead of those that were left"
    found = await drained(queue)
    assert type(found[-2]) is types.UpdatesTooLong
    assert found[-1].update.channel_id == 5
    assert len(found) == 11
    queue.take(message(32))
    assert queue.waiting == 1


@pytest.mark.usefixtures("small")
async def test_what_nobody_sends_again_has_more_room() -> None:
    """Updates without a number, and the first of a channel that cannot be asked for, wait longer; that is bounded."""
    queue = UpdateQueue()
    for _ in range(15):
        queue.take(typing())
        queue.take(message(3, channel=6))
    assert queue.waiting == 30
    assert queue.left == 0
    for _ in range(100):
        queue.take(typing())
    assert queue.waiting == 40


@pytest.mark.usefixtures("small")
async def test_what_the_client_did_itself_is_bounded_too() -> None:
    """The answers of a program that sends while its updates are not counted do not pile up; a difference has them."""
    queue = UpdateQueue()
    for pts in range(1, 101):
        sent = message(pts)
        sent._self_outgoing = True
        queue.put_nowait(sent)
    assert queue.waiting == 40
    assert type((await drained(queue))[-1]) is types.UpdatesTooLong


async def test_one_large_message_is_taken_when_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many objects it has; the next one is left while it waits."""
    monkeypatch.setattr(lean, "MAX_WAITING_OBJECTS", 100)
    queue = UpdateQueue()
    queue.objects = 1000
    queue.take(message(1))
    queue.take(message(2))
    assert (queue.waiting, queue.left) == (1, 1)
    assert len(await drained(queue)) == 2
    assert queue.objects == 0


@asynccontextmanager
async def held_up(harness: DatacenterHarness) -> AsyncIterator[tuple[Sandbox, TelegramConnector, TelegramLink, Any]]:
    """Yield a link whose handlers wait for ``let_go``, and the list of what they have heard."""
    async with harness as dc:
        account, heard, let_go = harness.connector(), list[str](), anyio.Event()

        async def hear(event: Any) -> None:
            await let_go.wait()
            heard.append(event.raw_text)

        account.on(hear, events.NewMessage())
        async with delivering(account), linked(account) as link:
            yield dc, account, link, (heard, let_go)


async def until_left(link: TelegramLink, count: int) -> None:
    """Wait until so many messages were left at the datacenter."""
    with anyio.fail_after(TIMEOUT):
        while link.client._updates_queue.left < count:
            await anyio.sleep(0.01)


@pytest.mark.usefixtures("small")
async def test_a_flood_beside_a_handler_that_hangs_is_bounded_and_not_lost(harness: DatacenterHarness) -> None:
    """Of 300 private messages few wait here, the link lives, and after the handler all are heard once.

    Few are those that the bounds let in, and one slice of a difference, which comes whole: at most 100.
    """
    async with held_up(harness) as (dc, account, link, (heard, let_go)):
        for number in range(300):
            await dc.push(PHONE, str(number))
        await until_left(link, 200)
        assert account.inbox.waiting + account.inbox.running <= inbox.MAX_BACKLOG + inbox.MAX_RUNNING + MAX_SLICE
        assert link.client._updates_queue.waiting <= lean.MAX_WAITING
        assert type((await link.probe(proof=True, timeout=TIMEOUT))[-1]).__name__ == "ProbeAnswered"
        let_go.set()
        await until(heard, 300)
        assert sorted(heard, key=int) == [str(number) for number in range(300)]


@pytest.mark.usefixtures("small")
async def test_what_was_left_of_a_channel_is_fetched_although_nothing_more_comes(harness: DatacenterHarness) -> None:
    """A channel that is silent after the flood is asked for, too."""
    async with held_up(harness) as (dc, _, link, (heard, let_go)):
        await dc.create_channel(CHANNEL, "News", members=[PHONE])
        await dc.post(CHANNEL, "first")
        for number in range(100):
            await dc.push(PHONE, f"private {number}")
            await dc.post(CHANNEL, f"post {number}")
        await until_left(link, 100)
        let_go.set()
        await until(heard, 201)
        assert len(set(heard)) == 201


@pytest.mark.usefixtures("small")
async def test_a_difference_is_fetched_no_faster_than_it_is_handled(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a difference of many parts two are here while the handler hangs; the others are asked for later."""
    monkeypatch.setattr("adapters.sandbox.services.updates.MAX_SLICE", 25)
    async with harness as dc:
        account, heard, let_go = harness.connector(), list[str](), anyio.Event()

        async def hear(event: Any) -> None:
            await let_go.wait()
            heard.append(event.raw_text)

        account.on(hear, events.NewMessage())
        async with linked(account):
            pass
        for number in range(300):
            await dc.push(PHONE, str(number))
        before = dc.stats()["requests"].get("updates.getDifference", 0)
        async with delivering(account), linked(account, 2):
            with anyio.fail_after(TIMEOUT):
                while account.inbox.waiting <= inbox.MAX_BACKLOG:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.2)
            assert account.inbox.waiting <= inbox.MAX_BACKLOG + 25
            assert dc.stats()["requests"]["updates.getDifference"] - before <= 3
            let_go.set()
            await until(heard, 300)
    assert sorted(heard, key=int) == [str(number) for number in range(300)]


async def test_many_updates_that_are_ahead_are_fetched_and_not_kept(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a lost update, at most so many wait for it as Telethon can go through with each one that comes."""
    monkeypatch.setattr(message_box, "MAX_AHEAD", 5)
    monkeypatch.setattr("telethon._updates.messagebox.POSSIBLE_GAP_TIMEOUT", 600)
    async with held_up(harness) as (dc, _, link, (heard, let_go)):
        let_go.set()
        await dc.push(PHONE, "0")
        await until(heard, 1)
        await dc.inject(Fault(FaultKind.LOST_UPDATE, times=1))
        for number in range(1, 30):
            await dc.push(PHONE, str(number))
        await until(heard, 30)
        assert link.client._message_box.possible_gaps == {}
        assert sorted(heard, key=int) == [str(number) for number in range(30)]


def test_small_messages_add_up_to_a_turn_and_to_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have their turn after 5 ms of them; whoever takes more than half of the time for long is read slowly."""
    now = 100.0
    monkeypatch.setattr("adapters.telegram.inbound.time.perf_counter", lambda: now)
    account = InboundAccount()

    def work(seconds: float) -> float | None:
        nonlocal now
        now += seconds
        account.add(seconds)
        return account.pause()

    assert work(TURN_SECONDS / 2) is None
    assert work(TURN_SECONDS) == 0.0
    waited, began = 0.0, now
    for _ in range(10_000):
        pause = work(0.001) or 0.0
        now += pause
        waited += pause
    assert (now - began - waited - BURST_SECONDS) / (now - began) == pytest.approx(LIGHT_SHARE, abs=0.05)
    assert work(2 * HEAVY_SECONDS) == pytest.approx(6 * HEAVY_SECONDS), "a heavy one is paid for at once"


async def test_counting_many_updates_lets_others_run(harness: DatacenterHarness) -> None:
    """While hundreds of updates wait to be counted, another task has its turn many times.

    Before Python 3.12 each wait for one is a turn by itself; since then, none is.
    """
    async with held_up(harness) as (dc, _, link, (heard, let_go)):
        let_go.set()
        await dc.push(PHONE, "first")
        await until(heard, 1)
        queue, turns = link.client._updates_queue, 0
        for _ in range(400):
            queue.take(typing())
        while not queue.empty():
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 400 / lean.MAX_IN_TURN
