"""The write side of the journal."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import anyio
import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.sqlite import DatabaseUnusable, JournalReader, JournalTooNew, open_database
from states import Policy, Record, Snapshot, State, Step, begin, step
from states.events import Connected, DatabaseCorrupt, Elapsed, Event, NetworkLost, ProbeAnswered, Started, TurnGranted
from tests.adapters.sqlite.strategies import names, records, snapshots
from tests.adapters.sqlite.support import a_journal, decide, locked
from tests.timeouts import TIMEOUT


def walk(count: int, life: int = 1) -> list[Step]:
    """Return ``count`` real steps of one account that loses its network again and again."""
    snapshot, now, steps = Snapshot(since=1000.0, life=life), 1000.0, []
    while len(steps) < count:
        now += 1 / 3
        event: Event = NetworkLost(link=snapshot.link, detail="reset", chain=("OSError: reset",))
        if snapshot.state is State.BACKOFF:
            event = Elapsed(generation=snapshot.generation)
        elif snapshot.waiting_for_turn:
            event = TurnGranted(generation=snapshot.generation)
        steps.append(decide(snapshot, event, now))
        snapshot = steps[-1].snapshot
    return steps


def fields(record: Record) -> dict[str, object]:
    """Return what an entry has of a record."""
    return attrs.asdict(record, recurse=False, filter=lambda field, _: field.name != "quiet")


def stored(path: Path, account: str | None = None) -> list[dict[str, object]]:
    """Return the stored records, without seq, account and life."""
    with closing(JournalReader.open(path)) as reader:
        entries = reader.entries(accounts=None if account is None else [account])
        own = ("seq", "account", "life", "quiet", "policy")
        return [attrs.asdict(e, recurse=False, filter=lambda field, _: field.name not in own) for e in entries]


def damage(path: Path) -> None:
    """Overwrite the schema, but not the header, which says that this is a database."""
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3900)


async def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    """Every field of every record is read back exactly, in order."""
    path, steps = tmp_path / "engine.db", walk(50)
    async with a_journal(path) as journal:
        for made in steps:
            await journal.write("a", made.record, made.snapshot)
        await journal.flush()
        assert stored(path) == [fields(made.record) for made in steps]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(account=names, made=st.lists(st.tuples(records, snapshots), min_size=1, max_size=4))
def test_any_record_comes_back(
    tmp_path_factory: pytest.TempPathFactory, account: str, made: list[tuple[Record, Snapshot]]
) -> None:
    """Any values, the odd ones too, go through the file unchanged to the last bit."""
    path = tmp_path_factory.mktemp("any") / "engine.db"

    async def run() -> None:
        async with a_journal(path) as journal:
            for record, snapshot in (*made, *made):  # the second time its names are known
                await journal.write(account, record, snapshot)

    anyio.run(run)
    assert stored(path, account) == [fields(record) for record, _ in (*made, *made)]
    with closing(JournalReader.open(path)) as reader:
        assert reader.snapshots() == {account: (made[-1][1], 2 * len(made))}


@pytest.mark.parametrize("field", ["at", "dwell", "delay", "draw", "deadline"])
async def test_a_record_whose_time_is_no_number_is_refused(tmp_path: Path, field: str) -> None:
    """The error is the caller's, whether the names are known already or not, and the journal goes on."""
    path, (first, second) = tmp_path / "engine.db", walk(2)
    async with a_journal(path) as journal:
        for _ in range(2):
            for bad in (float("nan"), float("inf")):
                with pytest.raises(ValueError, match="cannot be stored"):
                    await journal.write("a", attrs.evolve(first.record, **{field: bad}), first.snapshot)
            await journal.write("a", first.record, first.snapshot)
        await journal.write("a", second.record, second.snapshot)
        await journal.flush()
        assert stored(path) == [fields(made.record) for made in (first, first, second)]


async def test_an_account_with_half_a_character_is_stored(tmp_path: Path) -> None:
    """A name that is not UTF-8, as files can have, is stored with a question mark, each time that it is written."""
    path, made = tmp_path / "engine.db", walk(1)[0]
    async with a_journal(path) as journal:
        for _ in range(3):
            await journal.write("a\udc80", made.record, made.snapshot)
        await journal.flush()
        assert stored(path, "a?") == [fields(made.record)] * 3


async def test_quiet_records_leave_only_their_snapshot(tmp_path: Path) -> None:
    """A quiet step is not in the journal, but its snapshot is stored, beside the seq of the last entry."""
    path = tmp_path / "engine.db"
    loud = decide(Snapshot(link=1, links=1, attempt=1), Connected(link=1), 10.0)
    quiet = decide(loud.snapshot, ProbeAnswered(link=1, proof=True), 20.0)
    assert quiet.record.quiet
    async with a_journal(path) as journal:
        await journal.write("a", loud.record, loud.snapshot)
        await journal.write("a", quiet.record, quiet.snapshot)
        await journal.flush()
        assert await journal.snapshots() == {"a": quiet.snapshot}
        assert len(stored(path)) == 1
        with closing(JournalReader.open(path)) as reader:
            assert reader.snapshots() == {"a": (quiet.snapshot, 1)}


async def test_quiet_snapshots_are_coalesced(tmp_path: Path) -> None:
    """While the database is away, any number of quiet steps of one account takes no place in the queue."""
    path, first = tmp_path / "engine.db", walk(1)[0]
    told = anyio.Event()
    async with a_journal(path, on_trouble=lambda *_: told.set()) as journal:
        async with locked(path):
            await journal.write("a", first.record, first.snapshot)
            with anyio.fail_after(TIMEOUT):
                await told.wait()
            for number in range(50):
                await journal.save("a", attrs.evolve(first.snapshot, last_success=float(number)))
            assert journal.waiting == 1
        await journal.flush()
        assert (await journal.snapshots())["a"].last_success == 49.0


async def test_snapshot_is_that_of_the_last_record(tmp_path: Path) -> None:
    """At any moment the stored snapshot of an account is the one after its last stored record."""
    path, steps = tmp_path / "engine.db", walk(3000)
    async with a_journal(path) as journal:
        looks, produced = 0, False

        async def produce() -> None:
            nonlocal produced
            for number, made in enumerate(steps, 1):
                await journal.write("a", made.record, made.snapshot)
                if number % 100 == 0:  # the next rows come when somebody has looked, while these are being stored
                    seen = looks
                    while looks == seen:
                        await anyio.sleep(0.001)
            produced = True

        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(produce)
                while not produced:
                    await anyio.sleep(0.002)
                    with closing(sqlite3.connect(path)) as other:
                        other.execute("BEGIN")
                        last = other.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()[0]
                        row = other.execute("SELECT seq, snapshot FROM snapshots").fetchone()
                        if row is not None:
                            looks += 1
                            assert row[0] == last
                            assert json.loads(row[1])["generation"] == steps[last - 1].snapshot.generation
        assert looks >= len(steps) // 100


async def test_goes_on_after_a_restart(tmp_path: Path) -> None:
    """A second life of the engine finds the snapshots, appends behind the old entries and reuses the names."""
    path, steps = tmp_path / "engine.db", walk(4)
    for part in (steps[:2], steps[2:]):
        async with a_journal(path) as journal:
            for made in part:
                await journal.write("a", made.record, made.snapshot)
            assert await journal.aclose(TIMEOUT) == 0
    async with a_journal(path) as journal:
        assert await journal.snapshots() == {"a": steps[-1].snapshot}
    assert stored(path) == [fields(made.record) for made in steps]
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) = count(DISTINCT name) FROM names").fetchone() == (1,)


async def test_a_life_can_be_replayed(tmp_path: Path) -> None:
    """From the life's policy and snapshot, and the entries' events and draws, step makes the same path again."""
    from adapters.sqlite import event_from

    class Drawn:
        def __init__(self, draw: float | None) -> None:
            self.draw = draw

        def random(self) -> float:
            assert self.draw is not None
            return self.draw

    path, start, steps = tmp_path / "engine.db", Snapshot(since=1000.0, life=1), walk(40)
    async with a_journal(path) as journal:
        await journal.begin_life("a", 1000.0, Policy(), start)
        for made in steps:
            await journal.write("a", made.record, made.snapshot)
        await journal.flush()
        with closing(JournalReader.open(path)) as reader:
            (life,) = reader.lives()
            assert (life.account, life.life, life.at) == ("a", 1, 1000.0)
            snapshot = life.snapshot
            for entry in reader.entries(accounts=["a"]):
                event = event_from(entry.event, entry.payload)
                again = step(snapshot, event, now=entry.at, rng=Drawn(entry.draw), policy=life.policy)
                assert (again.record.rule, again.record.deadline) == (entry.rule, entry.deadline)
                snapshot = again.snapshot
        assert snapshot == steps[-1].snapshot


async def test_lives(tmp_path: Path) -> None:
    """Each life is kept with its policy; a policy that many share is stored once; a life told twice is one."""
    path, policy = tmp_path / "engine.db", Policy()
    first = begin(None, now=5.0)
    second = begin(first, now=6.0)
    async with a_journal(path) as journal:
        for at, snapshot in ((5.0, first), (6.0, second), (6.5, second)):
            await journal.begin_life("a", at, policy, snapshot)
        await journal.flush()
        with closing(JournalReader.open(path)) as reader:
            assert [(life.life, life.at, life.snapshot) for life in reader.lives()] == [
                (1, 5.0, first),
                (2, 6.5, second),
            ]
            assert {life.policy for life in reader.lives()} == {policy}
            assert reader.snapshots() == {"a": (second, 0)}
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM policies").fetchone() == (1,)


async def test_a_write_that_was_cancelled_at_the_bound_harms_nothing(tmp_path: Path) -> None:
    """Names of a write that was cancelled while it waited are written by the next one that needs them."""
    path, made = tmp_path / "engine.db", walk(1)[0]
    async with a_journal(path) as journal:
        journal._writer.max_waiting = 1
        async with locked(path):
            await journal.write("a", made.record, made.snapshot)
            with anyio.move_on_after(0.02) as scope:
                await journal.write("b", made.record, made.snapshot)
            assert scope.cancelled_caught
        with anyio.fail_after(TIMEOUT):
            await journal.write("b", made.record, made.snapshot)
            await journal.flush()
        assert len(stored(path, "b")) == 1


async def test_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file of a newer version is refused, by the writer and by the reader, and left as it was."""
    path = tmp_path / "engine.db"
    with closing(open_database(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalTooNew, match=r"engine\.db: the journal has schema 99.*use the version that wrote it"):
        async with a_journal(path):
            pass
    with pytest.raises(JournalTooNew):
        JournalReader.open(path)


async def test_corrupt_file_is_refused(tmp_path: Path) -> None:
    """A file whose pages are garbage is refused with its path and what to do."""
    path = tmp_path / "engine.db"
    async with a_journal(path) as journal:
        await journal.aclose(TIMEOUT)
    damage(path)
    with pytest.raises(DatabaseUnusable, match=r"engine\.db: the database is damaged .*restore it") as caught:
        async with a_journal(path) as journal:
            await journal.snapshots()
    assert isinstance(caught.value.failure, DatabaseCorrupt)


async def test_opening_waits_off_the_loop(tmp_path: Path) -> None:
    """Opening needs no lock of a journal that is up to date, so a busy file does not delay a start."""
    path = tmp_path / "engine.db"
    async with a_journal(path) as journal:
        await journal.aclose(TIMEOUT)
    async with locked(path) as holder:
        with anyio.fail_after(TIMEOUT):
            async with a_journal(path) as journal:
                assert await journal.snapshots() == {}
                assert holder.in_transaction


KILLED = """
import sys
from pathlib import Path
import anyio
from adapters.sqlite import JournalWriter
from states import Policy, Snapshot, step
from states.events import Started
import random

async def main():
    journal = await JournalWriter.open(Path(sys.argv[1]), on_trouble=print)
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


@pytest.mark.parametrize("seconds", [0.05, 0.3])
def test_killed_at_any_moment(tmp_path: Path, seconds: float) -> None:
    """After kill -9 every acknowledged row is there, the file is intact, and a reader can read it."""
    path = tmp_path / "engine.db"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        lines = [first, *process.stdout.readlines()]
    acknowledged = {line.split()[0]: int(line.split()[1]) for line in lines if line.endswith("\n")}
    assert acknowledged
    with closing(JournalReader.open(path)) as reader:
        for name, count in acknowledged.items():
            assert len(list(reader.entries(accounts=[name]))) >= count
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_started_is_not_quiet() -> None:
    """The script above writes records that are kept."""
    assert not decide(Snapshot(), Started(), 1.0).record.quiet
