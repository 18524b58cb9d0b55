"""Tasks that sleep until something changes."""

import anyio

from engine.wakeup import Wakeup


async def test_every_waiting_task_wakes() -> None:
    """One ``notify`` wakes all tasks that wait."""
    wakeup, woken = Wakeup(), []

    async def sleep(number: int) -> None:
        await wakeup.wait()
        woken.append(number)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(sleep, number)
            await anyio.wait_all_tasks_blocked()
            wakeup.notify()
    assert sorted(woken) == [0, 1, 2]


async def test_a_task_that_waits_later_sleeps_on() -> None:
    """A ``notify`` is not remembered for tasks that begin to wait after it."""
    wakeup = Wakeup()
    wakeup.notify()
    with anyio.move_on_after(0.01) as scope:
        await wakeup.wait()
    assert scope.cancelled_caught


async def test_a_change_after_the_look_is_not_missed() -> None:
    """The event taken before a look is set by a ``notify`` that comes before the wait."""
    wakeup = Wakeup()
    upcoming = wakeup.upcoming
    wakeup.notify()
    with anyio.move_on_after(5) as scope:
        await upcoming.wait()
    assert not scope.cancelled_caught
    assert not wakeup.upcoming.is_set()
