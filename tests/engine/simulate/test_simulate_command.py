"""``simulate`` as people call it."""

import errno
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


def test_a_sentence_leaves_out_what_there_is_not(config: Path) -> None:
    """On a narrow terminal a moment has no 'for', and a fleet that is back no 'away'."""
    done = run(config, "--for", "10m", "--scenario", str(config.with_name("outage.yaml")), COLUMNS="40")
    said = " ".join(done.stdout.split())
    assert "2 reset, News *: at 5 min, lost 2, 50% back" in said
    assert "–" not in said


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


def test_a_picture_that_cannot_be_written_is_said_before_the_work(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of minutes is not lost for a directory that is not there."""
    monkeypatch.setattr(simulate, "_build", lambda *_, **__: pytest.fail("it ran"))
    for path in (config.parent / "nowhere" / "a.svg", config.parent):
        with pytest.raises(SystemExit) as ended:
            simulate.simulate(config, svg=path)
        assert (ended.value.code, capsys.readouterr().err.count(str(path))) == (1, 1)


def test_figures_are_printed_though_the_picture_could_not_be_written(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full at the end: the exit code says so, and the work is not lost."""

    def full(path: Path, _: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(simulate, "write_output", full)
    with pytest.raises(SystemExit) as ended:
        simulate.simulate(config, svg=config.with_name("a.svg"), as_json=True)
    said = capsys.readouterr()
    assert (ended.value.code, json.loads(said.out)["complete"]) == (1, True)
    assert "a.svg" in said.err


def test_a_step_after_the_end_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who wrote it would take the figures for those of a fleet that it had happened to."""
    scenario = config.with_name("outage.yaml")
    simulate.simulate(config, duration="3m", scenario=scenario)
    assert "1 step of the scenario did not happen: --for ends before 5 min" in capsys.readouterr().out
    simulate.simulate(config, duration="3m", scenario=scenario, as_json=True)
    assert json.loads(capsys.readouterr().out)["faults_not_reached"] == 1


def test_parked_accounts_are_told_from_those_that_try_again(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but the operator brings them back."""
    park = "states: {backoff: {network: {first: 1s, cap: 1s, tries: 1, then: park}}}"
    config.write_text(CONFIG + park)
    simulate.simulate(config, duration="10m")
    assert "3 backoff, of which 3 parked: they wait for the operator" in " ".join(capsys.readouterr().out.split())


def test_a_stagger_of_more_than_a_second_is_said_as_it_is(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not as zero accounts per second."""
    config.write_text(CONFIG.replace("stagger: auto", "stagger: 1h"))
    simulate.simulate(config, duration="10m")
    assert "lets at most one account each 1 h connect" in " ".join(capsys.readouterr().out.split())


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
