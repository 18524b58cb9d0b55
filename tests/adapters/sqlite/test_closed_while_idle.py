"""A row that is written while the writer's thread looks into its empty queue, just before the writer is closed."""

import threading
from collections.abc import Callable

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from adapters.sqlite.queue import Queue, QueuedWrite
from tests.adapters.sqlite.support import ROW, OpenWriter
from tests.timeouts import TIMEOUT


async def test_a_row_that_came_after_an_empty_look_is_saved(
    open_writer: OpenWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread has found nothing to write; before it asks whether it is closing, a row comes and it is."""
    looked, go = threading.Event(), threading.Event()
    take = Queue.take

    def slow_take(queue: Queue, count: int, until: Callable[[], bool]) -> list[QueuedWrite]:
        taken = take(queue, count, until)
        if not taken and not looked.is_set():
            looked.set()
            assert go.wait(TIMEOUT)
        return taken

    monkeypatch.setattr(Queue, "take", slow_take)
    async with open_writer() as b:
        b.writer._queue.wake()
        assert await anyio.to_thread.run_sync(looked.wait, TIMEOUT)
        await b.writer.write(ROW, ("last", 1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(b.writer.aclose, TIMEOUT)
            while not b.writer._closing.is_set():
                await anyio.lowlevel.checkpoint()
            go.set()
        assert b.writer.waiting == 0
        assert b.stored() == [("last", 1)]
