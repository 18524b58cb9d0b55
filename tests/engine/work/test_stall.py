"""What blocks the loop, and what does not: real loops, threads and signals, and short limits."""

import asyncio
import signal
import subprocess
import sys
import time

import anyio
import pytest

from tests.engine.harness import ROOT
from tests.engine.work.blocking import JOB, Lines, block, hold_the_loop_briefly, look_on, said
from tests.timeouts import TIMEOUT


async def test_a_job_that_blocks_is_named_with_its_stack(lines: Lines) -> None:
    """While it lasts, an error says which job blocks, for how long and where; the calls of the loop are left out."""
    await look_on(hold_the_loop_briefly)
    first = said(lines, "stood still")[0]
    sentence, *stack = first.splitlines()
    assert sentence.startswith("❌ The loop has stood still for 0.")
    assert sentence.endswith(
        f"s in {JOB}; nothing else ran meanwhile: let anyio.to_thread.run_sync do what takes so long"
    )
    assert [line.strip() for line in stack[1::2]] == ["block(0.8)", "time.sleep(seconds)"]
    assert stack[0].endswith("in hold_the_loop_briefly")


async def test_a_report_comes_at_each_doubling_and_is_taken_back(lines: Lines) -> None:
    """A blocked loop is reported at 0.1, 0.2, 0.4 s and perhaps 0.8 s, and then the line says that it goes on."""
    await look_on(hold_the_loop_briefly, first_report=0.1)
    assert [line["log_level"] for line in lines[:-1]] == ["error"] * (len(lines) - 1)
    assert 2 <= len(said(lines, "stood still")) <= 4
    (last,) = said(lines[-1:], "The loop went on after 0.")
    assert last.endswith(f"in {JOB}")
    assert lines[-1]["log_level"] == "info"


async def test_what_is_not_a_job_is_named_by_its_task(lines: Lines) -> None:
    """The engine's own tasks are reported by the name of the task."""
    task = await look_on(hold_the_loop_briefly, job=None)
    assert said(lines, f"in the task {task.get_name()!r}; nothing else")


async def test_a_callback_is_reported(lines: Lines) -> None:
    """What blocks outside of all tasks has no name, but a stack."""

    async def call() -> None:
        asyncio.get_running_loop().call_soon(block, 0.8)

    await look_on(call)
    assert said(lines, "in a callback; nothing else")


async def test_a_stall_below_the_limit_is_not_reported(lines: Lines) -> None:
    """Less than a second of blocking is not reported if the limit is five seconds."""
    await look_on(hold_the_loop_briefly, first_report=5.0)
    assert lines == []


async def test_a_loop_that_is_only_busy_is_not_the_fault_of_a_job(lines: Lines) -> None:
    """Many tasks that take long together are a warning, not an accusation of the one that happens to run."""

    async def busy() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(80):
                tasks.start_soon(piece)

    async def piece() -> None:
        block(0.02)

    await look_on(busy, job=None, first_report=0.7)
    assert said(lines, "behind with many things")
    assert not said(lines, "stood still")


@pytest.mark.slow
async def test_a_call_that_keeps_the_gil_is_reported_when_it_lets_go(lines: Lines) -> None:
    """No thread can look while C keeps the GIL; the first look afterwards tells it from a machine that slept."""

    async def work_in_c() -> None:
        enough = time.process_time() + 1.2  # a machine that is busy with others measures the same
        all(map(enough.__gt__, iter(time.process_time, -1.0)))
        block(0.8)  # so that the first look comes before the first beat

    await look_on(work_in_c, first_report=1.1)
    assert said(lines, f"in {JOB}; nothing else")


STOPPED = """
import asyncio, logging, sys, time
from engine.console import logs
from engine.work.stall import watched

async def steps():
    while True:
        time.sleep(0.1)
        enough = time.process_time() + 0.02  # so that the first look comes before the first beat
        while time.process_time() < enough:
            pass
        await asyncio.sleep(0)

async def main():
    async with watched(name=lambda _: "a job", throw=True, every=0.1, first_report=0.8, throw_after=0.8):
        print("ready", flush=True)
        work = asyncio.ensure_future(steps())
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        work.cancel()

logging.basicConfig(level=logging.INFO)
logs.configure()
asyncio.run(main())
"""


async def test_a_process_that_was_stopped_reports_nothing() -> None:
    """A second of SIGSTOP in the midst of a short step is not a blocked loop; nor is a night with the lid closed."""
    async with await anyio.open_process([sys.executable, "-c", STOPPED], stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stderr is not None
        with anyio.fail_after(TIMEOUT):
            assert await process.stdout.receive()
            await anyio.sleep(0.5)
            process.send_signal(signal.SIGSTOP)
            await anyio.sleep(1)
            process.send_signal(signal.SIGCONT)
            await anyio.sleep(0.5)
            await process.stdin.aclose()
            complaints = b"".join([chunk async for chunk in process.stderr])
            assert await process.wait() == 0
    assert complaints == b""
