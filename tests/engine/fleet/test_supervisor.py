"""The supervisor: accounts side by side, none able to stop another, and an end within the grace."""

import anyio
import pytest
from attrs import define

from engine.fleet.supervisor import STOP_MARGIN, Supervisor
from states import Record, Snapshot, State
from tests.engine.fakes import FakeConnector, MemoryJournal, runner_for, until

pytestmark = pytest.mark.virtual


async def test_an_error_of_ours_ends_one_life_only() -> None:
    """A link that raises, which none may, costs its account a new life and the others nothing."""
    broken, fine = FakeConnector(outcomes=[RuntimeError("a bug")]), FakeConnector()
    journal = MemoryJournal()
    runners = {"A": runner_for(broken, journal), "B": runner_for(fine, journal, account="B")}
    supervisor = Supervisor(runners, anyio.Event(), grace=15)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await until(supervisor.runners["B"], State.HEALTHY)
        first = supervisor.snapshots["B"].state
        await anyio.sleep(30)
        states = [first, *(at.state for at in supervisor.snapshots.values())]
        supervisor.stop.set()
    assert states == [State.HEALTHY] * 3
    assert [snapshot.life for name, snapshot in journal.lives if name == "A"] == [1, 2]
    assert [snapshot.life for name, snapshot in journal.lives if name == "B"] == [1]


async def test_all_accounts_are_stopped_side_by_side() -> None:
    """Fifty accounts that each take 10 s to close are closed in 10 s, not in 500."""
    journal = MemoryJournal()
    runners = {
        str(number): runner_for(FakeConnector(close_takes=10), journal, account=str(number)) for number in range(50)
    }
    supervisor = Supervisor(runners, anyio.Event(), grace=15)
    orderly = []

    async def run() -> None:
        orderly.append(await supervisor.run())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await anyio.sleep(5)
        began = anyio.current_time()
        supervisor.stop.set()
    orderly, took = orderly[0], anyio.current_time() - began
    assert orderly
    assert took < 11


async def _stop_and_time(connector: FakeConnector, journal: MemoryJournal) -> tuple[bool, float]:
    supervisor = Supervisor({"A": runner_for(connector, journal)}, anyio.Event(), grace=15)
    orderly = []

    async def run() -> None:
        orderly.append(await supervisor.run())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(supervisor.runners["A"], State.HEALTHY)
        began = anyio.current_time()
        supervisor.stop.set()
    return orderly[0], anyio.current_time() - began


async def test_a_link_that_cannot_be_closed_does_not_keep_the_engine() -> None:
    """A close that never returns is left behind a little after the grace, and the account ends in order."""
    orderly, took = await _stop_and_time(FakeConnector(close_takes=10_000), MemoryJournal())
    assert orderly
    assert 15 < took <= 15 + STOP_MARGIN


@define
class StuckJournal(MemoryJournal):
    """A journal that takes nothing any more when an account stops."""

    async def write(self, account: str, record: Record, snapshot: Snapshot) -> None:
        """Wait for ever with the record of the stop."""
        if record.event == "StopRequested":
            await anyio.sleep_forever()


async def test_an_account_that_cannot_end_does_not_keep_the_engine() -> None:
    """After the grace and a margin the supervisor leaves, and says that it was not orderly."""
    orderly, took = await _stop_and_time(FakeConnector(), StuckJournal())
    assert not orderly
    assert took <= 15 + STOP_MARGIN + 1


@define
class SlowToSettle(FakeConnector):
    """A connector whose session takes longer to write than the grace."""

    async def settle(self) -> None:
        """Write for 30 s."""
        await anyio.sleep(30)


async def test_a_session_that_is_still_written_is_no_connection_that_was_dropped() -> None:
    """Thousands of sessions on a busy machine may take longer than the grace; their connections are closed."""
    orderly, _ = await _stop_and_time(SlowToSettle(close_takes=15.5), MemoryJournal())
    assert orderly
