"""What the law makes of a session file that cannot be written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from states import Event, State, begin
from states.effects import AlertDatabase, Close, HoldDatabase, Release
from states.events import (
    AccountBanned,
    AuthRejected,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseRecovered,
    DatabaseUnavailable,
    NetworkLost,
    Started,
    TimedOut,
)
from states.guards import DATABASE_PATIENCE
from tests.states.life import NOW, Life, effects, in_state

PASSING = DatabaseLocked(detail="locked", waited=2.0, unsaved=3)
LASTING = DatabaseLocked(detail="locked", waited=DATABASE_PATIENCE, unsaved=3)


@pytest.mark.parametrize("state", [State.HEALTHY, State.TIMEOUT])
def test_a_lock_that_passes_is_remembered_and_nobody_is_told(state: State) -> None:
    """The link stays, the snapshot says since when, and a person is not bothered."""
    life = Life(snapshot=in_state(state))
    assert effects(life.take(PASSING)) == [HoldDatabase]
    assert life.snapshot.state is state
    assert life.snapshot.database is not None
    assert (life.snapshot.database.event, life.snapshot.database.since) == ("DatabaseLocked", life.now - 2.0)


@pytest.mark.parametrize("state", [State.HEALTHY, State.TIMEOUT])
@pytest.mark.parametrize("event", [LASTING, DatabaseUnavailable(detail="the disk is full")])
def test_a_person_is_told_once_of_what_lasts(state: State, event: Event) -> None:
    """A lock that stands for half a minute, and a file that cannot be written at all; not again until it recovered."""
    life = Life(snapshot=in_state(state))
    assert effects(life.take(event)) == [HoldDatabase, AlertDatabase]
    assert effects(life.take(event)) == [HoldDatabase]
    life.take(DatabaseRecovered(waited=60))
    assert effects(life.take(event)) == [HoldDatabase, AlertDatabase]


@pytest.mark.parametrize("state", list(State))
def test_a_file_that_is_written_again_is_no_trouble_in_any_state(state: State) -> None:
    """Wherever the account has gone meanwhile, and whichever link it has."""
    life = Life(snapshot=in_state(State.HEALTHY))
    life.take(PASSING)
    life.snapshot = type(life.snapshot)(
        **{name: getattr(life.snapshot, name) for name in ("database", "links")}, state=state, deadline=NOW + 100
    )
    life.take(DatabaseRecovered(waited=1))
    assert life.snapshot.database is None


def test_a_new_life_begins_without_trouble() -> None:
    """What kept the file from being written in the last life is found again, or gone."""
    life = Life(snapshot=in_state(State.HEALTHY))
    life.take(PASSING)
    assert begin(life.snapshot, now=NOW).database is None


def test_a_lost_link_does_not_make_the_file_good() -> None:
    """The trouble outlives the link in which it was found."""
    life = Life(snapshot=in_state(State.HEALTHY))
    life.take(PASSING)
    life.take(NetworkLost())
    assert life.snapshot.database is not None


@pytest.mark.parametrize("event", [AuthRejected(), AccountBanned(), DatabaseCorrupt()])
@pytest.mark.parametrize("state", [State.CONNECTING, State.HEALTHY, State.TIMEOUT, State.RECONNECTING, State.BACKOFF])
def test_whoever_must_log_in_again_can_have_the_file(state: State, event: Event) -> None:
    """Unusable credentials end in a state in which nothing holds the session file, after the link is closed."""
    done = effects(Life(snapshot=in_state(state)).take(event))
    assert Release in done
    assert Close not in done or done.index(Close) < done.index(Release)


@given(st.lists(st.sampled_from([PASSING, LASTING, DatabaseUnavailable(), DatabaseRecovered(), TimedOut(), Started()])))
def test_nobody_is_told_twice_of_one_trouble(events: list[Event]) -> None:
    """Between two recoveries there is at most one alert, whatever else happens."""
    life, told = Life(snapshot=in_state(State.HEALTHY)), 0
    for event in events:
        told = 0 if isinstance(event, DatabaseRecovered) else told
        told += effects(life.take(event)).count(AlertDatabase)
        assert told <= 1
