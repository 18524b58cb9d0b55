"""What a snapshot remembers for the next life: that the account is paused, and which key was used last."""

import pytest

from states import Snapshot, State, begin
from states.events import (
    AuthRejected,
    ConfigRefused,
    CredentialsReplaced,
    DatabaseCorrupt,
    NetworkLost,
    Started,
    StopRequested,
    TurnGranted,
)
from tests.states.harness import NOW, AccountDriver, in_state

TURN = TurnGranted(generation=0, credentials="new")


@pytest.mark.parametrize("state", [state for state in State if state is not State.SHUTTING_DOWN])
def test_a_pause_is_remembered_from_every_state(state: State) -> None:
    """A stop that is a pause marks the snapshot, another stop does not, and the next life begins unmarked."""
    for paused in (True, False):
        driver = AccountDriver(snapshot=in_state(state))
        driver.take(StopRequested(paused=paused))
        assert (driver.snapshot.state, driver.snapshot.paused) == (State.SHUTTING_DOWN, paused)
        assert begin(driver.snapshot, now=NOW).paused is False


def test_a_stop_during_a_pause_changes_nothing() -> None:
    """The engine may stop while an account is being paused, and it stays paused."""
    driver = AccountDriver(snapshot=in_state(State.HEALTHY))
    driver.take(StopRequested(paused=True))
    driver.take(StopRequested())
    assert driver.snapshot.paused


def test_an_attempt_says_whose_key_it_uses() -> None:
    """The key that was read for an attempt is the one that counts as failed, also after a restart."""
    driver = AccountDriver()
    driver.take(Started(credentials="old"))
    driver.take(TURN)
    driver.take(AuthRejected())
    again = AccountDriver(snapshot=begin(driver.snapshot, now=NOW))
    again.take(Started(credentials="new"))
    assert again.snapshot.state is State.AUTH_FAILED


def test_an_attempt_that_did_not_look_changes_nothing() -> None:
    """Records of before the fingerprint was written keep the one that is known."""
    driver = AccountDriver()
    driver.take(Started(credentials="old"))
    driver.take(TurnGranted(generation=0))
    driver.take(CredentialsReplaced())
    assert driver.snapshot.credentials == "old"


@pytest.mark.parametrize("state", [state for state in State if state is not State.SHUTTING_DOWN])
def test_replaced_credentials_are_known_from_then_on(state: State) -> None:
    """Wherever the account is, the new key is the one that the next look compares with."""
    driver = AccountDriver(snapshot=in_state(state))
    driver.take(CredentialsReplaced(credentials="new"))
    assert driver.snapshot.credentials == "new"


def test_new_credentials_do_not_cut_a_wait_short() -> None:
    """In back-off the new key is remembered, and the deadline stands."""
    driver = AccountDriver(snapshot=in_state(State.BACKOFF))
    before = driver.snapshot.deadline
    driver.take(CredentialsReplaced(credentials="new"))
    assert (driver.snapshot.state, driver.snapshot.deadline) == (State.BACKOFF, before)


@pytest.mark.parametrize(("loss", "known"), [(DatabaseCorrupt(), ""), (NetworkLost(), "new")])
def test_a_damaged_file_has_no_credentials(loss: NetworkLost, known: str) -> None:
    """The same key from a backup is a new one then: restoring it is what the advice asks for."""
    driver = AccountDriver()
    driver.take(Started(credentials="new"))
    driver.take(TURN)
    driver.take(loss)
    assert driver.snapshot.credentials == known


def test_the_cause_names_the_setting() -> None:
    """A refused config says which setting was refused, and what the datacenter said."""
    driver = AccountDriver()
    driver.take(Started())
    driver.take(ConfigRefused(setting="telegram.api_id", detail="API_ID_INVALID (400)"))
    assert driver.snapshot.cause is not None
    assert driver.snapshot.cause.detail == "telegram.api_id (API_ID_INVALID (400))"


def test_a_stored_snapshot_of_before_is_not_paused() -> None:
    """The field has a default, so files of the version before can be read."""
    assert Snapshot().paused is False
