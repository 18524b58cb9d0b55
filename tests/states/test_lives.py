"""What is left of an account from one life to the next."""

import pytest

from states import Snapshot, State, begin, step
from states.effects import AlertParked, AskTurn, Wait
from states.events import (
    AuthRejected,
    CaughtUp,
    Closed,
    Connected,
    FloodWait,
    NetworkLost,
    Started,
    StopRequested,
    TurnGranted,
)
from tests.states.life import NOW, PARKING, Life, effects


def stopped(life: Life) -> Snapshot:
    """Stop the account and return what is stored."""
    life.take(StopRequested())
    return life.snapshot


def test_dead_credentials_stay_dead_over_a_restart() -> None:
    """``auth_failed`` is sticky for the same key, after a clean stop as after a crash."""
    life = Life()
    life.take(Started(credentials="one"))
    life.fail(AuthRejected())
    for stored in (life.snapshot, stopped(life)):
        again = Life(snapshot=begin(stored, now=NOW + 100))
        again.take(Started(credentials="one"))
        assert again.snapshot.state is State.AUTH_FAILED


def test_other_credentials_are_tried_after_a_restart() -> None:
    """A login made while the engine was down is noticed at its start."""
    life = Life()
    life.take(Started(credentials="one"))
    life.fail(AuthRejected())
    again = Life(snapshot=begin(stopped(life), now=NOW + 100))
    assert effects(again.take(Started(credentials="two"))) == [AskTurn]
    assert again.snapshot.state is State.CONNECTING


def test_a_wait_goes_on_after_a_restart() -> None:
    """What is left of a flood wait is waited for, and no more."""
    life = Life()
    life.take(Started())
    life.fail(FloodWait(seconds=300))
    deadline = life.snapshot.deadline
    again = Life(snapshot=begin(stopped(life), now=NOW + 100))
    again.now = NOW + 100
    wait = again.take(Started()).effects[0]
    assert isinstance(wait, Wait)
    assert deadline is not None
    assert wait.delay == pytest.approx(deadline - again.now)


def test_a_wait_that_ended_meanwhile_fires_at_once() -> None:
    """A stale deadline is no reason to wait."""
    life = Life()
    life.take(Started())
    life.fail(NetworkLost())
    again = Life(snapshot=begin(life.snapshot, now=NOW + 10_000))
    again.now = NOW + 10_000
    wait = again.take(Started()).effects[0]
    assert isinstance(wait, Wait)
    assert wait.delay == 0


def test_holds_and_counters_survive_a_restart() -> None:
    """Floods that are not over, failures and reconnects are kept; a link is not."""
    life = Life().connect().settle()
    life.take(FloodWait(seconds=500, request="SendMessage"))
    life.take(NetworkLost())
    life.take(TurnGranted(generation=0))
    life.take(Connected())
    born = begin(stopped(life), now=life.now + 1)
    assert (born.state, born.link, born.reconnects, born.failures) == (State.CONNECTING, 0, 1, 1)
    assert [hold.request for hold in born.holds] == ["SendMessage"]


def test_the_life_ends_when_the_link_is_gone() -> None:
    """``Closed`` of the last visit finishes the life; one of an earlier visit does not."""
    life = Life().connect()
    life.take(StopRequested())
    stale = step(life.snapshot, Closed(generation=1), now=life.now, rng=life.rng, policy=life.policy)
    assert not stale.effects
    assert [type(effect).__name__ for effect in life.take(Closed(generation=0)).effects] == ["Finish"]


def test_a_parked_account_stays_parked() -> None:
    """A restart is no person: it says again that the account is parked, and does not try."""
    life = Life(PARKING)
    life.take(Started())
    for _ in range(3):
        life.fail(NetworkLost())
    again = Life(PARKING, snapshot=begin(stopped(life), now=NOW + 100))
    assert effects(again.take(Started())) == [AlertParked]
    assert again.snapshot.parked


def test_a_gap_lasts_from_the_last_sign_of_life_to_the_proof() -> None:
    """What a link that returns has missed lies between the last answer before it and its own proof."""
    life = Life().connect()
    assert life.snapshot.offline is None
    heard = life.snapshot.last_success
    life.take(NetworkLost())
    life.connect()
    assert life.snapshot.offline == (heard, life.now)
    before = life.snapshot
    assert not life.take(CaughtUp(recovered=3)).effects
    assert life.snapshot == before
