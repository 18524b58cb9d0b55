"""Seeds of the simulated world, each in a process of its own: promises are kept, and a seed gives the same journal."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.draw import draw
from tests.simulation.story import Story

ROOT = Path(__file__).resolve().parents[2]
LONG = 1800.0
"""Seconds until a swarm is given up here: far more than a busy machine needs."""


def swarm(out: Path, *options: str) -> str:
    """Run the command, which must find nothing; return what it printed."""
    command = [sys.executable, "-m", "tests.simulation", "--jobs", "2", "--shrink", "0", "--out", str(out), *options]
    command += ["--patience", str(LONG)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_one_seed_gives_the_same_journal_twice(tmp_path: Path) -> None:
    """The same seed and code give the same journal, byte for byte."""
    assert "1 seed: 1 clean, 0 failed" in swarm(tmp_path, "--seed", "4", "--hours", "0.5", "--twice")


def test_three_seeds_keep_all_promises(tmp_path: Path) -> None:
    """A short swarm for each run of the suite."""
    assert "3 seeds: 3 clean, 0 failed" in swarm(tmp_path, "--seeds", "3", "--hours", "0.5")


@pytest.mark.slow
def test_seventeen_more_seeds_keep_all_promises(tmp_path: Path) -> None:
    """The same for the seeds after them."""
    assert "17 seeds: 17 clean, 0 failed" in swarm(tmp_path, "--first", "4", "--seeds", "17", "--hours", "0.5")


@pytest.mark.slow
def test_twenty_longer_seeds_keep_all_promises(tmp_path: Path) -> None:
    """Every run of the CI has a small swarm, of other seeds."""
    assert "20 seeds: 20 clean, 0 failed" in swarm(tmp_path, "--first", "21", "--seeds", "20", "--hours", "4")


@pytest.mark.slow
def test_ten_accounts_have_a_day_of_chaos(tmp_path: Path) -> None:
    """A day of ten accounts under everything that heals by itself ends with all promises kept."""
    seed = next(seed for seed in range(1, 1000) if draw(seed, 24).accounts == 10)
    story = draw(seed, 24)
    path = tmp_path / "day.json"
    path.write_text(story.dump())
    assert Story.load(path.read_text()).accounts == 10
    assert "1 seed: 1 clean, 0 failed" in swarm(tmp_path, "--story", str(path))
