"""What the law makes of a session file that cannot be written."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from states import Cause, Event, Policy, State, begin
from states.effects import AlertDatabase, Close, HoldDatabase, Release
from states.events import (
    AccountBanned,
    AuthRejected,
    Connected,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseRecovered,
    DatabaseUnavailable,
    Elapsed,
    NetworkLost,
    Started,
    TimedOut,
    TurnGranted,
)
from states.schedules import BackoffSchedules, FileBackoff
from tests.states.harness import NOW, AccountDriver, effects, in_state

PASSING = DatabaseLocked(detail="locked", waited=2.0, unsaved=3)
LASTING = DatabaseLocked(detail="locked", waited=30.0, unsaved=3)
FULL = DatabaseUnavailable(detail="the disk is full")


@pytest.mark.parametrize("state", [State.HEALTHY, State.TIMEOUT])
def test_a_lock_that_passes_is_remembered_and_nobody_is_told(state: State) -> None:
    """The link stays, the snapshot says since when, and a person is not bothered."""
    driver = AccountDriver(snapshot=in_state(state))
    assert effects(driver.take(PASSING)) == [HoldDatabase]
    assert driver.snapshot.state is state
    assert driver.snapshot.database is not None
    assert (driver.snapshot.database.event, driver.snapshot.database.since) == ("DatabaseLocked", driver.now - 2.0)


@pytest.mark.parametrize("state", [State.HEALTHY, State.TIMEOUT])
@pytest.mark.parametrize("event", [LASTING, FULL])
def test_a_person_is_told_once_of_what_lasts(state: State, event: Event) -> None:
    """A lock that stands for half a minute, and a file that cannot be written at all; not again until it recovered."""
    driver = AccountDriver(snapshot=in_state(state))
    assert effects(driver.take(event)) == [HoldDatabase, AlertDatabase]
    assert [effects(driver.take(event)) for _ in range(3)] == [[HoldDatabase]] * 3
    driver.take(DatabaseRecovered(waited=60))
    assert effects(driver.take(event)) == [HoldDatabase, AlertDatabase]


@pytest.mark.parametrize(("waited", "told"), [(89.9, False), (90.0, True)])
def test_how_long_a_lock_may_last_is_a_number_of_the_policy(waited: float, told: bool) -> None:
    """``backoff.database.alert_after`` decides, and the moment itself counts as passed."""
    policy = Policy(backoff=BackoffSchedules(database=FileBackoff(alert_after=90.0)))
    decision = AccountDriver(policy, in_state(State.HEALTHY)).take(evolve(PASSING, waited=waited))
    assert (AlertDatabase in effects(decision)) is told


def test_the_alert_is_about_the_file_alone() -> None:
    """What a limited account asks of a person is no advice about its session file."""
    driver = AccountDriver(snapshot=evolve(in_state(State.HEALTHY), limited=Cause(event="AccountLimited")))
    (alert,) = (effect for effect in driver.take(FULL).effects if isinstance(effect, AlertDatabase))
    assert (alert.detail, alert.action) == ("the disk is full", None)


def test_a_new_link_does_not_tell_of_the_same_trouble_again() -> None:
    """A person who was told stays told while the account is away, comes back, and meets the file as it was."""
    driver = AccountDriver(snapshot=in_state(State.HEALTHY))
    driver.take(FULL)
    driver.take(NetworkLost())
    driver.connect()
    assert driver.snapshot.state is State.HEALTHY
    assert effects(driver.take(evolve(LASTING, waited=300.0))) == [HoldDatabase]


@pytest.mark.parametrize("state", list(State))
def test_a_file_that_is_written_again_changes_no_state(state: State) -> None:
    """Wherever the account has gone meanwhile, and whichever link it has."""
    driver = AccountDriver(snapshot=in_state(State.HEALTHY))
    driver.take(PASSING)
    driver.snapshot = type(driver.snapshot)(
        **{name: getattr(driver.snapshot, name) for name in ("database", "links")}, state=state, deadline=NOW + 100
    )
    driver.take(DatabaseRecovered(waited=1))
    assert driver.snapshot.database is None


def test_a_new_life_begins_without_trouble() -> None:
    """What kept the file from being written in the last life is found again, or gone."""
    driver = AccountDriver(snapshot=in_state(State.HEALTHY))
    driver.take(PASSING)
    assert begin(driver.snapshot, now=NOW).database is None


def test_a_lost_link_does_not_make_the_file_good() -> None:
    """The trouble outlives the link in which it was found."""
    driver = AccountDriver(snapshot=in_state(State.HEALTHY))
    driver.take(PASSING)
    driver.take(NetworkLost())
    assert driver.snapshot.database is not None


@pytest.mark.parametrize("event", [AuthRejected(), AccountBanned(), DatabaseCorrupt()])
@pytest.mark.parametrize("state", [State.CONNECTING, State.HEALTHY, State.TIMEOUT, State.RECONNECTING, State.BACKOFF])
def test_whoever_must_log_in_again_can_have_the_file(state: State, event: Event) -> None:
    """Unusable credentials end in a state in which nothing holds the session file, after the link is closed."""
    done = effects(AccountDriver(snapshot=in_state(state)).take(event))
    assert Release in done
    assert Close not in done or done.index(Close) < done.index(Release)


@given(
    st.lists(
        st.sampled_from(
            [
                *(PASSING, LASTING, FULL, DatabaseRecovered()),
                *(Started(), TurnGranted(generation=0), Connected(), TimedOut(), NetworkLost(), Elapsed(generation=0)),
            ]
        ),
        max_size=60,
    )
)
def test_nobody_is_told_twice_of_one_trouble(events: list[Event]) -> None:
    """Between two recoveries there is at most one alert, whatever else happens."""
    driver, told = AccountDriver(snapshot=in_state(State.HEALTHY)), 0
    for event in events:
        told = 0 if isinstance(event, DatabaseRecovered) else told
        told += effects(driver.take(event)).count(AlertDatabase)
        assert told <= 1
