"""What a snapshot remembers for the next life: that a person paused the account, and whose key was used last."""

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
from tests.states.life import NOW, Life, in_state

TURN = TurnGranted(generation=0, credentials="new")


@pytest.mark.parametrize("state", [state for state in State if state is not State.SHUTTING_DOWN])
def test_a_pause_is_remembered_from_every_state(state: State) -> None:
    """A stop that is a pause marks the snapshot, another stop does not, and the next life begins unmarked."""
    for paused in (True, False):
        life = Life(snapshot=in_state(state))
        life.take(StopRequested(paused=paused))
        assert (life.snapshot.state, life.snapshot.paused) == (State.SHUTTING_DOWN, paused)
        assert begin(life.snapshot, now=NOW).paused is False


def test_a_stop_during_a_pause_changes_nothing() -> None:
    """The engine may stop while an account is being paused, and it stays paused."""
    life = Life(snapshot=in_state(State.HEALTHY))
    life.take(StopRequested(paused=True))
    life.take(StopRequested())
    assert life.snapshot.paused


def test_an_attempt_says_whose_key_it_uses() -> None:
    """The key that was read for an attempt is the one that counts as failed, also after a restart."""
    life = Life()
    life.take(Started(credentials="old"))
    life.take(TURN)
    life.take(AuthRejected())
    again = Life(snapshot=begin(life.snapshot, now=NOW))
    again.take(Started(credentials="new"))
    assert again.snapshot.state is State.AUTH_FAILED


def test_who_did_not_look_changes_nothing() -> None:
    """Records of before the fingerprint was written keep the one that is known."""
    life = Life()
    life.take(Started(credentials="old"))
    life.take(TurnGranted(generation=0))
    life.take(CredentialsReplaced())
    assert life.snapshot.credentials == "old"


@pytest.mark.parametrize("state", [state for state in State if state is not State.SHUTTING_DOWN])
def test_replaced_credentials_are_known_from_then_on(state: State) -> None:
    """Wherever the account is, the new key is the one that the next look compares with."""
    life = Life(snapshot=in_state(state))
    life.take(CredentialsReplaced(credentials="new"))
    assert life.snapshot.credentials == "new"


def test_new_credentials_do_not_cut_a_wait_short() -> None:
    """In back-off the new key is remembered, and the deadline stands."""
    life = Life(snapshot=in_state(State.BACKOFF))
    before = life.snapshot.deadline
    life.take(CredentialsReplaced(credentials="new"))
    assert (life.snapshot.state, life.snapshot.deadline) == (State.BACKOFF, before)


@pytest.mark.parametrize(("loss", "known"), [(DatabaseCorrupt(), ""), (NetworkLost(), "new")])
def test_a_damaged_file_has_no_credentials(loss: NetworkLost, known: str) -> None:
    """The same key from a backup is a new one then: restoring it is what the advice asks for."""
    life = Life()
    life.take(Started(credentials="new"))
    life.take(TURN)
    life.take(loss)
    assert life.snapshot.credentials == known


def test_the_cause_names_the_setting() -> None:
    """A refused config says which setting was refused, and what the datacenter said."""
    life = Life()
    life.take(Started())
    life.take(ConfigRefused(setting="telegram.api_id", detail="API_ID_INVALID (400)"))
    assert life.snapshot.cause is not None
    assert life.snapshot.cause.detail == "telegram.api_id (API_ID_INVALID (400))"


def test_a_stored_snapshot_of_before_is_not_paused() -> None:
    """The field has a default, so files of the version before can be read."""
    assert Snapshot().paused is False
