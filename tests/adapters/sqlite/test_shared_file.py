"""One file that several nodes write: what is taken of whom, in which order, and when it is settled."""

import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from adapters.sqlite import JournalReader, JournalWriter, node_file, written_database
from adapters.sqlite.errors import DatabaseUnusable
from adapters.sqlite.node_file import LifeIsOver, NodeFile, take_over
from adapters.sqlite.nodes import FileNodes
from adapters.sqlite.open_file import LOG, Loss, beside
from adapters.sqlite.rescue import Rescue
from adapters.sqlite.retention import plan_step
from states import Policy, Snapshot
from tests.adapters.sqlite.support import a_journal, locked
from tests.storage.shared_files import end, journal_of, register
from tests.storage.story import walk


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """Return what another program reads."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


async def write(journal: JournalWriter, account: str, count: int) -> None:
    """Write so many records of an account, each durable before the next."""
    for made in walk(count):
        await journal.write(account, made.record, made.snapshot)
        await journal.flush()


async def test_a_life_that_is_over_stores_nothing_any_more(tmp_path: Path) -> None:
    """Neither a record nor the snapshot after it; whoever writes is told, and so is the node."""
    path, told = tmp_path / "engine.db", []
    life = register(path)
    async with journal_of(path, life, on_ended=lambda: told.append(True)) as journal:
        one, two = walk(2)
        await journal.write("A", one.record, one.snapshot)
        await journal.flush()
        before = rows(path, "SELECT seq, snapshot FROM snapshots")
        end(path, life)
        await journal.write("A", two.record, two.snapshot)
        with pytest.raises(LifeIsOver, match=rf"engine\.db: life {life} of this node has ended, so nothing that it"):
            await journal.flush()
        with pytest.raises(LifeIsOver):
            await journal.write("A", two.record, two.snapshot)
        assert journal.waiting == 1
    assert rows(path, "SELECT count(*) FROM journal") == [(1,)]
    assert rows(path, "SELECT seq, snapshot FROM snapshots") == before
    assert told == [True]


async def test_records_of_several_writers_are_numbered_in_the_order_of_their_commits(tmp_path: Path) -> None:
    """Without a gap, so that whoever reads on from a number misses none."""
    path, read = tmp_path / "engine.db", []
    async with (
        journal_of(path, register(path, "one")) as one,
        journal_of(path, register(path, "two")) as two,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(write, one, "A", 30)
        tasks.start_soon(write, two, "B", 30)
        with JournalReader.open(path) as reader:
            while len(read) < 60:
                read += [entry.seq for entry in reader.entries(after_seq=read[-1] if read else 0)]
                await anyio.sleep(0.001)
    assert read == list(range(1, 61))


async def test_a_long_log_is_moved_into_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without the mark that an engine alone writes; it does not grow for ever."""
    monkeypatch.setattr(written_database, "MAX_LOG_BYTES", 200_000)
    path = tmp_path / "engine.db"
    async with journal_of(path, register(path)) as journal:
        await write(journal, "A", 60)
        assert os.stat(beside(path, LOG)).st_size < 600_000


async def test_a_worker_that_opens_the_file_waits_for_one_that_closes_it(tmp_path: Path) -> None:
    """Who closes it last has it alone while the log is moved; at a start that would end the other worker."""
    path = tmp_path / "engine.db"
    register(path)
    alone = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    alone.execute("PRAGMA locking_mode = EXCLUSIVE")
    alone.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"), closing(sqlite3.connect(path, timeout=0)) as other:
        other.execute("SELECT 1 FROM nodes")
    ending = threading.Timer(0.2, alone.close)
    ending.start()
    try:
        NodeFile.open(path).close()
    finally:
        ending.join()


async def test_an_engine_alone_ends_the_lives_that_it_finds(tmp_path: Path) -> None:
    """It has the lock of the directory; what a former worker writes then is refused, and the accounts are free."""
    path = tmp_path / "engine.db"
    life = register(path, "one", ["A"])
    async with journal_of(path, life) as former, a_journal(path) as alone:
        made = walk(1)[0]
        await alone.write("A", made.record, made.snapshot)
        await alone.flush()
        with pytest.raises(LifeIsOver):
            await write(former, "A", 1)
    assert rows(path, "SELECT state FROM nodes") == [("dead",)]
    assert rows(path, "SELECT owner FROM node_accounts") == [(None,)]
    again = register(path, "one", ["A"])
    async with journal_of(path, again) as journal:
        await write(journal, "A", 1)
    assert rows(path, "SELECT count(*) FROM journal") == [(2,)]


async def test_a_file_that_was_taken_over_is_settled_and_no_copy_of_it_is(tmp_path: Path) -> None:
    """Nobody can have a claim that it does not know; of a copy that comes to its place, that is not so."""
    path = tmp_path / "engine.db"
    register(path, "one", ["A"])
    take_over(path)
    assert rows(path, "SELECT state FROM nodes") == [("dead",)]
    before, settled = NodeFile.open(path), list[bool]()
    try:
        for name in ("before", "after"):
            file = NodeFile.open(path)
            try:
                nodes, life = FileNodes(file), register(path, name)
                beat = await nodes.beat(life)
                assert beat is not None
                settled.append(beat.settled)
            finally:
                file.close()
            shutil.copy(path, tmp_path / "copy")
            for each in tmp_path.glob("engine.db-*"):
                each.unlink()
            path.unlink()
            (tmp_path / "copy").rename(path)
    finally:
        before.close()
    assert settled == [True, False]


async def test_a_beat_that_finds_the_file_locked_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bounded time; the next one counts."""
    monkeypatch.setattr(node_file, "TIMEOUT", 0.05)
    path = tmp_path / "engine.db"
    life = register(path)
    file = NodeFile.open(path)
    try:
        async with locked(path):
            with pytest.raises(DatabaseUnusable, match="locked by another program"):
                await FileNodes(file).beat(life)
        beat = await FileNodes(file).beat(life)
        assert beat is not None
        assert beat.beat == 1
    finally:
        file.close()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_is_lost_under_workers_is_put_back_once(tmp_path: Path, replaced: bool) -> None:
    """With all that was in it, lives and claims among it; what has its name meanwhile is set aside, nobody stops."""
    path, told = tmp_path / "engine.db", list[Rescue]()
    lives = [register(path, "one", ["A"]), register(path, "two", ["B"])]
    take_over(path)
    lives = [register(path, "one", ["A"]), register(path, "two", ["B"])]
    line = NodeFile.open(path)
    try:
        async with (
            journal_of(path, lives[0], on_rescue=told.append) as one,
            journal_of(path, lives[1], on_rescue=told.append) as two,
        ):
            before = await FileNodes(line).beat(lives[0])
            for journal, name in ((one, "A"), (two, "B")):
                await write(journal, name, 3)
            path.unlink()
            if replaced:
                with closing(sqlite3.connect(path)) as other:
                    other.execute("CREATE TABLE foreign_rows (id)")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write, one, "A", 3)
                tasks.start_soon(write, two, "B", 3)
            after = await FileNodes(line).beat(lives[0])
            assert [each.loss for each in told] == [Loss.REPLACED if replaced else Loss.GONE]
            assert before is not None
            assert after is not None
            assert (after.beat, after.others, after.accounts) == (before.beat + 1, before.others, 1)
            assert after.server != before.server
            assert not after.settled
    finally:
        line.close()
    assert rows(path, "SELECT count(*), max(seq) FROM journal") == [(12, 12)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert len(list(tmp_path.glob("engine.db.aside-*[0-9]"))) == replaced


async def test_two_workers_may_delete_the_same_old_records(tmp_path: Path) -> None:
    """A plan that is carried out late takes nothing back of what another worker has deleted since."""
    path = tmp_path / "engine.db"
    async with journal_of(path, register(path)) as journal:
        made = walk(9)
        await journal.begin_life("A", 1000.0, Policy(), Snapshot(since=1000.0, life=1))
        for each in made:
            await journal.write("A", each.record, each.snapshot)
        await journal.flush()
        late = plan_step(path, made[3].record.at)
        assert late is not None
        assert await journal.prune(made[6].record.at)
        await journal._writer.write_together(late.statements)
        await journal.flush()
    with JournalReader.open(path) as reader:
        [life] = reader.lives("A")
    assert (life.pruned_to, life.start) == (6, made[5].snapshot)
