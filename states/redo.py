"""Decides a recorded event again: with the recorded time and random number, but by the present rules."""

from attrs import frozen

from states.events import Event
from states.record import Record
from states.schedules import Policy
from states.snapshot import Snapshot
from states.step import Step, step

COMPARED = (
    "source", "rule", "target", "attempt", "failures", "delay", "draw", "deadline", "effects", "detail", "cause",
    "dwell",
)  # fmt: skip
"""The fields in which a record and its replay must be equal."""


@frozen
class _Recorded:
    """Returns the random number of a record."""

    draw: float | None

    def random(self) -> float:
        """Return the recorded draw; if none was recorded any number will do, because the draw itself is compared."""
        return 0.5 if self.draw is None else self.draw


def redo(snapshot: Snapshot, record: Record, event: Event, policy: Policy) -> Step:
    """Decide the ``event`` of ``record`` again, for an account at ``snapshot``."""
    return step(snapshot, event, now=record.at, rng=_Recorded(record.draw), policy=policy)


def differences(made: Record, record: Record) -> list[str]:
    """Return the names of the fields in which a new decision differs from the record."""
    return [name for name in COMPARED if getattr(made, name) != getattr(record, name)]
