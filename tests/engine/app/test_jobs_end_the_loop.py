"""Jobs that take the event loop or its tasks away from the engine: it ends with a sentence that says so."""

import re
from pathlib import Path

import pytest

from adapters.sandbox import Sandbox
from tests.engine.app.test_jobs_live import QUICK
from tests.engine.harness import EngineHarness, all_are

PHONE = "+9996620001"
MODULE = """
import asyncio, sys
from engine import job_kind

@job_kind("rash")
async def rash(job, client):
    WHAT
"""
CANCELS = "[task.cancel() for task in asyncio.all_tasks()]"
EXITS = "asyncio.get_running_loop().call_soon(sys.exit, 3); await asyncio.sleep(10)"
STOPS = "asyncio.get_running_loop().stop()"


OF_LOOP = re.compile(
    r"[^\n]*Exception in callback(?:(?!Traceback).)*Traceback[^\n]*\n[^\n]*uvloop[^\n]*\n[^\n]*InvalidState", re.S
)
"""What the loop itself says of a future of its own (set_result of one that the job has cancelled)."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "said"),
    [
        pytest.param(CANCELS, "cancelled the engine's own tasks", id="cancels", marks=pytest.mark.slow),
        pytest.param(EXITS, "called sys.exit(3) in a task or callback", id="exits", marks=pytest.mark.slow),
        pytest.param(STOPS, "stopped the event loop", id="stops"),
    ],
)
async def test_the_end_of_the_loop_is_blamed_on_the_job(harness: EngineHarness, what: str, said: str) -> None:
    """The exit code is 1, the sentence says that code in this process did it, and there is no traceback."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE, rest=QUICK.replace("\nwork: {", "\nwork: {modules: [rash.py], "))
        Path(harness.directory / "rash.py").write_text(MODULE.replace("WHAT", what))
        async with harness.running() as process:
            await harness.until(all_are("healthy", 1))
            await harness.command("jobs", "add", str(harness.config), "rash")
            assert await harness.finish(process) == 1
    assert f"code in this process {said}" in harness.text
    assert "Traceback" not in OF_LOOP.sub("", harness.text)
