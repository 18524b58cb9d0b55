"""What the screen and the page of an engine with workers find in the file that the workers share."""

from pathlib import Path
from typing import Any, cast
from unittest.mock import create_autospec

import anyio
import pytest

from adapters.sandbox import Sandbox
from adapters.sqlite import StorageError
from engine.app import workers_screen
from engine.app.workers_control import WorkersControl
from engine.app.workers_page import StoredLook, read_look
from engine.app.workers_screen import WorkersScreenSource
from engine.config import load
from engine.console.logs import RecentLines
from engine.console.status import EngineInfo
from engine.control.protocol import CommandOutcome, Unwritten
from engine.screen.model import Do
from states.events import Connected, NetworkLost, Started, TurnGranted
from tests.engine.app.test_file_workers_run import fleet_at
from tests.engine.commands import ENGINE, write_stories
from tests.engine.terminal import at_terminal
from tests.timeouts import TIMEOUT

CONFIG = f"""
telegram: {{api_id: 1, api_hash: {"a" * 32}}}
storage: {{directory: data}}
node: {{workers: 2}}
accounts:
  - {{name: News, session: one}}
  - {{name: Jobs, session: two}}
"""
HEALTHY = [Started(), TurnGranted(generation=0), Connected()]


def source(directory: Path, control: Any) -> WorkersScreenSource:
    """Return the source of a screen over the file in a directory."""
    config = load(directory / "config.yaml")
    return WorkersScreenSource(lambda: config, control, RecentLines(), EngineInfo(running=True))


def control_of(names: list[str]) -> Any:
    """Return what carries commands out, with nothing to say."""
    control = create_autospec(WorkersControl, instance=True)
    control.accounts, control.engine, control.unwritten = names, ENGINE, None
    control.pause.return_value = CommandOutcome("News", True, "News is paused")
    return control


async def test_the_accounts_of_this_engine_are_where_its_workers_have_them(tmp_path: Path) -> None:
    """Those of an engine before are where they were, and so unknown now; one without a record is there, too."""
    await write_stories(tmp_path, CONFIG, {"News": HEALTHY, "Jobs": [*HEALTHY, NetworkLost()]})
    place = load(tmp_path / "config.yaml").storage
    now = read_look(place, ["News", "Jobs", "New"], StoredLook(), ENGINE)
    assert {name: at.state for name, at in now.accounts.items()} == {
        "News": "healthy",
        "Jobs": "backoff",
        "New": "unknown",
    }
    assert set(now.troubles) == {"Jobs"}
    again = read_look(place, ["News", "Jobs"], now, ENGINE)
    assert again.accounts["News"] is now.accounts["News"]
    former = read_look(place, ["News"], StoredLook(), "another engine")
    assert former.accounts["News"].state == "unknown"


async def test_the_screen_follows_the_file_and_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts that a reload adds are shown; what cannot be read or written is told once."""
    monkeypatch.setattr(workers_screen, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(workers_screen, "ASK_EVERY", 0.01)
    await write_stories(tmp_path, CONFIG, {"News": HEALTHY, "Jobs": HEALTHY})
    control = control_of(["News"])
    screen = source(tmp_path, control)

    async def until(holds: Any) -> None:
        with anyio.fail_after(TIMEOUT):
            while not holds():
                await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(screen.follow)
        await until(lambda: screen.ranking.states["healthy"] == 1)
        control.accounts = ["News", "Jobs"]
        await until(lambda: screen.ranking.states["healthy"] == 2)
        assert screen.knows("Jobs")
        control.unwritten = Unwritten(3, "the disk is full")
        await until(lambda: screen.info.unwritten == "the disk is full")
        monkeypatch.setattr(workers_screen, "read_look", _unreadable)
        await until(lambda: any("it cannot be read" in line for _, line in screen.lines))
        await anyio.sleep(0.05)
        assert len(list(screen.lines)) == 1
        tasks.cancel_scope.cancel()
    assert await screen.perform(Do.PAUSE, "News") == "News is paused"
    assert await screen.acknowledge(7) == "incident 7 is over, or there was none"


def _unreadable(*_: object) -> StoredLook:
    raise StorageError("it cannot be read")


async def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen is there before the first worker is."""
    monkeypatch.setattr(workers_screen, "LOOK_EVERY", 0.01)
    (tmp_path / "config.yaml").write_text(CONFIG)
    screen = source(tmp_path, cast("Any", control_of(["News"])))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(screen.follow)
        await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    assert screen.ranking.states["unknown"] == 1
    assert list(screen.lines) == []


@pytest.mark.slow
async def test_run_on_a_terminal_shows_the_accounts_of_all_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key reaches the worker that has the account, and Ctrl+C ends all of them in order."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    async with Sandbox() as dc:
        harness = fleet_at(tmp_path, dc).harness
        async with at_terminal(harness, "run", str(harness.config)) as terminal:
            await terminal.expect("4 ✅")
            terminal.press(b"\x1b[B")
            terminal.press(b"p")
            await terminal.expect("is paused")
            await terminal.expect("3 ✅")
            terminal.press(b"\x03")
            assert await terminal.end() == 0
        assert "worker 2 - ✅ Stopped" in terminal.text
        assert dc.stats()["logins_destroyed"] == 0
