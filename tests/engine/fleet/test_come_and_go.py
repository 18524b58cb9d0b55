"""Accounts that come into a fleet that runs, leave it, and get another policy."""

import anyio
import anyio.lowlevel
import pytest

from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.supervisor import STOP_MARGIN, Supervisor
from states import Policy, State
from states.events import AuthRejected, NetworkLost, StopRequested
from states.schedules import Backoff, BackoffSchedules
from tests.engine.fakes import FakeConnector, MemoryJournal, runner_for, until
from tests.engine.fleet.harness import FleetHarness

pytestmark = pytest.mark.virtual


async def test_an_account_leaves_in_order_and_the_others_stay() -> None:
    """Its connection is closed, its last snapshot stored, and no other account opens another connection."""
    async with FleetHarness(4).living() as fleet:
        since = anyio.current_time()
        told: list[str] = []
        fleet.supervisor.removed.append(told.append)
        assert await fleet.supervisor.remove("A1", "the config has it no more")
        assert set(fleet.supervisor.runners) == {"A0", "A2", "A3"}
        assert told == ["A1"]
        assert fleet.journal.stored["A1"].state is State.SHUTTING_DOWN
        assert not fleet.opened_since(since)
        assert fleet.all_healthy("A0", "A2", "A3")


async def test_an_account_that_cannot_close_leaves_a_little_after_the_grace() -> None:
    """A link whose close never returns is given up, and the name is free for another."""
    journal, connector = MemoryJournal(), FakeConnector(close_takes=10_000)
    supervisor = Supervisor({"A": runner_for(connector, journal)}, anyio.Event(), grace=15)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await until(supervisor.runners["A"], State.HEALTHY)
        began = anyio.current_time()
        await supervisor.remove("A", "the config has it no more")
        assert anyio.current_time() - began <= 15 + 2 * STOP_MARGIN
        supervisor.add(runner_for(FakeConnector(), journal, restored=journal.stored["A"]))
        await until(supervisor.runners["A"], State.HEALTHY)
        supervisor.stop.set()
    assert [snapshot.life for _, snapshot in journal.lives] == [1, 2]


async def test_a_paused_account_leaves_at_once_and_comes_back_paused() -> None:
    """Nothing is closed, and what is stored says that it is paused: a later return rests, too."""
    journal, supervisor = MemoryJournal(), Supervisor({}, anyio.Event(), grace=15)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await anyio.lowlevel.checkpoint()
        supervisor.add(runner_for(FakeConnector(), journal))
        await until(supervisor.runners["A"], State.HEALTHY)
        await supervisor.runners["A"].post(StopRequested(reason="a person pauses it", paused=True))
        await supervisor.runners["A"].ended.wait()
        assert await supervisor.remove("A", "the config has it no more")
        back = FakeConnector()
        supervisor.add(runner_for(back, journal, restored=journal.stored["A"]))
        await anyio.sleep(60)
        assert supervisor.status("A").paused
        assert not back.opened
        supervisor.stop.set()


async def test_an_account_that_waits_for_its_turn_gives_it_up() -> None:
    """An account may leave before it ever connected; the turn goes to the next in the queue."""
    limiter = ConnectLimiter(1, 0.0)
    journal = MemoryJournal()
    slow, second, third = FakeConnector(outcomes=["hang"] * 9), FakeConnector(), FakeConnector()
    runners = {
        name: runner_for(connector, journal, account=name, limiter=limiter)
        for name, connector in {"A": slow, "B": second, "C": third}.items()
    }
    supervisor = Supervisor(runners, anyio.Event(), grace=15)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await anyio.sleep(1)
        assert await supervisor.remove("B", "the config has it no more")
        assert await supervisor.remove("A", "the config has it no more")
        await until(supervisor.runners["C"], State.HEALTHY)
        assert limiter.waiting == 0
        supervisor.stop.set()
    assert not second.opened


async def test_another_policy_closes_no_connection_and_counts_from_the_next_decision() -> None:
    """Accounts stay connected, and the next loss waits by the new schedule."""
    async with FleetHarness(1).living() as fleet:
        since = anyio.current_time()
        runner = fleet.supervisor.runners["A0"]
        slow = BackoffSchedules(network=Backoff(first=500, cap=500, jitter=0))
        fleet.supervisor.use_policy(Policy(backoff=slow))
        assert not fleet.opened_since(since)
        fleet.network.up = False
        fleet.lose()
        await until(runner, State.BACKOFF)
        assert runner.snapshot.wait == 500
        assert runner.snapshot.cause is not None
        assert runner.snapshot.cause.event == NetworkLost.__name__


async def test_the_detector_forgets_who_left() -> None:
    """Of three that lost the network, one that leaves does not count for an outage any more."""
    async with FleetHarness(3).living() as fleet:
        fleet.network.up = False
        fleet.lose("A0", "A1")
        await until(fleet.supervisor.runners["A0"], State.BACKOFF)
        await fleet.supervisor.remove("A0", "the config has it no more")
        fleet.detector.forget("A0")
        fleet.lose("A2")
        await anyio.sleep(1)
        assert not fleet.detector.suspected


async def test_another_limit_holds_from_the_next_turn_on() -> None:
    """A limiter with room for more gives turns to those that wait at once."""
    limiter, inside = ConnectLimiter(1, 0.0), []

    async def take(number: int) -> None:
        async with limiter.turn():
            inside.append(number)
            await anyio.sleep(100)

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(take, number)
        await anyio.sleep(1)
        assert inside == [0]
        limiter.change(2, 0.0)
        await anyio.sleep(1)
        assert inside == [0, 1]


@pytest.mark.parametrize("doing", ["open", "being opened", "being closed"])
async def test_a_connection_is_dropped_at_once_whatever_it_is_doing(doing: str) -> None:
    """Another node may have the account: nothing of the link is waited for, and no other one is opened."""
    connector = FakeConnector(outcomes=["hang"] if doing == "being opened" else [], close_takes=3)
    supervisor = Supervisor({"A": runner_for(connector, MemoryJournal())}, anyio.Event(), grace=15)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        if doing == "being opened":
            await anyio.sleep(1)
        else:
            await until(supervisor.runners["A"], State.HEALTHY)
        if doing == "being closed":
            await supervisor.runners["A"].post(StopRequested(reason="a person stops it"))
            await anyio.sleep(0.1)
        now = anyio.current_time()
        supervisor.abort(["A", "one that the fleet does not have"])
        assert connector.aborted == [(now, 1)]
        await supervisor.remove("A", "another node may have it")
        assert anyio.current_time() <= now + 3.1
        assert not supervisor.runners
        await anyio.sleep(600)
        assert len(connector.opened) == 1
        assert connector.open_now == 0
        supervisor.stop.set()


async def test_a_session_that_cannot_be_written_keeps_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dropped account has no connection any more, though its life still waits for a store that does not answer."""
    connector = FakeConnector(outcomes=[AuthRejected()])
    monkeypatch.setattr(FakeConnector, "settle", lambda self: anyio.sleep_forever())
    supervisor = Supervisor({"A": runner_for(connector, MemoryJournal())}, anyio.Event(), grace=15)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await until(supervisor.runners["A"], State.AUTH_FAILED)
        await anyio.sleep(0.1)
        now = anyio.current_time()
        supervisor.abort(["A"])
        await supervisor.unlinked(["A"])
        assert anyio.current_time() == now
        await supervisor.remove("A", "another node may have it")
        assert 1 < anyio.current_time() - now < 6
        supervisor.stop.set()


async def test_an_account_that_was_dropped_can_come_back() -> None:
    """With a runner of its own, when the node has the account again; an account without a link is dropped as well."""
    journal = MemoryJournal()
    supervisor = Supervisor({"A": runner_for(FakeConnector(), journal)}, anyio.Event(), grace=15)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await until(supervisor.runners["A"], State.HEALTHY)
        supervisor.abort(["A"])
        await supervisor.remove("A", "another node may have it")
        supervisor.abort(["A"])
        supervisor.add(runner_for(FakeConnector(outcomes=[NetworkLost()] * 9), journal, restored=journal.stored["A"]))
        await until(supervisor.runners["A"], State.BACKOFF)
        supervisor.abort(["A"])
        await supervisor.remove("A", "another node may have it")
        supervisor.add(runner_for(FakeConnector(), journal, restored=journal.stored["A"]))
        await until(supervisor.runners["A"], State.HEALTHY)
        supervisor.stop.set()
