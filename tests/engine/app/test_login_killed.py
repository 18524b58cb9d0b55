"""A ``login`` that is killed while the engine runs: the account that it had paused goes on."""

import signal

import anyio.to_thread
import pytest

from adapters.sandbox import Sandbox
from engine.config import load
from engine.control import hold
from tests.engine.harness import EngineHarness, all_are
from tests.engine.terminal import at_terminal

PHONE = "+9996620001"
ME = ("config.yaml", "Account 1")


@pytest.mark.slow
async def test_an_account_goes_on_when_its_login_is_killed(harness: EngineHarness) -> None:
    """No process is left that would resume it; the engine does, says so, and the old login works."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        async with harness.running() as process:
            await harness.until(all_are("healthy", 1))
            async with at_terminal(harness, "login", *ME, "--yes") as terminal:
                await terminal.expect("(Enter to have it sent again): ")
                await harness.until(all_are("shutting_down", 1))
                terminal.process.send_signal(signal.SIGKILL)
                await terminal.end()
            await harness.until(all_are("healthy", 1))
            assert await harness.finish(process, signal.SIGTERM) == 0
    assert harness.text.count("Account 1 goes on: the login that had it paused has ended") == 1


@pytest.mark.slow
@pytest.mark.parametrize("paused_again", [True, False])
async def test_what_a_person_pauses_stays_paused(harness: EngineHarness, paused_again: bool) -> None:
    """A pause while somebody logs in, or after that, is not undone by the end of the login."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        async with harness.running() as process:
            await harness.until(all_are("healthy", 1))
            async with at_terminal(harness, "login", *ME, "--yes") as terminal:
                await terminal.expect("(Enter to have it sent again): ")
                if paused_again:
                    assert (await harness.command("pause", *ME))[0] == 0
                    terminal.process.send_signal(signal.SIGKILL)
                else:
                    terminal.press(b"\x03")
                await terminal.end()
            if not paused_again:
                await harness.until(all_are("healthy", 1))
                assert (await harness.command("pause", *ME))[0] == 0
            code, printed = await harness.command("status", "config.yaml")
            assert code == 0, printed
            assert "1 paused" in printed
            assert await harness.finish(process, signal.SIGTERM) == 0
    assert "goes on: the login" not in harness.text


@pytest.mark.slow
async def test_a_second_login_does_not_resume_the_account_of_the_first(harness: EngineHarness) -> None:
    """It is refused in a sentence, and the account stays paused until the first has ended."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        async with harness.running() as process:
            await harness.until(all_are("healthy", 1))
            config = load(harness.config)
            first, connection = await anyio.to_thread.run_sync(hold, config, "Account 1")
            with connection:
                second, other = await anyio.to_thread.run_sync(hold, config, "Account 1")
                other.close()
                assert (first.done, second.done) == (True, False)
                assert "another login of Account 1 is under way" in second.said
                await harness.command("status", "config.yaml")  # by then the engine has seen the second's end
                assert harness.states() == ["shutting_down"]
            await harness.until(all_are("healthy", 1))
            assert await harness.finish(process, signal.SIGTERM) == 0
