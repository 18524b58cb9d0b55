"""``log explain``: the rule, what its guards saw, the arithmetic of the wait, the cause, the neighbours."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from attrs import asdict, field, frozen

from engine.journal.explain import arithmetic_of, explain
from engine.journal.explain_page import as_data, as_text
from states import ROWS, Entry, Event, Policy, Record, Snapshot, State, step
from states.answers import GUARD_INPUTS
from states.events import DatabaseLocked, FloodWait, NetworkLost, TransportFlood
from states.schedules import Backoff, BackoffSchedules
from tests.engine.journal.conftest import Run


def test_it_says_the_rule_the_values_the_sum_and_the_cause(run: Run, path: Path) -> None:
    """The text has each part, and the neighbours of the same account with this one marked."""
    code, out, _ = run("explain", "15")
    assert code == 0
    assert "connecting ─NetworkLost→ backoff   does Close, Wait" in out
    assert "a failed attempt waits as long as the schedule of its cause says" in out
    assert "exhausted no, failures with this one 1, schedule.tries 5" in out
    assert "network: 10 s × 2^(1−1) = 10 s, jitter 0.2 with draw" in out
    assert "ConnectionResetError: reset" in out
    assert "OSError: gone" in out
    shown = [line for line in out.splitlines() if "News 1" in line]
    assert len(shown) == 1 + 4
    assert shown[-1].startswith("→")
    assert "News 2" not in out


def test_json_has_the_same(run: Run, path: Path) -> None:
    """Programs get the rule as it is written, each guard with its answer, and the numbers of the sum."""
    _, out, _ = run("explain", "9", "--json")
    told = json.loads(out)
    assert told["entry"]["seq"] == 9
    assert told["rule"] == {
        "name": "connecting.NetworkLost", "source": "connecting", "event": "NetworkLost", "guard": None,
        "target": "backoff", "effects": ["Close", "Wait"],
        "why": "a failed attempt waits as long as the schedule of its cause says",
    }  # fmt: skip
    assert [(asked["guard"], asked["holds"]) for asked in told["guards"]] == [
        ("foreign", False), ("out_of_tries", False), ("exhausted", False),
    ]  # fmt: skip
    assert told["guards"][0]["saw"] == {"event.link": 1, "link": 1}
    assert round(told["schedule"]["delay"], 3) == told["entry"]["delay"]
    assert told["snapshot"]["attempt"] == 1
    assert [entry["seq"] for entry in told["before"]] == [7, 8]
    assert told["after"] == []
    assert told["doubt"] is None


def test_every_guard_says_what_it_looks_at() -> None:
    """No rule of the table asks a question that the explanation has no values for."""
    assert {row.when.__name__ for row in ROWS if row.when} == set(GUARD_INPUTS)


@frozen
class Begun:
    """The beginning of a life, as the journal has it."""

    snapshot: Snapshot
    policy: Policy = field(factory=Policy)
    at: float = 0.0
    pruned_to: int = 0

    @property
    def start(self) -> Snapshot:
        """Where it began."""
        return self.snapshot


def test_an_alert_about_a_file_is_explained_by_the_limit_that_passed() -> None:
    """The guard shows how long it lasted, the limit, and that no alert was raised; for programs as plain values."""
    reports = [DatabaseLocked(link=1, waited=8.0), DatabaseLocked(link=1, waited=32.0)]
    start = at = Snapshot(state=State.HEALTHY, link=1, links=1)
    entries: list[Entry] = []
    for seq, event in enumerate(reports, 1):
        made = step(at, event, now=100.0 * seq, rng=Fixed(), policy=Policy())
        values = asdict(made.record, recurse=False)
        entries.append(Entry(**values, seq=seq, account="A", life=1))
        at = made.snapshot
    told = explain(entries[-1], life=Begun(start), records=entries, event_of=lambda entry: reports[entry.seq - 1])
    assert json.loads(json.dumps(as_data(told)))["guards"][-1]["saw"] == {
        "event.waited": 32.0,
        "backoff.database.alert_after": 30.0,
        "database": "DatabaseLocked",
        "database.told": False,
    }
    assert "event.waited 32.0, backoff.database.alert_after 30.0, database DatabaseLocked" in as_text(told).plain


def test_a_journal_that_parts_from_the_rules_is_explained_with_a_doubt(run: Run, path: Path) -> None:
    """What can be told is told, and the rest is not made up."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE journal SET target = source WHERE seq = 3")
        db.commit()
    code, out, _ = run("explain", "4", "--json")
    told = json.loads(out)
    assert (code, told["guards"], told["snapshot"]) == (0, [], None)
    assert "parts from the journal at 3" in told["doubt"]


@pytest.mark.parametrize("seq", ["0", "16", "-1", "99999999999999999999"])
def test_a_number_that_does_not_exist_says_which_do(run: Run, path: Path, seq: str) -> None:
    """The first and the last are named, and the exit code is 2."""
    code, out, err = run("explain", seq)
    assert (code, out) == (2, "")
    assert "there are 1 to 15" in err


# --- arithmetic ------------------------------------------------------------------------------------------------------


class Fixed:
    """Draws the same number always."""

    def random(self) -> float:
        return 0.71


def failed(event: Event, attempt: int, policy: Policy) -> tuple[Record, Snapshot]:
    """Let attempt number ``attempt`` fail."""
    before = Snapshot(link=1, links=1, attempt=attempt, streak=attempt - 1)
    made = step(before, event, now=0.0, rng=Fixed(), policy=policy)
    return made.record, made.snapshot


@pytest.mark.parametrize(
    ("event", "attempt", "text"),
    [
        (NetworkLost(), 3, "network: 10 s × 2^(3−1) = 40 s, jitter 0.2 with draw 0.71 → +8.4 % = 43.36 s"),
        (
            NetworkLost(),
            5,
            "network: 10 s × 2^(5−1) = 160 s, capped at 120 s, jitter 0.2 with draw 0.71 → -5.8 % = 113 s",
        ),
        (TransportFlood(), 1, "transport_flood: 30 s × 2^(1−1) = 30 s, jitter 0.2 with draw 0.71 → +8.4 % = 32.52 s"),
        (FloodWait(seconds=30), 1, "flood: the server said 30 s, + slack 1 s = 31 s"),
    ],
)
def test_the_sum_is_written_out(event: Event, attempt: int, text: str) -> None:
    """The arithmetic in words leads to the delay that the machine chose."""
    record, after = failed(event, attempt, Policy())
    found = arithmetic_of(record, event, after, Policy())  # type: ignore[arg-type]  # an entry is a record with a place
    assert found is not None
    assert found.text == text


def test_a_wait_after_very_many_failures_is_still_told() -> None:
    """Growth beyond any number does not break the explanation."""
    policy = Policy(backoff=BackoffSchedules(network=Backoff(jitter=0)))
    record, after = failed(NetworkLost(), 5000, policy)
    found = arithmetic_of(record, NetworkLost(), after, policy)  # type: ignore[arg-type]  # as above
    assert found is not None
    assert found.text == "network: 10 s × 2^(5000−1) = ∞ s, capped at 120 s, no jitter"


def test_patience_is_told_for_an_attempt(run: Run, path: Path) -> None:
    """A deadline that is not a back-off says which patience it is."""
    _, out, _ = run("explain", "8")
    assert "connecting.patience [60 s, 75 s, 90 s], number 1 = 60 s" in out
