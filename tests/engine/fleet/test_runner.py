"""The runner, in virtual time against a fake link: it performs what ``step`` decides, in order and all of it."""

from itertools import pairwise

import anyio
import pytest

from engine.fleet.runner import MAILBOX_SIZE
from states import Hold, Snapshot, State
from states.events import FloodWait, NetworkLost, RetryRequested
from tests.engine.fakes import EPOCH, FakeConnector, MemoryJournal, living, until

pytestmark = pytest.mark.virtual


async def test_a_life_goes_from_connecting_to_shutting_down() -> None:
    """An account connects, is healthy, and ends when it is told to, with every decision in the journal."""
    connector, journal = FakeConnector(), MemoryJournal()
    async with living(connector, journal) as runner:
        await until(runner, State.HEALTHY)
    assert journal.path() == ["healthy", "shutting_down"]
    assert journal.records[-1][1].effects == ("Finish",)
    assert connector.open_now == 0


async def test_failed_attempts_wait_by_the_schedule() -> None:
    """Attempts that are refused start 10, 20, 40, 80, 120 virtual seconds after the one before failed."""
    connector, journal = (
        FakeConnector(outcomes=[NetworkLost()] * 6, connect_takes=0.0, close_takes=0.0),
        MemoryJournal(),
    )
    async with living(connector, journal) as runner:
        await until(runner, State.HEALTHY)
    starts = [at for at, _ in connector.opened]
    assert [round(b - a) for a, b in pairwise(starts)] == [10, 20, 40, 80, 120, 120]


async def test_there_are_never_two_links_at_once() -> None:
    """A new link waits until the old one is really closed, also when closing takes long."""
    connector, journal = FakeConnector(close_takes=7.0), MemoryJournal()
    async with living(connector, journal) as runner:
        for _ in range(3):
            await until(runner, State.HEALTHY)
            await anyio.sleep(100)
            connector.lose()
            await until(runner, State.RECONNECTING)
        await until(runner, State.HEALTHY)
    assert len(connector.opened) == 4
    stopped, finished = (record.at for _, record in journal.records[-2:])
    assert finished - stopped == pytest.approx(7), "the life is over when the link is really gone, not before"
    assert connector.max_open == 1
    assert connector.open_now == 0


async def test_a_silence_is_probed_and_then_given_up() -> None:
    """A link that stops answering is suspected after its probe's patience and replaced after the second's."""
    connector, journal = FakeConnector(), MemoryJournal()
    async with living(connector, journal) as runner:
        await until(runner, State.HEALTHY)
        await anyio.sleep(100)
        connector.silent = True
        began = anyio.current_time()
        await until(runner, State.TIMEOUT)
        suspected = anyio.current_time() - began
        await until(runner, State.RECONNECTING)
        lost = anyio.current_time() - began
        connector.silent = False
        await until(runner, State.HEALTHY)
    suspected, lost = [suspected, lost]
    assert suspected <= 20 + 10 + 0.1
    assert lost - suspected == pytest.approx(20, abs=0.1)
    assert journal.path()[:4] == ["healthy", "timeout", "reconnecting", "healthy"]


async def test_a_healthy_link_is_probed_and_proven() -> None:
    """A link is pinged every 20 s, and an authorised RPC takes the ping's place once a minute."""
    connector, journal = FakeConnector(), MemoryJournal()
    async with living(connector, journal):
        await anyio.sleep(250)
    assert [round(b[0] - a[0]) for a, b in pairwise(connector.probes)] == [20] * 11
    assert [proof for _, proof in connector.probes] == [False, False, True] * 4
    assert len(journal.records) == 6, "probes are routine and stay out of the journal"


async def test_an_account_that_hangs_in_connect_stops_at_once() -> None:
    """A stop in the middle of an attempt that hangs cancels it and closes what there is."""
    connector, journal = FakeConnector(outcomes=["hang"]), MemoryJournal()
    async with living(connector, journal):
        await anyio.sleep(5)
    took = anyio.current_time()
    assert took < 6
    assert connector.open_now == 0


async def test_a_stop_while_waiting_needs_no_link() -> None:
    """A stop during a back-off ends the life at once."""
    connector, journal = FakeConnector(outcomes=[NetworkLost()]), MemoryJournal()
    async with living(connector, journal) as runner:
        await until(runner, State.BACKOFF)
    took = anyio.current_time()
    assert took < 1


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15, 0.25])
async def test_a_stop_at_any_moment_of_a_reconnect_ends_the_life(delay: float) -> None:
    """Whether the old link is still closing, the turn is awaited or the new link opens: ``Closed`` always comes."""
    connector, journal = FakeConnector(close_takes=0.1, connect_takes=0.1), MemoryJournal()
    with anyio.fail_after(300):
        async with living(connector, journal) as runner:
            await anyio.sleep(100)
            connector.lose()
            await until(runner, State.RECONNECTING)
            await anyio.sleep(delay)
    assert journal.path()[-1] == "shutting_down"
    assert connector.open_now == 0


async def test_what_is_posted_after_the_end_is_forgotten() -> None:
    """A late event of a task neither raises nor waits."""
    connector, journal = FakeConnector(), MemoryJournal()
    async with living(connector, journal) as runner:
        await until(runner, State.HEALTHY)
    for _ in range(MAILBOX_SIZE + 1):
        with anyio.fail_after(1):
            await runner.post(RetryRequested())
    assert "RetryRequested" not in [record.event for _, record in journal.records]


async def test_a_restored_wait_goes_on() -> None:
    """A runner given a stored back-off waits for what is left of it before its first attempt."""
    connector, journal = FakeConnector(), MemoryJournal()
    stored = Snapshot(state=State.BACKOFF, deadline=EPOCH + 50, attempt=3, failures=3, life=1, generation=9)
    async with living(connector, journal, restored=stored) as runner:
        await until(runner, State.HEALTHY)
    assert round(connector.opened[0][0]) == 50


async def test_holds_survive_a_restart_and_reach_the_next_client() -> None:
    """A flood wait that the server gave before a restart is still held by the first client after it."""
    connector, journal = FakeConnector(), MemoryJournal()
    stored = Snapshot(life=1, generation=3, holds=(Hold(request="SendMessage", until=EPOCH + 500),))
    async with living(connector, journal, restored=stored) as runner:
        await until(runner, State.HEALTHY)
        assert connector.held == {"SendMessage": EPOCH + 500}


async def test_a_flood_wait_is_held_by_the_present_client_and_the_link_stays() -> None:
    """What a link reports of a flood is held at once, until the server's time and a little more."""
    connector, journal = FakeConnector(), MemoryJournal()
    async with living(connector, journal) as runner:
        await until(runner, State.HEALTHY)
        connector.find(FloodWait(seconds=30.0, request="SendMessage"))
        await anyio.sleep(0.1)
        assert runner.snapshot.state is State.HEALTHY
        assert connector.held["SendMessage"] >= EPOCH + anyio.current_time() - 0.1 + 30
    assert len(connector.opened) == 1


async def test_the_end_of_a_life_settles_what_was_delivered() -> None:
    """When the last link is closed, the connector may write down what it knows."""
    connector, journal = FakeConnector(), MemoryJournal()
    async with living(connector, journal) as runner:
        await until(runner, State.HEALTHY)
        assert connector.settled == 0
    assert connector.settled == 1
