"""``simulate`` as people call it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine.cli import simulate
from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
fleet: {connects_at_once: 64, stagger: auto}
accounts:
  - {name: News 1, session: a}
  - {name: News 2, session: b}
  - {name: Shop, session: c}
"""
SCENARIO = """
scenario:
  - {at: 2m, do: gone, for: 1m}
  - {at: 5m, do: reset, account: "News *"}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a config, beside a scenario."""
    (tmp_path / "outage.yaml").write_text(SCENARIO)
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def command(config: Path, *words: str) -> list[str]:
    """Return the command line of a simulation of this config."""
    return [sys.executable, "-W", "error", "-m", "engine", "simulate", str(config), *words]


def run(config: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a simulation to its end."""
    return subprocess.run(
        command(config, *words),
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def test_the_same_seed_says_the_same(config: Path) -> None:
    """Two runs print the same JSON, byte for byte, and another seed another; nothing is written."""
    words = ("--accounts", "200", "--for", "10m", "--scenario", str(config.with_name("outage.yaml")), "--json")
    before = sorted(config.parent.iterdir())
    first, again, other = (run(config, *words, "--seed", seed) for seed in ("7", "7", "8"))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == again.stdout != other.stdout
    said = json.loads(first.stdout)
    assert (said["accounts"], said["seconds"], said["complete"]) == (200, 600.0, True)
    assert [each["lost"] for each in said["faults"]] == [200, 134]
    assert len(said["series"]["healthy"]) == 600
    assert sorted(config.parent.iterdir()) == before


def test_a_person_reads_figures_faults_and_charts(config: Path) -> None:
    """The page says what the scenario did, and is no wider than the terminal."""
    done = run(config, "--accounts", "50", "--for", "10m", "--scenario", str(config.with_name("outage.yaml")))
    assert done.returncode == 0
    for part in ("50 accounts for 10 min", "Availability", "gone, all", "reset, News *", "Healthy accounts", "█"):
        assert part in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"COLUMNS": "40"}]
)
def test_it_can_be_read_in_any_environment(config: Path, environment: dict[str, str]) -> None:
    """An encoding without blocks, and a narrow terminal."""
    done = run(config, "--for", "10m", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Availability" in done.stdout
    assert "\\u" not in done.stdout


def test_the_picture_is_valid_and_loads_nothing(config: Path, tmp_path: Path) -> None:
    """It is SVG, with the charts' names and what went wrong."""
    picture = tmp_path / "outage.svg"
    (tmp_path / "outage.yaml").write_text(SCENARIO.replace("News *", "*"))
    done = run(config, "--for", "10m", "--scenario", str(tmp_path / "outage.yaml"), "--svg", str(picture), "--json")
    assert done.returncode == 0
    text = " ".join(ElementTree.fromstring(picture.read_text("utf-8")).itertext())
    assert "Healthy accounts" in text
    assert "1 gone, all" in text
    assert "http" not in picture.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    "words",
    [
        ("--accounts", "0"),
        ("--accounts", "99999999999"),
        ("--for", "0s"),
        ("--for", "1000d"),
        ("--for", "soon"),
        ("--seed", "-1"),
        ("--scenario", "nowhere.yaml"),
    ],
)
def test_a_mistake_is_a_sentence(config: Path, words: tuple[str, ...]) -> None:
    """Exit code 2, and no figure."""
    done = run(config, *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words[0] in done.stderr or words[1] in done.stderr


def test_ctrl_c_shows_what_is_known_so_far(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are of the time until then; the exit code is that of an interruption."""
    look = simulate._RunWatch.look

    def interrupted(watch: simulate._RunWatch, virtual: float) -> bool:
        signal.raise_signal(signal.SIGINT)
        return look(watch, virtual)

    monkeypatch.setattr(simulate._RunWatch, "look", interrupted)
    with pytest.raises(SystemExit) as ended:
        simulate.simulate(config, accounts=5000, duration="31d", as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert ended.value.code == 130
    assert not said["complete"]
    assert 0 < said["seconds"] < 31 * 86_400
