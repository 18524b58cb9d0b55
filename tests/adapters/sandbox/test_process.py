"""The sandbox as a process of its own."""

import asyncio
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteReceiveStream
from telethon import errors
from telethon.tl import functions

from adapters.sandbox import Fault, FaultKind, Push, SandboxDied, SandboxError, SandboxProcess, TimedAction
from tests.adapters.sandbox.harness import Connect
from tests.timeouts import TIMEOUT

PHONE = "+9996620001"
ROOT = Path(__file__).parents[3]
PARENT = """
import anyio, sys
from adapters.sandbox import SandboxProcess
async def main():
    async with SandboxProcess.start() as sandbox:
        print(sandbox.pid, sandbox.port, flush=True)
        await anyio.sleep(60)
anyio.run(main)
"""


def output(stream: ByteReceiveStream | None) -> ByteReceiveStream:
    """Return the stream of a process that was started with a pipe for it."""
    assert stream is not None
    return stream


def is_running(pid: int) -> bool:
    """Return whether the process still runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.slow
async def test_a_client_meets_the_process(connected: Connect, tmp_path: Path) -> None:
    """Login, push, statistics, a port of one's own, a scenario and a refusal, all across the process border."""
    async with SandboxProcess.start(tmp_path) as sandbox, connected(sandbox) as client:
        await client.send_code_request(PHONE)
        with pytest.raises(errors.PhoneCodeInvalidError):
            await client.sign_in(PHONE, "33333")
        await client.sign_in(PHONE, "22222")
        assert await sandbox.push(PHONE, "hello") == 1
        assert (await client(functions.updates.GetStateRequest())).pts == 2
        assert await sandbox.listen(PHONE) != sandbox.port
        with pytest.raises(SandboxError, match="test range"):
            await sandbox.listen("12345")
        await sandbox.inject(Fault(FaultKind.RPC_ERROR, PHONE, code=400, text="PEER_FLOOD", request="updates.*"))
        with pytest.raises(errors.PeerFloodError):
            await client(functions.updates.GetStateRequest())
        await sandbox.scenario([TimedAction(0, Push(PHONE, "again")), TimedAction(0.1, Fault(FaultKind.RESET, PHONE))])
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(TIMEOUT):
                await client.disconnected
        stats = await sandbox.stats()
        assert (stats["faults"], stats["messages"]) == ({"rpc_error": 1, "reset": 1}, 4)
        pid = sandbox.pid
    assert not is_running(pid)
    assert (tmp_path / "sandbox.log").stat().st_size > 0


@pytest.mark.slow
async def test_a_death_is_noticed() -> None:
    """After the process was killed every call raises SandboxDied with a sentence."""
    async with SandboxProcess.start() as sandbox:
        os.kill(sandbox.pid, signal.SIGKILL)
        with pytest.raises(SandboxDied, match="signal 9"):
            await sandbox.stats()
        with pytest.raises(SandboxDied, match="ended by itself"):
            await sandbox.inject(Fault(FaultKind.RESET))


async def test_it_does_not_outlive_a_killed_parent() -> None:
    """When the parent is killed the sandbox ends: its stdin has closed."""
    async with await anyio.open_process([sys.executable, "-c", PARENT], stdin=None, stderr=None, cwd=ROOT) as parent:
        with anyio.fail_after(TIMEOUT):
            pid = int((await output(parent.stdout).receive()).split()[0])
        assert is_running(pid)
        assert os.getsid(pid) == pid
        parent.kill()
        await parent.wait()
        with anyio.fail_after(TIMEOUT):
            while is_running(pid):
                await anyio.sleep(0.05)


@pytest.mark.slow
async def test_a_signal_ends_it_cleanly() -> None:
    """By hand: one JSON line, two friendly ones, and SIGINT or SIGTERM ends it with exit code 0."""
    command = [sys.executable, "-m", "adapters.sandbox", "--port", "0"]
    start = partial(anyio.open_process, command, cwd=ROOT)
    async with await start() as one, await start() as two:
        for process, number in ((one, signal.SIGINT), (two, signal.SIGTERM)):
            with anyio.fail_after(TIMEOUT):
                ready = json.loads(await output(process.stdout).receive())
                stderr = await output(process.stderr).receive()
                process.send_signal(number)
                assert await process.wait() == 0
            assert ready["public_key"].startswith("-----BEGIN RSA PUBLIC KEY-----")
            assert (ready["ready"], ready["dc"], ready["host"]) == (True, 2, "127.0.0.1")
            assert b"set_dc" in stderr


async def test_ctrl_c_while_it_still_starts_is_quiet() -> None:
    """Imports and keys take a second or two; Ctrl+C during that time ends it with 130 and without output."""
    command = [sys.executable, "-X", "importtime", "-m", "adapters.sandbox", "--port", "0"]
    async with await anyio.open_process(command, cwd=ROOT) as process:
        stderr = b""
        try:
            with anyio.fail_after(TIMEOUT):
                while b"telethon" not in stderr:  # it is in the middle of its imports
                    stderr += await output(process.stderr).receive()
                process.send_signal(signal.SIGINT)
                async for chunk in output(process.stderr):
                    stderr += chunk
                assert await process.wait() == 130
        finally:
            if process.returncode is None:
                process.kill()  # or a signal that it missed would keep the test for ever
        assert b"Traceback" not in stderr


async def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    """A directory that cannot be used is refused with a sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxError, match="check the directory"):
        async with SandboxProcess.start(tmp_path / "file"):
            pass


async def test_it_ends_also_where_nobody_hears_of_its_end() -> None:
    """Code in this process may ignore SIGCHLD: the sandbox ends all the same, and so does the block."""
    program = (
        PARENT.replace("await anyio.sleep(60)", "signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
        .replace("anyio.run(main)", "anyio.run(main, backend_options={'use_uvloop': True})")
        .replace("import anyio, sys", "import anyio, signal, sys\nimport adapters.sandbox.process as process")
        .replace("async def main", "process.EXIT_TIMEOUT_SECONDS = 0.5\nasync def main")
    )
    done = await anyio.run_process(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
