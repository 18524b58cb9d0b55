"""Messages to a command: its input, its environment, its deadline and its output."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from adapters.alerts import exec_channel
from adapters.alerts.errors import AlertNotSent
from adapters.alerts.exec_channel import MAX_OUTPUT, ExecChannel
from tests.timeouts import TIMEOUT

DATA = json.dumps({"subject": "s", "incidents": [{"id": 7}]}).encode()


async def run(program: str, directory: Path, *, data: bytes = DATA, timeout: float = TIMEOUT) -> None:
    channel = ExecChannel((sys.executable, "-c", program), directory)
    await channel.send(key="1", subject="s", body="b", tone="info", data=data, timeout=timeout)


async def test_a_command_gets_the_incident_as_json(tmp_path: Path) -> None:
    """On its standard input, in the directory of the config."""
    await run("import sys, json; json.dump(json.load(sys.stdin), open('got', 'w'))", tmp_path)
    assert json.loads((tmp_path / "got").read_text()) == json.loads(DATA)


async def test_a_command_sees_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables such as those that the config reads are not in its environment; the path is."""
    monkeypatch.setenv("API_HASH", "verysecret")
    monkeypatch.setenv("OPS_URL", "verysecret")
    await run("import os; open('got', 'w').write(repr(dict(os.environ)))", tmp_path)
    got = (tmp_path / "got").read_text()
    assert "verysecret" not in got
    assert "PATH" in got


async def test_a_command_need_not_read(tmp_path: Path) -> None:
    """One that ends at once, with more input waiting than a pipe has room for, has succeeded."""
    await run("pass", tmp_path, data=b"x" * 5_000_000)


def test_a_command_that_ends_unread_is_told_under_uvloop(tmp_path: Path) -> None:
    """The loop of ``run`` has an error of its own for a pipe that is closed; what counts is the exit code."""
    program = tmp_path / "deaf"
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(0o755)

    async def send() -> None:
        for _ in range(20):  # it ends before it is written to, or not
            with pytest.raises(AlertNotSent, match=r"ended with exit code 7$"):
                await ExecChannel((str(program),), tmp_path).send(
                    key="k", subject="s", body="b", tone="bad", data=bytes(200), timeout=TIMEOUT
                )

    pytest.importorskip("uvloop").run(send())


async def test_a_failure_says_what_the_command_said(tmp_path: Path) -> None:
    """Its exit code, and the beginning of its output without known secrets."""
    with pytest.raises(AlertNotSent, match="exit code 3: no route, password=…"):
        await run("import sys; print('no route, password=hunter2hunter2'); sys.exit(3)", tmp_path)


async def test_endless_output_is_read_and_dropped(tmp_path: Path) -> None:
    """A command that prints much neither hangs nor fills the memory."""
    program = "import sys\nfor _ in range(2000): print('x' * 1000)\nsys.exit(1)"
    with pytest.raises(AlertNotSent) as caught:
        await run(program, tmp_path)
    assert len(str(caught.value)) < MAX_OUTPUT


async def test_a_command_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    """The whole group, so that nothing of it stays behind."""
    program = "sleep 600 & echo $$ $! > pids.new; mv pids.new pids; wait"
    timeout = 0.5
    while not (tmp_path / "pids").exists():  # until the machine is fast enough to start it in time
        channel = ExecChannel(("/bin/sh", "-c", program), tmp_path)
        with pytest.raises(AlertNotSent, match="did not end within"):
            await channel.send(key="1", subject="s", body="b", tone="info", data=DATA, timeout=timeout)
        timeout *= 2
    with anyio.fail_after(TIMEOUT):
        for pid in map(int, (tmp_path / "pids").read_text().split()):
            while _runs(pid):
                await anyio.sleep(0.02)


async def _until_there(path: Path) -> None:
    while not path.exists():
        await anyio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


async def test_a_child_that_stays_does_not_hold_the_message_up(tmp_path: Path) -> None:
    """A command may start a program and end; the program keeps the pipe."""
    channel = ExecChannel(("/bin/sh", "-c", "sleep 1 &"), tmp_path)
    await channel.send(key="1", subject="s", body="b", tone="info", data=DATA, timeout=TIMEOUT)


async def test_a_command_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    """It was there when the config was read."""
    channel = ExecChannel(("/nonexistent/program",), tmp_path)
    with pytest.raises(AlertNotSent, match="cannot be started"):
        await channel.send(key="1", subject="s", body="b", tone="info", data=DATA, timeout=TIMEOUT)


async def test_a_cancelled_message_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's end kills what still runs, and waits for its end; on a busy machine that takes its time."""
    monkeypatch.setattr(exec_channel, "_REAPED_WITHIN", TIMEOUT)
    program = "import os, time; open('new', 'w').write(str(os.getpid())); os.rename('new', 'pid'); time.sleep(600)"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, program, tmp_path)
        with anyio.fail_after(TIMEOUT):
            await _until_there(tmp_path / "pid")
        tasks.cancel_scope.cancel()
    assert not _runs(int((tmp_path / "pid").read_text()))


async def test_a_command_that_is_cancelled_while_it_begins_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may run before the engine knows of it: the cancellation waits for that, and then ends it."""
    monkeypatch.setattr(exec_channel, "_REAPED_WITHIN", TIMEOUT)
    start, begun, known = asyncio.create_subprocess_exec, anyio.Event(), anyio.Event()
    started: list[int] = []

    async def start_slowly(*words: str, **options: Any) -> Any:
        process = await start(*words, **options)
        started.append(process.pid)
        begun.set()
        await known.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_slowly)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, "import time; time.sleep(600)", tmp_path)
        await begun.wait()
        tasks.cancel_scope.cancel()
        known.set()
    assert not any(map(_runs, started))


def test_the_command_is_in_no_repr(tmp_path: Path) -> None:
    """Its arguments may have a token."""
    assert "tok" not in repr(ExecChannel(("curl", "tok"), tmp_path))


async def test_the_start_of_a_command_is_part_of_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that takes long to begin has what is left of it."""
    begun, ends = list[float](), list[float]()
    start, talk = ExecChannel._start, exec_channel._talk

    async def slow_start(self: ExecChannel, timeout: float) -> asyncio.subprocess.Process:
        begun.append(anyio.current_time())
        await anyio.sleep(0.1)
        return await start(self, timeout)

    async def noted(*args: Any) -> None:
        ends.append(anyio.current_effective_deadline())
        await talk(*args)

    monkeypatch.setattr(ExecChannel, "_start", slow_start)
    monkeypatch.setattr(exec_channel, "_talk", noted)
    await run("pass", tmp_path)
    assert ends[0] <= begun[0] + TIMEOUT + 0.001  # the clock is a float that is added and subtracted
