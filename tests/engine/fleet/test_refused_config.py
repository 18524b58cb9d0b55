"""A refused ``api_id`` stops every account on it, once, with one alert; in virtual time."""

import logging
from collections.abc import Awaitable, Callable

import anyio
import pytest
from attrs import define, field

from engine.console.messages import render
from engine.fleet.refused_config import RefusedConfig
from engine.fleet.runner import Runner
from engine.fleet.supervisor import Supervisor
from states import Cause, Event, Snapshot, State, Step
from states.events import ConfigRefused, NetworkLost, RetryRequested
from tests.engine import fakes
from tests.engine.console.walk import lines
from tests.engine.fakes import FakeConnector, MemoryJournal, runner_for

pytestmark = pytest.mark.virtual

REFUSED = ConfigRefused(setting="telegram.api_id", detail="API_ID_INVALID (400)")
STOPPED = Snapshot(
    state=State.AUTH_FAILED,
    life=1,
    credentials="key",
    cause=Cause(event="ConfigRefused", detail="telegram.api_id (API_ID_INVALID (400))"),
)


@define
class RecordingLog:
    """The lines that were logged, each with its level."""

    lines: list[tuple[int, str]] = field(factory=list)

    def narrate(self, account: str, step: Step) -> None:
        """Keep the lines of a decision."""
        self.lines += [(level, sentence) for level, _, sentence in lines(account, step)]

    def error(self, event: str, **fields: object) -> None:
        """Keep an alert."""
        self.lines.append((logging.ERROR, render(event, fields).removeprefix("❌ ")))

    @property
    def alerts(self) -> list[str]:
        """Return what was told as an error."""
        return [sentence for level, sentence in self.lines if level >= logging.ERROR]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RecordingLog:
    """Hear what the refusals and the accounts say."""
    heard = RecordingLog()
    monkeypatch.setattr("engine.fleet.refused_config.log", heard)
    return heard


def fleet_of(recorded: RecordingLog, *connectors: FakeConnector, restored: Snapshot | None = None) -> Supervisor:
    """Return a fleet of accounts in these worlds."""
    journal = MemoryJournal()
    runners: dict[str, Runner] = {}
    for number, connector in enumerate(connectors, 1):
        name = f"Account {number}"
        runners[name] = runner_for(connector, journal, account=name, observer=recorded.narrate, restored=restored)
    return Supervisor(runners, anyio.Event(), grace=15)


async def run_for_an_hour(fleet: Supervisor, after: Callable[[], Awaitable[None]] | None = None) -> list[State]:
    """Run the fleet for an hour, with something in its middle; return the states of the accounts."""
    refusals = RefusedConfig(fleet)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refusals.run)
        tasks.start_soon(fleet.run)
        await anyio.sleep(1800)
        if after is not None:
            await after()
        await anyio.sleep(1800)
        states = [at.state for at in fleet.snapshots.values()]
        fleet.stop.set()
        await anyio.sleep(60)
        tasks.cancel_scope.cancel()
    return states


async def test_all_accounts_stop_and_one_alert_says_so(recorded: RecordingLog) -> None:
    """Connected, waiting and connecting accounts stop, none asks again, and the alert counts them."""
    connectors = [
        FakeConnector(outcomes=[REFUSED]),
        FakeConnector(connect_takes=0.01),
        FakeConnector(outcomes=[NetworkLost()], connect_takes=0.01),
        FakeConnector(outcomes=["hang"]),
        *(FakeConnector(outcomes=[REFUSED]) for _ in range(30)),
    ]
    states = await run_for_an_hour(fleet_of(recorded, *connectors))
    assert states == [State.AUTH_FAILED] * len(connectors)
    assert [len(connector.opened) for connector in connectors] == [1] * len(connectors)
    assert recorded.alerts == [
        "Telegram refuses telegram.api_id (API_ID_INVALID (400)), so 34 accounts are stopped. "
        "What to do: mend the config (api_id, api_hash or session), then reload; restart for another datacenter"
    ]
    assert sum("Config refused for" in sentence for _, sentence in recorded.lines) == 34


async def test_a_restart_without_mending_is_one_alert_again(recorded: RecordingLog) -> None:
    """Accounts that were stopped are told of together, a new one among them does not ask, and nothing is opened."""
    connectors = [FakeConnector() for _ in range(3)]
    fleet = fleet_of(recorded, *connectors, restored=STOPPED)
    newcomer = FakeConnector(connect_takes=1.0)
    fleet.runners["New"] = runner_for(newcomer, MemoryJournal(), account="New", observer=recorded.narrate)
    assert await run_for_an_hour(fleet) == [State.AUTH_FAILED] * 4
    assert [connector.opened for connector in connectors] == [[]] * 3
    assert len(newcomer.opened) <= 1
    assert len(recorded.alerts) == 1
    assert "3 accounts are stopped" in recorded.alerts[0]


async def test_a_retry_makes_the_next_refusal_news(recorded: RecordingLog) -> None:
    """An account that is retried is refused again, and the other accounts stay where they are."""
    connectors = [FakeConnector(outcomes=[REFUSED, REFUSED]), FakeConnector()]
    fleet = fleet_of(recorded, *connectors)

    async def retry() -> None:
        await fleet.runners["Account 1"].post(RetryRequested())

    assert await run_for_an_hour(fleet, retry) == [State.AUTH_FAILED] * 2
    assert [len(connector.opened) for connector in connectors] == [2, 1]
    assert len(recorded.alerts) == 2


async def test_a_retry_that_works_changes_no_other_account(recorded: RecordingLog) -> None:
    """When the datacenter takes the id again, the account that was retried stays connected."""
    connectors = [FakeConnector(outcomes=[REFUSED, "ok"]), FakeConnector()]
    fleet = fleet_of(recorded, *connectors)

    async def retry() -> None:
        await fleet.runners["Account 1"].post(RetryRequested())

    assert await run_for_an_hour(fleet, retry) == [State.HEALTHY, State.AUTH_FAILED]


@pytest.mark.parametrize("loss", [ConfigRefused(setting="telegram.datacenter"), fakes.NetworkLost()])
async def test_other_trouble_stays_with_its_account(recorded: RecordingLog, loss: Event) -> None:
    """A datacenter that is refused, or a lost network, stops no other account."""
    states = await run_for_an_hour(fleet_of(recorded, FakeConnector(outcomes=[loss]), FakeConnector()))
    assert states[1] is State.HEALTHY
