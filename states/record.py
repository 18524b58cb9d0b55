"""What the journal keeps: a decision as a record, and the line that it becomes."""

from typing import TYPE_CHECKING, Any

from attrs import frozen

from states.snapshot import State

if TYPE_CHECKING:  # most readers of records need no policy
    from states.schedules import Policy


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


class RecordDraft(Record):
    """A record while it is made: its fields are set one by one, in a third of the time that ``Record`` takes."""

    __slots__ = ()
    __setattr__, __delattr__ = object.__setattr__, object.__delattr__  # fast only if both are the usual ones

    @classmethod
    def empty(cls) -> Any:
        """Return a record whose fields are still to be set."""
        return object.__new__(cls)

    def finish(self) -> Record:
        """Make this a record, which nothing can change any more, and return it."""
        self.__class__ = Record  # type: ignore[assignment]  # the same fields at the same places
        return self


@frozen(kw_only=True)
class Entry(Record):
    """One line of the journal: a record with its number, its account and the account's life."""

    seq: int
    account: str
    life: int
    quiet: bool = False
    policy: "Policy | None" = None
    """The policy by which it was decided, if that is another than the one with which its life began."""
