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
from tests.states.harness import NOW, PARKING, AccountDriver, effects


def stopped(driver: AccountDriver) -> Snapshot:
    """Stop the account and return what is stored."""
    driver.take(StopRequested())
    return driver.snapshot


def test_dead_credentials_stay_dead_over_a_restart() -> None:
    """``auth_failed`` is sticky for the same key, after a clean stop as after a crash."""
    driver = AccountDriver()
    driver.take(Started(credentials="one"))
    driver.fail(AuthRejected())
    for stored in (driver.snapshot, stopped(driver)):
        again = AccountDriver(snapshot=begin(stored, now=NOW + 100))
        again.take(Started(credentials="one"))
        assert again.snapshot.state is State.AUTH_FAILED


def test_other_credentials_are_tried_after_a_restart() -> None:
    """A login made while the engine was down is noticed at its start."""
    driver = AccountDriver()
    driver.take(Started(credentials="one"))
    driver.fail(AuthRejected())
    again = AccountDriver(snapshot=begin(stopped(driver), now=NOW + 100))
    assert effects(again.take(Started(credentials="two"))) == [AskTurn]
    assert again.snapshot.state is State.CONNECTING


def test_a_wait_goes_on_after_a_restart() -> None:
    """What is left of a flood wait is waited for, and no more."""
    driver = AccountDriver()
    driver.take(Started())
    driver.fail(FloodWait(seconds=300))
    deadline = driver.snapshot.deadline
    again = AccountDriver(snapshot=begin(stopped(driver), now=NOW + 100))
    again.now = NOW + 100
    wait = again.take(Started()).effects[0]
    assert isinstance(wait, Wait)
    assert deadline is not None
    assert wait.delay == pytest.approx(deadline - again.now)


def test_a_wait_that_ended_meanwhile_fires_at_once() -> None:
    """A stale deadline is not a reason to wait."""
    driver = AccountDriver()
    driver.take(Started())
    driver.fail(NetworkLost())
    again = AccountDriver(snapshot=begin(driver.snapshot, now=NOW + 10_000))
    again.now = NOW + 10_000
    wait = again.take(Started()).effects[0]
    assert isinstance(wait, Wait)
    assert wait.delay == 0


def test_holds_and_counters_survive_a_restart() -> None:
    """Floods that are not over, failures and reconnects are kept; a link is not."""
    driver = AccountDriver().connect().settle()
    driver.take(FloodWait(seconds=500, request="SendMessage"))
    driver.take(NetworkLost())
    driver.take(TurnGranted(generation=0))
    driver.take(Connected())
    born = begin(stopped(driver), now=driver.now + 1)
    assert (born.state, born.link, born.reconnects, born.failures) == (State.CONNECTING, 0, 1, 1)
    assert [hold.request for hold in born.holds] == ["SendMessage"]


def test_the_life_ends_when_the_link_is_gone() -> None:
    """``Closed`` of the last visit finishes the life; one of an earlier visit does not."""
    driver = AccountDriver().connect()
    driver.take(StopRequested())
    stale = step(driver.snapshot, Closed(generation=1), now=driver.now, rng=driver.rng, policy=driver.policy)
    assert not stale.effects
    assert [type(effect).__name__ for effect in driver.take(Closed(generation=0)).effects] == ["Finish"]


def test_a_parked_account_stays_parked() -> None:
    """A restart is not an order to try: it says again that the account is parked."""
    driver = AccountDriver(PARKING)
    driver.take(Started())
    for _ in range(3):
        driver.fail(NetworkLost())
    again = AccountDriver(PARKING, snapshot=begin(stopped(driver), now=NOW + 100))
    assert effects(again.take(Started())) == [AlertParked]
    assert again.snapshot.parked


def test_a_gap_lasts_from_the_last_sign_of_life_to_the_proof() -> None:
    """What a link that returns has missed lies between the last answer before it and its own proof."""
    driver = AccountDriver().connect()
    assert driver.snapshot.offline is None
    heard = driver.snapshot.last_success
    driver.take(NetworkLost())
    driver.connect()
    assert driver.snapshot.offline == (heard, driver.now)
    before = driver.snapshot
    assert not driver.take(CaughtUp(recovered=3)).effects
    assert driver.snapshot == before
