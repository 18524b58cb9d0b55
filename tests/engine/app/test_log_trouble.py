"""Nothing that happens to logs changes an exit code, or what else a run prints."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from adapters.sandbox import Sandbox
from tests.engine.harness import EngineHarness, all_are
from tests.timeouts import TIMEOUT

PHONE = "+9996620001"


def make_pipes(directory: Path) -> None:
    """Put a pipe in the place of each log file."""
    directory.mkdir(parents=True)
    for name in ("engine.log", "telethon.log"):
        os.mkfifo(directory / name)


def make_file(directory: Path) -> None:
    """Put a file in the place of the directory."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.write_text("")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "stderr"),
    [
        (make_pipes, "heard"),
        pytest.param(make_file, "full", marks=pytest.mark.slow),
        pytest.param(make_pipes, "gone", marks=pytest.mark.slow),
    ],
)
async def test_a_run_without_a_log_is_a_run(harness: EngineHarness, place: object, stderr: str) -> None:
    """It connects, stops in order with exit code 0, and prints the final status; stderr has no line twice."""
    assert callable(place)
    place(harness.directory / "data" / "logs")
    if stderr == "full":
        out = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, out = os.pipe()
        if stderr == "gone":
            os.close(reading)
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        command = [sys.executable, "-W", "error", "-m", "engine", "run", str(harness.config)]
        async with await anyio.open_process(
            command, stdin=subprocess.DEVNULL, stderr=out, cwd=harness.directory, env=harness.environment
        ) as process:
            os.close(out)
            try:
                await harness.until(all_are("healthy", 1))
                process.send_signal(signal.SIGTERM)
                assert process.stdout is not None
                with anyio.fail_after(TIMEOUT):
                    printed = b"".join([chunk async for chunk in process.stdout]).decode()
                    assert await process.wait() == 0
            finally:
                if process.returncode is None:
                    process.kill()
    assert "CONNECTION STATUS" in printed
    if stderr == "heard":
        said = os.read(reading, 1 << 16).decode().splitlines()
        os.close(reading)
        assert sum("engine.log: the log cannot be written" in line for line in said) == 1
        assert sum("Stopped" in line for line in said) == 1
        assert not [line for line in said if "Traceback" in line or "Logging error" in line]
