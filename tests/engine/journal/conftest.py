"""A journal with a story: three accounts, one of them in two lives, written by the real writer from real steps."""

from pathlib import Path

import pytest

from adapters.sqlite import JournalWriter
from states import Event, Policy, begin
from states.events import (
    AuthRejected,
    Closed,
    Connected,
    NetworkLost,
    ProbeAnswered,
    Stable,
    Started,
    StopRequested,
    TurnGranted,
)
from tests.engine.commands import Run, runs, write_life
from tests.states.harness import AccountDriver

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: News 1, session: one}
  - {name: News 2, session: two}
  - {name: Jobs, session: three}
"""
LOST = NetworkLost(detail="connection reset", chain=("ConnectionResetError: reset", "OSError: gone"))
STORIES: dict[str, list[Event]] = {
    "News 1": [
        Started(), TurnGranted(generation=0), Connected(), ProbeAnswered(proof=True), Stable(generation=0),
        StopRequested(), Closed(generation=0),
    ],
    "News 2": [Started(), TurnGranted(generation=0), LOST],
    "Jobs": [Started(), TurnGranted(generation=0), AuthRejected(detail="SESSION_REVOKED (401)")],
}  # fmt: skip


def next_life(driver: AccountDriver) -> AccountDriver:
    """Return the life after ``life``, 100 s later."""
    following = AccountDriver(driver.policy, begin(driver.snapshot, now=driver.now + 100))
    following.now = driver.now + 100
    return following


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs ``log`` beside the journal: exit code, stdout, stderr."""
    return runs("log", capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Write the config and the story; return the path of the journal.

    1–6 News 1's first life (a quiet step is left out), 7–9 News 2, 10–12 Jobs, 13–15 News 1's second life.
    """
    (tmp_path / "config.yaml").write_text(CONFIG)
    journal = await JournalWriter.open(tmp_path / "data" / "engine.db", on_trouble=lambda *_: None)
    lives = {}
    for name, events in STORIES.items():
        lives[name] = AccountDriver(Policy())
        await write_life(journal, name, lives[name], events)
    again = next_life(lives["News 1"])
    await write_life(journal, "News 1", again, [Started(), TurnGranted(generation=0), LOST])
    assert await journal.aclose(5) == 0
    return tmp_path / "data" / "engine.db"
