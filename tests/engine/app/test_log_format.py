"""``run --log-format``: what the command says is stronger than the config."""

import logging
from pathlib import Path
from typing import Any

import pytest

from engine.app import run as running
from engine.cli.run import run
from engine.config import LogFormat, load
from engine.console import logs

CONFIG = """
telegram: {api_id: 777, api_hash: 0123456789abcdef0123456789abcdef}
accounts: [{name: A, session: a}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the path of a config that wants JSON."""
    path = tmp_path / "config.yaml"
    path.write_text(f"{CONFIG}logging: {{format: json, levels: {{holdfast.jobs: error}}}}", "utf-8")
    return path


@pytest.mark.parametrize(
    ("wanted", "begins"), [(None, "{"), (LogFormat.JSON, "{"), (LogFormat.TEXT, "2")], ids=["config", "json", "text"]
)
def test_the_format_is_the_command_s_or_the_config_s(config: Path, wanted: LogFormat | None, begins: str) -> None:
    """The levels are the config's in any case."""
    with running.opened_log(load(config), wanted, logs.RecentLines()):
        logging.getLogger("holdfast.jobs").warning("less")
        logging.getLogger("holdfast.fleet").warning("more")
    (line,) = (config.parent / "data" / "logs" / "engine.log").read_text("utf-8").splitlines()
    assert line.startswith(begins)
    assert "more" in line


def test_the_command_hands_it_over(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the option to the engine."""
    given: dict[str, Any] = {}

    async def engine(_: Any, **settings: Any) -> int:
        given.update(settings)
        return 0

    monkeypatch.setattr(running, "run", engine)
    monkeypatch.setattr("os.umask", lambda _: 0)
    with pytest.raises(SystemExit) as left:
        run(config, log_format=LogFormat.TEXT)
    assert left.value.code == 0
    assert given["log_format"] is LogFormat.TEXT
