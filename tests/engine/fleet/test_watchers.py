"""What runs beside the fleet starts again after a failure, ever more slowly, and says so once."""

import errno
from itertools import pairwise

import anyio
import pytest
from structlog.testing import capture_logs

from engine.console.messages import render
from engine.fleet import watchers
from engine.fleet.watchers import PAUSES, STABLE_SECONDS, keep_running

NO_ROOM = OSError(errno.EMFILE, "Too many open files")


@pytest.mark.virtual
async def test_failures_in_a_row_are_told_once_and_wait_longer_each_time() -> None:
    """The pauses grow to the last one; a watcher that ran for long begins at the first again, and tells of it."""
    began: list[float] = []

    async def work() -> None:
        began.append(anyio.current_time())
        if len(began) == len(PAUSES) + 2:
            await anyio.sleep(STABLE_SECONDS)
        if len(began) == len(PAUSES) + 4:
            return
        raise NO_ROOM

    with capture_logs() as logged:
        await keep_running("the probe", work)
    waits = [round(later - sooner, 3) for sooner, later in pairwise(began)]
    assert waits == [*PAUSES, PAUSES[-1], STABLE_SECONDS + PAUSES[0], PAUSES[1]]
    assert [render(event["event"], event) for event in logged] == [
        "⚠️ The probe failed (too many open files); it starts again in 1 s, and after longer pauses if it fails again. "
        "The accounts go on"
    ] * 2


@pytest.mark.parametrize(("exc", "bug"), [(NO_ROOM, False), (MemoryError(), False), (RuntimeError("a mistake"), True)])
def test_only_a_mistake_needs_a_traceback(exc: Exception, bug: bool) -> None:
    """What the system refuses explains itself, also inside a group."""
    assert watchers.is_bug(exc) is bug
    assert watchers.is_bug(ExceptionGroup("of a task group", [ExceptionGroup("of another", [exc])])) is bug
