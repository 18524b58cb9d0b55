"""``log stats``: each number by a story whose times are known."""

import json
from pathlib import Path

import pytest
from attrs import field, frozen

from adapters.sqlite import JournalReader
from adapters.system import EngineLock
from engine import paths
from engine.journal.stats import BEGAN_EARLIER, AccountHistory, Stats, measure
from states import Cause, Policy, Snapshot, State
from tests.engine.journal.conftest import Run

S = State


@frozen(kw_only=True)
class Life:
    """A life of account ``a``."""

    life: int = 1
    at: float = 0.0
    snapshot: Snapshot = field(factory=Snapshot)
    policy: Policy = field(factory=Policy)
    pruned_to: int = 0
    start: Snapshot | None = None


@frozen
class Move:
    """A change of state of account ``a``."""

    at: float
    source: State
    target: State
    event: str = "NetworkLost"
    life: int = 1
    dwell: float = 0.0
    account: str = "a"
    shift: float = 0.0


STORY = (
    Move(10, S.CONNECTING, S.HEALTHY, "Connected"),
    Move(110, S.HEALTHY, S.RECONNECTING),  # an outage of 30 s
    Move(120, S.RECONNECTING, S.BACKOFF),
    Move(140, S.BACKOFF, S.HEALTHY, "Connected"),
    Move(240, S.HEALTHY, S.TIMEOUT, "TimedOut"),  # one of 10 s
    Move(250, S.TIMEOUT, S.HEALTHY, "ProbeAnswered"),
    Move(300, S.HEALTHY, S.SHUTTING_DOWN, "StopRequested"),
    Move(310, S.SHUTTING_DOWN, S.SHUTTING_DOWN, "Closed"),
)


def told(
    *moves: Move, lives: tuple[Life, ...] = (Life(),), ends: float = 0.0, since: float | None = None,
    until: float = 1000.0, last: Move | None = None,
) -> Stats:  # fmt: skip
    """Measure account ``a``."""
    return measure({"a": AccountHistory(lives=lives, last=last, ends=ends)}, moves, since=since, until=until)


def test_time_in_each_state_and_the_share_of_healthy() -> None:
    """The end of a life is neither up nor down."""
    found = told(*STORY).accounts["a"]
    assert {state: spent for state, spent in found.seconds.items() if spent} == {
        S.CONNECTING: 10, S.HEALTHY: 250, S.RECONNECTING: 10, S.BACKOFF: 20, S.TIMEOUT: 10, S.SHUTTING_DOWN: 10,
    }  # fmt: skip
    assert found.availability == pytest.approx(250 / 300)


def test_outages_repairs_and_causes() -> None:
    """An outage runs from leaving healthy to healthy again, through any states, and has the event that began it."""
    found = told(*STORY).accounts["a"]
    assert (found.outages, found.repairs, found.longest) == (2, (10, 30), 30)
    assert found.mtbf == 125
    assert (found.mttr_median, found.mttr_p95) == (20, 30)
    assert found.causes == (("NetworkLost", 1, 30), ("TimedOut", 1, 10))


def test_p95_is_what_95_of_100_do_not_exceed() -> None:
    """Nearest rank: of 1 to 100 it is 95."""
    moves = []
    for length in range(1, 101):
        moves += [Move(length * 1000, S.HEALTHY, S.BACKOFF), Move(length * 1000 + length, S.BACKOFF, S.HEALTHY)]
    found = told(Move(1, S.CONNECTING, S.HEALTHY), *moves, until=1e9).accounts["a"]
    assert found.mttr_p95 == 95


def test_time_between_lives_does_not_count() -> None:
    """From the end of a life to the next beginning the engine was down."""
    second = Life(life=2, at=1310, snapshot=Snapshot(life=2))
    moves = (*STORY, Move(1320, S.CONNECTING, S.HEALTHY, "Connected", life=2))
    found = told(*moves, lives=(Life(), second), ends=1420, until=2000).accounts["a"]
    assert found.lived == 300 + 110


def test_a_life_that_was_killed_ends_where_it_last_answered() -> None:
    """The next life's snapshot knows when; what comes after is downtime of the engine."""
    second = Life(life=2, at=900, snapshot=Snapshot(life=2, last_success=500))
    found = told(*STORY[:1], lives=(Life(), second), ends=900).accounts["a"]
    assert found.seconds[S.HEALTHY] == 490
    assert found.lived == 500


@pytest.mark.parametrize("shift", [10_800.0, -10_800.0, 4e7, -50.0])
def test_a_clock_that_was_set_makes_no_time_longer_or_shorter(shift: float) -> None:
    """Healthy for 300 s with a jump after 100 s, and an outage of 30 s: no hours that nobody lived."""
    moves = (
        Move(10, S.CONNECTING, S.HEALTHY, "Connected"),
        Move(110 + shift, S.HEALTHY, S.HEALTHY, "ClockJumped", shift=shift),
        Move(310 + shift, S.HEALTHY, S.BACKOFF),
        Move(320, S.BACKOFF, S.BACKOFF, "ClockJumped", shift=-shift),
        Move(340, S.BACKOFF, S.HEALTHY, "Connected"),
        Move(341, S.HEALTHY, S.SHUTTING_DOWN, "StopRequested"),
        Move(341, S.SHUTTING_DOWN, S.SHUTTING_DOWN, "Closed"),
    )
    found = told(*moves, until=1e9).accounts["a"]
    assert (found.seconds[S.HEALTHY], found.longest) == (301, 30)


def test_a_sign_of_an_earlier_life_does_not_lengthen_one_whose_clock_was_behind() -> None:
    """The second life ran hours earlier by its clock; what the third knows of the first says nothing about it."""
    first = (
        Move(10_000, S.HEALTHY, S.SHUTTING_DOWN, "StopRequested"),
        Move(10_000, S.SHUTTING_DOWN, S.SHUTTING_DOWN, "Closed"),
    )
    second = Life(life=2, at=100, snapshot=Snapshot(life=2, state=S.BACKOFF, last_success=9_999))
    third = Life(life=3, at=10_020, snapshot=Snapshot(life=3, last_success=9_999))
    moves = (Move(9_990, S.CONNECTING, S.HEALTHY, "Connected"), *first)
    late = Move(105, S.BACKOFF, S.BACKOFF, "Started", life=2)
    found = told(*moves, late, lives=(Life(at=9_989), second, third), ends=10_020, until=2e4).accounts["a"]
    assert found.seconds[S.BACKOFF] == 5


def test_a_life_that_goes_on_counts_to_its_last_sign() -> None:
    """Without a record for long, an account in a running engine is still where it was."""
    assert told(*STORY[:1], ends=700).accounts["a"].seconds[S.HEALTHY] == 690


def test_an_outage_that_was_not_repaired_is_the_longest_but_no_repair() -> None:
    """It counts for MTBF and the longest, not for MTTR."""
    found = told(*STORY[:2], ends=800).accounts["a"]
    assert (found.outages, found.repairs, found.longest) == (1, (), 690)
    assert found.mttr_median is None


def test_a_first_attempt_that_fails_begins_an_outage() -> None:
    """An account that never came up is out from its first failure."""
    found = told(Move(5, S.CONNECTING, S.AUTH_FAILED, "AuthRejected"), ends=100).accounts["a"]
    assert (found.outages, found.availability, found.mtbf, found.longest) == (1, 0, 0, 95)
    assert found.causes == (("AuthRejected", 1, 95),)


def test_a_life_that_begins_in_backoff_is_out_with_the_old_cause() -> None:
    """A wait that goes on after a restart is an outage from the start of the life."""
    life = Life(snapshot=Snapshot(state=S.BACKOFF, cause=Cause(event="FloodWait")))
    found = told(Move(50, S.BACKOFF, S.HEALTHY), lives=(life,), ends=100).accounts["a"]
    assert found.causes == (("FloodWait", 1, 50),)


def test_since_cuts_at_the_time() -> None:
    """What lies before does not count, an outage under way does not count as repaired, and its cause is not made up."""
    found = told(*STORY[3:], last=STORY[2], lives=(Life(),), since=130.0).accounts["a"]
    assert found.lived == 170
    assert (found.outages, found.repairs, found.longest) == (1, (10,), 10)
    assert (BEGAN_EARLIER, 1, 10) in found.causes


def test_a_clock_that_was_set_back_gives_no_negative_time() -> None:
    """Time goes on from the new reading."""
    moves = (Move(100, S.CONNECTING, S.HEALTHY), Move(40, S.HEALTHY, S.BACKOFF), Move(60, S.BACKOFF, S.HEALTHY))
    found = told(*moves, ends=60).accounts["a"]
    assert (found.seconds[S.HEALTHY], found.seconds[S.BACKOFF]) == (0, 20)


def test_the_fleet_takes_all_accounts_together() -> None:
    """Times add up, and repairs are pooled."""
    histories = {name: AccountHistory(lives=(Life(),), last=None, ends=0.0) for name in "ab"}
    both = [Move(m.at, m.source, m.target, m.event, account=name) for m in STORY for name in "ab"]
    found = measure(histories, both, since=None, until=1000.0)
    assert found.fleet.lived == 600
    assert found.fleet.repairs == (10, 10, 30, 30)
    assert found.fleet.causes == (("NetworkLost", 2, 60), ("TimedOut", 2, 20))


def test_a_life_without_its_beginning_counts_from_where_it_is_known() -> None:
    """Retention took the first records: what they said is not guessed."""
    life = Life(pruned_to=5, start=Snapshot(state=S.HEALTHY))
    found = told(Move(500, S.HEALTHY, S.BACKOFF, dwell=100), lives=(life,), ends=510).accounts["a"]
    assert found.lived == 110


# --- the command -----------------------------------------------------------------------------------------------------


def test_json_has_each_account_and_the_fleet(run: Run, path: Path) -> None:
    """The numbers of the story, read from its file; the engine is down, so nothing lasts until now."""
    code, out, _ = run("stats", "--json")
    found = json.loads(out)
    assert code == 0
    assert [account["name"] for account in found["accounts"]] == ["Jobs", "News 1", "News 2"]
    jobs, news, _ = found["accounts"]
    assert jobs["availability"] == 0
    assert news["seconds"] == {
        "connecting": 6, "healthy": 3, "timeout": 0, "backoff": 0, "reconnecting": 0, "auth_failed": 0,
        "shutting_down": 1,
    }  # fmt: skip
    assert found["fleet"]["outages"] == 3
    assert found["fleet"]["causes"][0] == {"event": "NetworkLost", "outages": 2, "seconds": 0}


def test_the_text_has_a_bar_and_the_causes(run: Run, path: Path) -> None:
    """Every account has a row, the fleet has one, and states and causes are named."""
    code, out, _ = run("stats")
    assert code == 0
    assert all(word in out for word in ("Jobs", "News 1", "News 2", "all", "█", "NetworkLost", "auth_failed"))


def test_a_time_in_which_nothing_ran_has_no_numbers(run: Run, path: Path) -> None:
    """Nothing is divided by nothing."""
    code, out, _ = run("stats", "--since", "1h", "--json")
    fleet = json.loads(out)["fleet"]
    assert (code, fleet["availability"], fleet["mtbf"], fleet["outages"]) == (0, None, None, 0)
    assert run("stats", "--since", "1h")[0] == 0


def test_a_window_and_the_whole_say_the_same_about_it(run: Run, path: Path) -> None:
    """Asking since before the beginning is asking for everything."""
    whole, window = json.loads(run("stats", "--json")[1]), json.loads(run("stats", "--since", "36500d", "--json")[1])
    assert window["fleet"] == whole["fleet"]
    with JournalReader.open(path) as reader:
        assert reader.first_since(0.0) == 1


def test_an_impossible_since_says_what_is_accepted(run: Run, path: Path) -> None:
    """The forms of a duration are named."""
    code, out, err = run("stats", "--since", "yesterday")
    assert (code, out) == (2, "")
    assert "10s, 100ms, 5m" in err


def test_an_account_in_a_running_engine_counts_until_now(run: Run, path: Path) -> None:
    """While an engine holds the data, its lives go on, though nothing was written for long; older ones do not."""
    with EngineLock(path.parent / paths.LOCK).held(1_000_050.0):
        found = json.loads(run("stats", "--json")[1])
    _, news_1, news_2 = found["accounts"]
    assert news_1["seconds"]["backoff"] > 1e6
    assert news_2["seconds"]["backoff"] == 0
