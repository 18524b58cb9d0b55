"""The queue of updates: its reader ends when there are none, and however its wait ends, no update is lost."""

import asyncio

import pytest

from adapters.telegram.lean import Idle, UpdateQueue


async def test_an_empty_queue_ends_its_reader() -> None:
    """The reader takes it for a cancellation, and the queue says that it was none."""
    queue = UpdateQueue()
    with pytest.raises(asyncio.CancelledError) as ended:
        await asyncio.wait_for(queue.get(), 1)
    assert type(ended.value) is Idle
    assert queue.idle


async def test_an_update_lets_the_reader_begin_again() -> None:
    """Each one that comes says so, whether the reader runs or not."""
    queue, begun = UpdateQueue(), list[int]()
    queue.put_nowait(1)  # nobody listens yet
    queue.begin = lambda: begun.append(1)
    await queue.put(2)
    assert begun == [1]


async def test_updates_come_in_their_order() -> None:
    """Those that wait are returned one after another, and then there is none."""
    queue = UpdateQueue()
    for number in (1, 2, 3):
        queue.put_nowait(number)
    assert [await asyncio.wait_for(queue.get(), 1) for _ in range(3)] == [1, 2, 3]
    assert queue.empty()


async def test_an_update_is_not_lost_when_its_reader_is_cancelled_in_that_turn() -> None:
    """The wait returns it before it ends, or it still waits; Python's versions differ in that."""
    queue, found = UpdateQueue(), list[int]()
    queue.put_nowait(1)
    queue.put_nowait(2)

    async def read() -> None:
        while True:
            found.append(await asyncio.wait_for(queue.get(), 1))

    reader = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    while not queue.empty():
        found.append(await queue.get())
    assert found == [1, 2]
