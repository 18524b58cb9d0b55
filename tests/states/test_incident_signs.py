"""What snapshots mean for incidents, row by row, and that every snapshot means something."""

import random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from states import Policy, Snapshot, State, step
from states.events import EVENTS, ConfigRefused, NetworkLost, OfVisit, StopRequested
from states.exhaustion import NO_DESCRIPTORS
from states.incident import IncidentKind
from states.incident_signs import PROCESS, account_seen
from states.incidents import AccountGone, AccountSeen, IncidentReason, Sign
from states.snapshot import SHARED_SETTING, Cause, Stall, Trouble
from tests.states.harness import AccountDriver

WELL, LEFT, UNSETTLED = Sign.WELL, Sign.LEFT, Sign.UNSETTLED
OUTAGE, PERSON, STORAGE = IncidentKind.OUTAGE, IncidentKind.NEEDS_PERSON, IncidentKind.STORAGE
LOCKED = Trouble(event="DatabaseLocked", detail="another program", since=5.0)


def seen(**fields: Any) -> AccountSeen:
    """Return what is seen of a snapshot."""
    found = account_seen("A", Snapshot(**fields), scopes=("way",), disk="/data")
    assert isinstance(found, AccountSeen)
    return found


STALL = Stall(since=7.0, detail="channel 5 (3 missing)", clients=1, until=9.0, length=300.0, told=True)


def test_missing_updates_are_a_trouble_once_a_person_was_told() -> None:
    """At once, since they were first missed; before that nobody need know, and in a restart it is unsettled."""
    found = seen(state=State.HEALTHY, stall=STALL).updates
    assert isinstance(found, IncidentReason)
    assert (found.kind, found.cause, found.detail) == (IncidentKind.STALLED, "UpdatesStalled", STALL.detail)
    assert (found.since, found.at_once, found.shared) == (7.0, True, None)
    assert seen(state=State.HEALTHY, stall=evolve(STALL, told=False)).updates is WELL
    assert seen(state=State.HEALTHY).updates is WELL
    assert seen(state=State.RECONNECTING).updates is UNSETTLED
    assert seen(state=State.SHUTTING_DOWN, stall=STALL).updates is UNSETTLED


@pytest.mark.parametrize("state", [State.HEALTHY, State.RECONNECTING, State.BACKOFF])
def test_missing_updates_are_no_other_trouble(state: State) -> None:
    """The action that they ask for does not make an account one that cannot go on before somebody acts."""
    found = seen(state=state, stall=STALL, deadline=9.0)
    assert (found.person, found.limit) == ((WELL, WELL) if state is State.HEALTHY else (UNSETTLED, UNSETTLED))


def kinds(found: AccountSeen) -> tuple[Any, ...]:
    """Return the sign, or the kind of trouble, of each slot."""
    slots = (found.connection, found.person, found.file, found.limit)
    return tuple(each.kind if isinstance(each, IncidentReason) else each for each in slots)


def cause(event: str, detail: str = "") -> Cause:
    return Cause(event=event, detail=detail)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"state": State.HEALTHY}, (WELL, WELL, WELL, WELL)),
        ({"state": State.HEALTHY, "cause": cause("NetworkLost")}, (WELL, WELL, WELL, WELL)),
        ({"state": State.HEALTHY, "database": LOCKED}, (WELL, WELL, STORAGE, WELL)),
        (
            {"state": State.HEALTHY, "limited": cause("AccountLimited")},
            (WELL, WELL, WELL, IncidentKind.LIMITED),
        ),
        ({"state": State.CONNECTING}, (UNSETTLED,) * 4),
        ({"state": State.RECONNECTING}, (UNSETTLED,) * 4),
        ({"state": State.SHUTTING_DOWN, "cause": cause("NetworkLost")}, (UNSETTLED,) * 4),
        *(
            ({"state": state, "cause": cause(event), "deadline": 9.0}, (OUTAGE, UNSETTLED, UNSETTLED, UNSETTLED))
            for state in (State.CONNECTING, State.RECONNECTING, State.BACKOFF, State.TIMEOUT)
            for event in ("NetworkLost", "TimedOut", "FloodWait", "Unexpected", "AuthKeyUnknown")
        ),
        (
            {"state": State.TIMEOUT, "cause": cause("TimedOut"), "database": LOCKED},
            (OUTAGE, UNSETTLED, STORAGE, UNSETTLED),
        ),
        (
            {"state": State.BACKOFF, "cause": cause("DatabaseLocked"), "deadline": 9.0},
            (LEFT, UNSETTLED, STORAGE, UNSETTLED),
        ),
        ({"state": State.BACKOFF, "cause": cause("NetworkLost")}, (LEFT, PERSON, UNSETTLED, UNSETTLED)),
        ({"state": State.AUTH_FAILED, "cause": cause("AuthRejected")}, (LEFT, PERSON, UNSETTLED, UNSETTLED)),
        ({"state": State.AUTH_FAILED}, (LEFT, PERSON, UNSETTLED, UNSETTLED)),
        (
            {"state": State.BACKOFF, "cause": cause("AuthKeyUnknown"), "deadline": 9.0, "streak": 5, "exhausted": True},
            (LEFT, PERSON, UNSETTLED, UNSETTLED),
        ),
    ],
)
def test_a_row_of_the_table(fields: dict[str, Any], found: tuple[Any, ...]) -> None:
    """What is seen is what the table has."""
    assert kinds(seen(**fields)) == found


def test_a_paused_account_is_gone() -> None:
    """It is gone with its pause, and while it rests."""
    driver = AccountDriver()
    assert account_seen("A", driver.take(StopRequested(paused=True)).snapshot) == AccountGone("A")


def test_what_is_shared() -> None:
    """A refused api_id, a disk and the limits of the process are certainly shared; a way may be; a lock is not."""
    driver = AccountDriver()
    refused = driver.take(ConfigRefused(setting=SHARED_SETTING, detail="API_ID_INVALID")).snapshot
    found = account_seen("A", refused)
    assert isinstance(found, AccountSeen)
    assert isinstance(found.person, IncidentReason)
    assert (found.person.cause, found.person.shared, found.person.at_once) == ("mend_config", "mend_config", True)
    shared = {
        event: getattr(seen(state=State.BACKOFF, deadline=9.0, cause=cause(event, detail)), slot)
        for event, detail, slot in (
            ("DatabaseUnavailable", "", "file"),
            ("DatabaseLocked", "", "file"),
            ("NetworkLost", NO_DESCRIPTORS, "connection"),
            ("TimedOut", "", "connection"),
            ("FloodWait", "", "connection"),
        )
    }
    assert {event: (each.shared, each.scoped) for event, each in shared.items()} == {
        "DatabaseUnavailable": ("/data", False),
        "DatabaseLocked": (None, False),
        "NetworkLost": (PROCESS, True),
        "TimedOut": (None, True),
        "FloodWait": (None, False),
    }


def test_a_trouble_began_with_the_last_sign_of_life() -> None:
    """An account of an earlier life has been in trouble since it was last heard of."""
    found = seen(state=State.BACKOFF, deadline=9.0, cause=cause("NetworkLost"), since=100.0, last_success=40.0)
    assert isinstance(found.connection, IncidentReason)
    assert found.connection.since == 40.0


@given(st.lists(st.sampled_from(EVENTS), max_size=12), st.integers())
@settings(max_examples=60)
def test_every_snapshot_means_something(events: list[Any], seed: int) -> None:
    """Whatever the law makes of an account, a healthy one is well, and one that waits for a person needs one."""
    rng, at = random.Random(seed), Snapshot(life=1)
    for number, kind in enumerate(events):
        fields: dict[str, Any] = {"generation": at.generation} if issubclass(kind, OfVisit) else {}
        if kind.__name__ == "FloodWait":
            fields["seconds"] = 3.0
        at = step(at, kind(**fields), now=float(number), rng=rng, policy=Policy()).snapshot
        found = account_seen("A", at)
        if at.paused:
            assert found == AccountGone("A")
            continue
        assert isinstance(found, AccountSeen)
        if at.state is State.HEALTHY:
            assert (found.connection, found.person) == (WELL, WELL)
        if at.state is State.AUTH_FAILED or at.parked:
            assert kinds(found)[:2] == (LEFT, PERSON)


def test_a_loss_is_an_outage() -> None:
    """What the law says after a loss is seen as one, with its words."""
    driver = AccountDriver()
    found = account_seen("A", driver.take(NetworkLost(detail="reset by peer")).snapshot)
    assert isinstance(found, AccountSeen)
    assert isinstance(found.connection, IncidentReason)
    assert (found.connection.cause, found.connection.detail) == ("NetworkLost", "reset by peer")
