"""What one message costs the sandbox does not grow with its clients. Operations are counted, no time is measured."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sandbox.mtproto.message_layer import MAX_REMEMBERED_MESSAGES, IncomingMessage, MessageLayer
from adapters.sandbox.server.read_patience import ReadPatience
from adapters.sandbox.store.database import SandboxStore
from tests.adapters.sandbox.harness import PING, STATE, OpenPeer

NUMBERS = range(9996610000, 9996610100)


class CountedTasks:
    """A task factory that counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> Any:
        self.count += 1
        return asyncio.Task(coro, loop=loop, **options)


async def test_a_request_costs_no_task_while_nothing_can_delay_its_answer(raw: OpenPeer) -> None:
    """Pings and requests are answered by the task of their connection; with a fault a request has its own."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        peer.send(STATE(), seq_no=1)
        await peer.receive()  # the announcement of the session
        await peer.receive()
        loop = asyncio.get_running_loop()
        counted = CountedTasks()
        loop.set_task_factory(counted)
        try:
            peer.send(PING(1), seq_no=3)
            await peer.receive()
            for number in range(20):
                peer.send(STATE(), seq_no=5 + 2 * number)
                await peer.receive()
            assert counted.count == 0
            await dc.inject(Fault(FaultKind.SLOW, seconds=0.001))
            peer.send(STATE(), seq_no=101)
            await peer.receive()
            assert counted.count == 1
        finally:
            loop.set_task_factory(None)


async def test_one_timer_serves_all_packets_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose deadline only moves away sets its timer once."""
    loop = asyncio.get_running_loop()
    set_timers: list[float] = []
    call_at = loop.call_at

    def counting(when: float, *rest: Any, **options: Any) -> asyncio.TimerHandle:
        set_timers.append(when)
        return call_at(when, *rest, **options)

    with ReadPatience(lambda since: since + 600) as patience:
        monkeypatch.setattr(loop, "call_at", counting)
        for _ in range(1000):
            patience.begin()
            patience.end()
    assert len(set_timers) == 1


@pytest.mark.virtual
async def test_a_deadline_that_moved_away_meanwhile_is_kept() -> None:
    """The timer of the first packet does not cut off a client that has spoken since, and the last one does."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with ReadPatience(lambda since: since + 10) as patience:
        for _ in range(5):
            patience.begin()
            await asyncio.sleep(8)
            patience.end()
        patience.begin()
        await asyncio.sleep(1000)
    assert loop.time() - began == pytest.approx(50)


@pytest.mark.virtual
async def test_a_deadline_that_comes_nearer_is_kept() -> None:
    """A fault that closes a connection shortens the wait that has begun already."""
    loop = asyncio.get_running_loop()
    limit = 600.0
    began = loop.time()
    with ReadPatience(lambda since: since + limit) as patience:
        patience.begin()
        limit = 2.0
        patience.shorten()
        await asyncio.sleep(1000)
    assert loop.time() - began == pytest.approx(2)


@pytest.mark.virtual
async def test_who_works_is_not_cut_off() -> None:
    """Only reading is ended: a packet that takes longer than the deadline is finished."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with ReadPatience(lambda since: since + 10) as patience:
        patience.begin()
        await asyncio.sleep(1)
        patience.end()
        await asyncio.sleep(30)
        patience.begin()
        await asyncio.sleep(1000)
    assert loop.time() - began == pytest.approx(41)


async def test_an_account_is_found_by_its_name_without_a_look_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom a username or a number means is looked up."""
    with SandboxStore(None, lambda: 0.0) as store:
        for number in NUMBERS:
            store.account(str(number))
        bot = store.bot(70001)
        monkeypatch.setattr(SandboxStore, "accounts", None)
        found = store.account_by_name("9996610042")
        assert found is not None
        assert found.id == 9996610042
        assert store.account_by_name("bot70001") is bot
        assert store.account_by_name("9996619999") is None


def test_the_oldest_message_makes_room_for_the_newest() -> None:
    """A connection remembers as many messages as it may, whichever came last."""
    now = 1_000_000
    layer = MessageLayer(0, lambda: now)
    first = now << 32
    for number in range(MAX_REMEMBERED_MESSAGES + 5):
        assert layer.accept(IncomingMessage(first + 4 * number, 2 * number + 1, b""))
    assert len(layer._seen) == MAX_REMEMBERED_MESSAGES
    assert not layer.accept(IncomingMessage(first + 4 * 5, 11, b""))
