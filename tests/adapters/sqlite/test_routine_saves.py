"""What routine changes is kept in memory, and stored for all accounts together."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import attrs
import pytest

from adapters.sqlite.writer import GroupWriter
from adapters.stores import routine
from states import Policy, Snapshot, State
from states.events import Connected, Started, TurnGranted
from tests.adapters.sqlite.support import a_journal, decide
from tests.timeouts import TIMEOUT

HEALTHY = Snapshot(state=State.HEALTHY, since=1.0, life=1)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Yield how many rows each write that is queued has."""
    found: list[int] = []
    put = GroupWriter._put

    def counting(self: GroupWriter, write: object, **options: bool) -> bool:
        done = put(self, write, **options)  # type: ignore[arg-type]
        if done:
            found.append(len(write.rows))  # type: ignore[attr-defined]
        return done

    with monkeypatch.context() as patch:
        patch.setattr(GroupWriter, "_put", counting)
        yield found


async def test_quiet_steps_of_many_accounts_are_a_few_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand accounts that answer ten times each are four writes, which come by themselves."""
    monkeypatch.setattr(routine, "SAVE_SECONDS", 0.2)
    async with a_journal(tmp_path / "engine.db") as journal:
        for number in range(1000):
            await journal.begin_life(f"Account {number}", 1.0, Policy(), HEALTHY)
        with counted(monkeypatch) as writes:
            for turn in range(10):
                for number in range(1000):
                    await journal.save(f"Account {number}", attrs.evolve(HEALTHY, last_success=float(turn)))
            assert writes == []
            with anyio.fail_after(TIMEOUT):
                while sum(writes) < 1000:
                    await anyio.sleep(0.01)
            assert writes == [256, 256, 256, 232]
        await journal.flush(routine=False)
        assert {at.last_success for at in (await journal.snapshots()).values()} == {9.0}


async def test_a_record_takes_the_kept_snapshot_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for an account is older than the snapshot of its next record, and never stored after it."""
    async with a_journal(tmp_path / "engine.db") as journal:
        await journal.save("a", attrs.evolve(HEALTHY, last_success=5.0))
        made = decide(Snapshot(), Started(), 7.0)
        await journal.write("a", made.record, made.snapshot)
        with counted(monkeypatch) as writes:
            await journal.flush()
        assert writes == []
        assert (await journal.snapshots())["a"] == made.snapshot


async def test_what_is_kept_is_stored_at_the_stop(tmp_path: Path) -> None:
    """Closing stores it, whatever its time."""
    path = tmp_path / "engine.db"
    async with a_journal(path) as journal:
        await journal.save("a", attrs.evolve(HEALTHY, last_success=5.0))
    async with a_journal(path) as journal:
        assert (await journal.snapshots())["a"].last_success == 5.0


async def test_writes_of_one_turn_of_the_loop_are_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread is woken once for all that the loop writes before it waits."""
    async with a_journal(tmp_path / "engine.db") as journal:
        taken: list[int] = []
        save = GroupWriter._save

        def counting(self: GroupWriter, writes: list[object]) -> bool:
            taken.append(len(writes))
            return save(self, writes)  # type: ignore[arg-type]

        monkeypatch.setattr(GroupWriter, "_save", counting)
        snapshot = Snapshot()
        for event in (Started(), TurnGranted(generation=0), Connected(link=1)):
            made = decide(snapshot, event, 7.0)
            for number in range(30):
                await journal.write(f"Account {number}", made.record, made.snapshot)
            snapshot = made.snapshot
        await journal.flush()
        assert taken == [90]


async def test_routine_that_records_have_overtaken_is_no_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all that waited has been stored with records, the time to store it passes without a write or an error."""
    monkeypatch.setattr(routine, "SAVE_SECONDS", 0.05)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with a_journal(tmp_path / "engine.db") as journal:
        await journal.save("a", attrs.evolve(HEALTHY, last_success=5.0))
        made = decide(Snapshot(), Started(), 7.0)
        await journal.write("a", made.record, made.snapshot)
        with counted(monkeypatch) as writes:
            while journal._routine.is_due:
                await anyio.sleep(0.01)
        assert (writes, complaints) == ([], [])
        await journal.save("a", attrs.evolve(HEALTHY, last_success=8.0))
        with anyio.fail_after(TIMEOUT):
            while (await journal.snapshots())["a"].last_success != 8.0:
                await anyio.sleep(0.01)
