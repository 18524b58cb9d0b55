"""Group commit: durable, ordered, bounded, and patient with a database in trouble."""

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from adapters.sqlite import Statement, WriterBroken, WriterClosed, WriterTimeouts
from states.events import DatabaseLocked, DatabaseUnavailable
from tests.adapters.sqlite.support import LATEST, ROW, TIMEOUTS, OpenWriter, locked
from tests.timeouts import TIMEOUT


def numbered(count: int) -> list[tuple[str, int]]:
    """Return the rows that a test writes."""
    return [("a", number) for number in range(count)]


def files(path: Path) -> list[Path]:
    """Return the files beside the database, itself included."""
    return sorted(path.parent.iterdir())


async def test_flush_is_durable(open_writer: OpenWriter) -> None:
    """After flush another connection sees all rows, in the order of writing, also over many batches."""
    async with open_writer() as b:
        for row in numbered(2000):
            await b.writer.write(ROW, row)
        await b.writer.flush()
        assert b.stored() == numbered(2000)
        assert b.writer.waiting == 0


async def test_concurrent_writers_are_each_in_order(open_writer: OpenWriter) -> None:
    """Rows of each of many tasks keep their order, also through the door at the bound."""

    async def produce(name: str) -> None:
        for number in range(60):
            await b.writer.write(ROW, (name, number))
            if number % 7 == 0:
                await b.writer.flush()

    async with open_writer(max_waiting=16) as b:
        async with anyio.create_task_group() as tasks:
            for name in "abcdefgh":
                tasks.start_soon(produce, name)
        await b.writer.flush()
        for name in "abcdefgh":
            assert [number for who, number in b.stored() if who == name] == list(range(60))


async def test_write_waits_at_the_bound(open_writer: OpenWriter) -> None:
    """At the bound a write waits for room, and goes on when the database has taken the rows."""
    async with open_writer(max_waiting=10) as b:
        async with locked(b.path):
            for row in numbered(10):
                await b.writer.write(ROW, row)
            with anyio.move_on_after(0.1) as scope:
                await b.writer.write(ROW, ("cancelled", 0))
            assert scope.cancelled_caught
            assert b.writer.waiting == 10
        with anyio.fail_after(TIMEOUT):
            await b.writer.write(ROW, ("a", 10))
            await b.writer.flush()
        assert b.stored() == numbered(11)


async def test_no_writer_overtakes_at_the_bound(open_writer: OpenWriter) -> None:
    """Writers that wait for room are served in the order in which they came, before those that come later."""
    async with open_writer(max_waiting=1) as b:
        async with anyio.create_task_group() as tasks, locked(b.path):
            for number in range(20):
                tasks.start_soon(b.writer.write, ROW, ("a", number))
            await anyio.sleep(0.05)
        await b.writer.flush()
        assert b.stored() == numbered(20)


async def test_a_new_writer_queues_behind_those_that_wait(open_writer: OpenWriter) -> None:
    """A writer that comes at the very moment in which room is made does not take it from one that waited."""

    async def come_when_room_is_made() -> None:
        await b.writer.flush()
        await b.writer.write(ROW, ("a", 2))

    async with open_writer(max_waiting=1) as b:
        async with anyio.create_task_group() as tasks, locked(b.path):
            await b.writer.write(ROW, ("a", 0))
            tasks.start_soon(come_when_room_is_made)
            tasks.start_soon(b.writer.write, ROW, ("a", 1))
            await anyio.sleep(0.02)
        await b.writer.flush()
        assert b.stored() == numbered(3)


async def test_locked_is_reported_and_nothing_is_lost(open_writer: OpenWriter) -> None:
    """A lock is reported with the number of waiting rows, then its end; each row is there once, in order."""
    async with open_writer() as b:
        async with locked(b.path):
            for row in numbered(700):
                await b.writer.write(ROW, row)
            await b.until_told(2)
        await b.writer.flush()
        assert b.stored() == numbered(700)
        assert isinstance(b.told[0][0], DatabaseLocked)
        assert b.told[0][1] == 700
        assert b.events()[-1] == "recovered"
        assert b.events().count("recovered") == 1


async def test_loop_turns_while_locked(open_writer: OpenWriter) -> None:
    """The event loop takes a hundred turns while the thread waits in SQLite for the lock."""
    async with open_writer(timeouts=WriterTimeouts(busy=TIMEOUT, slice=TIMEOUT, retry=0.05)) as b:
        async with locked(b.path):
            await b.writer.write(ROW, ("a", 0))
            for _ in range(100):
                await anyio.sleep(0.001)
            assert b.told == [], "the wait for the lock was over before the loop went on"
            assert b.writer.waiting == 1
        await b.writer.flush()
        assert b.stored() == numbered(1)


async def test_busy_patience_is_longer_than_a_slice(open_writer: OpenWriter) -> None:
    """A lock that goes away within the busy timeout is not reported."""
    async with open_writer(timeouts=WriterTimeouts(busy=TIMEOUT, slice=0.02, retry=0.05)) as b:
        async with locked(b.path):
            await b.writer.write(ROW, ("a", 0))
            await anyio.sleep(0.2)
        await b.writer.flush()
        assert b.told == []


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        ("PRAGMA max_page_count = 8", "PRAGMA max_page_count = 1000000"),
        ("PRAGMA query_only = 1", "PRAGMA query_only = 0"),
    ],
    ids=["full", "read-only"],
)
async def test_unavailable_and_recovered(open_writer: OpenWriter, spoil: str, mend: str) -> None:
    """A full or read-only database is reported as unavailable; when it works again each row is there once."""
    async with open_writer() as b:
        b.connection.execute(spoil)
        rows = [("x" * 200, number) for number in range(600)]
        for row in rows:
            await b.writer.write(ROW, row)
        await b.until_told()
        assert isinstance(b.told[0][0], DatabaseUnavailable)
        b.connection.execute(mend)
        with anyio.fail_after(TIMEOUT):
            await b.writer.flush()
        assert b.stored() == rows
        assert b.events()[-1] == "recovered"


async def test_failed_batch_leaves_nothing(open_writer: OpenWriter) -> None:
    """A batch whose second statement fails stores nothing of the first."""
    broken = Statement("broken", "INSERT INTO nowhere SELECT column1 FROM rows", width=1, order=5)
    async with open_writer() as b:
        await b.writer.write_together([(ROW, ("a", 0)), (broken, (1,))])
        with pytest.raises(WriterBroken):
            await b.writer.flush()
        assert b.stored() == []


async def test_bug_in_the_thread_surfaces(open_writer: OpenWriter) -> None:
    """After an unexpected error flush, write and the callback say so, and closing counts the rows."""
    async with open_writer() as b:
        await b.writer.write(Statement("broken", "INSERT INTO nowhere SELECT column1 FROM rows", width=1), (1,))
        with anyio.fail_after(TIMEOUT):
            with pytest.raises(WriterBroken, match="no such table: nowhere") as caught:
                await b.writer.flush()
            assert caught.value.__cause__ is not None
            with pytest.raises(WriterBroken):
                await b.writer.write(ROW, ("a", 0))
            assert b.events() == ["Unexpected"]
            assert await b.writer.aclose(TIMEOUT) == 1


async def test_what_sqlite_lacks_is_the_callers_error(open_writer: OpenWriter) -> None:
    """A row with a value that SQLite lacks is refused where it is written, and harms no other row."""
    async with open_writer() as b:
        await b.writer.write(ROW, ("a", 0))
        with pytest.raises(TypeError):
            await b.writer.write(ROW, ("a", object()))
        with pytest.raises(ValueError, match="nan"):
            await b.writer.write(ROW, ("a", float("nan")))
        await b.writer.flush()
        assert b.stored() == numbered(1)


async def test_latest_replaces_in_the_queue(open_writer: OpenWriter) -> None:
    """Rows of which only the last counts take no place of their own while an earlier one is queued."""
    async with open_writer(max_waiting=3) as b:
        async with locked(b.path):
            await b.writer.write(ROW, ("a", 0))
            await b.until_told()  # the first row is now in the thread's hands, the rest will be in the queue
            with anyio.fail_after(TIMEOUT):
                for number in range(100):
                    await b.writer.write(LATEST, ("k", number))
            assert b.writer.waiting == 2
        await b.writer.flush()
        assert b.stored("latest") == [("k", 99)]


async def test_latest_does_not_overtake_a_transaction(open_writer: OpenWriter) -> None:
    """A row never takes a place before a transaction that has a row of the same key."""
    async with open_writer() as b:
        async with locked(b.path):
            await b.writer.write(ROW, ("first", 0))
            await b.until_told()
            await b.writer.write(LATEST, ("k", 1))
            await b.writer.write_together([(ROW, ("a", 0)), (LATEST, ("k", 2))])
            await b.writer.write(LATEST, ("k", 3))
            assert b.writer.waiting == 4
        await b.writer.flush()
        assert b.stored("latest") == [("k", 3)]


async def test_close_saves_everything(open_writer: OpenWriter) -> None:
    """Closing drains the queue, empties the WAL and ends the thread; then nothing more is taken."""
    async with open_writer() as b:
        for row in numbered(1500):
            await b.writer.write(ROW, row)
        assert await b.writer.aclose(TIMEOUT) == 0
        assert b.stored() == numbered(1500)
        assert [file.name for file in files(b.path)] == ["rows.db", "rows.db.queue"]
        with pytest.raises(WriterClosed):
            await b.writer.write(ROW, ("a", 0))
        assert await b.writer.aclose(TIMEOUT) == 0


@pytest.mark.parametrize(
    "timeouts",
    [
        TIMEOUTS,
        WriterTimeouts(busy=2 * TIMEOUT, slice=0.1, retry=2 * TIMEOUT),
        WriterTimeouts(busy=0.05, slice=0.05, retry=2 * TIMEOUT),
    ],
)
async def test_close_with_a_lock_is_bounded(open_writer: OpenWriter, timeouts: WriterTimeouts) -> None:
    """Closing a locked database ends in time, whatever the timeouts, and says how many rows were not saved."""
    async with open_writer(timeouts=timeouts) as b, locked(b.path):
        for row in numbered(600):
            await b.writer.write(ROW, row)
        await anyio.sleep(0.1)
        began = time.monotonic()
        assert await b.writer.aclose(0.3) == 600
        assert time.monotonic() - began < TIMEOUT


async def test_close_cuts_the_retry_short(open_writer: OpenWriter) -> None:
    """Closing does not sit out the time between two tries: a lock that is gone is noticed at once."""
    async with open_writer(timeouts=WriterTimeouts(busy=0.02, slice=0.02, retry=2 * TIMEOUT)) as b:
        async with locked(b.path):
            await b.writer.write(ROW, ("a", 0))
            await b.until_told()
        began = time.monotonic()
        assert await b.writer.aclose(2 * TIMEOUT) == 0
        assert time.monotonic() - began < TIMEOUT
        assert b.stored() == numbered(1)


async def test_flush_ends_with_the_close(open_writer: OpenWriter) -> None:
    """A caller that waits for rows that could not be saved gets an error, and so does one that waits for room."""
    errors: list[BaseException] = []

    async def expect(wait: object) -> None:
        try:
            await wait  # type: ignore[misc]
        except WriterClosed as exc:
            errors.append(exc)

    async with open_writer(max_waiting=1) as b, locked(b.path):
        await b.writer.write(ROW, ("a", 0))
        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(expect, b.writer.flush())
                tasks.start_soon(expect, b.writer.write(ROW, ("a", 1)))
                await anyio.sleep(0.02)
                assert await b.writer.aclose(0.1) == 1
        assert len(errors) == 2


async def test_cancelled_close_still_closes(open_writer: OpenWriter) -> None:
    """A cancelled caller of aclose gets its work done: the file is closed, the rows are saved."""
    async with open_writer() as b:
        await b.writer.write(ROW, ("a", 0))
        with anyio.CancelScope() as scope:
            scope.cancel()
            assert await b.writer.aclose(TIMEOUT) == 0
        assert b.stored() == numbered(1)


SCRIPT = """
import asyncio, sys
from pathlib import Path
from adapters.sqlite import JournalWriter
from states import Policy, Snapshot

async def main():
    journal = await JournalWriter.open(Path(sys.argv[1]), on_trouble=print)
    await journal.begin_life("a", 1.0, Policy(), Snapshot())

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
{end}
"""
LOOP_CLOSED = """
loop.close()
import threading
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(5)
assert threading.active_count() == 1
"""


@pytest.mark.parametrize("end", [LOOP_CLOSED, "raise SystemExit(0)"], ids=["loop closed", "exit"])
def test_forgotten_writer_lets_the_interpreter_exit(tmp_path: Path, end: str) -> None:
    """A program that ends without closing still ends, soon, and its rows are saved."""
    script = SCRIPT.format(end=end)
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", script, str(tmp_path / "engine.db")]
    done = subprocess.run(command, timeout=TIMEOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    from adapters.sqlite import JournalReader

    with closing(JournalReader.open(tmp_path / "engine.db")) as reader:
        assert reader.accounts() == ["a"]
