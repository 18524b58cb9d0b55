"""The journal's writer on a disk that loses power, is killed, full or broken at any moment: what it said is kept."""

import asyncio
import random
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import define, field

from adapters.sqlite import JournalReader, JournalWriter, StorageError, WriterTimeouts
from adapters.sqlite.connect import open_read_only
from adapters.sqlite.jobs import NewJob
from adapters.sqlite.rescue import Rescue
from states import Policy, Snapshot, State
from states.events import Elapsed, Event, NetworkLost, TurnGranted
from tests.adapters.sqlite.support import decide
from tests.simulation.disk import Disk
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.skipif(bool(Disk.unavailable()), reason=Disk.unavailable())
SEEDS = range(8)
LYING = range(24)
"""More of them: what a lie loses depends on the moment of the power cut, and shows in nearly every other one."""
TIMEOUTS = WriterTimeouts(busy=0.05, slice=0.05, retry=0.01)
ACCOUNTS = ("one", "two", "three")


@define(eq=False)
class JournalUnderFaults:
    """A journal that lives several times on one disk, and what was said to be durable."""

    disk: Disk
    rng: random.Random
    path: Path
    written: dict[str, list[float]] = field(factory=lambda: {name: [] for name in ACCOUNTS})
    """The times of the records of each account, in order: they tell one from the other."""
    durable: dict[str, int] = field(factory=lambda: dict.fromkeys(ACCOUNTS, 0))
    jobs: list[int] = field(factory=list)
    now: float = 1000.0
    rescues: list[Rescue] = field(factory=list)
    expects_rescue: bool = False
    """Whether the file was taken away."""

    async def live(self, life: int) -> None:
        """Write until the disk stops, or the life is over; faults come at random."""
        rng, disk = self.rng, self.disk
        stops = rng.random() < 0.8
        if stops:
            number = rng.choice((rng.randint(1, 30), rng.randint(1, 150)))
            disk.kill_at_write(number, lambda: None, power=rng.random() < 0.7)
        try:
            journal = await JournalWriter.open(
                self.path, on_trouble=lambda *_: None, timeouts=TIMEOUTS, on_rescue=self._note_rescue
            )
            try:
                with anyio.fail_after(TIMEOUT):
                    await self._write(journal, life, rng.randint(5, 60))
            finally:
                disk.kill_at_write(0, lambda: None)
                left = await journal.aclose(1.0)
                # On a busy machine it may still be at work, and its connection must not be closed under its hands.
                journal._writer._thread.join(TIMEOUT)
            if not disk.is_frozen:
                assert left == 0
                self._note_durable(self._counts())
        except Exception:
            if not disk.is_frozen:  # a dead process reads what is not there any more
                raise

    async def _write(self, journal: JournalWriter, life: int, count: int) -> None:
        rng, disk = self.rng, self.disk
        snapshots = {name: Snapshot(since=self.now, life=life) for name in ACCOUNTS}
        for name, at in snapshots.items():
            await journal.begin_life(name, self.now, Policy(), at)
        for _ in range(count):
            if disk.is_frozen:
                return
            what = rng.random()
            if what < 0.05:
                disk.full(rng.randint(0, 20_000))
            elif what < 0.08:
                disk.broken()
            elif what < 0.25:
                disk.mend()
            elif what < 0.3:
                disk.mend()
                await self._add_job(journal)
            elif what < 0.31:
                disk.mend()
                await self._lose_file(journal)
            elif what < 0.5:
                disk.mend()
                counts = self._counts()
                await journal.flush(routine=rng.random() < 0.5)
                if not disk.is_frozen:
                    self._note_durable(counts)
            else:
                name = rng.choice(ACCOUNTS)
                snapshots[name] = await self._step(journal, name, snapshots[name])
            if rng.random() < 0.2:
                await asyncio.sleep(rng.random() * 0.005)
        disk.mend()
        counts = self._counts()
        await journal.flush()
        if not disk.is_frozen:
            self._note_durable(counts)

    async def _lose_file(self, journal: JournalWriter) -> None:
        """Take the file away, and wait for the one that takes its place."""
        await journal.flush()
        if self.disk.is_frozen:
            return
        counts = self._counts()
        self._note_durable(counts)
        before, jobs = dict(self.durable), list(self.jobs)
        # Until the new file is there, what was durable is where the old one went.
        self.durable, self.jobs, self.expects_rescue = dict.fromkeys(ACCOUNTS, 0), [], True
        self.path.rename(self.path.with_name(f"elsewhere-{len(self.rescues)}"))
        await journal.look()
        await asyncio.sleep(0)
        if not self.disk.is_frozen:
            assert [done.whole for done in self.rescues] == [True]
            self.rescues.clear()
            self.durable, self.jobs, self.expects_rescue = before, jobs, False

    async def _step(self, journal: JournalWriter, name: str, snapshot: Snapshot) -> Snapshot:
        self.now += 1
        event: Event = NetworkLost(link=snapshot.link, detail="reset")
        if snapshot.state is State.BACKOFF:
            event = Elapsed(generation=snapshot.generation)
        elif snapshot.waiting_for_turn:
            event = TurnGranted(generation=snapshot.generation)
        made = decide(snapshot, event, self.now)
        assert made.record is not None
        await journal.write(name, made.record, made.snapshot)
        if not made.record.quiet:
            self.written[name].append(made.record.at)
        return made.snapshot

    async def _add_job(self, journal: JournalWriter) -> None:
        with suppress(StorageError):
            (number,) = await journal.jobs.add([NewJob(kind="k", data={"text": "x" * self.rng.randrange(3000)})])
            if not self.disk.is_frozen:
                self.jobs.append(number)

    def _note_rescue(self, done: Rescue) -> None:
        if not self.disk.is_frozen:
            self.rescues.append(done)

    def _counts(self) -> dict[str, int]:
        return {name: len(times) for name, times in self.written.items()}

    def _note_durable(self, counts: dict[str, int]) -> None:
        self.durable.update(counts)

    def check(self) -> None:
        """Compare what the file has with what was written, and what was said to be durable."""
        assert not self.rescues or self.expects_rescue, f"taken for lost: {self.rescues}"
        self.expects_rescue = False
        self.rescues.clear()
        if not self.path.exists():
            assert not any(self.durable.values())
            self.written = {name: [] for name in ACCOUNTS}
            return
        with closing(open_read_only(self.path)) as database:
            assert database.execute("pragma integrity_check").fetchone()[0] == "ok"
            assert database.execute("pragma foreign_key_check").fetchall() == []
        try:
            reader = JournalReader.open(self.path)
        except StorageError:  # the engine was stopped before it had made the tables
            assert not any(self.durable.values())
            assert not self.jobs
            self.written = {name: [] for name in ACCOUNTS}
            return
        with reader:
            found: dict[str, list[float]] = {name: [] for name in ACCOUNTS}
            last: dict[str, Any] = {}
            for entry in reader.entries():
                found[entry.account].append(entry.at)
                last[entry.account] = entry
            for name, times in found.items():
                assert times == self.written[name][: len(times)], f"{name}: other records, or in another order"
                assert len(times) >= self.durable[name], f"{name}: {self.durable[name] - len(times)} records are lost"
            for name, (snapshot, _) in reader.snapshots().items():
                if name in last and last[name].life == snapshot.life:
                    assert snapshot.state == last[name].target, f"{name}: the snapshot is not that of the last record"
            self.written = found
            self.durable = {name: len(times) for name, times in found.items()}
        with closing(open_read_only(self.path)) as database:
            jobs = {row[0] for row in database.execute("select id from jobs")}
        assert jobs >= set(self.jobs), "a job that was promised is lost"


async def under_faults(directory: Path, seed: int, *, lies: bool = False) -> int:
    """Let a journal live several times; return how many records it has in the end."""
    rng = random.Random(seed)
    with Disk(directory, rng, loses_synced=lies) as disk:
        world = JournalUnderFaults(disk, rng, directory / "engine.db")
        for life in range(1, rng.randint(3, 6)):
            await world.live(life)
            if disk.is_frozen:
                disk.restore()
            elif rng.random() < 0.5:
                disk.power_cut()
                disk.restore()
            disk.check()
            world.check()
        return sum(world.durable.values())


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_record_that_was_said_to_be_durable_is_lost(tmp_path: Path, seed: int) -> None:
    """Killed, without power, full and broken: the file has the records in order, and all that a flush confirmed."""
    directory = tmp_path / "disk"
    directory.mkdir()
    await under_faults(directory, seed)


@pytest.mark.slow
async def test_the_check_finds_what_a_lying_disk_loses(tmp_path: Path) -> None:
    """On a disk whose syncs make nothing durable, such lives lose records, or the file."""
    caught = 0
    for seed in LYING:
        directory = tmp_path / f"disk-{seed}"
        directory.mkdir()
        try:
            await under_faults(directory, seed, lies=True)
        except Exception:
            caught += 1
    assert caught > len(LYING) / 4
