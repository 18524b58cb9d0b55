"""The status page where stdout is no terminal is, byte by byte, what rich would print there."""

import codecs
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from engine.console.account_status import AccountStatus
from engine.console.incident_lines import page as incident_page
from engine.console.status import EngineInfo, page
from engine.console.status_text import page_text, plain_width
from engine.console.streams import ERRORS, _written_plainly
from states import Cause, Snapshot, State
from states.incident import Incident, IncidentKind, Severity

NOW = 1_800_000_000.0
NAMES = st.text(st.characters(codec="utf-8", exclude_characters=" "), min_size=1, max_size=64).filter(str.isprintable)
SNAPSHOTS = st.builds(
    Snapshot,
    state=st.sampled_from(State),
    since=st.floats(NOW - 1e6, NOW),
    failures=st.integers(0, 10**6),
    reconnects=st.integers(0, 10**9),
    last_success=st.none() | st.floats(NOW - 1e6, NOW),
    cause=st.none() | st.builds(Cause, event=st.just("NetworkLost"), detail=st.text(max_size=90)),
    paused=st.booleans(),
)
ACCOUNTS = st.dictionaries(NAMES, st.builds(AccountStatus, st.none() | SNAPSHOTS, st.booleans()), max_size=5)


def by_rich(info: EngineInfo, accounts: dict[str, AccountStatus], width: int) -> str:
    """Return what rich prints for a stream that is no terminal."""
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(page(info, accounts, NOW))
    return out.getvalue()


@given(ACCOUNTS, st.integers(40, 200), st.builds(EngineInfo, st.booleans(), st.none() | st.integers(1, 10**6)))
@example({"N" * 26: AccountStatus(None)}, 80, EngineInfo(running=True))
@example({"N" * 25: AccountStatus(None)}, 80, EngineInfo(running=True))
@example({"N" * 24: AccountStatus(None)}, 80, EngineInfo(running=True))
@example({"号" * 14: AccountStatus(None)}, 80, EngineInfo(running=True))
@example({}, 80, EngineInfo(running=False))
def test_the_page_is_what_rich_prints(accounts: dict[str, AccountStatus], width: int, info: EngineInfo) -> None:
    """Names and remarks of any length and script, in any width."""
    text = page_text(info, accounts, NOW, width)
    assert text is None or f"{text}\n" == by_rich(info, accounts, width)


def test_a_usual_page_needs_no_rich() -> None:
    """Nothing has to be wrapped in 80 columns."""
    accounts = {f"Account {number}": AccountStatus(Snapshot(since=NOW - number)) for number in range(9)}
    assert page_text(EngineInfo(running=True, pid=7, since=NOW - 9), accounts, NOW, 80) is not None


def test_a_line_that_does_not_fit_is_left_to_rich() -> None:
    """It wraps the heading, and squeezes the columns."""
    accounts = {"A": AccountStatus(Snapshot(since=NOW))}
    assert page_text(EngineInfo(running=False), accounts, NOW, 41) is None
    assert page_text(EngineInfo(running=False), accounts, NOW, 200, ["x" * 201]) is None


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_who_asks_for_colours_gets_them_from_rich(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """These variables say that stdout can do more than it seems."""
    monkeypatch.setenv(name, "1")
    assert plain_width() is None


def test_the_width_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As rich has it."""
    monkeypatch.setenv("COLUMNS", "123")
    assert plain_width() in (123, None)  # None where the tests run with stdout on a terminal


@pytest.mark.parametrize("width", [30, 50, 66, 80, 100, 240])
@pytest.mark.parametrize("name", ["A", "N" * 24])
def test_what_happens_next_and_what_to_do_are_never_cut(width: int, name: str) -> None:
    """However long the names are, and however narrow the page is: what has no room beside an account stands below."""
    waits = Snapshot(
        state=State.BACKOFF, since=NOW - 3, failures=7, deadline=NOW + 95,
        cause=Cause(event="NetworkLost", detail="connection refused"),
    )  # fmt: skip
    dead = Snapshot(state=State.AUTH_FAILED, since=NOW - 90_000, cause=Cause(event="SessionDuplicated"))
    accounts = {name: AccountStatus(waits, present=True), "Other": AccountStatus(dead, present=True)}
    printed = by_rich(EngineInfo(running=True), accounts, width)
    said = " ".join(printed.split())
    assert "next attempt in 1 min 35 s; NetworkLost: connection refused" in said
    assert "stop the other program that uses this session, then log in again" in said
    assert all(cell_len(line) <= width for line in printed.splitlines())


def test_incidents_below_the_accounts_are_not_cut() -> None:
    """What to do is at the end of such a line."""
    found = Incident(
        id=7, kind=IncidentKind.OUTAGE, cause="NetworkLost", accounts=("A",), severity=Severity.WARNING,
        since=NOW - 60, opened=NOW - 50,
    )  # fmt: skip
    lines = [line.plain for line in incident_page([found], NOW, 80)]
    assert found.action in " ".join(" ".join(lines).split())
    assert all(cell_len(line) <= 80 for line in lines)


def test_columns_are_straight_without_icons(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands for an icon, and for a letter of a name, is as wide as it is."""
    codecs.register_error(ERRORS, _written_plainly)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "ascii", ERRORS))
    names = {"Ä": AccountStatus(None), "B": AccountStatus(Snapshot(since=NOW), present=True)}
    text = page_text(EngineInfo(running=True, since=NOW), names, NOW, 80, ["  ❌ " + "word " * 15])
    assert text is not None
    assert text.isascii()
    titles, *rows = [line for line in text.splitlines() if "  never" in line or "Last ok" in line]
    assert [row.endswith("never") and len(row) == len(titles) for row in rows] == [True, True]
    assert {row.index(state) for row, state in zip(rows, ("[?] unknown", "[~] connecting"), strict=True)} == {
        titles.index("State")
    }
