"""What the operator reads: each decision that matters is a line with its icon, and routine is silent."""

import logging

import pytest

from engine.console.format import seconds
from engine.console.log_connections import ICONS, WORDS
from engine.console.status import situation
from states import EVENTS
from states.events import (
    AccountLimited,
    AuthRejected,
    CaughtUp,
    ConfigRefused,
    Connected,
    DatabaseLocked,
    DatabaseRecovered,
    DatabaseUnavailable,
    Elapsed,
    Event,
    Failure,
    FloodWait,
    NetworkLost,
    NetworkRestored,
    ProbeAnswered,
    ProbeDue,
    Stable,
    Started,
    StopRequested,
    TimedOut,
    TurnGranted,
)
from states.incident_signs import account_seen
from tests.engine.console.walk import lines
from tests.states.harness import AccountDriver


def said(driver: AccountDriver, event: Event) -> list[str]:
    """Return the lines of a decision, each with its icon."""
    return [f"{icon} {sentence}" for _, icon, sentence in lines("Account 1", driver.take(event))]


def attempting() -> AccountDriver:
    """Return an account in its first attempt."""
    driver = AccountDriver()
    driver.take(Started())
    driver.take(TurnGranted(generation=0))
    return driver


def test_routine_is_not_worth_a_line() -> None:
    """Turns, probes and answers are not told."""
    driver = attempting()
    driver.take(Connected())
    assert said(driver, ProbeDue(generation=0)) == []
    assert said(driver, ProbeAnswered()) == []
    assert said(driver, NetworkLost(link=99, detail="an old link")) == []


def test_a_first_connection_is_told_once() -> None:
    """Success has the guide's icon."""
    assert said(attempting(), Connected()) == ["✅ Successfully connected Account 1 in 3 s"]


def test_a_connection_through_a_proxy_says_which() -> None:
    """The line says which proxy of a list carries the account, at the first connection and after a loss."""
    via = Connected(via="socks5://127.0.0.1:1081")
    driver = attempting()
    assert said(driver, via) == ["✅ Successfully connected Account 1 in 3 s via socks5://127.0.0.1:1081"]
    driver.take(NetworkLost())
    driver.take(Elapsed(generation=0))
    driver.take(TurnGranted(generation=0))
    assert said(driver, via) == ["✅ Successfully reconnected Account 1 at attempt 2 via socks5://127.0.0.1:1081"]


def test_a_failed_attempt_says_what_happened_and_when_it_goes_on() -> None:
    """Two lines: the cause, and the wait."""
    assert said(attempting(), NetworkLost(detail="connection refused")) == [
        "🔌 Network error for Account 1: connection refused",
        "⏱️ Retrying Account 1 in 10 s",
    ]


def test_a_reconnect_is_told_from_its_attempt_to_its_success() -> None:
    """The guide's 🔄 and ✅, with the number of the attempt when it is not the first."""
    driver = attempting()
    driver.take(NetworkLost())
    assert said(driver, Elapsed(generation=0)) == ["🔄 Attempting to reconnect Account 1..."]
    driver.take(TurnGranted(generation=0))
    assert said(driver, Connected()) == ["✅ Successfully reconnected Account 1 at attempt 2"]


def test_a_silence_says_how_long_it_waits_now() -> None:
    """⏱️ for the silence, 🔍 for the question that follows, ✅ when it is answered."""
    driver = attempting()
    driver.take(Connected())
    driver.take(Stable(generation=0))
    assert said(driver, TimedOut(detail="no answer within 10 s")) == [
        "⏱️ Timeout for Account 1: no answer within 10 s",
        "🔍 Asking Account 1 again, for 20 s this time",
    ]
    assert said(driver, ProbeAnswered()) == ["✅ Account 1 answers again after 1 s"]


def test_a_dead_login_is_an_error_with_advice() -> None:
    """🔑 and ❌, both errors, and what the operator should do."""
    driver = attempting()
    told = lines("Account 1", driver.take(AuthRejected(detail="SESSION_REVOKED (401)")))
    assert [icon for _, icon, _ in told] == ["🔑", "❌"]
    assert {level for level, _, _ in told} == {logging.ERROR}
    assert told[1][2].endswith("What to do: log in again")


def test_a_limit_is_a_warning() -> None:
    """A limited account stays connected, and its line says so."""
    driver = attempting()
    driver.take(Connected())
    told = lines("Account 1", driver.take(AccountLimited(detail="PEER_FLOOD")))
    assert told[1][:2] == (logging.WARNING, "⚠️")
    assert "stays connected" in told[1][2]


def test_five_failures_are_told_once() -> None:
    """The exhausted alert is one line, at the fifth failure."""
    driver = AccountDriver()
    driver.take(Started())
    told = [line for _ in range(8) for line in lines("Account 1", driver.fail(NetworkLost()))]
    assert [sentence for _, icon, sentence in told if icon == "❌"] == [
        "Account 1 is still failing after 5 failures in a row; it keeps trying"
    ]


def test_a_held_request_names_its_kind() -> None:
    """A flood wait says which kind of request is held."""
    driver = attempting()
    driver.take(Connected())
    assert "SendMessage is held until" in said(driver, FloodWait(seconds=60, request="SendMessage"))[-1]


def test_the_end_is_told() -> None:
    """A stop and the closing that follows are a line each."""
    driver = attempting()
    driver.take(Connected())
    assert said(driver, StopRequested()) == ["🔍 Disconnecting Account 1"]


def test_a_pause_is_told_as_one() -> None:
    """A stop of one account by a command reads as a pause."""
    driver = attempting()
    driver.take(Connected())
    assert said(driver, StopRequested(paused=True)) == ["🔍 Pausing Account 1"]


def connected(*, silent: bool = False) -> AccountDriver:
    """Return an account that is connected, or whose link is suspect."""
    driver = attempting()
    driver.take(Connected())
    if silent:
        driver.take(TimedOut())
    return driver


@pytest.mark.parametrize("silent", [False, True])
def test_a_locked_file_says_how_long_what_waits_and_what_to_do(silent: bool) -> None:
    """One line for each report, with 💾, and no other line: a suspect link is asked nothing because of it."""
    locked = DatabaseLocked(detail="the database is locked", waited=4.0, unsaved=3)
    assert said(connected(silent=silent), locked) == [
        "💾 Session file of Account 1 is locked for 4 s: the database is locked; nothing is lost, "
        "3 rows wait in memory; close the program that holds it"
    ]


@pytest.mark.parametrize(("unsaved", "words"), [(0, "nothing is lost"), (1, "nothing is lost, 1 row waits in memory")])
def test_what_waits_is_counted_in_words(unsaved: int, words: str) -> None:
    """Zero is not counted, and one is not a plural."""
    (line,) = said(connected(), DatabaseLocked(waited=1.0, unsaved=unsaved))
    assert line == f"💾 Session file of Account 1 is locked for 1 s; {words}; close the program that holds it"


@pytest.mark.parametrize(
    ("event", "reported", "remedy"),
    [
        (DatabaseLocked(detail="locked", waited=32.0, unsaved=3), "locked for 32 s: locked", "close the program"),
        (DatabaseUnavailable(detail="the disk is full", unsaved=3), "not written: the disk is full", "see to the file"),
    ],
)
def test_a_file_that_a_person_must_see_to_is_an_error_once(event: Event, reported: str, remedy: str) -> None:
    """The alert says what to do, so the report beside it does not; reports that follow are not alerts."""
    driver = connected()
    report, alert = lines("Account 1", driver.take(event))
    assert report[2] == f"Session file of Account 1 is {reported}; nothing is lost, 3 rows wait in memory"
    assert alert[:2] == (logging.ERROR, "❌")
    assert f"cannot be written. What to do: {remedy}" in alert[2]
    assert [level for level, _, _ in lines("Account 1", driver.take(event))] == [logging.WARNING]


def test_a_session_that_is_a_row_is_no_file() -> None:
    """The database is to be seen to, and not a disk of this machine."""
    failure = DatabaseUnavailable(detail="postgresql://db/fleet (Account 1): no room", unsaved=3)
    driver = connected()
    report, alert = lines("Account 1", driver.take(failure))
    assert report[2].startswith("Session of Account 1 is not written: postgresql://db/fleet (Account 1): no room;")
    assert alert[2] == "Account 1 is connected, but its session cannot be written. What to do: see to the database"
    assert situation(driver.snapshot, 0.0).startswith("session not written for")
    assert account_seen("Account 1", driver.snapshot).file.detail.startswith("postgresql://")  # type: ignore[union-attr]
    assert said(attempting(), failure)[0].startswith("💾 Session unavailable for Account 1: postgresql://")


@pytest.mark.parametrize("silent", [False, True])
def test_a_file_that_is_written_again_is_told(silent: bool) -> None:
    """With how long it took, and nothing else."""
    driver = connected(silent=silent)
    driver.take(DatabaseLocked(waited=8.0, unsaved=3))
    expected = ["💾 Session file of Account 1 is written again after 12 s"]
    assert said(driver, DatabaseRecovered(waited=12.0, written=3)) == expected


def test_a_failed_attempt_for_a_locked_file_is_told_as_one() -> None:
    """Before there is a link nothing waits in memory: it is a failure like any other."""
    assert said(attempting(), DatabaseLocked(detail="locked")) == [
        "💾 Session file locked for Account 1: locked",
        "⏱️ Retrying Account 1 in 5 s",
    ]


@pytest.mark.parametrize(
    ("setting", "level"), [("telegram.api_id", logging.INFO), ("telegram.datacenter", logging.ERROR)]
)
def test_what_concerns_all_is_not_an_alert_of_each(setting: str, level: int) -> None:
    """A refused ``api_id`` is told of each account below the level of an alert; the fleet's own line is the alert."""
    told = lines("Account 1", attempting().take(ConfigRefused(setting=setting, detail="refused")))
    assert {each for each, _, _ in told} == {level}


def test_every_failure_has_an_icon_and_words() -> None:
    """No error is told without its icon."""
    failures = {event.__name__ for event in EVENTS if issubclass(event, Failure)}
    assert failures == ICONS.keys() == WORDS.keys()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 s"),
        (0.04, "40 ms"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (12.4, "12 s"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_are_told_in_words(value: float, words: str) -> None:
    """A duration reads as a person would say it."""
    assert seconds(value) == words


@pytest.mark.parametrize(
    ("told", "end"),
    [
        (CaughtUp(recovered=0), "; nothing was missed"),
        (CaughtUp(recovered=1), "; 1 update recovered"),
        (CaughtUp(recovered=3), "; 3 updates recovered"),
        (CaughtUp(too_long=True), ", too long for Telegram to list all that it missed; read the chats for it"),
    ],
)
def test_a_gap_is_told_with_its_length_and_what_it_cost(told: CaughtUp, end: str) -> None:
    """Who comes back says from when to when the account was away, and what was fetched."""
    driver = attempting()
    driver.take(Connected())
    driver.take(NetworkLost())
    driver.take(Elapsed(generation=0))
    driver.take(TurnGranted(generation=0))
    driver.take(Connected())
    (line,) = said(driver, told)
    assert "Account 1 was away from " in line
    assert line.endswith(end)


def test_what_is_still_missing_is_told_and_when_it_is_there() -> None:
    """Also by an account that was never away: what was refused in the middle of its life is missing all the same."""
    driver = attempting()
    driver.take(Connected())
    why = ("private chats and groups (INTERNAL (500); asked again in 2 s)", "channel 7 (…)")
    assert said(driver, CaughtUp(recovered=1, missing=why)) == [
        f"⚠️ Account 1 has not all that it missed: 1 update recovered; still missing: {why[0]}, {why[1]}"
    ]
    assert said(driver, CaughtUp(recovered=3, late=True)) == [
        "🔍 Account 1 now has what was still missing; 3 updates recovered"
    ]


def test_a_first_connection_has_no_gap() -> None:
    """An account that was never heard of before has missed nothing that anybody could name."""
    driver = attempting()
    driver.take(Connected())
    assert said(driver, CaughtUp(recovered=0)) == []


def test_a_wait_that_was_cut_short_says_why() -> None:
    """Who reads 'retrying in 10 s' and sees an attempt after two learns that the network is back."""
    driver = attempting()
    driver.take(NetworkLost())
    assert said(driver, NetworkRestored()) == ["🔄 The network is back. Attempting to reconnect Account 1..."]
