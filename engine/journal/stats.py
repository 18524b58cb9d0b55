"""Statistics of how well the fleet was connected, computed from the journal.

Only time in which the engine ran counts, which is the length of a life: from its beginning to its last record, to its
last sign of life if it was cut off, or to now. Time between two lives does not count. All times are in seconds.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from attrs import define, field, frozen

from engine.journal.replay import Beginning
from states import State

_DOWN = (State.BACKOFF, State.AUTH_FAILED, State.TIMEOUT, State.RECONNECTING)

COUNTED_STATES = tuple(state for state in State if state is not State.SHUTTING_DOWN)
"""States whose time counts: the end of a life is neither up nor down."""

BEGAN_EARLIER = "(began earlier)"
"""The cause given for an outage that had begun before the period."""


class Life(Beginning, Protocol):
    """A life, with its number."""

    @property
    def life(self) -> int:
        """The number of the life, which counts from 1 with each account."""


class Move(Protocol):
    """One record: its time, account, states and event."""

    @property
    def account(self) -> str:
        """The account's name."""

    @property
    def life(self) -> int:
        """The number of the life, which counts from 1 with each account."""

    @property
    def at(self) -> float:
        """When it was (Unix seconds)."""

    @property
    def dwell(self) -> float:
        """How long the account had been in ``source``, in seconds."""

    @property
    def source(self) -> State:
        """The state before."""

    @property
    def target(self) -> State:
        """The state after."""

    @property
    def event(self) -> str:
        """The name of the event."""

    @property
    def shift(self) -> float:
        """By how many seconds the clock had been set just before; 0 for all other events than that."""


@frozen(kw_only=True)
class AccountHistory:
    """What must be known of an account before its records are read.

    ``last`` is the last record before ``since``, if there is one. ``lives`` are in order, from that of ``last`` on.
    ``ends`` is the account's last sign of life, or now if an engine is running it.
    """

    lives: Sequence[Life]
    last: Move | None
    ends: float


@frozen(kw_only=True)
class Figures:
    """The numbers of one account, or of the fleet as the sum of its accounts.

    An *outage* begins when an account leaves ``healthy`` for anything but its end, when a first attempt fails, or when
    a life begins in ``backoff`` or ``auth_failed``. It ends with ``healthy``, and is *repaired* then, or with its life.
    The first attempt of a life is not an outage.
    """

    seconds: dict[State, float]
    """Time in each state."""
    outages: int
    """Outages that began in the period."""
    repairs: tuple[float, ...] = field(repr=False)
    """The length of each outage that began and was repaired in the period, shortest first."""
    longest: float
    """The length of the longest outage within the period; 0 if there was none."""
    causes: tuple[tuple[str, int, float], ...]
    """The events that began outages, each with the number of outages and their total length, most frequent first."""

    @property
    def lived(self) -> float:
        """How long the engine ran: the time in all states but ``shutting_down``."""
        return sum(self.seconds[state] for state in COUNTED_STATES)

    @property
    def availability(self) -> float | None:
        """The share of ``lived`` in ``healthy``, from 0 to 1; None if the engine did not run."""
        return self.seconds[State.HEALTHY] / self.lived if self.lived else None

    @property
    def mtbf(self) -> float | None:
        """The mean time between failures: time in ``healthy`` per outage; None if there was none."""
        return self.seconds[State.HEALTHY] / self.outages if self.outages else None

    @property
    def mttr_median(self) -> float | None:
        """The median time to repair; None if there was no repair."""
        return statistics.median(self.repairs) if self.repairs else None

    @property
    def mttr_p95(self) -> float | None:
        """The time to repair that 95 % of ``repairs`` did not exceed (nearest rank); None if there was no repair."""
        return self.repairs[math.ceil(len(self.repairs) * 0.95) - 1] if self.repairs else None


@frozen(kw_only=True)
class Stats:
    """The numbers of the period from ``since`` (None: the beginning) to ``until``, both Unix seconds."""

    since: float | None
    until: float
    fleet: Figures
    accounts: dict[str, Figures]


@define
class _Outage:
    cause: str
    began: bool
    """Whether it began in the period."""
    seconds: float = 0.0


@define
class _AccountTotals:
    """Adds up one account, record by record."""

    history: AccountHistory
    since: float
    until: float
    life: int | None = None
    state: State = State.CONNECTING
    at: float = 0.0
    answered_before: float | None = None
    """The last sign of life, as it was known when the present life began."""
    over: bool = False
    outage: _Outage | None = None
    seconds: dict[State, float] = field(factory=lambda: dict.fromkeys(State, 0.0))
    outages: int = 0
    repairs: list[float] = field(factory=list)
    longest: float = 0.0
    causes: dict[str, list[float]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if (last := self.history.last) is not None:
            self.life, self.state, self.at = last.life, last.target, last.at
            self.over = last.source is State.SHUTTING_DOWN and last.event == "Closed"
            if self.state in _DOWN:
                self.outage = _Outage(BEGAN_EARLIER, began=False)

    def take(self, move: Move) -> None:
        """Go on to the next record."""
        if move.life != self.life:
            self._follow(move)
        self.at += move.shift  # what was before has moved with the clock: nobody lived the hours between
        self._advance(max(self.at, move.at) if move.shift else move.at)
        if move.target is not self.state:
            self._enter(move.target, move.event)
        self.over = move.source is State.SHUTTING_DOWN and move.event == "Closed"

    def finish(self) -> None:
        """Go on to the end: through lives without records, to the last sign of life."""
        for life in self.history.lives:
            if self.life is None or life.life > self.life:
                self._end(life)
                self._start(life, None)
        if self.life is not None and not self.over:
            self._advance(max(self.at, self.history.ends))
        self._close(repaired=False)

    def _follow(self, move: Move) -> None:
        """Go on to the life of ``move``, through lives before it that have no records."""
        for life in self.history.lives:
            if (self.life is None or life.life > self.life) and life.life <= move.life:
                self._end(life)
                self._start(life, move if life.life == move.life else None)
        if self.life != move.life:  # the journal does not say how this life began
            self._close(repaired=False)
            self.life, self.state, self.at = move.life, move.source, move.at - move.dwell

    def _end(self, following: Life) -> None:
        """End the present life at its last record or, if it was cut off, when it last answered, says the next."""
        if self.life is not None and not self.over:
            # With a clock that was set back, the sign of an earlier life may lie after this one.
            known = following.snapshot.last_success
            answered = self.at if known is None or known == self.answered_before else known
            self._advance(max(self.at, min(answered, following.at)))
        self._close(repaired=False)

    def _start(self, life: Life, first: Move | None) -> None:
        self.life, self.over = life.life, False
        self.state, self.at, self.answered_before = life.snapshot.state, life.at, life.snapshot.last_success
        if life.pruned_to and first is not None:
            self.state, self.at = first.source, max(life.at, first.at - first.dwell)
        elif life.pruned_to and life.start is not None:
            self.state, self.at = life.start.state, max(life.at, life.start.since)
        if self.state in _DOWN:
            cause = (life.start or life.snapshot).cause
            self._open(cause.event if cause else BEGAN_EARLIER)

    def _advance(self, to: float) -> None:
        spent = max(0.0, min(to, self.until) - max(self.at, self.since))
        self.seconds[self.state] += spent
        if self.outage is not None:
            self.outage.seconds += spent
        self.at = to

    def _enter(self, state: State, event: str) -> None:
        self.state = state
        if state in (State.HEALTHY, State.SHUTTING_DOWN):
            self._close(repaired=state is State.HEALTHY)
        elif self.outage is None and state in _DOWN:
            self._open(event)

    def _open(self, cause: str) -> None:
        if self.at >= self.until:
            return
        began = self.at >= self.since
        self.outages += began
        self.outage = _Outage(cause if began else BEGAN_EARLIER, began)

    def _close(self, *, repaired: bool) -> None:
        if (outage := self.outage) is None:
            return
        self.outage = None
        self.longest = max(self.longest, outage.seconds)
        total = self.causes.setdefault(outage.cause, [0, 0.0])
        total[0] += 1
        total[1] += outage.seconds
        if repaired and outage.began and self.at <= self.until:
            self.repairs.append(outage.seconds)


def measure(
    histories: Mapping[str, AccountHistory], moves: Iterable[Move], *, since: float | None, until: float
) -> Stats:
    """Return the numbers of the period from ``since`` to ``until`` (Unix seconds).

    ``moves`` are all records from ``since`` on, in the order of the journal.
    """
    start = since if since is not None else -math.inf
    accounts = {name: _AccountTotals(history, start, until) for name, history in sorted(histories.items())}
    for move in moves:
        if move.account in accounts:  # an account may have begun after the accounts were read
            accounts[move.account].take(move)
    for account in accounts.values():
        account.finish()
    return Stats(
        since=since,
        until=until,
        fleet=_figures(list(accounts.values())),
        accounts={name: _figures([account]) for name, account in accounts.items()},
    )


def _figures(accounts: Sequence[_AccountTotals]) -> Figures:
    causes: dict[str, list[float]] = {}
    for account in accounts:
        for event, (count, seconds) in account.causes.items():
            total = causes.setdefault(event, [0, 0.0])
            total[0] += count
            total[1] += seconds
    return Figures(
        seconds={state: sum(account.seconds[state] for account in accounts) for state in State},
        outages=sum(account.outages for account in accounts),
        repairs=tuple(sorted(repair for account in accounts for repair in account.repairs)),
        longest=max((account.longest for account in accounts), default=0.0),
        causes=tuple(
            (event, int(count), seconds)
            for event, (count, seconds) in sorted(causes.items(), key=lambda item: (-item[1][0], item[0]))
        ),
    )
