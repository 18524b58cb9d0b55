"""The contenders: the same table of rules and the same events, through our machine and through the alternatives.

Each is given the best setting that its library offers for this use: no automatic transitions, no queue, guards as plain
functions, the moment as an argument. ``take`` is what is timed: one loop in each, with nothing around it.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import frozen
from transitions import Machine
from transitions.extensions.asyncio import AsyncMachine

from states import Snapshot, begin, step
from states.machine import MACHINE, ROWS, Cursor, Row, dispatch
from states.snapshot import State
from tests.bench.walk import NOW, POLICY, Beat

STATES = [state.value for state in State]


class Fleet(Protocol):
    """Some accounts, all at ``connecting``."""

    def take(self, beats: Sequence[Beat]) -> None:
        """Send each event to its account."""

    def state(self, account: int) -> str:
        """Return where the account is after the last ``take``."""


class Dispatched:
    """``dispatch``: no account has anything; the moment says where it is, the row where it goes."""

    def __init__(self, accounts: int) -> None:
        self.row: Row | None = None
        self.before = State.CONNECTING

    def take(self, beats: Sequence[Beat]) -> None:
        """Decide on each moment."""
        row, moment = None, None
        for _, _, _, moment, _ in beats:
            row = dispatch(moment)
        if moment is not None:
            self.row, self.before = row, moment.snapshot.state

    def state(self, account: int) -> str:
        """Return where the last decision led; the account asked for is the one that it was for."""
        assert self.row is not None, "nothing was decided yet"
        return self.row.target or self.before


class Triggered:
    """The bare machine: a cursor for each account, and the event looked up by its name."""

    def __init__(self, accounts: int) -> None:
        nothing: Any = None  # take puts the moment in
        self.cursors = [Cursor(State.CONNECTING, nothing) for _ in range(accounts)]

    def take(self, beats: Sequence[Beat]) -> None:
        """Trigger each event."""
        cursors, events = self.cursors, MACHINE.events
        for account, event, _, moment, _ in beats:
            cursor = cursors[account]
            cursor.moment = moment
            events[event].trigger(cursor)

    def state(self, account: int) -> str:
        """Return the state of the cursor."""
        return self.cursors[account].state


class Stepped:
    """The whole ``step``: new snapshot, effects and record, each snapshot made from the one before."""

    def __init__(self, accounts: int) -> None:
        self.snapshots: list[Snapshot] = [begin(None, now=NOW) for _ in range(accounts)]
        self.rng = random.Random(1)

    def take(self, beats: Sequence[Beat]) -> None:
        """Decide on each event; keep the snapshot, and drop effects and record."""
        snapshots, rng = self.snapshots, self.rng
        for account, _, _, moment, _ in beats:
            decision = step(snapshots[account], moment.event, now=moment.now, rng=rng, policy=POLICY)
            snapshots[account] = decision.snapshot

    def state(self, account: int) -> str:
        """Return the state of the snapshot."""
        return self.snapshots[account].state


class Account:
    """What the library moves."""

    state: str


def _stock(kind: type[Machine], model: Account | None) -> Machine:
    """Return a stock machine of our rows, with guards as ``conditions``."""
    machine = kind(model=model, states=STATES, initial=State.CONNECTING.value, auto_transitions=False)
    for row in ROWS:
        target = row.target.value if row.target else None
        machine.add_transition(row.event.__name__, row.source.value, target, conditions=row.when)
    return machine


class Shared:
    """One stock ``transitions.Machine``, and each account registered with it as a model: the named alternative."""

    def __init__(self, accounts: int) -> None:
        self.models: list[Any] = [Account() for _ in range(accounts)]
        self.machine = _stock(Machine, None)
        for model in self.models:
            self.machine.add_model(model)

    def take(self, beats: Sequence[Beat]) -> None:
        """Trigger each event by its name."""
        models = self.models
        for account, event, _, moment, _ in beats:
            models[account].trigger(event, moment)

    def state(self, account: int) -> str:
        """Return the state of the model."""
        return str(self.models[account].state)


class Own(Shared):
    """A stock ``transitions.Machine`` for each account."""

    def __init__(self, accounts: int) -> None:
        self.models = [Account() for _ in range(accounts)]
        self.machines = [_stock(Machine, model) for model in self.models]


class Asynchronous(Shared):
    """One ``AsyncMachine``, each account registered with it, all events awaited in one task."""

    def __init__(self, accounts: int) -> None:
        self.models = [Account() for _ in range(accounts)]
        self.machine = _stock(AsyncMachine, None)
        for model in self.models:
            self.machine.add_model(model)

    def take(self, beats: Sequence[Beat]) -> None:
        """Await each event; the event loop is made once for all of them."""
        asyncio.run(self._take(beats))

    async def _take(self, beats: Sequence[Beat]) -> None:
        models = self.models
        for account, event, _, moment, _ in beats:
            await models[account].trigger(event, moment)


@frozen(kw_only=True)
class Contender:
    """A name for the table, and how to make its accounts."""

    key: str
    """Its name for programs."""
    name: str
    fleet: Callable[[int], Fleet]
    crowd: int
    """How many accounts memory is measured on; fewer where each is heavy."""


OURS = (
    Contender(key="dispatch", name="Holdfast: dispatch", fleet=Dispatched, crowd=10_000),
    Contender(key="trigger", name="Holdfast: events[name].trigger(cursor)", fleet=Triggered, crowd=10_000),
    Contender(key="step", name="Holdfast: step, whole", fleet=Stepped, crowd=10_000),
)
STOCK = (
    Contender(key="shared", name="transitions.Machine, shared", fleet=Shared, crowd=2_000),
    Contender(key="own", name="transitions.Machine, one per account", fleet=Own, crowd=20),
    Contender(key="async", name="transitions AsyncMachine, shared", fleet=Asynchronous, crowd=2_000),
)
