"""The corners of each state: what is ignored, what comes when it should not, what is told only once."""

import random

import attrs
import pytest

from states import Action, Policy, State, step
from states.effects import (
    AlertExhausted,
    AlertLimited,
    AlertParked,
    AlertUnusable,
    AskTurn,
    Close,
    HoldRequests,
    HoldWork,
    Probe,
    Release,
    Wait,
)
from states.events import (
    AccountBanned,
    AccountLimited,
    AuthKeyUnknown,
    AuthRejected,
    ClockJumped,
    Closed,
    Connected,
    CredentialsReplaced,
    DatabaseCorrupt,
    Elapsed,
    Event,
    Failure,
    FloodWait,
    NetworkLost,
    NetworkRestored,
    ProbeAnswered,
    ProbeDue,
    RetryRequested,
    SessionDuplicated,
    Stable,
    Started,
    TimedOut,
    TransportFlood,
    TurnGranted,
)
from states.schedules import Suspicion
from tests.states.harness import NOW, PARKING, STEADY, AccountDriver, effects, in_state, sample

IDLE: dict[State, tuple[type[Event], ...]] = {
    State.CONNECTING: (ProbeAnswered, ProbeDue, Stable, Elapsed, NetworkRestored, ClockJumped, RetryRequested, Closed),
    State.RECONNECTING: (
        ProbeAnswered,
        ProbeDue,
        Stable,
        Elapsed,
        NetworkRestored,
        ClockJumped,
        RetryRequested,
        Started,
    ),
    State.HEALTHY: (Elapsed, NetworkRestored, Started, TurnGranted, Connected, Closed),
    State.TIMEOUT: (ProbeDue, Stable, Elapsed, NetworkRestored, Started, TurnGranted, Connected, Closed),
    State.BACKOFF: (TurnGranted, Connected, ProbeAnswered, ProbeDue, Stable, Closed, NetworkLost, AuthKeyUnknown),
    State.AUTH_FAILED: (TurnGranted, ProbeDue, Stable, Elapsed, NetworkRestored, ClockJumped, Connected, Closed),
}
"""What is ignored where, even when it is neither stale nor foreign."""


@pytest.mark.parametrize(("state", "kind"), [(state, kind) for state, kinds in IDLE.items() for kind in kinds])
def test_what_has_nothing_to_say_changes_nothing(state: State, kind: type[Event]) -> None:
    """An event that means nothing in a state leaves the account exactly as it was."""
    snapshot = in_state(state)
    decision = step(snapshot, sample(kind, snapshot), now=NOW, rng=random.Random(), policy=Policy())
    assert decision.snapshot == snapshot
    assert not decision.effects


def test_one_attempt_at_a_time() -> None:
    """A second turn does not open a second link."""
    driver = AccountDriver()
    driver.take(Started())
    driver.take(TurnGranted(generation=0))
    before = driver.snapshot
    assert not driver.take(TurnGranted(generation=0)).effects
    assert driver.snapshot == before


def test_credentials_that_are_replaced_begin_anew_at_once() -> None:
    """An attempt with the old key is given up for one with the new, counted from zero, as a first one."""
    driver = AccountDriver().connect().settle()
    driver.take(NetworkLost())
    driver.take(TurnGranted(generation=0))
    before = driver.snapshot.generation
    assert effects(driver.take(CredentialsReplaced())) == [Close, AskTurn]
    assert (driver.snapshot.state, driver.snapshot.attempt, driver.snapshot.link) == (State.CONNECTING, 0, 0)
    assert driver.snapshot.generation > before
    driver.take(TurnGranted(generation=0))
    before = driver.snapshot.generation
    driver.take(CredentialsReplaced())
    assert driver.snapshot.generation > before


def test_new_credentials_replace_a_link() -> None:
    """A healthy link that speaks with the old key is closed for one with the new."""
    driver = AccountDriver().connect()
    assert effects(driver.take(CredentialsReplaced())) == [HoldWork, Close, AskTurn]
    assert driver.snapshot.state is State.RECONNECTING


@pytest.mark.parametrize("healthy", [False, True])
def test_a_limit_is_told_once(healthy: bool) -> None:
    """A limit that is known is not worth another alert."""
    driver = AccountDriver()
    driver.take(Started())
    driver.take(TurnGranted(generation=0))
    if healthy:
        driver.take(Connected())
    assert AlertLimited in effects(driver.take(AccountLimited()))
    assert not driver.take(AccountLimited()).effects


def test_five_refused_connections_raise_one_alert() -> None:
    """−429 again and again is told, too, once, at the fifth."""
    driver = AccountDriver()
    driver.take(Started())
    alerts = [AlertExhausted in effects(driver.fail(TransportFlood())) for _ in range(8)]
    assert alerts == [number == 4 for number in range(8)]


def test_longer_patience_asks_more_often() -> None:
    """With three entries the second silence is followed by a third question, and only the third one is a loss."""
    patient = attrs.evolve(STEADY, timeout=Suspicion(patience=(1.0, 2.0, 4.0)))
    driver = AccountDriver(patient).connect().settle()
    driver.take(TimedOut())
    again = driver.take(TimedOut()).effects[0]
    assert isinstance(again, Probe)
    assert (driver.snapshot.state, again.patience) == (State.TIMEOUT, 4.0)
    driver.take(TimedOut())
    assert driver.snapshot.state is State.RECONNECTING


def failed_before(policy: Policy, failures: int) -> AccountDriver:
    """Return an account in ``timeout`` after so many failures in a row, on a link that never settled."""
    driver = AccountDriver(policy)
    driver.take(Started())
    for _ in range(failures - 1):
        driver.fail(NetworkLost())
    driver.connect()
    driver.take(TimedOut())
    return driver


def test_a_silence_can_be_the_last_try() -> None:
    """With ``then: park`` the silence that uses up the tries parks the account."""
    driver = failed_before(PARKING, 2)
    assert AlertParked in effects(driver.take(TimedOut()))
    assert driver.snapshot.parked


def test_a_silence_can_be_the_fifth_failure() -> None:
    """The alert of five failures comes with a silence as with any other, and the account goes on."""
    driver = failed_before(STEADY, 4)
    assert effects(driver.take(TimedOut())) == [Close, AskTurn, AlertExhausted]


@pytest.mark.parametrize(("settled", "state"), [(True, State.RECONNECTING), (False, State.BACKOFF)])
def test_a_suspect_link_that_is_lost_goes_the_way_of_its_past(settled: bool, state: State) -> None:
    """What held is retried at once, also out of ``timeout``; what never settled waits."""
    driver = AccountDriver().connect()
    if settled:
        driver.settle()
    driver.take(TimedOut())
    driver.take(NetworkLost())
    assert driver.snapshot.state is state


def test_an_unknown_key_counts_on_a_link_too() -> None:
    """Four unknown keys while connecting and one on the link that came of it are told about, and it keeps trying."""
    driver = AccountDriver()
    driver.take(Started())
    for _ in range(4):
        driver.fail(AuthKeyUnknown())
    driver.connect()
    driver.take(AuthKeyUnknown())
    assert (driver.snapshot.state, driver.snapshot.action) == (State.BACKOFF, Action.LOG_IN)


@pytest.mark.parametrize("event", [Elapsed(generation=0), ClockJumped(seconds=60.0)])
def test_no_time_wakes_a_parked_account(event: Event) -> None:
    """A parked account has no deadline that could come."""
    driver = AccountDriver(PARKING)
    driver.take(Started())
    for _ in range(3):
        driver.fail(NetworkLost())
    assert not driver.take(event).effects
    assert driver.snapshot.parked


def test_new_credentials_wake_a_parked_account_and_no_other_wait() -> None:
    """A new login counts as an action of the operator; a wait that has an end stays."""
    parked, waiting = AccountDriver(PARKING), AccountDriver()
    for driver, failures in ((parked, 3), (waiting, 1)):
        driver.take(Started())
        for _ in range(failures):
            driver.fail(NetworkLost())
        driver.take(CredentialsReplaced())
    assert (parked.snapshot.state, waiting.snapshot.state) == (State.CONNECTING, State.BACKOFF)


def test_a_clock_jump_looks_at_the_deadline_again() -> None:
    """A wait goes on for what is left of it by the time of day."""
    driver = AccountDriver()
    driver.take(Started())
    driver.fail(NetworkLost())
    deadline = driver.snapshot.deadline
    driver.now += 4
    wait = driver.take(ClockJumped(seconds=4.0)).effects[0]
    assert isinstance(wait, Wait)
    assert deadline is not None
    assert wait.delay == pytest.approx(deadline - driver.now)


def test_a_limit_is_told_and_a_flood_is_kept_while_waiting() -> None:
    """What is heard of during a wait is not lost: a limit is told once, a held request stays held."""
    driver = AccountDriver()
    driver.take(Started())
    driver.fail(NetworkLost())
    assert effects(driver.take(AccountLimited())) == [AlertLimited]
    assert not driver.take(AccountLimited()).effects
    assert effects(driver.take(FloodWait(seconds=60, request="SendMessage"))) == [HoldRequests]
    assert driver.snapshot.state is State.BACKOFF


@pytest.mark.parametrize("event", [AuthRejected(), SessionDuplicated(), AccountBanned(), DatabaseCorrupt()])
def test_dead_credentials_end_a_wait(event: Failure) -> None:
    """An account whose credentials turn out to be unusable during a wait stops trying."""
    driver = AccountDriver()
    driver.take(Started())
    driver.fail(NetworkLost())
    assert effects(driver.take(event)) == [Release, AlertUnusable]
    assert driver.snapshot.state is State.AUTH_FAILED


def test_a_loss_can_be_the_last_try() -> None:
    """With ``then: park`` a link that is lost before it settled parks the account, suspect or not."""
    connected, suspect = AccountDriver(PARKING), failed_before(PARKING, 2)
    connected.take(Started())
    for _ in range(2):
        connected.fail(NetworkLost())
    connected.connect()
    for driver in (connected, suspect):
        assert AlertParked in effects(driver.take(NetworkLost()))
        assert driver.snapshot.parked
