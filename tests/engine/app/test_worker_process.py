"""What the parent of workers writes to one of them."""

import errno
import os
import pickle
import subprocess
from pathlib import Path
from typing import NoReturn, cast
from unittest.mock import patch

import anyio
import anyio.lowlevel
import pytest

from engine.app.offered_config import OFFER, OfferedConfigs
from engine.app.worker import BEAT, STOP
from engine.app.worker_process import WorkerProcess
from tests.engine.app.test_workers import config
from tests.timeouts import TIMEOUT


def test_a_worker_without_room_for_its_pipes_leaves_none_open(tmp_path: Path) -> None:
    """It is tried again for as long as descriptors are few, which would make them fewer."""
    before = os.listdir("/dev/fd")
    made = iter([os.pipe(), os.pipe()])
    with (
        patch.object(os, "pipe", side_effect=lambda: next(made, None) or _refuse()),
        pytest.raises(OSError, match="Too many open files"),
    ):
        WorkerProcess.start(config(tmp_path, "{name: eu, workers: 2}"), 1)
    assert os.listdir("/dev/fd") == before


def _refuse() -> NoReturn:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_no_order_comes_between_the_parts_of_a_config(tmp_path: Path) -> None:
    """One that is longer than a pipe is written in parts, while other workers die and a stop is wanted."""
    whole, other = (config(tmp_path, "{name: eu, workers: 2}", accounts=number) for number in (1_500, 1_501))
    orders, to_worker = os.pipe()
    os.set_blocking(orders, False)
    os.set_blocking(to_worker, False)
    process = WorkerProcess(1, cast("subprocess.Popen[bytes]", None), orders=to_worker, lines=-1, output=-1)
    heard = bytearray()
    try:
        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as tasks:
                process.configure(whole, ["run"])
                tasks.start_soon(process.tell)
                await anyio.wait_readable(orders)
                process.order(BEAT)
                process.offer(1, whole)
                process.offer(2, other)
                process.order(STOP)
                process.order(STOP)
                while not heard.endswith(STOP + b"\n"):
                    await anyio.wait_readable(orders)
                    heard += os.read(orders, 65_536)
                tasks.cancel_scope.cancel()
    finally:
        os.close(orders)
        os.close(to_worker)
    length = int.from_bytes(heard[:8])
    assert length > 65_536, "it would have gone as a whole"
    assert pickle.loads(heard[8 : 8 + length])["config"] == whole
    beat, offer, stop, _ = bytes(heard[8 + length :]).split(b"\n")
    assert (beat, stop) == (BEAT, STOP)
    offers = OfferedConfigs()
    offers.take(offer.removeprefix(OFFER + b" "))
    assert offers.last() == other, "one that nobody has read is no more to be read when there is a newer one"
    assert await offers.has("2")
