"""The verdict on a fleet, and what is said of each account."""

from datetime import datetime

import pytest
from attrs import evolve

from engine.console.status import (
    EngineInfo,
    ExitCode,
    as_data,
    block,
    cause_text,
    exit_code,
    remark,
    situation,
    worst_first,
)
from states import Cause, Hold, Snapshot, State
from states.snapshot import Stall, Trouble

NOW = 1_000_000.0
RUNS = EngineInfo(running=True, pid=1, since=NOW)
HEALTHY = Snapshot(state=State.HEALTHY, since=NOW, link=1)
WAITING = Snapshot(
    state=State.BACKOFF, since=NOW, deadline=NOW + 40, cause=Cause(event="NetworkLost", detail="refused")
)
DEAD = Snapshot(state=State.AUTH_FAILED, since=NOW, cause=Cause(event="SessionDuplicated"))
LIMITED = evolve(HEALTHY, limited=Cause(event="AccountLimited"))
HINDERED = evolve(HEALTHY, database=Trouble(event="DatabaseLocked", detail="locked", since=NOW - 12))


@pytest.mark.parametrize(
    ("accounts", "verdict"),
    [
        ([HEALTHY, HEALTHY], ExitCode.HEALTHY),
        ([HEALTHY, WAITING], ExitCode.TROUBLED),
        ([HEALTHY, DEAD], ExitCode.PERSON_NEEDED),
        ([HEALTHY, LIMITED], ExitCode.PERSON_NEEDED),
        ([evolve(WAITING, deadline=None)], ExitCode.PERSON_NEEDED),
    ],
)
def test_the_exit_code_is_the_verdict(accounts: list[Snapshot], verdict: ExitCode) -> None:
    """The exit code is 0 if all are healthy, 1 if some are not, 2 if the operator must act."""
    assert exit_code(RUNS, accounts) is verdict
    assert exit_code(EngineInfo(running=False), accounts) is ExitCode.NOT_RUNNING


def test_the_worst_comes_first() -> None:
    """What needs the operator is above what heals by itself, and that is above what is well."""
    fleet = {"a": HEALTHY, "b": WAITING, "c": LIMITED, "d": DEAD, "e": Snapshot(state=State.TIMEOUT)}
    assert [name for name, _ in worst_first(fleet)] == ["d", "c", "b", "e", "a"]


def test_an_account_that_cannot_write_comes_before_one_that_can() -> None:
    """Of healthy accounts those with trouble are above the others, whatever their names."""
    assert [name for name, _ in worst_first({"a": HEALTHY, "b": HINDERED, "c": WAITING})] == ["c", "b", "a"]


def test_missing_updates_are_told() -> None:
    """``status`` says what is missing and since when, ``--json`` has it, and once a person was told one is needed."""
    stall = Stall(since=999_940.0, detail="channel 5 (3 missing)")
    missing = evolve(HEALTHY, stall=stall)
    assert situation(missing, 1_000_000.0) == "updates missing for 1 min: channel 5 (3 missing)"
    assert cause_text(missing) == "UpdatesStalled: channel 5 (3 missing)"
    assert exit_code(RUNS, [missing]) is ExitCode.HEALTHY
    assert exit_code(RUNS, [evolve(missing, stall=evolve(stall, told=True))]) is ExitCode.PERSON_NEEDED
    rows = {row["name"]: row["missing_updates"] for row in as_data(RUNS, {"a": HEALTHY, "b": missing})["accounts"]}
    since = datetime.fromtimestamp(999_940.0).astimezone().isoformat(timespec="milliseconds")
    told = {"detail": "channel 5 (3 missing)", "since": since, "fresh_clients": 0, "told": False}
    assert rows == {"a": None, "b": told}


def test_a_file_that_is_not_written_is_data_too() -> None:
    """``status --json`` has what keeps it from being written and since when; null where nothing does."""
    rows = {row["name"]: row["database"] for row in as_data(RUNS, {"a": HEALTHY, "b": HINDERED})["accounts"]}
    since = datetime.fromtimestamp(999_988.0).astimezone().isoformat(timespec="milliseconds")
    assert rows == {"a": None, "b": {"event": "DatabaseLocked", "detail": "locked", "since": since}}


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        (HEALTHY, ""),
        (HINDERED, "session file not written for 12 s: locked"),
        (WAITING, "next attempt in 40 s; NetworkLost: refused"),
        (DEAD, "stop the other program that uses this session, then log in again; SessionDuplicated"),
        (evolve(DEAD, state=State.SHUTTING_DOWN, cause=None, paused=True), "paused; resume it to go on"),
        (Snapshot(state=State.CONNECTING), "waiting for a turn"),
        (Snapshot(state=State.CONNECTING, link=1, attempt=2, deadline=NOW + 60), "attempt 2, 1 min left"),
        (Snapshot(state=State.TIMEOUT, link=1, deadline=NOW + 20), "asked again, 20 s left"),
    ],
)
def test_a_remark_says_what_goes_on(snapshot: Snapshot, words: str) -> None:
    """Each situation reads as a sentence, with the time that is left."""
    assert remark(snapshot, NOW) == words


def test_a_held_request_is_visible() -> None:
    """A healthy account whose requests are held says which, and a hold that is over is not mentioned."""
    holds = (Hold(request="SendMessage", until=NOW + 60), Hold(request="GetHistory", until=NOW - 1))
    said = remark(evolve(HEALTHY, holds=holds), NOW)
    assert said.startswith("SendMessage held until")
    assert "GetHistory" not in said


def test_a_pause_is_data_too() -> None:
    """``status --json`` says of each account whether it was paused by a command; the block calls it paused."""
    paused = Snapshot(state=State.SHUTTING_DOWN, paused=True)
    rows = {row["name"]: row["paused"] for row in as_data(RUNS, {"a": HEALTHY, "b": paused})["accounts"]}
    assert rows == {"a": False, "b": True}
    assert "  Status: paused" in block({"b": paused}).splitlines()


def test_the_block_is_the_guide_s() -> None:
    """The status block has the lines that the user's guide shows."""
    text = block({"Account 1": evolve(HEALTHY, reconnects=2, last_success=NOW)})
    lines = text.splitlines()
    assert lines[:3] == ["=" * 60, "CONNECTION STATUS", "=" * 60]
    assert lines[4:8] == ["✅ Account 1", "  Status: healthy", "  Failures: 0", "  Reconnects: 2"]
    assert lines[8].startswith("  Last Success: 1970-01-1")
