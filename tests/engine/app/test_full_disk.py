"""A disk that fills up under a whole run, that of the logs or that of the database, each alone."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

from adapters.sandbox import Fault, FaultKind, Sandbox
from tests.engine.harness import EngineHarness, all_are
from tests.timeouts import TIMEOUT

PHONE = "+9996620001"


@contextmanager
def small_disk(where: Path, size: str) -> Iterator[Path]:
    """Mount a small disk, and yield a file that can fill it; skip the test where this user may not."""
    where.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", where]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this user cannot mount")
    try:
        yield where / "filler"
    finally:
        subprocess.run(["umount", "-l", where], check=True)


def fill(file: Path) -> None:
    """Write until there is no room for another page."""
    with closing(os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT), "wb", buffering=0)) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            return


async def use_up_the_log(harness: EngineHarness, dc: Sandbox) -> None:
    """Have the engine write until nothing fits: the database's log may have room from before the disk was full."""
    with anyio.fail_after(TIMEOUT):
        while "journal waits" not in harness.text:
            await dc.inject(Fault(FaultKind.RESET))
            await anyio.sleep(0.3)


@pytest.mark.slow
async def test_a_full_disk_for_logs_changes_nothing_else(harness: EngineHarness) -> None:
    """The run says it once, journals, ends with exit code 0 and its final status, and says what the log lacks."""
    logs = harness.directory / "data" / "logs"
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        with small_disk(logs, "512k") as filler:
            async with harness.running() as process:
                await harness.until(all_are("healthy", 1))
                fill(filler)
                await dc.inject(Fault(FaultKind.RESET))
                await harness.until(lambda harness: "the log cannot be written (no space left" in harness.text)
                await harness.until(lambda harness: harness.text.count("Successfully") > 1)
                assert await harness.finish(process, signal.SIGTERM) == 0
    assert "CONNECTION STATUS" in harness.printed
    assert "lines of the log could not be written" in harness.text
    assert harness.text.count("the log cannot be written") <= 2  # engine.log and telethon.log
    assert "Traceback" not in harness.text
    assert "journal waits" not in harness.text
    assert harness.entries()[-1].target.value == "shutting_down"


@pytest.mark.slow
async def test_commands_know_that_the_database_is_older(harness: EngineHarness) -> None:
    """What happens on a full disk is in the engine's memory alone: that all is well would be a guess."""
    why = "the disk is full (SQLITE_FULL)"
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        with small_disk(harness.directory / "data", "2m") as filler:
            async with harness.running() as process:
                # As below: nobody reads the database until the disk is full.
                await harness.until(lambda harness: "Successfully connected" in harness.text)
                fill(filler)
                await use_up_the_log(harness, dc)
                code, printed = await harness.command("status", "config.yaml")
                listed = await harness.command("incidents", "config.yaml", "--open")
                code_json, asked = await harness.command("status", "config.yaml", "--json")
                filler.unlink()
                await harness.finish(process, signal.SIGTERM)
    assert code == code_json == 1
    assert f"cannot write its database: {why}" in printed
    assert listed[0] == 1
    assert f"the engine cannot write its database ({why}); " in listed[1]
    assert json.loads(asked)["engine"]["unwritten"] == why


@pytest.mark.slow
@pytest.mark.parametrize("freed", [True, False])
async def test_a_full_disk_for_the_database_ends_no_run(harness: EngineHarness, freed: bool) -> None:
    """Accounts stay connected; what waited is written when there is room again, and else counted at the end."""
    data = harness.directory / "data"
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        with small_disk(data, "2m") as filler:
            async with harness.running() as process:
                # Nobody reads the database until the disk is full: beside a reader, the engine moves its log into the
                # file a little later, and then the log, begun again, has room.
                await harness.until(lambda harness: "Successfully connected" in harness.text)
                fill(filler)
                await use_up_the_log(harness, dc)
                await harness.until(lambda harness: harness.text.count("Successfully") > 1)
                if freed:
                    filler.unlink()
                assert await harness.finish(process, signal.SIGTERM) == 0
            said = [entry.event for entry in harness.entries()]
    assert "CONNECTION STATUS" in harness.printed
    assert "the disk is full" in harness.text
    assert "Traceback" not in harness.text
    assert ("could not be saved in time" in harness.text) is not freed
    assert (said[-1] == "Closed") is freed
    assert said.count("Connected") == harness.text.count("Successfully") or not freed
