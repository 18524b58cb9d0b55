"""What the tests of the drawings share: a command to run, and a journal of two accounts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.sqlite import Journal
from engine.cli import app
from states import Event, Policy
from states.events import Connected, Elapsed, NetworkLost, Started, TurnGranted
from tests.states.life import Life

Run = Callable[..., tuple[int, str, str]]

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
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            app(["diagram", *words])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return command


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    """Write a config and a journal: News 1 failed twice, came back and waits; News 2 connected. A second a step."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    turn, lost = TurnGranted(generation=0), NetworkLost(detail="connection reset")
    failed: list[Event] = [Elapsed(generation=0), turn, lost]
    stories: dict[str, list[Event]] = {
        "News 1": [Started(), turn, lost, *failed, *failed, Elapsed(generation=0), turn, Connected(), lost],
        "News 2": [Started(), turn, Connected()],
    }
    written = await Journal.open(tmp_path / "data" / "engine.db", on_trouble=lambda *_: None)
    for name, events in stories.items():
        life = Life()
        await written.begin_life(name, life.now, Policy(), life.snapshot)
        for event in events:
            decision = life.take(event)
            await written.write(name, decision.record, decision.snapshot)
    assert await written.aclose(5) == 0
    return tmp_path
