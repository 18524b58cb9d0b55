"""The mailbox of an account: bounded, in order, and silent once it is closed."""

import anyio
import pytest

from engine.fleet.mailbox import Mailbox
from states.events import NetworkRestored, RetryRequested, StopRequested

pytestmark = pytest.mark.virtual


async def test_events_come_in_order_also_those_that_waited_for_room() -> None:
    """A writer that finds no room waits, and its event comes after those before it."""
    mailbox = Mailbox(1)
    assert mailbox.offer(NetworkRestored())
    assert not mailbox.offer(RetryRequested())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mailbox.post, RetryRequested())
        await anyio.wait_all_tasks_blocked()
        taken = [type(await mailbox.take()), type(await mailbox.take())]
    assert taken == [NetworkRestored, RetryRequested]


async def test_a_cancelled_reader_loses_no_event() -> None:
    """An event that arrives as its reader is cancelled is there for the next one."""
    mailbox = Mailbox(4)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mailbox.take)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        assert mailbox.offer(RetryRequested())
    with anyio.fail_after(1):
        assert await mailbox.take() == RetryRequested()


async def test_a_closed_mailbox_keeps_nobody_waiting() -> None:
    """Whoever waits for room when the mailbox closes goes on, and its event is dropped like all that come later."""
    mailbox = Mailbox(1)
    assert mailbox.offer(NetworkRestored())
    with anyio.fail_after(1):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mailbox.post, StopRequested())
            await anyio.wait_all_tasks_blocked()
            mailbox.close()
        await mailbox.post(StopRequested())
    assert mailbox.offer(StopRequested())
