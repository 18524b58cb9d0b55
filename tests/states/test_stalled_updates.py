"""What the law makes of updates that the datacenter counts and the link does not bring."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from states import Action, Cause, Event, Policy, Snapshot, State, begin
from states.effects import AlertStalled, AskTurn, Close, FetchUpdates, HoldWork, Probe
from states.events import (
    ClockJumped,
    Connected,
    CredentialsReplaced,
    Elapsed,
    NetworkLost,
    ProbeAnswered,
    RetryRequested,
    Stable,
    Started,
    TimedOut,
    TurnGranted,
    UpdatesConfirmed,
    UpdatesStalled,
)
from states.schedules import BackoffSchedules, Renewal
from tests.states.harness import NOW, STEADY, AccountDriver, effects, in_state

SEEN = UpdatesStalled(detail="2 updates of the account are missing", behind=("account: 2",), since=NOW - 10)
IN_VAIN = evolve(SEEN, asked=True)
RENEWED = [HoldWork, Close, AskTurn]


def stalled(clients: int = 0) -> AccountDriver:
    """Return an account that misses updates, for which so many fresh clients have taken over in vain."""
    driver = AccountDriver(snapshot=in_state(State.HEALTHY))
    driver.take(SEEN)
    for _ in range(clients):
        driver.now += 1e6
        driver.take(IN_VAIN)
        driver.connect()
        driver.take(SEEN)
    return driver


def test_missing_updates_are_asked_for_first() -> None:
    """The link stays, with its work, and what is missing is remembered."""
    driver = AccountDriver(snapshot=in_state(State.HEALTHY))
    decision = driver.take(SEEN)
    assert decision.effects == (FetchUpdates(link=3, patience=STEADY.healthy.catch_up_within),)
    assert driver.snapshot.state is State.HEALTHY
    assert driver.snapshot.stall is not None
    assert (driver.snapshot.stall.since, driver.snapshot.stall.detail) == (NOW - 10, SEEN.detail)


def test_a_fresh_client_takes_over_when_asking_was_in_vain() -> None:
    """At once, with a cause of its own; the loss counts as no failure, because none of the network's was one."""
    driver = stalled()
    failures = driver.snapshot.failures
    assert effects(driver.take(IN_VAIN)) == RENEWED
    assert driver.snapshot.state is State.RECONNECTING
    assert driver.snapshot.cause == Cause(event="UpdatesStalled", detail=SEEN.detail)
    assert driver.snapshot.failures == failures


def test_nothing_is_cut_for_what_nobody_has_asked_for() -> None:
    """A late answer to what another stall asked is no reason: the missing updates are asked for now."""
    driver = AccountDriver(snapshot=in_state(State.HEALTHY))
    assert effects(driver.take(IN_VAIN)) == [FetchUpdates]
    assert driver.snapshot.state is State.HEALTHY


def test_a_person_is_told_once_when_a_fresh_client_is_behind_too() -> None:
    """The alert has what is missing, and the account stays connected, with an action."""
    driver = stalled(clients=1)
    decision = driver.take(IN_VAIN)
    assert decision.effects == (AlertStalled(detail=SEEN.detail, action=Action.RETRY),)
    assert driver.snapshot.state is State.HEALTHY
    assert driver.snapshot.action is Action.RETRY
    assert AlertStalled not in effects(driver.take(IN_VAIN))


def test_what_a_person_knows_is_asked_for_again_without_a_record() -> None:
    """Each time that the numbers are behind; the journal does not grow by it."""
    driver = stalled(clients=1)
    driver.take(IN_VAIN)
    decision = driver.take(SEEN)
    assert effects(decision) == [FetchUpdates]
    assert decision.record.quiet


@pytest.mark.parametrize(("waited", "renews"), [(298, False), (299, True)])
def test_fresh_clients_are_apart(waited: int, renews: bool) -> None:
    """By the schedule, and the moment itself counts as passed; until then nothing is done and nothing is written."""
    driver = stalled(clients=1)
    driver.take(IN_VAIN)  # a person is told
    assert driver.snapshot.stall is not None
    assert driver.snapshot.stall.until is not None
    driver.now = driver.snapshot.stall.until - 300 + waited
    decision = driver.take(IN_VAIN)
    assert (effects(decision) == RENEWED) is renews
    assert decision.record.quiet is not renews
    assert driver.snapshot.state is (State.RECONNECTING if renews else State.HEALTHY)


def test_each_wait_between_fresh_clients_is_longer() -> None:
    """Up to the cap, and a policy's ``tries`` says after how many a person is told."""
    policy = Policy(backoff=BackoffSchedules(updates=Renewal(first=10, factor=3, cap=50, tries=3)))
    driver = AccountDriver(policy, in_state(State.HEALTHY))
    lengths, told = [], []
    for _ in range(5):
        driver.take(SEEN)
        driver.now += 1000
        told.append(AlertStalled in effects(driver.take(IN_VAIN)))
        if driver.snapshot.state is State.HEALTHY:
            driver.take(IN_VAIN)
        assert driver.snapshot.stall is not None
        lengths.append(driver.snapshot.stall.length)
        driver.connect()
    assert lengths == [10, 30, 50, 50, 50]
    assert told == [False, False, False, True, False]


@pytest.mark.parametrize("state", [State.HEALTHY, State.TIMEOUT])
def test_updates_that_are_there_end_it(state: State) -> None:
    """And the next time begins from the beginning, with a person who is told again."""
    driver = stalled(clients=1)
    driver.take(IN_VAIN)
    driver.snapshot = evolve(driver.snapshot, state=state)
    decision = driver.take(UpdatesConfirmed())
    assert not decision.effects
    assert not decision.record.quiet
    assert driver.snapshot.stall is None
    assert driver.snapshot.state is state


@pytest.mark.parametrize("state", [State.HEALTHY, State.TIMEOUT])
def test_that_nothing_was_missing_is_routine(state: State) -> None:
    """Each link says so once, and the journal does not have it."""
    driver = AccountDriver(snapshot=in_state(state))
    before = driver.snapshot
    decision = driver.take(UpdatesConfirmed(channels=3))
    assert decision.record.quiet
    assert driver.snapshot == before


def test_a_suspect_link_is_left_to_its_probe() -> None:
    """Missing updates do not cut what the probe will decide about."""
    driver = AccountDriver(snapshot=in_state(State.TIMEOUT))
    for event in (SEEN, IN_VAIN):
        assert not driver.take(event).effects
    assert driver.snapshot.state is State.TIMEOUT


@pytest.mark.parametrize("state", [State.CONNECTING, State.RECONNECTING, State.BACKOFF, State.AUTH_FAILED])
@pytest.mark.parametrize("event", [SEEN, IN_VAIN, UpdatesConfirmed()])
def test_without_a_link_it_means_nothing(state: State, event: Event) -> None:
    """No state is left and nothing is asked for: whoever says it has been given up."""
    driver = AccountDriver(snapshot=in_state(state))
    before = driver.snapshot
    assert not driver.take(event).effects
    assert driver.snapshot == before


def test_a_person_who_retries_gets_a_fresh_client() -> None:
    """Also before its time, and the next one waits for its own."""
    driver = stalled(clients=1)
    assert driver.snapshot.stall is not None
    before = driver.snapshot.stall.until
    assert effects(driver.take(RetryRequested())) == RENEWED
    assert driver.snapshot.stall.clients == 2
    assert driver.snapshot.stall.until is not None
    assert before is not None
    assert driver.snapshot.stall.until > before


def test_a_person_who_says_that_a_limit_is_over_does_not_lose_the_link() -> None:
    """A limited account's retry is about its limit."""
    driver = stalled()
    driver.snapshot = evolve(driver.snapshot, limited=Cause(event="AccountLimited"))
    assert Probe in effects(driver.take(RetryRequested()))
    assert driver.snapshot.state is State.HEALTHY


def test_a_limit_is_the_first_thing_to_do() -> None:
    """An account that is limited and misses updates needs an appeal."""
    driver = stalled(clients=1)
    driver.take(IN_VAIN)
    assert evolve(driver.snapshot, limited=Cause(event="AccountLimited")).action is Action.APPEAL


@pytest.mark.parametrize("event", [NetworkLost(), TimedOut()])
def test_another_loss_does_not_make_it_forgotten(event: Event) -> None:
    """Whoever was told stays told, and the next fresh client keeps its time."""
    driver = stalled(clients=1)
    driver.take(IN_VAIN)
    before = driver.snapshot.stall
    driver.take(event)
    assert driver.snapshot.stall == before


def test_a_restart_goes_on_where_it_was() -> None:
    """Nobody is told twice, and a wait is never longer than its own length, however the clock was set meanwhile."""
    driver = stalled(clients=1)
    driver.take(IN_VAIN)
    before = driver.snapshot.stall
    assert before is not None
    assert begin(driver.snapshot, now=driver.now).stall == before
    later = begin(driver.snapshot, now=NOW - 1e6).stall
    assert later == evolve(before, until=NOW - 1e6 + 300.0)


def test_another_login_begins_anew() -> None:
    """What one login missed says nothing about the next."""
    driver = stalled()
    driver.take(CredentialsReplaced(credentials="other"))
    assert driver.snapshot.stall is None


def test_its_times_move_with_a_clock_that_was_set() -> None:
    """What is left of the wait stays, and since when updates are missing, too."""
    driver = stalled(clients=1)
    before = driver.snapshot.stall
    assert before is not None
    assert before.until is not None
    driver.now += 3600
    driver.take(ClockJumped(seconds=3600, slept=0))
    assert driver.snapshot.stall == evolve(before, since=before.since + 3600, until=before.until + 3600)


CALM = (Started(), TurnGranted(generation=0), Connected(), Stable(generation=0), ProbeAnswered(proof=True))
SILENT = (TimedOut(), TimedOut(what="request"), NetworkLost(), Elapsed(generation=0), ClockJumped(seconds=9.0))


@given(st.lists(st.sampled_from([*CALM, *SILENT, UpdatesConfirmed()]), max_size=60))
def test_silence_and_losses_accuse_nobody(events: list[Event]) -> None:
    """Whatever happens besides numbers that are behind, no updates are missed and none are asked for."""
    driver = AccountDriver(snapshot=in_state(State.HEALTHY))
    for event in events:
        assert FetchUpdates not in effects(driver.take(event))
        assert driver.snapshot.stall is None


@given(st.lists(st.sampled_from([SEEN, IN_VAIN, *CALM, *SILENT]), max_size=60))
def test_nobody_is_told_twice_and_no_client_is_renewed_twice_at_once(events: list[Event]) -> None:
    """Until the updates are there, one alert at most, and fresh clients by the schedule alone."""
    driver, told, due = AccountDriver(snapshot=in_state(State.HEALTHY)), 0, 0.0
    for event in events:
        before: Snapshot = driver.snapshot
        decision = driver.take(event)
        told += effects(decision).count(AlertStalled)
        assert told <= 1
        if isinstance(event, UpdatesStalled) and driver.snapshot.state is not before.state:
            assert driver.now >= due
            due = driver.now + STEADY.backoff.updates.first
