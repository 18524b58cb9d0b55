"""The control handlers, in virtual time: the answer to a command is what the account decided."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import anyio
import anyio.lowlevel
import attrs
import pytest
from attrs import define

from engine.control import ControlHandlers
from engine.fleet.supervisor import RESTART_DELAY, Supervisor
from states import Event, Snapshot, State
from states.events import AuthRejected, ConfigRefused, FloodWait, NetworkLost, TransportFlood
from tests.engine.fakes import EPOCH, FakeConnector, MemoryJournal, runner_for, until


@define
class ControlHarness:
    """A fleet of one account, ``A``, and its control handlers."""

    fleet: Supervisor
    handlers: ControlHandlers
    journal: MemoryJournal

    @property
    def snapshot(self) -> Snapshot:
        """Where the account is."""
        return self.fleet.snapshots["A"]

    async def until(self, *states: State) -> None:
        """Wait until the account is in one of these states."""
        await until(self.fleet.runners["A"], *states)


@asynccontextmanager
async def controlled(
    connector: FakeConnector, *, journal: MemoryJournal | None = None, restored: Snapshot | None = None
) -> AsyncIterator[ControlHarness]:
    """Run the fleet for the length of the block."""
    journal = journal or MemoryJournal()
    fleet = Supervisor({"A": runner_for(connector, journal, restored=restored)}, anyio.Event(), grace=15)
    handlers = ControlHandlers(fleet)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fleet.run)
        yield ControlHarness(fleet, handlers, journal)
        fleet.stop.set()


pytestmark = pytest.mark.virtual


async def test_a_pause_ends_the_life_and_a_resume_begins_the_next() -> None:
    """Paused, nothing is open and nothing is tried; resumed, the account connects with its counters kept."""
    connector = FakeConnector(outcomes=[NetworkLost(), "ok"])
    async with controlled(connector) as harness:
        await harness.until(State.HEALTHY)
        paused = await harness.handlers.pause("A")
        assert (harness.snapshot.state, harness.snapshot.paused, connector.open_now) == (State.SHUTTING_DOWN, True, 0)
        await anyio.sleep(3600)
        assert len(connector.opened) == 2
        before = harness.snapshot
        again = await harness.handlers.pause("A")
        resumed = await harness.handlers.resume("A")
        await harness.until(State.HEALTHY)
        assert harness.snapshot.paused is False
        assert (harness.snapshot.reconnects, harness.snapshot.life) == (before.reconnects, before.life + 1)
        outcomes = [paused, again, resumed, await harness.handlers.resume("A")]
    assert [outcome.said for outcome in outcomes] == [
        "A is paused", "A is paused already", "A is connecting", "A is not paused",
    ]  # fmt: skip


async def test_a_pause_is_durable_when_it_is_answered() -> None:
    """The answer waits for the journal; a journal that is stuck is named in it."""

    class Stuck(MemoryJournal):
        async def flush(self) -> None:
            await anyio.sleep_forever()

    async with controlled(FakeConnector(), journal=Stuck()) as harness:
        await harness.until(State.HEALTHY)
        outcome = await harness.handlers.pause("A")
    assert not outcome.done
    assert "not on disk yet" in outcome.said


async def test_a_paused_account_stays_paused_over_a_restart() -> None:
    """A stored pause begins no life and opens no link until it is resumed; status shows it where it was left."""
    connector, journal = FakeConnector(), MemoryJournal()
    stored = Snapshot(state=State.SHUTTING_DOWN, life=3, generation=9, paused=True, reconnects=2)

    async with controlled(connector, journal=journal, restored=stored) as harness:
        await anyio.sleep(3600)
        assert harness.snapshot == stored
        assert (connector.opened, harness.journal.lives) == ([], [])
        retried = await harness.handlers.retry("A")
        resumed = await harness.handlers.resume("A")
        await harness.until(State.HEALTHY)
        assert harness.snapshot.life == 4
    assert (retried.done, retried.said) == (False, "A is paused; resume it to go on")
    assert resumed.done


async def test_a_fleet_with_a_paused_account_ends_at_once() -> None:
    """The end does not wait for an account without a life."""
    async with controlled(FakeConnector(), restored=Snapshot(state=State.SHUTTING_DOWN, life=1, paused=True)):
        await anyio.sleep(1)
        began = anyio.current_time()
    took = anyio.current_time() - began
    assert took < 1


async def test_pauses_and_resumes_at_the_same_moment_are_met_in_turn() -> None:
    """Wishes for one account never cross: the last one that was asked for is what remains."""
    connector = FakeConnector()
    async with controlled(connector) as harness:
        await harness.until(State.HEALTHY)
        async with anyio.create_task_group() as tasks:
            for wish in (
                harness.handlers.pause,
                harness.handlers.resume,
                harness.handlers.pause,
                harness.handlers.resume,
            ):
                tasks.start_soon(wish, "A")
                await anyio.lowlevel.checkpoint()
        await harness.until(State.HEALTHY)
    assert connector.max_open == 1
    assert len(connector.opened) == 3


@pytest.mark.parametrize(
    ("loss", "done", "words"),
    [
        (NetworkLost(), True, "A is tried again now"),
        (AuthRejected(), True, "A is tried again now"),
        (ConfigRefused(setting="telegram.api_id"), True, "have it read: reload"),
        (FloodWait(seconds=600), False, "stands until"),
        (TransportFlood(), False, "stands until"),
    ],
)
async def test_a_retry_says_what_the_account_decided(loss: Event, done: bool, words: str) -> None:
    """A wait for the network is cut short, a stopped account is tried, and a flood wait stays as it is."""
    connector = FakeConnector(outcomes=[loss, "hang"])
    async with controlled(connector) as harness:
        await harness.until(State.BACKOFF, State.AUTH_FAILED)
        outcome = await harness.handlers.retry("A")
        assert (harness.snapshot.state in (State.CONNECTING, State.RECONNECTING)) is done
        again = await harness.handlers.retry("A")
    assert outcome.done is done
    assert words in outcome.said
    assert again.said == ("A is connecting already" if done else outcome.said)


async def test_the_end_of_a_flood_wait_is_a_time_of_day() -> None:
    """The answer names the moment that Telegram asked for, and the second that is added."""
    connector = FakeConnector(outcomes=[FloodWait(seconds=600)], connect_takes=0)
    until_ = datetime.fromtimestamp(EPOCH + 601).astimezone().strftime("%H:%M:%S")
    async with controlled(connector) as harness:
        await harness.until(State.BACKOFF)
        outcome = await harness.handlers.retry("A")
    assert outcome.said.endswith(f"stands until {until_}")


async def test_a_healthy_account_is_probed() -> None:
    """A retry where nothing is wrong asks for a sign of life."""
    connector = FakeConnector()
    async with controlled(connector) as harness:
        await harness.until(State.HEALTHY)
        before = len(connector.probes)
        outcome = await harness.handlers.retry("A")
        await anyio.sleep(0.1)
        assert len(connector.probes) == before + 1
    assert "is healthy" in outcome.said


async def test_a_resume_says_where_the_account_goes_on() -> None:
    """A wait that a pause cut goes on, and unusable credentials are still unusable."""
    waiting = Snapshot(
        state=State.SHUTTING_DOWN, resumes=State.BACKOFF, life=1, paused=True, deadline=EPOCH + 600,
    )  # fmt: skip
    dead = attrs.evolve(waiting, resumes=State.AUTH_FAILED, deadline=None, credentials="key")

    async with controlled(FakeConnector(), restored=waiting) as harness:
        await anyio.sleep(1)
        assert "goes on, waiting until" in (await harness.handlers.resume("A")).said
    async with controlled(FakeConnector(), restored=dead) as harness:
        await anyio.sleep(1)
        assert "log in again" in (await harness.handlers.resume("A")).said


async def test_between_two_lives_nothing_is_promised() -> None:
    """While an error of ours has ended a life, each wish is refused with a sentence, and later it is met."""
    connector = FakeConnector(outcomes=[RuntimeError("a bug")])
    async with controlled(connector) as harness:
        await anyio.sleep(1)
        early = [
            await harness.handlers.pause("A"),
            await harness.handlers.retry("A"),
            await harness.handlers.resume("A"),
        ]
        await anyio.sleep(RESTART_DELAY + 1)
        late = await harness.handlers.pause("A")
    assert not any(outcome.done for outcome in early)
    assert all("ask again" in outcome.said for outcome in early)
    assert late.said == "A is paused"


async def test_a_pause_that_fails_on_the_way_out_is_still_a_pause() -> None:
    """An error of ours while a paused account is closing does not bring it back to life."""
    connector = FakeConnector()
    async with controlled(connector) as harness:
        await harness.until(State.HEALTHY)
        runner = harness.fleet.runners["A"]
        observer = runner.observer

        def failing(account: str, step: object) -> None:
            observer(account, step)  # type: ignore[arg-type]
            if harness.snapshot.paused:
                raise RuntimeError("a bug")

        runner.observer = failing
        await harness.handlers.pause("A")
        await anyio.sleep(10 * RESTART_DELAY)
        assert harness.snapshot.paused
    assert len(connector.opened) == 1


async def test_a_stopping_engine_takes_no_wishes() -> None:
    """Once the stop began, a wish is refused with a sentence."""
    async with controlled(FakeConnector()) as harness:
        await harness.until(State.HEALTHY)
        harness.fleet.stop.set()
        await anyio.sleep(0.01)
        outcomes = [await harness.handlers.pause("A"), await harness.handlers.retry("A")]
    assert [outcome.done for outcome in outcomes] == [False, False]
    assert all("stopped" in outcome.said for outcome in outcomes)
