"""Retention: old entries go from the front, in small steps, and what is left can still be replayed."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from adapters.sqlite import JournalReader, JournalWriter, event_from
from adapters.sqlite import retention as module
from states import Policy, Snapshot, begin
from states.events import Elapsed, Event, NetworkLost, Started, StopRequested, TurnGranted
from states.redo import redo
from tests.adapters.sqlite.support import a_journal
from tests.states.harness import AccountDriver
from tests.timeouts import TIMEOUT

FAILS: tuple[Event, ...] = (TurnGranted(generation=0), NetworkLost(detail="reset"), Elapsed(generation=0))


async def live(journal: JournalWriter, account: str, driver: AccountDriver, events: tuple[Event, ...]) -> None:
    """Write down a life; every event takes a second."""
    await journal.begin_life(account, driver.now, driver.policy, driver.snapshot)
    for event in events:
        made = driver.take(event)
        await journal.write(account, made.record, made.snapshot)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[JournalWriter]:
    """Open a journal of two accounts: 1–4 a's first life, 5–14 a's second, 15–18 b's only one."""
    async with a_journal(tmp_path / "engine.db") as journal:
        first = AccountDriver(Policy())
        await live(journal, "a", first, (Started(), *FAILS[:2], StopRequested()))
        second = AccountDriver(Policy(), begin(first.snapshot, now=first.now + 100))
        second.now = first.now + 100
        await live(journal, "a", second, (Started(), *FAILS[2:], *FAILS * 2, *FAILS[:2]))
        third = AccountDriver(Policy())
        third.now = second.now
        await live(journal, "b", third, (Started(), *FAILS))
        await journal.flush()
        yield journal


def left(journal: JournalWriter) -> list[tuple[int, str, float]]:
    """Return the entries that are left."""
    with JournalReader.open(journal.path) as reader:
        return [(entry.seq, entry.account, entry.at) for entry in reader.entries()]


def at(journal: JournalWriter, seq: int) -> float:
    """Return when an entry was written."""
    return next(time for number, _, time in left(journal) if number == seq)


def replayed(journal: JournalWriter) -> dict[str, Snapshot]:
    """Walk from the lives' starts through the entries that are left; return where that leads."""
    with JournalReader.open(journal.path) as reader:
        lives = {(driver.account, driver.life): driver for driver in reader.lives()}
        walks = {key: driver.start for key, driver in lives.items()}
        for entry in reader.entries():
            key = (entry.account, entry.life)
            start = walks[key]
            assert start is not None
            made = redo(start, entry, event_from(entry.event, entry.payload), lives[key].policy)
            assert (made.record.rule, made.record.delay, made.record.dwell) == (entry.rule, entry.delay, entry.dwell)
            walks[key] = made.snapshot
    return {account: snapshot for (account, _), snapshot in walks.items() if snapshot is not None}


async def test_only_what_is_older_goes(journal: JournalWriter) -> None:
    """The entry of the bound itself stays, and so do all after it, with their numbers."""
    assert await journal.prune(at(journal, 7)) == 6
    assert [seq for seq, *_ in left(journal)] == list(range(7, 19))
    assert await journal.prune(at(journal, 7)) == 0


async def test_a_spoilt_time_keeps_nothing(journal: JournalWriter) -> None:
    """An entry whose time is no number goes with those around it."""
    begin = at(journal, 7)
    with closing(sqlite3.connect(journal.path)) as database, database:
        database.execute("UPDATE journal SET at = 'soon' WHERE seq IN (1, 3, 9)")
    await journal.prune(begin)
    with JournalReader.open(journal.path) as reader:
        assert reader.first_seq() == 7


async def test_what_is_left_replays_to_the_stored_snapshots(journal: JournalWriter) -> None:
    """A life that lost its first entries begins where it was after them."""
    before = await journal.snapshots()
    for seq in (3, 6, 9, 12, 16):
        await journal.prune(at(journal, seq))
        assert replayed(journal) == before
    assert await journal.snapshots() == before


async def test_a_life_without_entries_goes_unless_it_is_the_last(journal: JournalWriter) -> None:
    """An account's newest life stays, because its next entry needs it."""
    await journal.prune(at(journal, 16))
    with JournalReader.open(journal.path) as reader:
        found = [(driver.account, driver.life, driver.pruned_to) for driver in reader.lives()]
    assert found == [("a", 2, 15), ("b", 1, 15)]


async def test_a_number_is_never_given_twice(journal: JournalWriter) -> None:
    """The newest entry stays however old it is, and snapshots are not touched."""
    before = await journal.snapshots()
    while await journal.prune(1e12):
        pass
    assert [seq for seq, *_ in left(journal)] == [18]
    assert await journal.snapshots() == before


async def test_a_step_is_small(journal: JournalWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step deletes more than its bound, and the steps together delete all."""
    monkeypatch.setattr(module, "MAX_STEP_ROWS", 4)
    sizes = []
    while size := await journal.prune(1e12):
        sizes.append(size)
    assert sizes == [4, 4, 4, 4, 1]
    assert replayed(journal)["b"] == (await journal.snapshots())["b"]


async def test_records_are_written_between_the_steps(journal: JournalWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that writes while old entries go is not held up, and loses nothing."""
    monkeypatch.setattr(module, "MAX_STEP_ROWS", 2)
    driver = AccountDriver(Policy())
    driver.now += 1000
    bound = driver.now

    async def prune() -> None:
        while await journal.prune(bound):
            pass

    with anyio.fail_after(TIMEOUT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(prune)
            await live(journal, "c", driver, (Started(), *FAILS * 5))
            await journal.flush()
    assert [account for _, account, _ in left(journal)] == ["c"] * 16


async def test_what_cannot_be_replayed_is_deleted_and_says_so(journal: JournalWriter) -> None:
    """A damaged entry goes like any other, and its life no longer claims to know where it was."""
    with closing(sqlite3.connect(journal.path)) as db:
        db.execute("UPDATE journal SET body = 'x' WHERE seq = 6")
        db.execute("UPDATE journal SET delay = 1 WHERE seq = 17")
        db.commit()
    await journal.prune(at_of(journal.path, 8))
    with JournalReader.open(journal.path) as reader:
        assert [(driver.pruned_to, driver.start) for driver in reader.lives("a")] == [(7, None)]
    await journal.prune(1e12)
    with JournalReader.open(journal.path) as reader:
        assert [(driver.pruned_to, driver.start) for driver in reader.lives("b")] == [(17, None)]


def at_of(path: Path, seq: int) -> float:
    """Return when an entry was written, whatever else it holds."""
    with closing(sqlite3.connect(path)) as db:
        return float(db.execute("SELECT at FROM journal WHERE seq = ?", [seq]).fetchone()[0])
