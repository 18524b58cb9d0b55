"""Deciding once more what a record is about: with the time and the chance of then, by the rules of now."""

from attrs import frozen

from states.events import Event
from states.schedules import Policy
from states.snapshot import Snapshot
from states.step import Record, Step, step

COMPARED = (
    "source", "rule", "target", "attempt", "failures", "delay", "draw", "deadline", "effects", "detail", "cause",
    "dwell",
)  # fmt: skip
"""What a record must have in common with its replay, exactly."""


@frozen
class _Recorded:
    """Gives the number that was drawn then."""

    draw: float | None

    def random(self) -> float:
        """Return the recorded draw; any number where none was recorded, because the draw itself is compared."""
        return 0.5 if self.draw is None else self.draw


def redo(snapshot: Snapshot, record: Record, event: Event, policy: Policy) -> Step:
    """Decide on the ``event`` of ``record`` again, for an account at ``snapshot``."""
    return step(snapshot, event, now=record.at, rng=_Recorded(record.draw), policy=policy)


def differences(made: Record, record: Record) -> list[str]:
    """Return the fields in which a decision is not the one that was written."""
    return [name for name in COMPARED if getattr(made, name) != getattr(record, name)]
