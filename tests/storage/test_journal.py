"""The contract of the write side of a journal."""

from typing import Any

import anyio
import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.sqlite import WriterClosed, event_from
from states import Entry, Policy, Record, Snapshot, State, begin
from states.events import Connected, ProbeAnswered
from states.redo import redo
from states.schedules import Health
from tests.adapters.sqlite.strategies import names, records, snapshots
from tests.storage.stores import StoreUnderTest, Told
from tests.storage.story import decide, fields, stored, tell_lives, walk
from tests.timeouts import TIMEOUT


async def test_records_come_back_as_they_were(store: StoreUnderTest) -> None:
    """Every field of every record is read back exactly, in order."""
    steps = walk(50)
    async with store.journal() as journal:
        for made in steps:
            await journal.write("a", made.record, made.snapshot)
        await journal.flush()
        assert journal.waiting == 0
        assert stored(store.records()) == [fields(made.record) for made in steps]


_whole = records.map(
    lambda made: attrs.evolve(made, event=made.event.replace("\0", ""), rule=made.rule.replace("\0", ""))
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(account=names, made=st.lists(st.tuples(_whole, snapshots), min_size=1, max_size=4))
async def test_any_record_comes_back(store: StoreUnderTest, account: str, made: list[tuple[Record, Snapshot]]) -> None:
    """Any values, the odd ones too, go through the store unchanged to the last bit."""
    async with store.journal() as journal:
        await journal.look()
        before = len(stored(store.records(), account))
        for record, snapshot in (*made, *made):  # the second time its names are known
            await journal.write(account, record, snapshot)
    assert stored(store.records(), account)[before:] == [fields(record) for record, _ in (*made, *made)]
    with store.records() as reader:
        assert reader.snapshots_of([account])[account][0] == made[-1][1]


@pytest.mark.parametrize("field", ["at", "dwell", "delay", "draw", "deadline"])
async def test_a_record_whose_time_is_no_number_is_refused(store: StoreUnderTest, field: str) -> None:
    """The error is the caller's, whether the names are known already or not, and the journal goes on."""
    first, second = walk(2)
    async with store.journal() as journal:
        for _ in range(2):
            for bad in (float("nan"), float("inf")):
                with pytest.raises(ValueError, match="cannot be stored"):
                    await journal.write("a", attrs.evolve(first.record, **{field: bad}), first.snapshot)
            await journal.write("a", first.record, first.snapshot)
        await journal.write("a", second.record, second.snapshot)
        await journal.flush()
        assert stored(store.records()) == [fields(made.record) for made in (first, first, second)]


async def test_a_quiet_record_leaves_only_its_snapshot(store: StoreUnderTest) -> None:
    """A quiet step is not in the journal, but its snapshot is stored, beside the number of the last entry."""
    loud = decide(Snapshot(link=1, links=1, attempt=1), Connected(link=1), 10.0)
    quiet = decide(loud.snapshot, ProbeAnswered(link=1, proof=True), 20.0)
    assert quiet.record.quiet
    async with store.journal() as journal:
        await journal.write("a", loud.record, loud.snapshot)
        await journal.write("a", quiet.record, quiet.snapshot)
        await journal.flush()
        assert await journal.snapshots() == {"a": quiet.snapshot}
        with store.records() as reader:
            (entry,) = reader.entries()
            assert reader.snapshots() == {"a": (quiet.snapshot, entry.seq)}
            assert reader.last_seen() == {"a": 20.0}


async def test_a_record_takes_the_kept_snapshot_with_it(store: StoreUnderTest) -> None:
    """What routine has left waiting is older than the snapshot of the next record, and never stored after it."""
    steps = walk(2)
    async with store.journal() as journal:
        await journal.write("a", steps[0].record, steps[0].snapshot)
        await journal.save("a", attrs.evolve(steps[0].snapshot, last_success=1.0))
        await journal.write("a", steps[1].record, steps[1].snapshot)
        await journal.flush()
        assert await journal.snapshots() == {"a": steps[1].snapshot}


async def test_what_routine_has_left_is_stored_at_the_end(store: StoreUnderTest) -> None:
    """Closing stores it; a flush that is not for it leaves it waiting."""
    made = walk(1)[0]
    kept = attrs.evolve(made.snapshot, last_success=7.0)
    async with store.journal() as journal:
        await journal.write("a", made.record, made.snapshot)
        await journal.save("a", kept)
        await journal.flush(routine=False)
        assert await journal.snapshots() == {"a": made.snapshot}
        assert await journal.aclose(TIMEOUT) == 0
    with store.records() as reader:
        assert {name: at for name, (at, _) in reader.snapshots().items()} == {"a": kept}


async def test_the_snapshot_is_that_of_the_last_record(store: StoreUnderTest) -> None:
    """At any moment the stored snapshot of an account is the one after its last stored record."""
    steps = walk(900)
    async with store.journal() as journal:
        looks, over = 0, False

        async def write() -> None:
            nonlocal over
            for number, made in enumerate(steps, 1):
                await journal.write("a", made.record, made.snapshot)
                if number % 100 == 0:  # the next rows come when somebody has looked, while these are being stored
                    seen = looks
                    while looks == seen:
                        await anyio.sleep(0.001)
            over = True

        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                with store.records() as reader:
                    while not over:
                        await anyio.sleep(0.002)
                        with reader.read_transaction():
                            found = reader.snapshots()
                            if "a" in found:
                                looks += 1
                                snapshot, seq = found["a"]
                                (last,) = reader.newest(None, 1)
                                assert last.seq == seq
                                assert snapshot == steps[reader.count("a", 1) - 1].snapshot


async def test_it_goes_on_after_a_restart(store: StoreUnderTest) -> None:
    """A second journal finds the snapshots and appends behind the old entries."""
    steps = walk(4)
    for part in (steps[:2], steps[2:]):
        async with store.journal() as journal:
            for made in part:
                await journal.write("a", made.record, made.snapshot)
            assert await journal.aclose(TIMEOUT) == 0
    async with store.journal() as journal:
        assert await journal.snapshots() == {"a": steps[-1].snapshot}
    assert stored(store.records()) == [fields(made.record) for made in steps]


async def test_lives(store: StoreUnderTest) -> None:
    """Each life is kept with its policy; a policy that many share is stored once; a life told twice is one."""
    policy, first = Policy(), begin(None, now=5.0)
    second = begin(first, now=6.0)
    async with store.journal() as journal:
        for at, snapshot in ((5.0, first), (6.0, second), (6.5, second)):
            await journal.begin_life("a", at, policy, snapshot)
        await journal.flush()
        with store.records() as reader:
            lives = reader.lives()
            assert [(life.account, life.life, life.at, life.snapshot) for life in lives] == [
                ("a", 1, 5.0, first),
                ("a", 2, 6.5, second),
            ]
            assert {life.policy for life in lives} == {policy}
            assert [life.life for life in reader.lives("a", from_life=2)] == [2]
            assert reader.lives("b") == []
            assert reader.snapshots() == {"a": (second, 0)}
            assert [each.at for _, each in reader.beginnings(0, 6.0)] == [6.5]
    assert store.count("policies") == 1


async def test_who_lives_an_account(store: StoreUnderTest) -> None:
    """The engine that began an account's life is present in it until it ends the life; one without a name never is."""
    start = begin(None, now=5.0)
    async with store.journal(engine="one") as journal:
        await journal.begin_life("a", 5.0, Policy(), start)
        await journal.begin_life("b", 5.0, Policy(), start)
        await journal.end_life("b", start.life)
        await journal.end_life("a", start.life + 1)  # another life of it
        await journal.flush()
        with store.records() as reader:
            assert (reader.present("one"), reader.present("two"), reader.present("")) == ({"a"}, set(), set())


async def test_records_name_a_policy_that_was_changed_under_their_life(store: StoreUnderTest) -> None:
    """Those before it go by the policy of their life."""
    steps, other = walk(3), Policy(healthy=Health(probe_every=11.0))
    async with store.journal() as journal:
        await journal.begin_life("a", 1.0, Policy(), Snapshot(life=1))
        await journal.write("a", steps[0].record, steps[0].snapshot)
        journal.use_policy("a", other)
        await journal.write("a", steps[1].record, steps[1].snapshot)
        await journal.begin_life("a", 2.0, other, Snapshot(life=2))
        await journal.write("a", steps[2].record, steps[2].snapshot)
        await journal.flush()
        with store.records() as reader:
            assert [entry.policy for entry in reader.entries()] == [None, other, None]
    assert store.count("policies") == 2


async def test_a_life_can_be_replayed(store: StoreUnderTest) -> None:
    """From the life's policy and snapshot, and the entries' events and draws, the law makes the same path again."""
    async with store.journal() as journal:
        await tell_lives(journal)
        with store.records() as reader:
            for life in reader.lives():
                snapshot = life.snapshot
                entries: list[Entry] = [e for e in reader.entries(accounts=[life.account]) if e.life == life.life]
                for entry in entries:
                    made = redo(snapshot, entry, event_from(entry.event, entry.payload), life.policy)
                    assert fields(made.record) == fields(entry)
                    snapshot = made.snapshot
            assert snapshot == (await journal.snapshots())["b"]


async def test_a_store_that_takes_nothing_is_told_and_nothing_is_lost(store: StoreUnderTest) -> None:
    """Its trouble is reported with the rows that wait, then its end; each row is there once, in order."""
    told: Told = []
    heard = anyio.Event()
    steps = walk(40)

    def hear(failure: Any, waiting: int) -> None:
        told.append((failure, waiting))
        if failure is not None:
            heard.set()

    async with store.journal(on_trouble=hear) as journal:
        await journal.write("a", steps[0].record, steps[0].snapshot)
        await journal.flush()
        async with store.held():
            for made in steps[1:]:
                await journal.write("a", made.record, made.snapshot)
            with anyio.fail_after(TIMEOUT):
                await heard.wait()
            assert journal.waiting == 39
            assert journal.pulse.trouble is not None
            assert journal.pulse.failures > 0
            assert journal.pulse.behind > 0
        with anyio.fail_after(TIMEOUT):
            await journal.flush()
        assert told[-1] == (None, 0)
        assert journal.pulse.trouble is None
        assert stored(store.records()) == [fields(made.record) for made in steps]


async def test_routine_takes_no_room_while_the_store_takes_nothing(store: StoreUnderTest) -> None:
    """Any number of quiet steps of one account takes no place in the queue."""
    first, told = walk(1)[0], anyio.Event()
    async with store.journal(on_trouble=lambda *_: told.set()) as journal:
        async with store.held():
            await journal.write("a", first.record, first.snapshot)
            with anyio.fail_after(TIMEOUT):
                await told.wait()
            for number in range(50):
                await journal.save("a", attrs.evolve(first.snapshot, last_success=float(number)))
            assert journal.waiting == 1
        await journal.flush()
        assert (await journal.snapshots())["a"].last_success == 49.0


async def test_at_the_bound_a_write_waits(store: StoreUnderTest) -> None:
    """It goes on when there is room, in the order of the calls; one that was cancelled meanwhile wrote nothing."""
    steps = walk(6)
    async with store.journal(max_waiting=2) as journal:
        async with anyio.create_task_group() as tasks, store.held():
            for made in steps[:2]:
                await journal.write("a", made.record, made.snapshot)
            with anyio.move_on_after(0.02) as scope:
                await journal.write("b", steps[0].record, steps[0].snapshot)
            assert scope.cancelled_caught
            for made in steps[2:]:
                tasks.start_soon(journal.write, "a", made.record, made.snapshot)
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            assert journal.waiting == 2
        with anyio.fail_after(TIMEOUT):
            await journal.flush()
        assert stored(store.records()) == [fields(made.record) for made in steps]


async def test_closing_a_store_that_takes_nothing_is_bounded(store: StoreUnderTest) -> None:
    """It ends in time and says how many rows were not saved; whoever writes or flushes then is told."""
    steps = walk(3)
    async with store.journal() as journal:
        await journal.begin_life("a", 1.0, Policy(), Snapshot(life=1))
        await journal.flush()
        async with store.held():
            for made in steps:
                await journal.write("a", made.record, made.snapshot)
            with anyio.fail_after(TIMEOUT):
                assert await journal.aclose(0.2) == 3
        with pytest.raises(WriterClosed):
            await journal.write("a", steps[0].record, steps[0].snapshot)
        with pytest.raises(WriterClosed):
            await journal.flush()


async def test_what_is_written_can_be_proved(store: StoreUnderTest) -> None:
    """A proof that rows can be written leaves no row behind however often, and does not come while none can."""
    async with store.journal() as journal:
        await journal.prove_writable(Policy())
        await journal.prove_writable(Policy())
        await journal.look()
        async with store.held():
            with anyio.move_on_after(0.05) as scope:
                await journal.prove_writable(Policy())
            assert scope.cancelled_caught
    assert store.count("policies") == 1


async def test_the_pulse_counts_batches(store: StoreUnderTest) -> None:
    """Every write that became durable is in one batch."""
    batches: list[tuple[int, float]] = []
    steps = walk(20)
    async with store.journal() as journal:
        journal.pulse.on_batch = lambda count, seconds: batches.append((count, seconds))
        for made in steps:
            await journal.write("a", made.record, made.snapshot)
        await journal.flush()
        assert sum(count for count, _ in batches) == 20
        assert len(batches) < 20, "those that wait together are stored together"
        assert journal.pulse.behind == 0


async def test_whose_login_an_account_has(store: StoreUnderTest) -> None:
    """The last one counts."""
    async with store.journal() as journal:
        await journal.remember_login("a", "key 1", None)
        await journal.remember_login("a", "key 2", 5)
        await journal.remember_login("b", "key 3", None)
        await journal.flush()
        with store.records() as reader:
            assert reader.logins() == {"a": ("key 2", 5), "b": ("key 3", None)}
            assert reader.former_names() == []


def test_the_first_state_is_known() -> None:
    """The walk of these tests begins where an account begins."""
    assert walk(1)[0].record.source is State.CONNECTING
