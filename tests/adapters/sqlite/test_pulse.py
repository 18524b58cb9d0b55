"""How a writer is, as the loop sees it."""

import time

import anyio
import pytest

from adapters.sqlite.pulse import WriterPulse
from states.events import DatabaseLocked
from tests.adapters.sqlite.support import ROW, OpenWriter, locked
from tests.timeouts import TIMEOUT


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, which a test sets."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_writer_without_rows_is_never_behind(clock: list[float]) -> None:
    """However long it rests."""
    pulse = WriterPulse()
    clock[0] += 1000
    assert (pulse.behind, pulse.silent) == (0.0, 0.0)


def test_a_failure_is_a_sign_of_life_and_saves_nothing(clock: list[float]) -> None:
    """Rows stay behind; the thread is not silent."""
    pulse = WriterPulse()
    pulse.begin()
    clock[0] += 40
    pulse.fail(DatabaseLocked(detail="locked"))
    clock[0] += 5
    assert (pulse.behind, pulse.silent, pulse.failures) == (45.0, 5.0, 1)
    assert pulse.trouble == DatabaseLocked(detail="locked")


def test_a_batch_is_counted_with_its_time(clock: list[float]) -> None:
    """From the moment in which rows began to wait, or in which the batch before was durable."""
    pulse, seen = WriterPulse(), list[tuple[int, float]]()
    pulse.on_batch = lambda rows, seconds: seen.append((rows, seconds))
    pulse.begin()
    clock[0] += 2
    pulse.store(512, more=True, recovered=False)
    clock[0] += 3
    pulse.store(7, more=False, recovered=True)
    clock[0] += 100
    assert seen == [(512, 2.0), (7, 3.0)]
    assert (pulse.behind, pulse.trouble) == (0.0, None)


async def test_a_locked_database_is_seen_and_its_end_too(open_writer: OpenWriter) -> None:
    """A real writer that waits for another program's lock is behind, says why, and then is not."""
    async with open_writer() as b:
        async with locked(b.path):
            await b.writer.write(ROW, ("a", 1))
            with anyio.fail_after(TIMEOUT):
                while b.writer.pulse.trouble is None:
                    await anyio.sleep(0.01)
            assert b.writer.pulse.behind > 0
            assert b.writer.pulse.failures >= 1
        await b.writer.flush()
        assert (b.writer.pulse.behind, b.writer.pulse.trouble) == (0.0, None)
