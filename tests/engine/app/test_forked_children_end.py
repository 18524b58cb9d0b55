"""A child of ``os.fork`` that comes back into the engine's loop ends there, and costs the engine no connection."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

PARENT = """
import asyncio, os, sys
import anyio
from adapters.system import forks

async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)

async def fork(way):
    waits_for = asyncio.get_running_loop().create_future()
    child = os.fork()
    if child == 0:
        if way == "waits":
            await waits_for
        if way == "raises":
            raise SystemExit(0)
        if way == "sleeps":
            await asyncio.sleep(0)
    return child

async def main(way):
    forks.withhold_loop(asyncio.get_running_loop())
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    local = await asyncio.start_unix_server(echo, sys.argv[2])
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    task = asyncio.create_task(fork(way))
    child = await task
    for number in range(50):
        writer.write(b"%02d" % number)
        assert await reader.readexactly(2) == b"%02d" % number
        await asyncio.sleep(0.002)
    ended = await asyncio.to_thread(os.waitpid, child, 0)
    print(os.waitstatus_to_exitcode(ended[1]), flush=True)
    os._exit(0)

anyio.run(main, sys.argv[1], backend_options={"use_uvloop": sys.argv[3] == "uvloop"})
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("way", ["returns", "waits", "raises", "sleeps"])
def test_a_forked_child_that_comes_back_ends_alone(tmp_path: Path, way: str, loop: str) -> None:
    """It says so in a sentence and exits, and its parent's connections and listeners go on."""
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    done = subprocess.run(
        [sys.executable, str(program), way, str(tmp_path / "sock"), loop],
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
    assert done.stderr.count("came back into the engine's loop and is ended") == 1
    assert "Traceback" not in done.stderr
