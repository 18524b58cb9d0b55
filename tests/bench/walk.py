"""The walk that every contender is timed on: what a fleet lives through, and the right answer to each event.

It is random, seeded and realistic: mostly probes and their answers, some losses, floods and silences, now and then
something late, and now and then anything at all. Each account begins at ``connecting`` and ends in ``shutting_down``.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import attrs

from states import Event, Policy, Snapshot, State, begin, step
from states.events import (
    EVENTS,
    AccountLimited,
    AuthKeyUnknown,
    AuthRejected,
    ClockJumped,
    Closed,
    Connected,
    CredentialsReplaced,
    DatabaseLocked,
    Elapsed,
    Failure,
    FloodWait,
    NetworkLost,
    NetworkRestored,
    OfLink,
    OfVisit,
    ProbeAnswered,
    ProbeDue,
    RetryRequested,
    ServerFault,
    Stable,
    Started,
    StopRequested,
    TimedOut,
    TransportFlood,
    TurnGranted,
)
from states.guards import Moment
from states.machine import ROWS, Row, by_pair

NOW = 1_000_000.0
POLICY = Policy()
PAIRS = by_pair(ROWS)

LATE = 0.03
"""Share of the events that answer an earlier visit, or come from a link that was given up."""
ANYTHING = 0.03
"""Share of the events that are drawn from all there are, so that rare rules are taken, too."""
LAST_BEATS = 6
"""The stop, and what still comes after it."""

_ATTEMPT: dict[type[Event], float] = {
    TurnGranted: 40, Connected: 40, Closed: 12, NetworkLost: 6, TimedOut: 3, ServerFault: 1, FloodWait: 1,
    TransportFlood: 0.5, AuthKeyUnknown: 2, AuthRejected: 0.3, DatabaseLocked: 0.5,
}  # fmt: skip
_HABITS: dict[State, dict[type[Event], float]] = {
    State.CONNECTING: {Started: 20, **_ATTEMPT},
    State.RECONNECTING: _ATTEMPT,
    State.HEALTHY: {
        ProbeDue: 40, ProbeAnswered: 40, Stable: 6, TimedOut: 4, NetworkLost: 4, ServerFault: 1, FloodWait: 2,
        DatabaseLocked: 1, ClockJumped: 1, AccountLimited: 0.3,
    },
    State.TIMEOUT: {ProbeAnswered: 50, TimedOut: 35, NetworkLost: 10, ServerFault: 3, ProbeDue: 2},
    State.BACKOFF: {Elapsed: 50, Closed: 30, NetworkRestored: 12, RetryRequested: 4, ClockJumped: 2},
    State.AUTH_FAILED: {CredentialsReplaced: 50, Closed: 20, RetryRequested: 20, ClockJumped: 5, Started: 5},
    State.SHUTTING_DOWN: {Closed: 50, NetworkLost: 20, ProbeAnswered: 20, Elapsed: 10},
}  # fmt: skip
_ANY = tuple(event for event in EVENTS if event is not StopRequested)


class Beat(NamedTuple):
    """One event for one account, and the row that is right for it."""

    account: int
    event: str
    chosen: str
    """The event with the guard of its row, for contenders that know no guards: ``NetworkLost_stable``."""
    moment: Moment
    row: Row

    @property
    def target(self) -> State:
        """The state afterwards."""
        return self.row.target or self.moment.snapshot.state


def chosen_name(row: Row) -> str:
    """Return the name of the input that takes exactly this row from its state, without asking a guard."""
    return f"{row.event.__name__}_{row.guard}" if row.when else row.event.__name__


def right_row(moment: Moment) -> Row:
    """Return the first row whose guard holds: the table read plainly, by none of the contenders' machinery."""
    rows = PAIRS[moment.snapshot.state, type(moment.event)]
    return next(row for row in rows if row.when is None or row.when(moment))


def happening(kind: type[Event], snapshot: Snapshot, *, late: bool, rng: random.Random) -> Event:
    """Return an event of this class that belongs to the present visit and link, or to earlier ones."""
    if issubclass(kind, OfVisit):
        return kind(generation=snapshot.generation - late)
    link = snapshot.link + (1 if late else 0)
    if issubclass(kind, FloodWait):
        return kind(link=link, seconds=float(rng.randint(1, 300)), request=rng.choice(("send", "join", "history")))
    if issubclass(kind, TimedOut):
        return kind(link=link, what=rng.choice(("probe", "probe", "request")))
    if issubclass(kind, ProbeAnswered):
        return kind(link=link, proof=rng.random() < 1 / 3)
    if issubclass(kind, Failure):
        return kind(link=link, detail="the other side said so")
    if issubclass(kind, Started):
        return kind(credentials=rng.choice(("one", "two")))
    return kind(link=link) if issubclass(kind, OfLink) else kind()


def walk(*, events: int, accounts: int = 40, seed: int = 7) -> tuple[Beat, ...]:
    """Return about ``events`` beats in the order of time, spread evenly over the accounts."""
    rng = random.Random(seed)
    snapshots = [begin(None, now=NOW) for _ in range(accounts)]
    turns = max(LAST_BEATS + 1, events // accounts)
    beats, now = [], NOW
    for turn in range(turns):
        for account in rng.sample(range(accounts), accounts):
            snapshot = snapshots[account]
            habits = _HABITS[snapshot.state]
            [kind] = rng.choices(tuple(habits), tuple(habits.values()))
            if turn == turns - LAST_BEATS:
                kind = StopRequested
            elif rng.random() < ANYTHING:
                kind = rng.choice(_ANY)
            now += rng.random()
            event = happening(kind, snapshot, late=rng.random() < LATE, rng=rng)
            moment = Moment(snapshot, event, now, POLICY)
            row = right_row(moment)
            beats.append(Beat(account, kind.__name__, chosen_name(row), moment, row))
            snapshots[account] = step(snapshot, event, now=now, rng=rng, policy=POLICY).snapshot
    return tuple(beats)


def first_attempts(accounts: int) -> tuple[Beat, ...]:
    """Return the beats that bring each account from its start to ``healthy``: that is how memory is measured."""
    beats = []
    for account in range(accounts):
        snapshot, now = begin(None, now=NOW), NOW + account / 7
        for event in (Started(credentials="one"), TurnGranted(generation=0), Connected(link=1)):
            moment = Moment(snapshot, event, now, POLICY)
            row = right_row(moment)
            beats.append(Beat(account, type(event).__name__, chosen_name(row), moment, row))
            snapshot = step(snapshot, event, now=now, rng=random.Random(0), policy=POLICY).snapshot
    return tuple(beats)


def long_lived(account: int) -> Snapshot:
    """Return a connected account late in a long life: every number is an object of its own by then."""
    return Snapshot(
        state=State.HEALTHY,
        since=NOW + account / 7,
        generation=1_000 + account,
        life=300 + account,
        link=2_000 + account,
        links=2_000 + account,
        stable=True,
        reconnects=3_000 + account,
        last_success=NOW + account / 3,
        proved_at=NOW + account / 5,
        credentials="one",
    )


def weathered(account: int) -> Snapshot:
    """Return the same, thrown back into ``backoff``, with a cause, its sentence and a request on hold."""
    past = attrs.evolve(long_lived(account), stable=False)
    rng = random.Random(account)
    lost = NetworkLost(link=past.link, detail=f"account {account}: connection reset by the other side")
    waiting = step(past, lost, now=NOW + account / 7, rng=rng, policy=POLICY).snapshot
    flood = FloodWait(seconds=60.0 + account, request="send")
    return step(waiting, flood, now=NOW + account / 7, rng=rng, policy=POLICY).snapshot


def rules_taken(beats: Sequence[Beat]) -> int:
    """Return how many different rows the walk takes, of ``len(ROWS)``."""
    return len({beat.row.name for beat in beats})
