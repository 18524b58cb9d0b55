"""Snapshots and records that are still being made."""

import random
from typing import Any

import attrs
import pytest
from attrs.exceptions import FrozenInstanceError

from states import Cause, Policy, Record, Snapshot, begin, step
from states.events import NetworkLost, Started, TurnGranted
from states.record import RecordDraft
from states.snapshot import SnapshotDraft, State


def test_draft_has_every_field() -> None:
    """A draft of a snapshot has each of its fields, also one that a later version adds."""
    values: dict[str, Any] = {field.name: object() for field in attrs.fields(Snapshot)}

    assert SnapshotDraft.of(Snapshot(**values)).finish() == Snapshot(**values)


def test_finished_draft_cannot_be_changed() -> None:
    """A draft can be changed until it is finished; then it is a snapshot like any other."""
    draft = SnapshotDraft.of(Snapshot(since=1.0))
    draft.put({"failures": 2})
    made = draft.finish()

    assert type(made) is Snapshot
    assert made == Snapshot(since=1.0, failures=2)
    assert hash(made) == hash(Snapshot(since=1.0, failures=2))
    with pytest.raises(FrozenInstanceError):
        made.failures = 3  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del made.failures


def test_entering_a_state_ends_the_deadline() -> None:
    """A draft that enters a state counts the visit, and a deadline of the visit before is gone."""
    draft = SnapshotDraft.of(Snapshot(since=1.0, generation=4, deadline=9.0, wait=8.0))
    draft.enter(State.BACKOFF, 5.0)

    assert draft.finish() == Snapshot(state=State.BACKOFF, since=5.0, generation=5)


def test_decision_leaves_the_snapshot_as_it_was() -> None:
    """A decision makes another snapshot; the one that was decided on stays what it was."""
    before = attrs.evolve(begin(None, now=10.0), link=3, links=3, cause=Cause(event="TimedOut"))
    as_it_was = attrs.evolve(before)
    decision = step(before, NetworkLost(link=3, detail="reset"), now=11.0, rng=random.Random(1), policy=Policy())

    assert before == as_it_was
    assert decision.snapshot is not before
    assert type(decision.snapshot) is Snapshot


def test_record_has_every_field() -> None:
    """The record of a decision has each field, and nobody can change it."""
    snapshot = begin(None, now=10.0)
    for event in (Started(credentials="key"), TurnGranted(generation=snapshot.generation), NetworkLost(link=1)):
        decision = step(snapshot, event, now=11.0, rng=random.Random(1), policy=Policy())
        snapshot, record = decision.snapshot, decision.record

        assert type(record) is Record
        assert record == Record(**{field.name: getattr(record, field.name) for field in attrs.fields(Record)})
        with pytest.raises(FrozenInstanceError):
            record.attempt = 7  # type: ignore[misc]


def test_record_draft_is_no_record_of_its_own() -> None:
    """A draft of a record has no fields beside those of the record."""
    assert attrs.fields(RecordDraft) == attrs.fields(Record)
