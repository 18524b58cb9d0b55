"""The README's programs are run as they stand."""

import re
import sys
from pathlib import Path

import anyio
import pytest

from adapters.sandbox import Sandbox
from engine import Engine
from states.jobs import JobState
from tests.engine.harness import COMPLAINTS, FAST, ROOT, EngineHarness
from tests.timeouts import TIMEOUT

PHONE = "+9996620001"


def program(containing: str) -> str:
    """Return the README's only program that contains this."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    [found] = [block for block in blocks if containing in block]
    return str(found)


@pytest.fixture
def harness(tmp_path: Path) -> EngineHarness:
    """Return an empty directory to work in."""
    return EngineHarness(tmp_path)


async def test_the_program_of_one_s_own(harness: EngineHarness) -> None:
    """It waits for an account, asks as its client, has a job done, reads the journal, and ends with 0."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        (harness.directory / "program.py").write_text(program("engine.add_job"))
        with anyio.fail_after(TIMEOUT):
            done = await anyio.run_process(
                [sys.executable, "-W", "error", "program.py"],
                cwd=harness.directory,
                env=harness.environment,
                check=False,
            )
        said = done.stderr.decode()
        assert done.returncode == 0, said
        assert not COMPLAINTS.search(said), said
        lines = done.stdout.decode().splitlines()
        assert lines[:2] == [PHONE[1:], "done"]
        assert lines[-1] == "Account 1 Connected healthy"
        assert [message.text for message in dc.messages(PHONE)] == ["Hello"]


async def test_the_module_with_kinds_of_one_s_own(harness: EngineHarness) -> None:
    """Its kind counts, its handler answers, and its background task runs."""
    async with Sandbox() as dc:
        await dc.create_channel("some_group", "Some", megagroup=True, members=[PHONE])
        for text in ("one two one", "two", "one"):
            await dc.post("some_group", text)
        (harness.directory / "my_work_of_the_readme.py").write_text(program("count_words"))
        harness.at(dc, PHONE, rest=FAST + "work: {modules: [my_work_of_the_readme.py]}\n")
        async with Engine.from_config(harness.config) as engine:
            number = await engine.add_job("count_words", {"chat": "@some_group", "word": "one"})
            with anyio.fail_after(TIMEOUT):
                job = await engine.finished(number)
            assert (job.state, job.result) == (JobState.DONE, {"count": 3})
            await dc.push(PHONE, "ping", sender="+9996630001")
            with anyio.fail_after(TIMEOUT):
                while [message.text for message in dc.messages("+9996630001")] != ["ping", "pong"]:
                    await anyio.sleep(0.01)
            assert [post.label for post in engine.jobs.background.tasks if post.task] == ["keep_online of Account 1"]
