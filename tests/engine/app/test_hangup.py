"""A hangup: ``run`` ends in order when its terminal closes, and goes on under ``nohup``."""

import os
import signal
import sys

import anyio
import pytest

from adapters.sandbox import Sandbox
from tests.engine.app.test_reload import CALM
from tests.engine.harness import COMPLAINTS, EngineHarness, all_are
from tests.engine.terminal import at_terminal
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002")


def log_of(harness: EngineHarness) -> str:
    """Return what the engine's log file says."""
    return (harness.directory / "data" / "logs" / "engine.log").read_text("utf-8")


@pytest.mark.slow
async def test_a_hangup_ends_the_run_in_order(harness: EngineHarness) -> None:
    """Accounts are disconnected, all is stored, the exit code is 0, and the log says which signal came; two are one."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        async with at_terminal(harness, "run", str(harness.config)) as terminal:
            await harness.until(all_are("healthy", 2))
            for _ in range(3):
                terminal.process.send_signal(signal.SIGHUP)
            assert await terminal.end() == 0
    said = log_of(harness)
    assert "Received signal 1 (SIGHUP: the terminal has closed). Initiating graceful shutdown" in said
    assert "Stopped" in said
    assert not COMPLAINTS.search(said)
    assert harness.states() == ["shutting_down"] * 2


@pytest.mark.slow
async def test_without_a_terminal_a_hangup_is_a_reload(harness: EngineHarness) -> None:
    """No terminal can close there: as for every service it means to read the config again, and the accounts go on.

    Ten in a row are as good as one.
    """
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=CALM)
        words = [sys.executable, "-m", "engine", "run", "config.yaml"]
        async with await anyio.open_process(words, cwd=harness.directory, env=harness.environment, stdout=None,
                                            stderr=None, start_new_session=True) as process:  # fmt: skip
            try:
                await harness.until(all_are("healthy", 2))
                text = harness.config.read_text()
                lines = [line for line in text.splitlines() if "name: Account 1," not in line]
                harness.config.write_text("\n".join([*lines, "logging: {format: json}"]))
                for _ in range(10):
                    process.send_signal(signal.SIGHUP)
                await harness.until(lambda it: "was read again" in log_of(it) or "config_reloaded" in log_of(it))
                assert sorted(harness.states()) == ["healthy", "shutting_down"]
                harness.config.write_text("accounts: []")
                process.send_signal(signal.SIGHUP)
                await harness.until(lambda it: "reload_refused" in log_of(it))
                assert sorted(harness.states()) == ["healthy", "shutting_down"]
                assert dc.stats()["accepted"] == 2
                assert await harness.finish(process, signal.SIGTERM) == 0
            finally:
                if process.returncode is None:
                    process.kill()
    # the reload changes the format, in which a line that still waits to be written is written as well
    said = log_of(harness)
    assert "Received SIGHUP. The config is read again" in said or '"event": "reload_signalled"' in said


@pytest.mark.slow
async def test_without_a_terminal_a_hangup_does_not_end_an_engine_with_workers(harness: EngineHarness) -> None:
    """It reads its config again, as an engine without workers does, and nobody is disconnected."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=CALM + "node: {workers: 2}\n")
        words = [sys.executable, "-m", "engine", "run", "config.yaml"]
        async with await anyio.open_process(words, cwd=harness.directory, env=harness.environment, stdout=None,
                                            stderr=None, start_new_session=True) as process:  # fmt: skip
            try:
                await harness.until(all_are("healthy", 2))
                process.send_signal(signal.SIGHUP)
                await harness.until(lambda it: "was read again, and nothing in it has changed" in log_of(it))
                assert harness.states() == ["healthy"] * 2
                assert dc.stats()["accepted"] == 2
                assert await harness.finish(process, signal.SIGTERM) == 0
            finally:
                if process.returncode is None:
                    process.kill()
    said = log_of(harness)
    assert "Received SIGHUP. The config is read again" in said
    assert "Received signal 15." in said


@pytest.mark.slow
async def test_under_nohup_the_run_goes_on(harness: EngineHarness) -> None:
    """A hangup that is ignored stays ignored; SIGTERM still ends the run in order."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        words = ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-m", "engine", "run", "config.yaml"]
        async with await anyio.open_process(words, cwd=harness.directory, env=harness.environment, stdout=None,
                                            stderr=None) as process:  # fmt: skip
            try:
                await harness.until(all_are("healthy", 1))
                process.send_signal(signal.SIGHUP)
                code, said = await harness.command("pause", "Account 1")
                assert (code, said) == (0, "Account 1 is paused\n")
                assert process.returncode is None
                assert await harness.finish(process, signal.SIGTERM) == 0
            finally:
                if process.returncode is None:
                    process.kill()
    assert "Received signal 15." in log_of(harness)
    assert "Received signal 1 " not in log_of(harness)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["", "work: {}\n"])
async def test_a_terminal_that_closes_ends_the_run_in_order(harness: EngineHarness, jobs: str) -> None:
    """Hangup and dead streams (EIO) come together: nothing is lost, and the log file tells the whole end."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        with harness.config.open("a") as config:
            config.write(jobs)
        async with at_terminal(harness, "run", str(harness.config)) as terminal:
            await harness.until(all_are("healthy", 2))
            os.close(terminal.screen)
            with anyio.fail_after(TIMEOUT):
                while terminal.process.poll() is None:
                    await anyio.sleep(0.02)
            terminal.screen = os.open(os.devnull, os.O_RDONLY)  # for the harness, which closes it
        assert terminal.process.returncode == 0
    said = log_of(harness)
    assert "Received signal 1 (SIGHUP" in said
    assert said.rstrip().endswith("Stopped")
    assert not COMPLAINTS.search(said)
    assert harness.states() == ["shutting_down"] * 2
