"""The journal on PostgreSQL where it is more than the contract of both stores: many writers, deaths, lost answers."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import attrs
import psycopg
import pytest

from adapters.postgres.connect import StoreTimeouts
from adapters.postgres.errors import Fenced
from adapters.postgres.journal_reader import StoreRecords
from states import Policy, begin
from states.events import Started
from tests.postgres.relay import relay
from tests.states.harness import AccountDriver
from tests.storage.postgres_store import PostgresStore
from tests.storage.story import FAILS, fields, live, stored, walk
from tests.timeouts import TIMEOUT

if TYPE_CHECKING:
    from tests.postgres.server import PostgresServer

BODY = "SELECT seq, tx, at, account, number, life, dwell, source, event, target, rule, counts, body FROM journal"


@pytest.fixture
def store(store_url: str) -> PostgresStore:
    """Return an empty store."""
    return PostgresStore(store_url)


@pytest.fixture
def reader(store: PostgresStore) -> Iterator[StoreRecords]:
    """Open the read side."""
    with StoreRecords.open(store.address) as reader:
        yield reader


@contextmanager
def session(store: PostgresStore) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    """Open a transaction that is ended with the block, without its changes."""
    with closing(psycopg.connect(store.url)) as connection:
        yield connection


def numbers(store: PostgresStore) -> dict[str, list[int]]:
    """Return the number of each record by account, in the order of all."""
    found: dict[str, list[int]] = {}
    with psycopg.connect(store.url) as connection:
        for account, number in connection.execute(
            "SELECT (SELECT name FROM names WHERE id = account), number FROM journal ORDER BY tx, seq"
        ):
            found.setdefault(account, []).append(number)
    return found


def kill_life(store: PostgresStore, life: int) -> None:
    """Declare a life dead as other nodes do: its row is locked first."""
    with psycopg.connect(store.url) as other:
        other.execute("SELECT id FROM nodes WHERE id = %s FOR UPDATE", (life,))
        other.execute("UPDATE nodes SET state = 'dead' WHERE id = %s", (life,))


async def test_a_dead_life_writes_nothing_more(store: PostgresStore) -> None:
    """What it wrote after its death is not stored; whoever writes or flushes is told, and closing counts the rows."""
    steps, life = walk(4), store.begin_node()
    async with store.journal_of(life) as journal:
        await journal.write("a", steps[0].record, steps[0].snapshot)
        await journal.flush()
        kill_life(store, life)
        await journal.write("a", steps[1].record, steps[1].snapshot)
        await journal.write("a", steps[2].record, steps[2].snapshot)
        with anyio.fail_after(TIMEOUT), pytest.raises(Fenced, match="life of this node has ended"):
            await journal.flush()
        with pytest.raises(Fenced):
            await journal.write("a", steps[3].record, steps[3].snapshot)
        with pytest.raises(Fenced):
            await journal.prune(1e12)
        assert await journal.aclose(TIMEOUT) == 2
    assert stored(store.records()) == [fields(steps[0].record)]


async def test_what_waits_of_a_dropped_account_does_not_meet_the_next_owners_numbers(store: PostgresStore) -> None:
    """A server that took over had forgotten whose it is; it is stored again when the account has come back."""
    mine, others = walk(4), walk(2, life=2)
    left_out: list[int] = []
    former, owner = store.begin_node(), store.begin_node()
    async with store.journal_of(former, on_left_out=left_out.append) as journal, store.journal_of(owner) as next_one:
        await journal.write("a", mine[0].record, mine[0].snapshot)
        await journal.write("b", mine[0].record, mine[0].snapshot)
        await journal.flush()
        await journal.write("a", mine[1].record, mine[1].snapshot)
        await journal.write("b", mine[1].record, mine[1].snapshot)
        await journal.save("a", mine[2].snapshot)
        journal.drop(["a"])
        await next_one.begin_life("a", 2000.0, Policy(), others[0].snapshot)
        await next_one.write("a", others[1].record, others[1].snapshot)
        await next_one.flush()
        await journal.write("a", mine[3].record, mine[3].snapshot)
        await journal.flush()
        assert sum(left_out) == 4
        assert numbers(store) == {"a": [1, 2], "b": [1, 2]}
        assert (await journal.snapshots())["a"] == others[1].snapshot
        await journal.begin_life("a", 3000.0, Policy(), others[1].snapshot)
        await journal.write("a", mine[3].record, mine[3].snapshot)
        await journal.flush()
        assert numbers(store) == {"a": [1, 2, 3], "b": [1, 2]}


async def test_a_life_that_drains_still_writes(store: PostgresStore) -> None:
    """Its last records are stored."""
    made, life = walk(1)[0], store.begin_node()
    async with store.journal_of(life) as journal:
        store.spoil(f"UPDATE nodes SET state = 'draining' WHERE id = {life}")
        await journal.write("a", made.record, made.snapshot)
        await journal.flush()
    assert stored(store.records()) == [fields(made.record)]


async def test_a_death_waits_for_a_batch_that_has_begun(store: PostgresStore) -> None:
    """A batch behind its fence is stored before the death; the next one is not."""
    steps, life = walk(3), store.begin_node()
    long = StoreTimeouts(query=TIMEOUT)
    async with store.journal_of(life, timeouts=long) as journal:
        await journal.write("a", steps[0].record, steps[0].snapshot)
        await journal.flush()
        with anyio.fail_after(TIMEOUT), session(store) as other:
            # Behind the fence, before the end:
            other.execute("SELECT batch FROM journal_batches WHERE node = %s FOR UPDATE", (life,))
            await journal.write("a", steps[1].record, steps[1].snapshot)
            while not store.count("pg_locks WHERE NOT granted"):
                await anyio.sleep(0.01)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.to_thread.run_sync, kill_life, store, life)
                while store.count("pg_locks WHERE NOT granted") < 2:
                    await anyio.sleep(0.01)
                other.rollback()
        await journal.flush()
        assert stored(store.records()) == [fields(made.record) for made in steps[:2]]
        await journal.write("a", steps[2].record, steps[2].snapshot)
        with pytest.raises(Fenced):
            await journal.flush()


async def test_a_batch_whose_answer_was_lost_is_stored_once(store: PostgresStore, postgres: "PostgresServer") -> None:
    """It is committed and its answer does not come; the same batch is sent again, and the records are there once."""
    steps, life = walk(30), store.begin_node()
    async with relay(postgres.socket) as wire:
        through = PostgresStore(postgres.url(store.url.partition("?")[0].rsplit("/", 1)[1], host=wire.address))
        troubles: list[object] = []
        heard = anyio.Event()

        def hear(failure: object, _: int) -> None:
            troubles.append(failure)
            heard.set()

        async with through.journal_of(life, on_trouble=hear) as journal:
            for made in steps[:20]:  # with all the names that come later, which are no part of a batch
                await journal.write("a", made.record, made.snapshot)
            await journal.flush()
            wire.swallow_answers()
            for made in steps[20:]:
                await journal.write("a", made.record, made.snapshot)
            with anyio.fail_after(TIMEOUT):
                await heard.wait()
                assert stored(store.records()) == [fields(made.record) for made in steps], "it was committed"
                assert journal.waiting == 10
                wire.restore()
                await journal.flush()
        assert troubles[-1] is None
    assert stored(store.records()) == [fields(made.record) for made in steps]
    assert numbers(store) == {"a": list(range(1, 31))}


async def test_a_follower_waits_for_a_transaction_that_commits_late(store: PostgresStore, reader: StoreRecords) -> None:
    """A record that another one overtook appears in its place: nothing behind it is read before it is."""
    steps = walk(3)
    async with store.journal() as journal:
        await journal.write("a", steps[0].record, steps[0].snapshot)
        await journal.flush()
        (first,) = reader.entries(after_seq=0)
        with session(store) as late:
            late.execute(  # a record of another node, whose commit is on its way
                f"""INSERT INTO journal (at, account, number, life, dwell, source, event, target, rule, counts, body)
                SELECT at, account, number + 100, life, dwell, source, event, target, rule, counts, body
                FROM ({BODY}) AS former WHERE seq = {first.seq}"""
            )
            for made in steps[1:]:
                await journal.write("b", made.record, made.snapshot)
            await journal.flush()
            assert list(reader.entries(after_seq=first.seq)) == []
            assert reader.last_seq() == first.seq
            assert [entry.account for entry in reader.entries()] == ["a", "b", "b"], "other readers need not wait"
            late.commit()
        assert [entry.account for entry in reader.entries(after_seq=first.seq)] == ["a", "b", "b"]


async def test_transactions_are_ordered_as_numbers(store: PostgresStore, reader: StoreRecords) -> None:
    """Not as texts, by which the tenth comes before the ninth: for a replay, of the newest, and from page to page."""
    steps = walk(12)
    async with store.journal() as journal:
        for made in steps:
            await journal.write("a", made.record, made.snapshot)
        await journal.flush()
    store.spoil("UPDATE journal SET tx = (number + 3)::text::xid8")
    times = [made.record.at for made in steps]
    assert [entry.at for entry in reader.entries()] == times
    assert [entry.at for entry in reader.entries(limit=5)] == times[-5:]
    first = next(reader.entries())
    assert [entry.at for entry in reader.entries(after_seq=first.seq)] == times[1:]


async def test_many_writers_and_a_follower(store: PostgresStore, reader: StoreRecords) -> None:
    """Four nodes write at once: a follower gets each record once, each account's in order, and no number is missing."""
    steps, accounts = walk(40), [f"account {number}" for number in range(4)]
    got: list[tuple[str, float]] = []

    async def write(account: str) -> None:
        async with store.journal() as journal:
            for made in steps:
                await journal.write(account, made.record, made.snapshot)
                await journal.flush()

    with anyio.fail_after(TIMEOUT):
        async with anyio.create_task_group() as tasks:
            for account in accounts:
                tasks.start_soon(write, account)
            last = 0
            while len(got) < 160:
                for entry in reader.entries(after_seq=last):
                    last = entry.seq
                    got.append((entry.account, entry.at))
                await anyio.sleep(0.001)
    for account in accounts:
        assert [at for name, at in got if name == account] == [made.record.at for made in steps]
    assert numbers(store) == {account: list(range(1, 41)) for account in accounts}


async def test_an_account_goes_on_elsewhere(store: PostgresStore, reader: StoreRecords) -> None:
    """The next owner counts on from the last record, begins a life, and both lives are there for a replay."""
    async with store.journal(engine="one") as first, store.journal(engine="two") as second:
        driver = AccountDriver(Policy())
        await live(first, "a", driver, (Started(), *FAILS))
        await first.flush()
        other = AccountDriver(Policy(), begin((await second.snapshots())["a"], now=driver.now + 20))
        await live(second, "a", other, (Started(), *FAILS))
        await second.flush()
        assert numbers(store) == {"a": list(range(1, 9))}
        assert [life.life for life in reader.lives("a")] == [1, 2]
        assert (reader.present("one"), reader.present("two")) == (set(), {"a"})
        third = AccountDriver(Policy(), begin((await second.snapshots())["a"], now=other.now + 20))
        await live(first, "a", third, (Started(),))  # and back again: what the first knew of it is old
        await first.flush()
        assert numbers(store) == {"a": list(range(1, 10))}


async def test_two_owners_of_one_account_are_an_error(store: PostgresStore) -> None:
    """If the law of leases were broken, the journal would not mix two lives: the second writer stops, loudly."""
    from adapters.sqlite.errors import WriterBroken

    steps = walk(2)
    async with store.journal() as first, store.journal() as second:
        for journal in (first, second):
            await journal.begin_life("a", 1.0, Policy(), steps[0].snapshot)
            await journal.flush()
        await first.write("a", steps[0].record, steps[0].snapshot)
        await first.flush()
        await second.write("a", steps[1].record, steps[1].snapshot)
        with pytest.raises(WriterBroken):
            await second.flush()
    assert stored(store.records()) == [fields(steps[0].record)]


async def test_two_nodes_that_prune_at_once(store: PostgresStore, reader: StoreRecords) -> None:
    """What both delete is deleted once, and no life is put back."""
    async with store.journal() as first, store.journal() as second:
        driver = AccountDriver(Policy())
        await live(first, "a", driver, (Started(), *FAILS * 6))
        await first.flush()
        due = (await first.snapshots())["a"]
        bound = list(reader.entries())[-2].at
        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as tasks:
                for journal in (first, second):
                    tasks.start_soon(journal.prune, bound)
        left = list(reader.entries())
        assert len(left) == 2
        (life,) = reader.lives()
        assert life.pruned_to == left[0].seq - 1
        from adapters.sqlite.codec import event_from
        from states.redo import redo

        snapshot = life.start
        for entry in left:
            assert snapshot is not None
            snapshot = redo(snapshot, entry, event_from(entry.event, entry.payload), life.policy).snapshot
        assert snapshot == due


async def test_an_older_plan_does_not_put_a_life_back(store: PostgresStore) -> None:
    """A node that planned a deletion before another one deleted more leaves what that one has kept."""
    from adapters.postgres import journal_retention

    async with store.journal() as journal:
        await live(journal, "a", AccountDriver(Policy()), (Started(), *FAILS * 3))
        await journal.flush()
        with StoreRecords.open(store.address) as slow, StoreRecords.open(store.address) as fast:
            entries = list(fast.entries())
            plan = journal_retention.plan(slow, entries[2].at)
            assert await journal.prune(entries[6].at) == 6
            assert plan is not None
            journal_retention.carry_out(slow, journal.life, plan)
            (life,) = fast.lives()
            assert life.pruned_to == entries[5].seq
            assert list(fast.entries()) == entries[6:]


KILLED = """
import random, sys
import anyio
from adapters.postgres.address import StoreAddress
from adapters.postgres.journal import StoreJournal
from states import Policy, Snapshot, step
from states.events import Started

async def main():
    journal = await StoreJournal.open(StoreAddress.parse(sys.argv[1]), int(sys.argv[2]), on_trouble=lambda *_: None)
    made = step(Snapshot(), Started(), now=1.0, rng=random.Random(1), policy=Policy())

    async def produce(name):
        count = 0
        while True:
            for _ in range(5):
                await journal.write(name, made.record, made.snapshot)
            await journal.flush()
            count += 5
            print(name, count, flush=True)

    async with anyio.create_task_group() as tasks:
        for name in "abcd":
            tasks.start_soon(produce, name)

anyio.run(main)
"""


def test_what_a_killed_process_acknowledged_is_there(store: PostgresStore) -> None:
    """After kill -9 of the writing process every acknowledged record is there, and each account's have no gap."""
    words = [sys.executable, "-c", KILLED, store.url, str(store.begin_node())]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(40)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
    acknowledged = {line.split()[0]: int(line.split()[1]) for line in lines if line.endswith("\n")}
    assert set(acknowledged) == set("abcd")
    for name, found in numbers(store).items():
        assert len(found) >= acknowledged[name]
        assert found == list(range(1, len(found) + 1))


async def test_a_server_that_crashes_loses_nothing() -> None:
    """Records wait while it is down, are stored when it is back, and those before the crash are there, each once."""
    from tests.postgres.server import private_server
    from tests.postgres.template import template_of

    steps = walk(200)
    with private_server() as server:
        store = PostgresStore(server.url(server.clone(template_of(server))))
        async with store.journal() as journal:
            for made in steps[:100]:
                await journal.write("a", made.record, made.snapshot)
                if made is steps[50]:
                    await journal.flush()
            await anyio.to_thread.run_sync(server.stop, signal.SIGKILL)
            for made in steps[100:]:
                await journal.write("a", made.record, made.snapshot)
            with anyio.fail_after(TIMEOUT):
                while not journal.pulse.failures:
                    await anyio.sleep(0.01)
                await anyio.to_thread.run_sync(server.start)
                await journal.flush()
        assert stored(store.records()) == [fields(made.record) for made in steps]
        assert numbers(store) == {"a": list(range(1, 201))}


async def test_a_time_is_found_by_its_hour(store: PostgresStore, reader: StoreRecords) -> None:
    """The first record since a time is found wherever clocks stood, also after retention."""
    made = walk(1)[0]
    times = [7200.0, 7300.0, 99.0, 10_900.0, 3601.0, 10_800.0]  # of two nodes, one of which sets its clock back
    async with store.journal() as one, store.journal() as two:
        for place, at in enumerate(times):
            journal = (one, two)[place % 2]
            await journal.write(f"account {place % 2}", attrs.evolve(made.record, at=at), made.snapshot)
            await journal.flush()
        seqs = [entry.seq for entry in reader.entries()]
        for since in (0.0, 99.0, 100.0, 3600.0, 7200.0, 7200.5, 7301.0, 10_850.0):
            due = next(seq for seq, at in zip(seqs, times, strict=True) if at >= since)
            assert reader.first_since(since) == due, since
            assert [entry.at for entry in reader.entries(since=since)] == [at for at in times if at >= since]
        assert reader.first_since(10_901.0) == seqs[-1] + 1
        while await one.prune(7250.0):
            pass
        assert [entry.at for entry in reader.entries(since=0.0)] == times[1:]
        assert reader.first_since(0.0) == seqs[1]
