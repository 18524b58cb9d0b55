"""The commands' manners: what is wrong is said in a sentence with its place, and nothing is touched."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.sqlite import Journal
from engine.cli import app
from engine.cli.diagram import DIAGRAMS
from states import EVENTS, ROWS, Policy, State
from states.events import (
    AuthRejected,
    Connected,
    Event,
    NetworkLost,
    Started,
    TurnGranted,
)
from tests.states.life import Life

Run = Callable[..., tuple[int, str, str]]

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
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def command(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            app(list(words))
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return command


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    """Write a config and the journal of three accounts: one came back from a loss, one is fine, one is locked out."""
    (tmp_path / "config.yaml").write_text(GOOD)
    stories: dict[str, list[Event]] = {
        "News 1": [Started(), TurnGranted(generation=0), NetworkLost(detail="connection reset")],
        "News 2": [Started(), TurnGranted(generation=0), Connected()],
        "Jobs": [Started(), TurnGranted(generation=0), AuthRejected(detail="SESSION_REVOKED (401)")],
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
        (("log", "--state", "helthy"), "did you mean 'healthy'?"),
        (("log", "--event", "NetworkLots"), "did you mean 'NetworkLost'?"),
        (("log", "--account", "Newz 1"), "did you mean 'News 1'?"),
        (("log", "--since", "yesterday"), "duration"),
        (("log", "-n", "0"), "at least 1"),
        (("status", "config.yaml", "Jobz"), "did you mean 'Jobs'?"),
        (("diagram", "--format", "mermeid"), "did you mean 'mermaid'?"),
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


def test_log_before_the_first_run_says_what_to_do(run: Run, tmp_path: Path) -> None:
    """Without a journal there is a sentence, and no journal is made."""
    (tmp_path / "config.yaml").write_text(GOOD)
    code, _, err = run("log", "config.yaml")
    assert code == 1
    assert "start the engine once" in err
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


# --- log -------------------------------------------------------------------------------------------------------------


def test_log_json_has_the_promised_fields(run: Run, journal: Path) -> None:
    """Each line is an object with at least the fields of the contract, oldest first."""
    code, out, _ = run("log", "--json")
    told = lines(out)
    promised = {
        "seq", "at", "account", "source", "event", "target", "rule", "attempt", "delay", "deadline", "dwell", "detail",
        "cause",
    }  # fmt: skip
    assert code == 0
    assert len(told) == 9
    assert all(promised <= entry.keys() for entry in told)
    assert [entry["seq"] for entry in told] == sorted(entry["seq"] for entry in told)  # type: ignore[type-var]
    assert str(told[0]["at"]).endswith("+00:00")
    moved = [(entry["source"], entry["target"]) for entry in told if entry["account"] == "News 2"]
    assert moved == [("connecting", "connecting"), ("connecting", "connecting"), ("connecting", "healthy")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--account", "News*"), {"News 1", "News 2"}),
        (("--account", "Jobs"), {"Jobs"}),
        (("--state", "backoff"), {"News 1"}),
        (("--event", "Connected"), {"News 2"}),
        (("--failed",), {"News 1", "Jobs"}),
        (("--since", "36500d"), {"News 1", "News 2", "Jobs"}),
        (("--since", "1h"), set()),
        (("-n", "3"), {"Jobs"}),
        (("--failed", "--account", "News*"), {"News 1"}),
    ],
)
def test_each_filter_of_log_keeps_what_it_says(
    words: tuple[str, ...], expected: set[str], run: Run, journal: Path
) -> None:
    """A filter leaves the entries that fit it, and filters add up."""
    code, out, _ = run("log", "--json", *words)
    assert code == 0
    assert {entry["account"] for entry in lines(out)} == expected


def test_log_for_people_says_who_moved_where_and_why(run: Run, journal: Path) -> None:
    """A line has the account, the states, the event, the wait and the cause."""
    _, out, _ = run("log", "--event", "NetworkLost")
    assert "News 1" in out
    assert "connecting ─NetworkLost→ backoff" in out
    assert "connection reset" in out


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_with_the_engine_down_shows_all_and_says_so(run: Run, journal: Path) -> None:
    """Every account of the config is listed, those in trouble first, and the exit code is 3."""
    code, out, _ = run("status", "--json")
    told = json.loads(out)
    assert code == 3
    assert told["engine"] == {"running": False, "pid": None, "since": None}
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


# --- diagram ---------------------------------------------------------------------------------------------------------


def test_diagram_json_is_the_table(run: Run) -> None:
    """Every state, event and rule is in it, and null means stay."""
    _, out, _ = run("diagram", "--format", "json")
    told = json.loads(out)
    assert told["initial"] == "connecting"
    assert [state["name"] for state in told["states"]] == [state.value for state in State]
    assert [state["name"] for state in told["states"] if state["final"]] == ["shutting_down"]
    assert [event["name"] for event in told["events"]] == [event.__name__ for event in EVENTS]
    assert all(event["doc"] for event in told["events"])
    assert len(told["rules"]) == len(ROWS)
    assert {rule["target"] for rule in told["rules"]} == {None, *(state.value for state in State)}
    assert {"source", "event", "target", "guard", "effects", "why"} == told["rules"][0].keys()


def test_diagram_draws_every_way_between_states(run: Run) -> None:
    """The mermaid text has an edge for each pair of states that a rule connects, and no other."""
    _, out, _ = run("diagram")
    edges = {tuple(line.split(":")[0].split(" --> ")) for line in out.splitlines() if " --> " in line}
    expected = {(f"    {row.source.value}", row.target.value) for row in ROWS if row.target is not None}
    assert edges == expected | {("    [*]", "connecting"), ("    shutting_down", "[*]")}


def test_the_committed_diagrams_are_up_to_date(run: Run) -> None:
    """``--check`` is content with what is committed."""
    code, out, _ = run("diagram", "--check")
    assert code == 0
    assert "2 diagrams" in out


def test_a_stale_diagram_is_found(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--check`` names the file that differs, and how to draw it anew."""
    for path in DIAGRAMS.glob("machine.*"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "machine.mmd").write_text("stateDiagram-v2\n")
    monkeypatch.setattr("engine.cli.diagram.DIAGRAMS", tmp_path)
    code, _, err = run("diagram", "--check")
    assert code == 1
    assert "machine.mmd" in err
    assert "machine.json" not in err


def test_diagram_of_a_config_has_its_schedules(run: Run, tmp_path: Path) -> None:
    """The numbers in the picture are those that the config sets."""
    (tmp_path / "config.yaml").write_text(GOOD + "states: {connecting: {patience: [7s]}}\n")
    _, out, _ = run("diagram", "config.yaml")
    assert "patience 7 s" in out
