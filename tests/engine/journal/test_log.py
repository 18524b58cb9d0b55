"""``log``: the lines of the journal, each filter, and what is said when there is nothing to read."""

import json
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from tests.engine.journal.conftest import CONFIG, Run


def lines(out: str) -> list[dict[str, object]]:
    """Return the objects that were printed."""
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--state", "helthy"), "did you mean 'healthy'?"),
        (("--event", "NetworkLots"), "did you mean 'NetworkLost'?"),
        (("--account", "Newz 1"), "did you mean 'News 1'?"),
        (("--since", "yesterday"), "duration"),
        (("-n", "0"), "at least 1"),
        (("explain", "three"), "SEQ"),
    ],
)
def test_a_bad_word_is_answered_with_the_nearest_good_one(
    words: tuple[str, ...], hint: str, run: Run, path: Path
) -> None:
    """What does not exist exits with 2 and a hint, for every option that names something."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert hint in err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [(), ("explain", "1"), ("replay",), ("stats",)])
def test_a_journal_of_a_newer_version_is_refused(words: tuple[str, ...], run: Run, path: Path) -> None:
    """Every question says so in a sentence, and what to do."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert "the journal has schema 99" in err
    assert "use the version that wrote it" in err


def test_a_line_on_a_terminal_has_colours(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The states have their colours, and only the time is dim."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    _, out, _ = run("--event", "NetworkLost", "-n", "1")
    assert "\x1b[36mconnecting\x1b[0m" in out
    assert "\x1b[31mbackoff\x1b[0m" in out


def test_log_before_the_first_run_says_what_to_do(run: Run, tmp_path: Path) -> None:
    """Without a journal there is a sentence, and no journal is made."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    code, _, err = run("config.yaml")
    assert code == 1
    assert "start the engine once" in err
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_log_json_has_the_promised_fields(run: Run, path: Path) -> None:
    """Each line is an object with at least the fields of the contract, oldest first."""
    code, out, _ = run("--json")
    told = lines(out)
    promised = {
        "seq", "at", "account", "source", "event", "target", "rule", "attempt", "delay", "deadline", "dwell", "detail",
        "cause",
    }  # fmt: skip
    assert code == 0
    assert len(told) == 15
    assert all(promised <= entry.keys() for entry in told)
    assert [entry["seq"] for entry in told] == sorted(entry["seq"] for entry in told)  # type: ignore[type-var]
    assert datetime.fromisoformat(str(told[0]["at"])).utcoffset() is not None
    moved = [(entry["source"], entry["target"]) for entry in told if entry["account"] == "News 2"]
    assert moved == [("connecting", "connecting"), ("connecting", "connecting"), ("connecting", "backoff")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--account", "News*"), {"News 1", "News 2"}),
        (("--account", "Jobs"), {"Jobs"}),
        (("--state", "backoff"), {"News 1", "News 2"}),
        (("--event", "Connected"), {"News 1"}),
        (("--failed",), {"News 1", "News 2", "Jobs"}),
        (("--since", "36500d"), {"News 1", "News 2", "Jobs"}),
        (("--since", "1h"), set()),
        (("-n", "3"), {"News 1"}),
        (("--failed", "--account", "News*"), {"News 1", "News 2"}),
    ],
)
def test_each_filter_of_log_keeps_what_it_says(
    words: tuple[str, ...], expected: set[str], run: Run, path: Path
) -> None:
    """A filter leaves the entries that fit it, and filters add up."""
    code, out, _ = run("--json", *words)
    assert code == 0
    assert {entry["account"] for entry in lines(out)} == expected


def test_log_as_text_says_which_account_moved_where_and_why(run: Run, path: Path) -> None:
    """A line has the account, the states, the event, the wait and the cause."""
    _, out, _ = run("--event", "NetworkLost")
    assert "News 1" in out
    assert "connecting ─NetworkLost→ backoff" in out
    assert "connection reset" in out
