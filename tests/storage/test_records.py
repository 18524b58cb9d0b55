"""The contract of the read side of a journal: each filter, and each question of the commands."""

from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from engine.journal.ports import JournalRecords
from states import Policy, State
from states.events import NetworkLost, Started
from states.snapshot import Snapshot
from tests.states.harness import AccountDriver
from tests.storage.stores import StoreUnderTest
from tests.storage.story import FAILS, Places, decide, fields, live, tell, tell_lives, walk
from tests.timeouts import TIMEOUT


@pytest.fixture
async def reader(store: StoreUnderTest) -> AsyncIterator[JournalRecords]:
    """Open the story."""
    async with store.journal() as journal:
        await tell(journal)
    with store.records() as reader:
        yield reader


async def test_filters(reader: JournalRecords) -> None:
    """Each filter selects what it says, oldest first; together they all apply."""
    at = Places(reader)
    asked: list[tuple[dict[str, object], list[int]]] = [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"accounts": ["a"]}, [1, 3, 5, 6]),
        ({"accounts": ["b", "c"]}, [2, 4]),
        ({"accounts": ["b", "b"]}, [2]),
        ({"accounts": ["nobody"]}, []),
        ({"accounts": ["nobody", "b"]}, [2]),
        ({"accounts": []}, []),
        ({"state": State.HEALTHY}, [1]),  # staying in a state is not entering it
        ({"state": State.BACKOFF}, [2]),
        ({"state": State.TIMEOUT}, []),
        ({"event": "NetworkLost"}, [2, 6]),
        ({"event": "Network"}, []),
        ({"since": 40.0}, [4, 5, 6]),  # a time is its own lower bound
        ({"since": 40.5}, [5, 6]),
        ({"until": 40.0}, [1, 2, 3]),
        ({"since": 1e9}, []),
        ({"failed_only": True}, [2, 4, 5, 6]),
        ({"limit": 2}, [5, 6]),
        ({"limit": 0}, []),
        ({"limit": 100}, [1, 2, 3, 4, 5, 6]),
        ({"limit": 2, "accounts": ["a"], "until": 60.0}, [3, 5]),
        ({"after_seq": at.seq(4)}, [5, 6]),
        ({"after_seq": at.seq(6)}, []),
        ({"after_seq": at.seq(1), "accounts": ["a"]}, [3, 5, 6]),
        ({"accounts": ["a"], "failed_only": True, "since": 20.0, "after_seq": at.seq(1), "limit": 1}, [6]),
    ]
    for filters, expected in asked:
        assert at.of(reader.entries(**filters)) == expected, filters  # type: ignore[arg-type]


async def test_an_entry(reader: JournalRecords) -> None:
    """An entry has what the record had."""
    entry = list(reader.entries())[1]
    assert (entry.account, entry.life, entry.at, entry.source, entry.target) == ("b", 0, 20.0, "connecting", "backoff")
    assert (entry.event, entry.detail, entry.payload["detail"]) == ("NetworkLost", "gone", "gone")
    assert entry.deadline == pytest.approx(20.0 + (entry.delay or 0))
    assert reader.entry(entry.seq) == entry
    assert reader.entry(10**12) is None


async def test_the_overview(reader: JournalRecords) -> None:
    """Accounts, last numbers and snapshots are known without reading the entries."""
    at = Places(reader)
    assert reader.accounts() == ["a", "b", "c"]
    assert (reader.first_seq(), reader.last_seq()) == (at.seq(1), at.seq(6))
    found = reader.snapshots()
    assert {name: seq for name, (_, seq) in found.items()} == {"a": at.seq(6), "b": at.seq(2), "c": at.seq(4)}
    assert found["c"][0].state is State.AUTH_FAILED
    assert reader.snapshots_of(["c", "nobody"]) == {"c": found["c"]}
    assert reader.last_seen() == {"a": 60.0, "b": 20.0, "c": 40.0}
    assert reader.lives() == []
    assert [reader.count("a", life) for life in (0, 1)] == [4, 0]
    assert [reader.first_since(time) for time in (0.0, 40.0, 41.0)] == [at.seq(1), at.seq(4), at.seq(5)]
    assert reader.first_since(1e9) > at.seq(6)


async def test_neighbours(reader: JournalRecords) -> None:
    """Neighbours are of the same account."""
    at = Places(reader)
    entry = reader.entry(at.seq(3))
    assert entry is not None
    assert at.of(reader.before(entry, 5)) == [1]
    assert at.of(reader.after(entry, 1)) == [5]
    assert at.of(reader.life_until(entry)) == [1, 3]
    assert at.of(reader.newest(None, 2)) == [6, 5]
    assert at.of(reader.newest("a", 2)) == [6, 5]
    assert at.of(reader.newest("a", 2, before=at.seq(6))) == [5, 3]
    assert at.of(reader.newest(None, 1, before=at.seq(3))) == [2]
    assert at.of(reader.after_healthy("a", 5)) == [6]
    assert at.of(reader.after_healthy("b", 5)) == [2]


async def test_a_life_is_not_another_one(store: StoreUnderTest) -> None:
    """The entries of a life end where the life before it begins."""
    async with store.journal() as journal:
        await tell_lives(journal)
    with store.records() as reader:
        at = Places(reader)
        entry = reader.entry(at.seq(7))
        assert entry is not None
        assert at.of(reader.life_until(entry)) == [5, 6, 7]
        assert [reader.count("a", life) for life in (1, 2)] == [4, 10]


async def test_moves(reader: JournalRecords) -> None:
    """Moves are the entries without what is slow to read."""
    at = Places(reader)
    moves, entries = list(reader.moves(at.seq(2))), list(reader.entries())[1:]
    for name in ("seq", "account", "life", "at", "dwell", "source", "target", "event"):
        assert [getattr(move, name) for move in moves] == [getattr(entry, name) for entry in entries]
    assert list(reader.moves_after(at.seq(1))) == moves
    assert list(reader.moves_after(0, at.seq(4))) == moves[2:]
    assert list(reader.moves_after(at.seq(5), at.seq(4))) == moves[4:]
    last = {name: move.seq for name, move in reader.last_moves(at.seq(5)).items()}
    assert last == {"a": at.seq(3), "b": at.seq(2), "c": at.seq(4)}


async def test_a_long_journal_is_read_whole(store: StoreUnderTest) -> None:
    """Page by page, and in order."""
    steps = walk(2500)
    async with store.journal() as journal:
        for made in steps:
            await journal.write("a", made.record, made.snapshot)
    with store.records() as reader:
        assert [entry.at for entry in reader.entries()] == [made.record.at for made in steps]
        for moves in (reader.moves(), reader.moves_after(0)):
            assert [move.at for move in moves] == [made.record.at for made in steps]
        (first,) = reader.entries(limit=1, until=steps[1].record.at)
        assert [entry.at for entry in reader.entries(after_seq=first.seq)] == [made.record.at for made in steps[1:]]


async def test_reads_of_a_block_are_of_one_moment(store: StoreUnderTest) -> None:
    """What is written meanwhile is not seen before the end of the block."""
    steps = walk(2)
    async with store.journal() as journal:
        await journal.write("a", steps[0].record, steps[0].snapshot)
        await journal.flush()
        with store.records() as reader:
            with reader.read_transaction():
                assert len(list(reader.entries())) == 1
                await journal.write("a", steps[1].record, steps[1].snapshot)
                await journal.flush()
                assert len(list(reader.entries())) == 1
                assert reader.snapshots()["a"][0] == steps[0].snapshot
            assert len(list(reader.entries())) == 2


async def test_what_cannot_be_read_is_left_out_and_told(store: StoreUnderTest) -> None:
    """A spoilt row is one sentence; a reader that is to go on does."""
    from adapters.sqlite import Undecodable

    async with store.journal() as journal:
        await tell(journal)
    with store.records() as reader:
        at = Places(reader)
        store.spoil(f"UPDATE journal SET body = 'x' WHERE seq = {at.seq(3)}")
        store.spoil("UPDATE snapshots SET snapshot = 'x' WHERE account = (SELECT id FROM names WHERE name = 'c')")
        with pytest.raises(Undecodable, match=r"entry \d+ of the journal.*cannot be read"):
            list(reader.entries())
        with pytest.raises(Undecodable, match="a stored snapshot cannot be read"):
            reader.snapshots()
        rows: list[tuple[int, str, int | None]] = []
        reader.on_unreadable = lambda row: rows.append((row.seq, row.account, row.life))
        assert at.of(reader.entries()) == [1, 2, 4, 5, 6]
        assert set(reader.snapshots()) == {"a", "b"}
        assert rows == [(at.seq(3), "a", 0), (0, "c", None)]


async def test_a_follower_gets_each_entry_once(store: StoreUnderTest) -> None:
    """Whoever asks for what comes after its last entry, again and again, gets all of them, in each account's order."""
    accounts, steps = [f"account {number}" for number in range(5)], walk(60)
    got: list[tuple[str, dict[str, object]]] = []
    async with store.journal() as journal:

        async def write(account: str) -> None:
            for made in steps:
                await journal.write(account, made.record, made.snapshot)
                await journal.flush()

        await journal.prove_writable(Policy())
        with anyio.fail_after(TIMEOUT), store.records() as reader:
            async with anyio.create_task_group() as tasks:
                for account in accounts:
                    tasks.start_soon(write, account)
                last = reader.last_seq()
                while len(got) < len(accounts) * len(steps):
                    for entry in reader.entries(after_seq=last):
                        last = entry.seq
                        got.append((entry.account, fields(entry)))
                    await anyio.lowlevel.checkpoint()
    for account in accounts:
        assert [each for name, each in got if name == account] == [fields(made.record) for made in steps]


async def test_retention_deletes_from_the_front(store: StoreUnderTest) -> None:
    """What is older than the bound goes, but never the newest entry, and a number is never given twice."""
    async with store.journal() as journal:
        await tell_lives(journal)
        before = await journal.snapshots()
        with store.records() as reader:
            at, entries = Places(reader), list(reader.entries())
            assert await journal.prune(entries[6].at) == 6
            assert at.of(reader.entries()) == list(range(7, 19))
            assert await journal.prune(entries[6].at) == 0
            while await journal.prune(1e12):
                pass
            assert at.of(reader.entries()) == [18]
            assert await journal.snapshots() == before
            await live(journal, "c", AccountDriver(Policy()), (Started(),))
            await journal.flush()
            assert [entry.account for entry in reader.entries()] == ["b", "c"]
            assert reader.last_seq() > at.seq(18)


async def test_what_retention_leaves_can_be_replayed(store: StoreUnderTest) -> None:
    """A life that lost its first entries begins where it was after them; one without entries goes, but not the last."""
    from adapters.sqlite import event_from
    from states.redo import redo

    async with store.journal() as journal:
        await tell_lives(journal)
        due = await journal.snapshots()
        with store.records() as reader:
            at, entries = Places(reader), list(reader.entries())
            for place in (3, 6, 9, 12, 16):
                await journal.prune(entries[place - 1].at)
                lives = {(life.account, life.life): life for life in reader.lives()}
                walks = {key: life.start for key, life in lives.items()}
                for entry in reader.entries():
                    key = entry.account, entry.life
                    start = walks[key]
                    assert start is not None
                    made = redo(start, entry, event_from(entry.event, entry.payload), lives[key].policy)
                    assert fields(made.record) == fields(entry)
                    walks[key] = made.snapshot
                assert {name: snapshot for (name, _), snapshot in walks.items()} == due
            assert [(life.account, life.life) for life in reader.lives()] == [("a", 2), ("b", 1)]
            assert all(at.seq(14) <= life.pruned_to <= at.seq(15) for life in reader.lives())


async def test_retention_keeps_nobody_waiting(store: StoreUnderTest) -> None:
    """An account that writes while old entries go loses nothing."""
    driver = AccountDriver(Policy())
    driver.now += 1_000_000
    async with store.journal() as journal:
        await tell_lives(journal)
        bound = driver.now

        async def prune() -> None:
            while await journal.prune(bound):
                pass

        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(prune)
                await live(journal, "c", driver, (Started(), *FAILS * 5))
                await journal.flush()
            await prune()  # the newest of all stays: the other one may have ended before there was a newer one
        with store.records() as reader:
            assert [entry.account for entry in reader.entries()] == ["c"] * 16


def test_the_story_has_failures() -> None:
    """The filter for failures has something to leave out and something to find."""
    assert not decide(Snapshot(link=1, links=1, attempt=1), NetworkLost(link=1), 1.0).record.quiet
