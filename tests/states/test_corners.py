"""The corners of each state: what is ignored, what comes when it should not, what is told only once."""

import random

import attrs
import pytest

from states import Policy, State, step
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
from tests.states.life import NOW, PARKING, STEADY, Life, effects, in_state, sample

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
    life = Life()
    life.take(Started())
    life.take(TurnGranted(generation=0))
    before = life.snapshot
    assert not life.take(TurnGranted(generation=0)).effects
    assert life.snapshot == before


def test_credentials_that_are_replaced_begin_anew_at_once() -> None:
    """An attempt with the old key is given up for one with the new, counted from zero, as a first one."""
    life = Life().connect().settle()
    life.take(NetworkLost())
    life.take(TurnGranted(generation=0))
    before = life.snapshot.generation
    assert effects(life.take(CredentialsReplaced())) == [Close, AskTurn]
    assert (life.snapshot.state, life.snapshot.attempt, life.snapshot.link) == (State.CONNECTING, 0, 0)
    assert life.snapshot.generation > before
    life.take(TurnGranted(generation=0))
    before = life.snapshot.generation
    life.take(CredentialsReplaced())
    assert life.snapshot.generation > before


def test_new_credentials_replace_a_link() -> None:
    """A healthy link that speaks with the old key is closed for one with the new."""
    life = Life().connect()
    assert effects(life.take(CredentialsReplaced())) == [HoldWork, Close, AskTurn]
    assert life.snapshot.state is State.RECONNECTING


@pytest.mark.parametrize("healthy", [False, True])
def test_a_limit_is_told_once(healthy: bool) -> None:
    """A limit that is known is not worth another alert."""
    life = Life()
    life.take(Started())
    life.take(TurnGranted(generation=0))
    if healthy:
        life.take(Connected())
    assert AlertLimited in effects(life.take(AccountLimited()))
    assert not life.take(AccountLimited()).effects


def test_five_refused_connections_raise_one_alert() -> None:
    """−429 again and again is told, too, once, at the fifth."""
    life = Life()
    life.take(Started())
    alerts = [AlertExhausted in effects(life.fail(TransportFlood())) for _ in range(8)]
    assert alerts == [number == 4 for number in range(8)]


def test_longer_patience_asks_more_often() -> None:
    """With three entries the second silence is followed by a third question, and only the third one is a loss."""
    patient = attrs.evolve(STEADY, timeout=Suspicion(patience=(1.0, 2.0, 4.0)))
    life = Life(patient).connect().settle()
    life.take(TimedOut())
    again = life.take(TimedOut()).effects[0]
    assert isinstance(again, Probe)
    assert (life.snapshot.state, again.patience) == (State.TIMEOUT, 4.0)
    life.take(TimedOut())
    assert life.snapshot.state is State.RECONNECTING


def failed_before(policy: Policy, failures: int) -> Life:
    """Return an account in ``timeout`` after so many failures in a row, on a link that never settled."""
    life = Life(policy)
    life.take(Started())
    for _ in range(failures - 1):
        life.fail(NetworkLost())
    life.connect()
    life.take(TimedOut())
    return life


def test_a_silence_can_be_the_last_try() -> None:
    """With ``then: park`` the silence that uses up the tries parks the account."""
    life = failed_before(PARKING, 2)
    assert AlertParked in effects(life.take(TimedOut()))
    assert life.snapshot.parked


def test_a_silence_can_be_the_fifth_failure() -> None:
    """The alert of five failures comes with a silence as with any other, and the account goes on."""
    life = failed_before(STEADY, 4)
    assert effects(life.take(TimedOut())) == [Close, AskTurn, AlertExhausted]


@pytest.mark.parametrize(("settled", "state"), [(True, State.RECONNECTING), (False, State.BACKOFF)])
def test_a_suspect_link_that_is_lost_goes_the_way_of_its_past(settled: bool, state: State) -> None:
    """What held is retried at once, also out of ``timeout``; what never settled waits."""
    life = Life().connect()
    if settled:
        life.settle()
    life.take(TimedOut())
    life.take(NetworkLost())
    assert life.snapshot.state is state


def test_a_third_unknown_key_counts_on_a_link_too() -> None:
    """Two unknown keys while connecting and one on the link that came of it are three in a row."""
    life = Life()
    life.take(Started())
    for _ in range(2):
        life.fail(AuthKeyUnknown())
    life.connect()
    life.take(AuthKeyUnknown())
    assert life.snapshot.state is State.AUTH_FAILED


@pytest.mark.parametrize("event", [Elapsed(generation=0), ClockJumped(seconds=60.0)])
def test_no_time_wakes_a_parked_account(event: Event) -> None:
    """A parked account has no deadline that could come."""
    life = Life(PARKING)
    life.take(Started())
    for _ in range(3):
        life.fail(NetworkLost())
    assert not life.take(event).effects
    assert life.snapshot.parked


def test_new_credentials_wake_a_parked_account_and_no_other_wait() -> None:
    """A person who logged in again acted; a wait that has an end stands."""
    parked, waiting = Life(PARKING), Life()
    for life, failures in ((parked, 3), (waiting, 1)):
        life.take(Started())
        for _ in range(failures):
            life.fail(NetworkLost())
        life.take(CredentialsReplaced())
    assert (parked.snapshot.state, waiting.snapshot.state) == (State.CONNECTING, State.BACKOFF)


def test_a_clock_jump_looks_at_the_deadline_again() -> None:
    """A wait goes on for what is left of it by the time of day."""
    life = Life()
    life.take(Started())
    life.fail(NetworkLost())
    deadline = life.snapshot.deadline
    life.now += 4
    wait = life.take(ClockJumped(seconds=4.0)).effects[0]
    assert isinstance(wait, Wait)
    assert deadline is not None
    assert wait.delay == pytest.approx(deadline - life.now)


def test_a_limit_is_told_and_a_flood_is_kept_while_waiting() -> None:
    """What is heard of during a wait is not lost: a limit is told once, a held request stays held."""
    life = Life()
    life.take(Started())
    life.fail(NetworkLost())
    assert effects(life.take(AccountLimited())) == [AlertLimited]
    assert not life.take(AccountLimited()).effects
    assert effects(life.take(FloodWait(seconds=60, request="SendMessage"))) == [HoldRequests]
    assert life.snapshot.state is State.BACKOFF


@pytest.mark.parametrize("event", [AuthRejected(), SessionDuplicated(), AccountBanned(), DatabaseCorrupt()])
def test_dead_credentials_end_a_wait(event: Failure) -> None:
    """Whoever finds out during a wait that the credentials are unusable: the account stops trying."""
    life = Life()
    life.take(Started())
    life.fail(NetworkLost())
    assert effects(life.take(event)) == [Release, AlertUnusable]
    assert life.snapshot.state is State.AUTH_FAILED


def test_a_loss_can_be_the_last_try() -> None:
    """With ``then: park`` a link that is lost before it settled parks the account, suspect or not."""
    connected, suspect = Life(PARKING), failed_before(PARKING, 2)
    connected.take(Started())
    for _ in range(2):
        connected.fail(NetworkLost())
    connected.connect()
    for life in (connected, suspect):
        assert AlertParked in effects(life.take(NetworkLost()))
        assert life.snapshot.parked
