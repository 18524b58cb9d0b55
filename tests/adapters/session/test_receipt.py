"""What ``save`` and ``close`` return."""

import asyncio
import gc
from concurrent.futures import Future
from typing import Any

import anyio
import pytest

from adapters.session.errors import SessionError, SessionHeld, SessionNotSaved
from adapters.session.holdfast_session import SaveReceipt


async def test_what_becomes_of_it_after_the_wait_is_no_mistake_of_anybody() -> None:
    """A node that has lost an account waits no longer; that its session is refused later is no line in the log."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    late, cut = Future[None](), Future[None]()
    with pytest.raises(SessionNotSaved, match="within 0 s"):
        await SaveReceipt(late, "a", 0.0, needed=True)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await SaveReceipt(cut, "a", 60.0, needed=True)
    for future in (late, cut):
        if future.set_running_or_notify_cancel():
            future.set_exception(SessionHeld("another node has it"))
    await anyio.sleep(0.01)
    del future, late, cut  # they know who waited for them
    gc.collect()
    assert complaints == []


async def test_a_failure_is_raised_where_it_is_awaited() -> None:
    """As it was."""
    future = Future[None]()
    future.set_running_or_notify_cancel()
    asyncio.get_running_loop().call_soon(future.set_exception, SessionError("the file cannot be written"))
    with pytest.raises(SessionError, match="the file cannot be written"):
        await SaveReceipt(future, "a", 60.0, needed=True)
