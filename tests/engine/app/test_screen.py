"""The screen of ``run`` and of ``status --watch`` as their user meets it: at a real terminal, with a real engine."""

import json
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from adapters.sandbox import Sandbox
from engine.console.status import ExitCode
from states.events import Connected, NetworkLost, Started, TurnGranted
from tests.engine.commands import write_stories
from tests.engine.harness import FAST, EngineHarness, all_are
from tests.engine.terminal import Terminal, at_terminal
from tests.engine.test_control import log_out

PHONE, OTHER = "+9996620001", "+9996620002"
STORED = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: News, session: one}
  - {name: Old bot, session: two}
"""
HEALTHY = [Started(), TurnGranted(generation=0), Connected()]


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the terminal be an ordinary one, whatever the tests run in."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


def local_modes(terminal: Terminal) -> int:
    """Return how the terminal is set."""
    return int(termios.tcgetattr(terminal.screen)[3])


@asynccontextmanager
async def stored(harness: EngineHarness) -> AsyncIterator[Terminal]:
    """Show ``status --watch`` of an engine that does not run any more."""
    await write_stories(harness.directory, STORED, {"News": [*HEALTHY, NetworkLost()], "Old bot": HEALTHY})
    async with at_terminal(harness, "status", "config.yaml", "--watch") as terminal:
        yield terminal


@pytest.mark.slow
async def test_an_account_is_paused_and_resumed_by_key(harness: EngineHarness) -> None:
    """In a running engine, by the handlers of the commands; Ctrl+C ends it in order, and the terminal is as before."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE, rest=FAST)
        async with at_terminal(harness, "run", str(harness.config)) as terminal:
            before = local_modes(terminal)
            await terminal.expect("1 ✅")
            assert not local_modes(terminal) & termios.ICANON
            terminal.press(b"\x1b[B")
            terminal.press(b"p")
            await terminal.expect("Account 1 is paused")
            await harness.until(lambda harness: harness.states() == ["shutting_down"])
            terminal.press(b"u")
            await terminal.expect("Account 1 is connecting")
            await harness.until(all_are("healthy", 1))
            terminal.press(b"\r")
            await terminal.expect("StopRequested")
            terminal.press(b"\x03")
            await terminal.expect("CONNECTION STATUS")
            assert local_modes(terminal) == before
            assert await terminal.end() == 0


@pytest.mark.slow
async def test_an_incident_is_acknowledged_and_a_removed_account_is_gone(harness: EngineHarness) -> None:
    """An account that needs a person is an incident at once; a reload without it leaves its page, and the other one."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE, OTHER, rest=FAST)
        async with at_terminal(harness, "run", str(harness.config)) as terminal:
            await terminal.expect("2 ✅")
            log_out(dc, harness)
            await terminal.expect("1 needs you")
            terminal.press(b"i")
            await terminal.expect("What to do: log in again")
            terminal.press(b"a")
            await terminal.expect("incident 1 is acknowledged")
            code, said = await harness.command("incidents", "--json")
            assert code == 1
            assert json.loads(said)["acked"]
            terminal.press(b"\r")
            await terminal.expect("AuthRejected→")
            lines = harness.config.read_text("utf-8").splitlines(keepends=True)
            harness.config.write_text("".join(line for line in lines if "name: Account 1" not in line), "utf-8")
            code, said = await harness.command("reload")
            assert code == 0, said
            await terminal.expect("Account 1 is not among the accounts any more")
            terminal.press(b"\x1b")
            await terminal.expect("1 ✅")
            terminal.press(b"\x03")
            await terminal.expect("CONNECTION STATUS")
            assert await terminal.end() == 0


async def test_the_watch_shows_what_is_stored_and_ends_by_q(harness: EngineHarness) -> None:
    """With the engine down it says so; the exit code is that of the last look."""
    async with stored(harness) as terminal:
        await terminal.expect("not running")
        await terminal.expect("Old bot")
        terminal.press(b"/news\r")
        await terminal.expect("1 of 2 shown")
        terminal.press(b"jr")
        await terminal.expect("start it with 'run' first")
        terminal.press(b"\r")
        await terminal.expect("─NetworkLost→")
        terminal.press(b"\r")
        await terminal.expect("rule       ")
        terminal.press(b"\x1b")
        await anyio.sleep(0.3)
        terminal.press(b"\x1b")
        await anyio.sleep(0.3)
        terminal.press(b"q")
        assert await terminal.end() == ExitCode.NOT_RUNNING


@pytest.mark.parametrize("key", [b"\x03", b"q"])
async def test_the_watch_gives_the_terminal_back(harness: EngineHarness, key: bytes) -> None:
    """After Ctrl+C as after q, with the last picture on the usual page."""
    async with stored(harness) as terminal:
        before = local_modes(terminal)
        await terminal.expect("Old bot")
        terminal.press(key)
        assert await terminal.end() == ExitCode.NOT_RUNNING
        assert "\x1b[?1049l" in bytes(terminal._shown).decode()
        assert local_modes(terminal) == before
