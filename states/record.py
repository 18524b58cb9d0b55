"""What the journal keeps: a decision as a record, and the line that it becomes."""

from typing import Any

from attrs import frozen

from states.snapshot import State


@frozen(kw_only=True)
class Record:
    """One decision, as the journal keeps it. Times are wall-clock Unix seconds, durations seconds."""

    at: float
    source: State
    event: str
    payload: dict[str, Any]
    """The event's own fields."""
    rule: str
    target: State
    """The state afterwards; equal to ``source`` if the state did not change."""
    attempt: int
    failures: int
    delay: float | None
    """Length of the wait that began, if one did."""
    draw: float | None
    """The random number behind the jitter, so that a replay computes the same wait."""
    deadline: float | None
    effects: tuple[str, ...]
    detail: str
    cause: tuple[str, ...]
    """The chain of exceptions, outermost first."""
    dwell: float
    """How long the account had been in ``source``."""
    quiet: bool
    """Whether the decision is routine, which the journal leaves out."""


@frozen(kw_only=True)
class Entry(Record):
    """One line of the journal: a record with its number, its account and the account's life."""

    seq: int
    account: str
    life: int
    quiet: bool = False
