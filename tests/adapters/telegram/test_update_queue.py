"""The queue of updates: however its reader's wait ends, no update is lost."""

import asyncio
import sys
import time

import pytest

from adapters.telegram import lean

MODES = [mode for mode in (True, False) if mode is False or sys.version_info < (3, 12)]
"""Whether ``wait_for`` makes tasks; the other way of waiting works with every version, and is tested with each."""


@pytest.mark.parametrize("tasks", MODES)
@pytest.mark.parametrize("first", ["update", "timeout"])
async def test_an_update_that_comes_as_the_wait_ends_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, tasks: bool, first: str
) -> None:
    """In the same turn of the loop the time is over and an update comes: it is returned now, or by the next call."""
    monkeypatch.setattr(lean, "_WAIT_FOR_MAKES_TASKS", tasks)
    queue, loop = lean.UpdateQueue(), asyncio.get_running_loop()

    async def read() -> object:
        try:
            return await asyncio.wait_for(queue.get(), 0.02)
        except TimeoutError:
            return await queue.get()

    reader = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    loop.call_later(0.01 if first == "update" else 0.021, queue.put_nowait, "update")
    time.sleep(0.04)  # noqa: ASYNC251  # so that both are due in one turn
    assert await asyncio.wait_for(reader, 1) == "update"
    assert queue.empty()


@pytest.mark.parametrize("tasks", MODES)
async def test_updates_come_in_their_order(monkeypatch: pytest.MonkeyPatch, tasks: bool) -> None:
    """Those that wait before the reader does, and those that come while it waits."""
    monkeypatch.setattr(lean, "_WAIT_FOR_MAKES_TASKS", tasks)
    queue = lean.UpdateQueue()
    queue.put_nowait(1)
    queue.put_nowait(2)
    found = [await queue.get(), await queue.get()]
    asyncio.get_running_loop().call_soon(queue.put_nowait, 3)
    found.append(await queue.get())
    assert found == [1, 2, 3]
