"""The task of a function of the user's: it is cancelled a limited number of times, and says whether it is inside."""

import asyncio
import math

from engine.work.labels import WorkLabel
from engine.work.owned_task import GRACE_SECONDS, OwnedTask

LABEL = WorkLabel("job 17 (send) of Account 1", "Account 1")


async def finished(task: "asyncio.Task[None]") -> None:
    """Wait for the end of a task, whatever it is."""
    await asyncio.wait([task], timeout=5)
    assert task.done()


async def test_the_task_is_inside_only_during_the_call() -> None:
    """The function's own code is told apart from what runs before and after it in the task."""
    owned, seen = OwnedTask(LABEL, 1), []

    async def function(value: int) -> int:
        seen.append(owned.inside)
        return value + 1

    async def work() -> None:
        seen.append(owned.inside)
        assert await owned.call(function, 1) == 2
        seen.append(owned.inside)

    await finished(owned.start(work(), lambda _: None))
    assert seen == [False, True, False]


async def test_the_end_is_reported_once() -> None:
    """The owner's callback gets the task when it has ended, also when the task was cancelled before its first step."""
    owned, ended = OwnedTask(LABEL, 1), []
    task = owned.start(asyncio.sleep(0), ended.append)
    assert owned.runs_in(task)
    owned.cancel()
    await finished(task)
    assert ended == [task]


async def test_cancellations_are_counted_and_limited() -> None:
    """A function that swallows its cancellation is cancelled again, until the owner is told that this was all."""
    owned, swallowed = OwnedTask(LABEL, 2), []

    async def stubborn() -> None:
        while len(swallowed) < 2:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                swallowed.append(owned.cancellations)

    task = owned.start(owned.call(stubborn), lambda _: None)
    await asyncio.sleep(0)
    for _ in range(2):
        assert owned.cancel()
        await asyncio.sleep(0)
    assert not owned.cancel()
    await finished(task)
    assert swallowed == [1, 2]


async def test_the_grace_begins_with_a_cancellation() -> None:
    """Before it there is none, so a task that was not cancelled is never late."""
    owned = OwnedTask(LABEL, 1)
    assert (owned.cancelled, owned.grace_ends) == (False, math.inf)
    task = owned.start(asyncio.sleep(5), lambda _: None)
    before = asyncio.get_running_loop().time()
    owned.cancel()
    assert owned.cancelled
    assert before + GRACE_SECONDS <= owned.grace_ends <= asyncio.get_running_loop().time() + GRACE_SECONDS
    await finished(task)
