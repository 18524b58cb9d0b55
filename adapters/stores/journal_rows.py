"""Rows of the journal as values, whatever else may stand in them: what cannot be read is ``Undecodable``."""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from attrs import frozen

from adapters.sqlite.codec import decode_body, decode_policy
from adapters.sqlite.errors import Undecodable
from adapters.sqlite.job_codec import is_legible
from states.record import Entry
from states.snapshot import Snapshot, State

if TYPE_CHECKING:  # most reads need no policy
    from states.schedules import Policy

MOVES = "SELECT seq, account, life, at, dwell, source, target, event FROM journal"
"""The columns of a move; names are numbers here."""


@cache
def failure_names() -> tuple[str, ...]:
    """Return the names of the events that are errors."""
    from states.events import EVENTS, Failure  # noqa: PLC0415 - most reads need no events

    return tuple(event.__name__ for event in EVENTS if issubclass(event, Failure))


@frozen(kw_only=True)
class StoredLife:
    """One life of an account: when it began (Unix seconds), with which policy and snapshot."""

    account: str
    life: int
    at: float
    policy: "Policy"
    snapshot: Snapshot
    pruned_to: int = 0
    """The last ``seq`` of the life that retention has deleted, 0 for none."""
    base: Snapshot | None = None
    """The account's snapshot after that entry; None if nothing was deleted, or if the snapshot is unknown."""

    @property
    def start(self) -> Snapshot | None:
        """The snapshot before the first entry that is left; None if it is unknown."""
        return self.base if self.pruned_to else self.snapshot


@frozen(kw_only=True)
class StoredBeginning:
    """The part of a life that a history needs."""

    account: str
    life: int
    at: float
    """When it began (Unix seconds)."""
    state: State
    """Where it began, or where the records begin that retention has left."""
    since: float
    """When that state was entered, or the life began."""
    answered: float | None
    """The last sign of life before it."""


def beginning_from(row: tuple[Any, ...]) -> StoredBeginning | None:
    """Return a beginning; None if it cannot be read.

    The row has its number, the account, the life and when it began; state and last success of its snapshot; state and
    ``since`` of the one with which the records begin that retention has left.
    """
    _, account, life, at, state, answered, base, since = row
    try:
        _check_texts(account)
        check_numbers(life, at)
        kept = State(base) if base is not None else State(state) if state is not None else State.CONNECTING
        return StoredBeginning(
            account=account, life=life, at=at, state=kept,
            since=max(at, since) if base is not None and isinstance(since, _NUMBER) else at,
            answered=answered if isinstance(answered, _NUMBER) else None,
        )  # fmt: skip
    except (ValueError, TypeError):
        return None


@frozen(kw_only=True)
class StoredMove:
    """The part of an entry that statistics need: times as in ``Entry``, without the fields that are slow to read."""

    seq: int
    account: str
    life: int
    at: float
    dwell: float
    source: State
    target: State
    event: str
    shift: float = 0.0
    """By how many seconds the clock had been set, where the event is ``ClockJumped``."""


@frozen(kw_only=True)
class UnreadableRow:
    """A row that cannot be read: the number of its entry (0 for a life or a snapshot), whose it is, and why."""

    seq: int
    account: str | None
    life: int | None
    why: str


policy_from = lru_cache(maxsize=8)(decode_policy)
"""Returns a policy from its JSON; nearly all lives share one."""
body_from = lru_cache(maxsize=4096)(decode_body)
"""Returns what a record has without a column, from its JSON; many records share one, so nobody may change it."""


_NUMBER = (int, float)
_STATES = {state.value: state for state in State}


def check_numbers(*values: Any) -> None:
    """Raise ``TypeError`` for a value that is no number."""
    for value in values:
        if not isinstance(value, _NUMBER):
            raise TypeError(f"{value!r:.40} in place of a number")


def _state(name: Any) -> State:
    """Return the state of this name. Raises ``ValueError``."""
    state = _STATES.get(name)
    return State(name) if state is None else state


def _check_texts(*values: Any) -> None:
    for value in values:
        if not is_legible(value):
            raise TypeError(f"{value!r:.40} in place of a name")


def text_or_none(value: Any) -> str | None:
    """Return a value if it is a text that can be stored again."""
    return value if is_legible(value) else None


def whole_or_none(value: Any) -> int | None:
    """Return a value if it is a whole number."""
    return value if isinstance(value, int) else None


def check_row(what: str, *, texts: list[Any], numbers: list[Any]) -> None:
    """Raise ``Undecodable``, with ``what`` the row is, if one of its columns is not of its type."""
    try:
        _check_texts(*texts)
        check_numbers(*numbers)
    except TypeError as exc:
        raise Undecodable(f"{what} cannot be read ({exc}); restore a backup") from exc


def entry_from(row: tuple[Any, ...], policy_of: "Callable[[str], Policy]") -> Entry:
    """Return the entry in a row; ``policy_of`` finds a policy by its key. Raises ``Undecodable``."""
    seq, at, account, life, source, event, target, rule, attempt, failures, delay, draw, deadline, dwell, body = row
    if account is None:
        raise Undecodable(f"entry {seq} of the journal cannot be read (it names no account); restore a backup")
    try:
        _check_texts(account, event, rule)
        check_numbers(at, dwell, attempt, failures, life)
        for value in (delay, draw, deadline):
            if value is not None:
                check_numbers(value)
        rest = body_from(body)
        if "policy" in rest:
            rest = {**rest, "policy": policy_of(rest["policy"])}
        return Entry(
            seq=seq, account=account, life=life, at=at, source=_state(source), event=event, rule=rule,
            target=_state(target), attempt=attempt, failures=failures, delay=delay, draw=draw, deadline=deadline,
            dwell=dwell, **rest,
        )  # fmt: skip
    except (ValueError, TypeError) as exc:
        raise Undecodable(f"entry {seq} of the journal cannot be read ({exc}); use the version that wrote it") from exc
    except Undecodable as exc:
        raise Undecodable(f"entry {seq} of the journal: {exc}") from exc
