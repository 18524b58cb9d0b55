"""Values go to JSON and come back as they were."""

import json

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite import Undecodable, event_from
from adapters.sqlite.codec import (
    decode_body,
    decode_policy,
    decode_snapshot,
    encode_body,
    encode_policy,
    encode_snapshot,
)
from states import EVENT_BY_NAME, EVENTS, Policy, Record, Snapshot, State
from states.events import Event
from states.schedules import Backoff, BackoffSchedules, FileBackoff, Patience, Then
from tests.adapters.sqlite.strategies import events, records, snapshots


@settings(max_examples=60)
@given(snapshots)
def test_snapshot_comes_back(snapshot: Snapshot) -> None:
    """Any snapshot equals itself after the journey, types included."""
    back = decode_snapshot(encode_snapshot(snapshot))
    assert back == snapshot
    assert type(back.state) is State
    assert type(back.holds) is tuple


@settings(max_examples=60)
@given(records)
def test_body_comes_back(record: Record) -> None:
    """The fields of any record that have no column of their own equal themselves after the journey."""
    assert decode_body(encode_body(record)) == {
        "payload": record.payload,
        "effects": record.effects,
        "detail": record.detail,
        "cause": record.cause,
    }


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_event_comes_back(kind: type[Event], data: st.DataObject) -> None:
    """An event of any class is rebuilt from its name and its payload, as the journal keeps them."""
    event = data.draw(events(kind))
    payload = json.loads(json.dumps(attrs.asdict(event)))
    back = event_from(kind.__name__, payload)
    assert type(back) is kind
    assert back == event


def test_policy_comes_back() -> None:
    """A policy with other numbers than the defaults equals itself after the journey."""
    policy = Policy(
        connecting=Patience(patience=(1.5, 2.25)),
        backoff=BackoffSchedules(
            network=Backoff(first=0.1, cap=0.3, jitter=0.0, tries=2, then=Then.PARK),
            database=FileBackoff(alert_after=12.5),
        ),
    )
    assert decode_policy(encode_policy(policy)) == policy


def test_neighbouring_versions() -> None:
    """A field that is not known is ignored, and one that is missing takes its default."""
    assert decode_snapshot('{"state": "healthy", "invented": {"a": 1}}') == Snapshot(state=State.HEALTHY)
    assert decode_policy('{"timeout": {"patience": [3], "more": 1}}').timeout.patience == (3.0,)
    assert event_from("NetworkLost", {"detail": "x", "invented": 1}) == EVENT_BY_NAME["NetworkLost"](detail="x")


def test_what_was_stored_before_missing_updates_were_known_is_read() -> None:
    """Snapshots and policies of earlier versions: nothing is missing, and the schedule is the default."""
    snapshot = json.loads(encode_snapshot(Snapshot(state=State.HEALTHY, link=3)))
    del snapshot["stall"]
    assert decode_snapshot(json.dumps(snapshot)) == Snapshot(state=State.HEALTHY, link=3)
    policy = json.loads(encode_policy(Policy()))
    del policy["backoff"]["updates"]
    del policy["healthy"]["catch_up_within"]
    assert decode_policy(json.dumps(policy)) == Policy()


def test_what_was_stored_before_a_file_s_trouble_was_known_is_read() -> None:
    """Snapshots, policies and events of the journal that lack the newer fields decode, with nothing made up."""
    snapshot = json.loads(encode_snapshot(Snapshot(state=State.HEALTHY, link=3)))
    del snapshot["database"]
    assert decode_snapshot(json.dumps(snapshot)) == Snapshot(state=State.HEALTHY, link=3)
    policy = json.loads(encode_policy(Policy()))
    del policy["backoff"]["database"]["alert_after"]
    assert decode_policy(json.dumps(policy)) == Policy()
    locked = event_from("DatabaseLocked", {"link": 3, "detail": "locked", "chain": []})
    assert locked == EVENT_BY_NAME["DatabaseLocked"](link=3, detail="locked")


@pytest.mark.parametrize("text", ['{"state": "asleep"}', "[]", "{", '{"since": "never"}', '{"cause": {}}'])
def test_unreadable_is_one_error(text: str) -> None:
    """What cannot be read is a clear error, not any exception."""
    with pytest.raises(Undecodable, match="a stored snapshot cannot be read"):
        decode_snapshot(text)


def test_unknown_event() -> None:
    """An event of a later version is refused by its name."""
    with pytest.raises(Undecodable, match="Invented"):
        event_from("Invented", {})
