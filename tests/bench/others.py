"""Contenders from other libraries, which are in the dependency group ``bench``; the rest of the tests do without."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

from automat import TypeMachineBuilder
from statemachine import State as LibraryState
from statemachine import StateMachine

from states.machine import ROWS
from states.snapshot import State
from tests.bench.contenders import Contender
from tests.bench.walk import Beat, chosen_name


@cache
def _charted() -> type[StateMachine]:
    """Return the class of our rows. ``shutting_down`` is not ``final`` there: a final state may have no rules."""
    states = {state.value: LibraryState(initial=state is State.CONNECTING) for state in State}
    events: dict[str, Any] = {}
    for row in ROWS:
        target = states[(row.target or row.source).value]
        made = states[row.source.value].to(target, cond=row.when, internal=row.target is None)
        event = row.event.__name__
        events[event] = events[event] | made if event in events else made
    return type("Charted", (StateMachine,), {**states, **events})


class Charted:
    """python-statemachine: an instance of one class for each account, guards as ``cond``."""

    def __init__(self, accounts: int) -> None:
        kind = _charted()
        self.machines = [kind() for _ in range(accounts)]

    def take(self, beats: Sequence[Beat]) -> None:
        """Send each event by its name; guards are given the moment by the name of their parameter."""
        machines = self.machines
        for account, event, _, moment, _ in beats:
            machines[account].send(event, moment=moment)

    def state(self, account: int) -> str:
        """Return the state's value."""
        return str(self.machines[account].current_state_value)


class Core:
    """What automat's inputs could work on; nothing here."""


def _input(name: str) -> Callable[[Any], str]:
    """Return the declaration of an input without arguments that answers with the state afterwards."""

    def declared(self: Any) -> str: ...

    declared.__name__ = declared.__qualname__ = name
    return declared


@cache
def _typed() -> Callable[[Core], Any]:
    """Return the factory of machines of our rows: an input for each event and each guard of it."""
    inputs = {chosen_name(row): _input(chosen_name(row)) for row in ROWS}
    protocol = type("Inputs", (Protocol,), dict(inputs))
    builder: Any = TypeMachineBuilder(protocol, Core)
    states = {state: builder.state(state.value) for state in State}
    for row in ROWS:
        upon = states[row.source].upon(inputs[chosen_name(row)])
        going = upon.to(states[row.target]) if row.target else upon.loop()
        going.returns((row.target or row.source).value)
    return builder.build()


class Typed:
    """automat: a machine of one type for each account. It has no guards, so each beat says which of them holds."""

    def __init__(self, accounts: int) -> None:
        make = _typed()
        self.machines = [make(Core()) for _ in range(accounts)]
        self.answer = ""

    def take(self, beats: Sequence[Beat]) -> None:
        """Call the input that was chosen beforehand."""
        machines, answer = self.machines, self.answer
        for account, _, chosen, _, _ in beats:
            answer = getattr(machines[account], chosen)()
        self.answer = answer

    def state(self, account: int) -> str:
        """Return what the last input answered; the account asked for is the one that it was for."""
        return self.answer


OTHERS = (
    Contender(key="python-statemachine", name="python-statemachine", fleet=Charted, crowd=20),
    Contender(key="automat", name="automat, guards chosen beforehand", fleet=Typed, crowd=2_000),
)
