"""What each state does about what can happen to it, asked of the real ``step``."""

import random

import attrs
import pytest

from states import EVENTS, Policy, State, begin, step
from states.effects import (
    AlertExhausted,
    AlertParked,
    AskTurn,
    Close,
    HoldDatabase,
    HoldRequests,
    HoldWork,
    Open,
    Probe,
    Release,
    ReleaseWork,
)
from states.events import (
    AccountBanned,
    AccountLimited,
    AuthKeyUnknown,
    AuthRejected,
    ClockJumped,
    ConfigRefused,
    Connected,
    CredentialsReplaced,
    DatabaseCorrupt,
    DatabaseLocked,
    Elapsed,
    Event,
    Failure,
    FloodWait,
    NetworkLost,
    NetworkRestored,
    ProbeAnswered,
    ProbeDue,
    RetryRequested,
    ServerFault,
    SessionDuplicated,
    Started,
    StopRequested,
    TimedOut,
    TransportFlood,
    TurnGranted,
    Unexpected,
)
from states.schedules import Backoff, BackoffSchedules
from states.snapshot import Action, Cause
from tests.states.harness import NOW, PARKING, STEADY, AccountDriver, effects, in_state, sample


def test_patience_begins_with_the_turn() -> None:
    """A life asks for a turn first, and only the granted turn opens a link."""
    driver = AccountDriver()
    assert effects(driver.take(Started())) == [AskTurn]
    assert driver.snapshot.waiting_for_turn
    opened = driver.take(TurnGranted(generation=0)).effects[0]
    assert isinstance(opened, Open)
    assert (opened.patience, opened.attempt, opened.link) == (60.0, 1, 1)
    assert not driver.snapshot.waiting_for_turn


def test_patience_grows_with_the_attempts() -> None:
    """Attempts get 60, 75, 90 and again 90 seconds."""
    driver = AccountDriver()
    driver.take(Started())
    seen = []
    for _ in range(4):
        opened = driver.take(TurnGranted(generation=0)).effects[0]
        assert isinstance(opened, Open)
        seen.append(opened.patience)
        driver.take(TimedOut(what="connect"))
        driver.take(Elapsed(generation=0))
    assert seen == [60.0, 75.0, 90.0, 90.0]


def test_back_off_goes_as_the_guide_says() -> None:
    """Attempts that fail one after the other wait 10, 20, 40, 80, 120 and again 120 seconds."""
    driver = AccountDriver()
    driver.take(Started())
    waits = [driver.fail(NetworkLost()).record.delay for _ in range(6)]
    assert waits == [10, 20, 40, 80, 120, 120]


def test_five_failures_raise_one_alert_and_trying_goes_on() -> None:
    """The alert comes with the fifth failure in a row, once, and the account keeps waiting for its next try."""
    driver = AccountDriver()
    driver.take(Started())
    alerts = [AlertExhausted in effects(driver.fail(NetworkLost())) for _ in range(12)]
    assert alerts == [number == 4 for number in range(12)]
    assert driver.snapshot.deadline is not None


def test_then_park_waits_for_the_operator() -> None:
    """With ``then: park`` the last try ends in a wait without an end, and an action."""
    driver = AccountDriver(PARKING)
    driver.take(Started())
    for _ in range(2):
        driver.fail(NetworkLost())
    assert AlertParked in effects(driver.fail(NetworkLost()))
    assert driver.snapshot.parked
    assert driver.snapshot.action is Action.RETRY
    driver.take(Elapsed(generation=0))
    assert driver.snapshot.parked


def test_the_operator_wakes_a_parked_account() -> None:
    """``retry`` leads from parked to an attempt, and counting starts anew."""
    driver = AccountDriver(PARKING)
    driver.take(Started())
    for _ in range(3):
        driver.fail(NetworkLost())
    driver.take(RetryRequested())
    assert (driver.snapshot.state, driver.snapshot.failures) == (State.RECONNECTING, 0)


def test_ten_unexpected_errors_in_a_row_park() -> None:
    """Unforeseen errors are bounded, whatever the schedule says."""
    driver = AccountDriver()
    driver.take(Started())
    for _ in range(9):
        driver.fail(Unexpected())
        assert not driver.snapshot.parked
    driver.fail(Unexpected())
    assert driver.snapshot.parked


def test_an_unknown_key_is_tried_ever_more_slowly_and_never_given_up() -> None:
    """−404 proves nothing: a hundred in a row are waits that grow to 15 min, with one alert that says to log in."""
    driver = AccountDriver()
    driver.take(Started())
    steps = [driver.fail(AuthKeyUnknown()) for _ in range(100)]
    waits = [step.record.delay for step in steps]
    assert all(wait is not None and wait <= 900 for wait in waits)
    assert [round(wait / 5 / 2**n, 1) for n, wait in enumerate(waits[:5]) if wait] == [pytest.approx(1, abs=0.21)] * 5
    assert sum(wait or 0 for wait in waits) > 20 * 3600
    assert {step.record.target for step in steps} == {State.BACKOFF}
    assert [number for number, step in enumerate(steps, 1) if AlertExhausted in effects(step)] == [5]
    assert [number for number, step in enumerate(steps, 1) if Release in effects(step)] == list(range(5, 101))
    assert driver.snapshot.action is Action.LOG_IN


@pytest.mark.parametrize("event", [NetworkRestored(), RetryRequested(), CredentialsReplaced(credentials="new")])
def test_a_doubted_key_is_tried_at_once_when_something_has_changed(event: Event) -> None:
    """Others got through, a person asks, or a person logged in: nobody waits for the end of a quarter of an hour."""
    driver = AccountDriver()
    driver.take(Started())
    for _ in range(12):
        driver.fail(AuthKeyUnknown())
    assert AskTurn in effects(driver.take(event))
    assert driver.snapshot.waiting_for_turn


def test_a_doubted_key_goes_on_after_a_restart() -> None:
    """The wait goes on where it was, and so does the advice."""
    driver = AccountDriver()
    driver.take(Started())
    for _ in range(7):
        driver.fail(AuthKeyUnknown())
    at = begin(driver.snapshot, now=driver.snapshot.since + 1)
    assert (at.state, at.deadline, at.action) == (State.BACKOFF, driver.snapshot.deadline, Action.LOG_IN)


def test_a_few_unknown_keys_after_a_long_outage_are_not_yet_the_operator_s() -> None:
    """The alert was raised for the network; two −404 in its wake say nothing about the login."""
    driver = AccountDriver()
    driver.take(Started())
    for event in [NetworkLost()] * 6 + [AuthKeyUnknown()] * 2:
        driver.fail(event)
    assert driver.snapshot.exhausted
    assert driver.snapshot.action is None
    assert driver.fail(AuthKeyUnknown()).snapshot.action is Action.LOG_IN


@pytest.mark.parametrize(
    ("event", "action"),
    [
        (AuthRejected(), Action.LOG_IN),
        (SessionDuplicated(), Action.STOP_OTHER_COPY),
        (AccountBanned(), Action.APPEAL),
        (ConfigRefused(), Action.MEND_CONFIG),
        (DatabaseCorrupt(), Action.RESTORE_SESSION),
    ],
)
@pytest.mark.parametrize("healthy", [False, True])
def test_unusable_credentials_stop_the_account_and_say_what_to_do(
    event: Failure, action: Action, healthy: bool
) -> None:
    """Each kind of unusable credentials leads to ``auth_failed`` with an action of its own, from anywhere."""
    driver = AccountDriver()
    driver.take(Started())
    driver.take(TurnGranted(generation=0))
    if healthy:
        driver.take(Connected())
    decision = driver.take(event)
    assert driver.snapshot.state is State.AUTH_FAILED
    assert driver.snapshot.action is action
    assert Close in effects(decision)


def test_a_flood_while_connecting_waits_as_long_as_the_server_said() -> None:
    """The server's number is a floor, with a second of slack."""
    driver = AccountDriver()
    driver.take(Started())
    decision = driver.fail(FloodWait(seconds=300))
    assert (driver.snapshot.state, decision.record.delay) == (State.BACKOFF, 301)


def test_the_operator_cannot_cut_a_flood_wait_short() -> None:
    """``retry`` does not get past a flood wait."""
    driver = AccountDriver()
    driver.take(Started())
    driver.fail(FloodWait(seconds=300))
    driver.take(RetryRequested())
    assert driver.snapshot.state is State.BACKOFF


def test_a_transport_flood_has_its_own_schedule() -> None:
    """−429 begins at 30 s even after many other failures, and doubles with each in a row."""
    driver = AccountDriver(
        attrs.evolve(STEADY, backoff=BackoffSchedules(transport_flood=Backoff(first=30, cap=900, jitter=0)))
    )
    driver.take(Started())
    for _ in range(6):
        driver.fail(NetworkLost())
    assert [driver.fail(TransportFlood()).record.delay for _ in range(6)] == [30, 60, 120, 240, 480, 900]


def test_a_stable_link_that_is_lost_is_retried_at_once() -> None:
    """A link that held for a minute goes to ``reconnecting`` without a wait."""
    driver = AccountDriver().connect().settle()
    decision = driver.take(NetworkLost())
    assert driver.snapshot.state is State.RECONNECTING
    assert effects(decision) == [HoldWork, Close, AskTurn]


def test_losing_unstable_links_slows_down() -> None:
    """A link that is accepted and lost again and again waits longer each time, like any failure."""
    driver = AccountDriver()
    waits = [driver.connect().take(NetworkLost()).record.delay for _ in range(6)]
    assert waits == [10, 20, 40, 80, 120, 120]


def test_only_a_stable_link_forgives() -> None:
    """Attempts and failures go back to zero when the link is stable, not when it is connected."""
    driver = AccountDriver()
    driver.take(Started())
    for _ in range(3):
        driver.fail(NetworkLost())
    driver.connect()
    assert (driver.snapshot.failures, driver.snapshot.attempt) == (3, 4)
    driver.settle()
    assert (driver.snapshot.failures, driver.snapshot.attempt, driver.snapshot.cause) == (0, 0, None)


def test_one_silence_is_a_suspicion_and_the_second_a_loss() -> None:
    """``healthy`` → ``timeout`` with 10 then 20 s of patience → ``reconnecting``."""
    driver = AccountDriver().connect().settle()
    first = driver.take(ProbeDue(generation=0)).effects[0]
    assert isinstance(first, Probe)
    assert first.patience == 10
    suspected = driver.take(TimedOut())
    assert (driver.snapshot.state, driver.snapshot.failures) == (State.TIMEOUT, 1)
    assert suspected.effects[-1].patience == 20  # type: ignore[attr-defined]
    assert effects(driver.take(TimedOut())) == [Close, AskTurn]
    assert driver.snapshot.state is State.RECONNECTING


def test_an_answer_ends_the_suspicion() -> None:
    """``timeout`` goes back to ``healthy`` when the probe is answered, and work goes on."""
    driver = AccountDriver().connect().settle()
    driver.take(TimedOut())
    decision = driver.take(ProbeAnswered())
    assert driver.snapshot.state is State.HEALTHY
    assert ReleaseWork in effects(decision)


def test_a_silent_request_does_not_count_against_a_suspect_link() -> None:
    """In ``timeout`` only the probe decides."""
    driver = AccountDriver().connect().settle()
    driver.take(TimedOut())
    driver.take(TimedOut(what="request"))
    assert (driver.snapshot.state, driver.snapshot.failures) == (State.TIMEOUT, 1)


def test_a_server_fault_makes_the_link_suspect() -> None:
    """A probe answered by an internal error is neither a sign of health nor a loss yet."""
    driver = AccountDriver().connect().settle()
    driver.take(ServerFault())
    assert driver.snapshot.state is State.TIMEOUT


def test_a_proof_is_due_once_a_minute() -> None:
    """Probes are pings, until the last authorised RPC is a minute old."""
    driver = AccountDriver().connect()
    kinds = []
    for _ in range(4):
        driver.now += 19
        probe = driver.take(ProbeDue(generation=0)).effects[0]
        assert isinstance(probe, Probe)
        kinds.append(probe.proof)
        driver.take(ProbeAnswered(proof=probe.proof))
    assert kinds == [False, False, True, False]


def test_a_flood_holds_its_kind_of_request_and_nothing_else() -> None:
    """A flood wait of a request leaves the account ``healthy`` and is kept with its deadline."""
    driver = AccountDriver().connect()
    decision = driver.take(FloodWait(seconds=60, request="SendMessage"))
    assert driver.snapshot.state is State.HEALTHY
    assert [(hold.request, hold.until) for hold in driver.snapshot.holds] == [("SendMessage", driver.now + 61)]
    assert effects(decision) == [HoldRequests]


def test_of_two_floods_of_one_kind_the_longer_stands() -> None:
    """A shorter wait does not shorten a longer one."""
    driver = AccountDriver().connect()
    driver.take(FloodWait(seconds=600, request="SendMessage"))
    until = driver.snapshot.holds[0].until
    driver.take(FloodWait(seconds=5, request="SendMessage"))
    assert driver.snapshot.holds[0].until == until


def test_a_locked_database_does_not_cut_a_connection() -> None:
    """The account stays ``healthy``, and the file is tried again after 5 s."""
    driver = AccountDriver().connect()
    decision = driver.take(DatabaseLocked())
    assert driver.snapshot.state is State.HEALTHY
    assert decision.effects == (HoldDatabase(delay=5.0),)


def test_a_limited_account_stays_connected_with_its_work_held() -> None:
    """The limit is kept over a reconnect, and work is not released by it."""
    driver = AccountDriver().connect().settle()
    assert HoldWork in effects(driver.take(AccountLimited()))
    driver.take(NetworkLost())
    driver.take(TurnGranted(generation=0))
    assert ReleaseWork not in effects(driver.take(Connected()))
    assert (driver.snapshot.state, driver.snapshot.action) == (State.HEALTHY, Action.APPEAL)
    assert ReleaseWork in effects(driver.take(RetryRequested()))


def test_a_clock_jump_probes_at_once() -> None:
    """A machine that slept asks its links for a sign of life as soon as it wakes."""
    driver = AccountDriver().connect()
    assert effects(driver.take(ClockJumped(seconds=3600))) == [Probe]


def test_a_restored_network_cuts_the_wait_for_it_short() -> None:
    """A wait for the network ends when the network is seen; one for the server does not."""
    for event, state in ((NetworkLost(), State.RECONNECTING), (ServerFault(), State.BACKOFF)):
        driver = AccountDriver()
        driver.take(Started())
        driver.fail(event)
        driver.take(NetworkRestored())
        assert driver.snapshot.state is state


def test_auth_failed_ignores_everything_but_the_operator() -> None:
    """No time, no network and no late report gets dead credentials to be tried again."""
    dead = attrs.evolve(in_state(State.AUTH_FAILED), cause=Cause(event="AuthRejected"))
    for kind in EVENTS:
        if kind in (CredentialsReplaced, RetryRequested, StopRequested):
            continue
        decision = step(dead, sample(kind, dead), now=NOW, rng=random.Random(), policy=Policy())
        assert decision.snapshot.state is State.AUTH_FAILED
        assert not set(effects(decision)) & {Open, AskTurn, Probe}


@pytest.mark.parametrize("event", [CredentialsReplaced(), RetryRequested()])
def test_the_operator_leads_out_of_auth_failed(event: Event) -> None:
    """New credentials, or a retry by the operator, lead to a new first attempt."""
    driver = AccountDriver(snapshot=in_state(State.AUTH_FAILED))
    assert effects(driver.take(event)) == [AskTurn]
    assert driver.snapshot.state is State.CONNECTING
