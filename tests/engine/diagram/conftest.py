"""What the tests of the drawings share: a command to run, and a journal of two accounts."""

from pathlib import Path

import pytest

from states import Event
from states.events import Connected, Elapsed, NetworkLost, Started, TurnGranted
from tests.engine.commands import Run, runs, write_stories

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: News 1, session: one}
  - {name: News 2, session: two}
  - {name: Never ran, session: three}
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs ``diagram`` in an empty directory: exit code, stdout, stderr."""
    return runs("diagram", capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    """Write a config and a journal: News 1 failed twice, came back and waits; News 2 connected. A second a step."""
    turn, lost = TurnGranted(generation=0), NetworkLost(detail="connection reset")
    failed: list[Event] = [Elapsed(generation=0), turn, lost]
    stories: dict[str, list[Event]] = {
        "News 1": [Started(), turn, lost, *failed, *failed, Elapsed(generation=0), turn, Connected(), lost],
        "News 2": [Started(), turn, Connected()],
    }
    return await write_stories(tmp_path, CONFIG, stories)
