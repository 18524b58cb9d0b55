"""The commands' manners: what is wrong is said in a sentence with its place, and nothing is touched."""

import json
from pathlib import Path

import pytest

from engine.cli.common import match_accounts
from states.events import (
    AuthRejected,
    Connected,
    Event,
    NetworkLost,
    Started,
    TurnGranted,
)
from tests.engine.commands import Run, runs, write_stories

GOOD = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: News 1, session: one}
  - {name: News 2, session: two}
  - {name: Jobs, session: three}
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command in an empty directory: exit code, stdout, stderr."""
    return runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    """Write a config and the journal of three accounts: one came back from a loss, one is fine, one is locked out."""
    stories: dict[str, list[Event]] = {
        "News 1": [Started(), TurnGranted(generation=0), NetworkLost(detail="connection reset")],
        "News 2": [Started(), TurnGranted(generation=0), Connected()],
        "Jobs": [Started(), TurnGranted(generation=0), AuthRejected(detail="SESSION_REVOKED (401)")],
    }
    return await write_stories(tmp_path, GOOD, stories)


def lines(out: str) -> list[dict[str, object]]:
    """Return the objects that were printed."""
    return [json.loads(line) for line in out.splitlines()]


# --- bad input -------------------------------------------------------------------------------------------------------

BAD = {
    "an unknown key": (GOOD + "flet: {}\n", ["flet", "fleet"]),
    "a bad duration": (GOOD + "states: {healthy: {probe_every: soon}}\n", ["states.healthy.probe_every"]),
    "an account twice": (GOOD.replace("Jobs", "News 1"), ["accounts[2].name"]),
    "two accounts on one session": (GOOD.replace("three", "one"), ["accounts[2].session", "News 1"]),
    "no api_id": (GOOD.replace("api_id: 12345, ", ""), ["telegram.api_id"]),
    "YAML that does not parse": ("telegram: {api_id: [1\naccounts: }", ["config.yaml"]),
    "three mistakes": (
        GOOD.replace("api_id: 12345, ", "") + "flet: {}\nstorage: {dir: x}\n",
        ["api_id", "flet", "dir"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_config_is_refused_with_a_line_for_each_problem(case: str, run: Run, tmp_path: Path) -> None:
    """Exit code 2, each problem by its path, no traceback, and nothing is made."""
    text, expected = BAD[case]
    (tmp_path / "config.yaml").write_text(text)
    code, out, err = run("run", "config.yaml")
    assert (code, out) == (2, "")
    assert all(word in err for word in expected)
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_missing_config_is_named(run: Run, tmp_path: Path) -> None:
    """A path that leads nowhere is said back, and nothing is made there."""
    code, _, err = run("run", "nowhere.yaml")
    assert code == 2
    assert "nowhere.yaml" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("status", "config.yaml", "Jobz"), "did you mean 'Jobs'?"),
        (("run", "--for", "a while"), "duration"),
        (("rnu",), "run"),
    ],
)
def test_a_bad_word_is_answered_with_the_nearest_good_one(
    words: tuple[str, ...], hint: str, run: Run, journal: Path
) -> None:
    """What does not exist exits with 2 and a hint, for every option that names something."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert hint in err
    assert "Traceback" not in err


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_with_the_engine_down_shows_all_and_says_so(run: Run, journal: Path) -> None:
    """Every account of the config is listed, those in trouble first, and the exit code is 3."""
    code, out, _ = run("status", "--json")
    told = json.loads(out)
    assert code == 3
    assert told["engine"] == {"running": False, "pid": None, "since": None, "answers": False, "unwritten": None}
    assert [account["name"] for account in told["accounts"]] == ["Jobs", "News 1", "News 2"]
    promised = {
        "name", "state", "since", "attempt", "failures", "reconnects", "last_success", "deadline", "cause", "action",
    }  # fmt: skip
    assert all(promised <= account.keys() for account in told["accounts"])
    assert told["accounts"][0]["action"] == "log_in"
    assert told["accounts"][0]["cause"] == "AuthRejected: SESSION_REVOKED (401)"
    code, out, _ = run("status")
    assert code == 3
    assert "not running" in out
    assert "log in again" in out


def test_status_before_the_first_run_lists_the_config(run: Run, tmp_path: Path) -> None:
    """Accounts that never ran are there, with nothing made on disk."""
    (tmp_path / "config.yaml").write_text(GOOD)
    code, out, _ = run("status", "--json")
    assert code == 3
    assert len(json.loads(out)["accounts"]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_an_exact_name_is_not_a_pattern() -> None:
    """Commands find an account whose name has brackets by that name, though it would not match itself as a glob."""
    assert match_accounts(["News [1]", "News 1"], "News [1]") == ["News [1]"]
