"""The connect limiter in virtual time: the same arithmetic of turns as the engine's, without tasks."""

from collections import OrderedDict
from typing import Protocol

from attrs import define, field

from engine.fleet.turns import Turns
from engine.simulate.account import CANARY, GRANT, NO_TURN, QUEUED, TURN
from engine.simulate.agenda import Agenda


class Waiter(Protocol):
    """An account that connects."""

    turn: int
    """Whether it waits for a turn, or has one."""
    grant: int
    """Key of its turn in the agenda; 0 for none."""

    @property
    def index(self) -> int:
        """Its number."""


@define(eq=False)
class SimulatedLimiter:
    """Gives turns in the order in which accounts ask."""

    turns: Turns
    agenda: Agenda
    _queue: OrderedDict[Waiter, None] = field(factory=OrderedDict, init=False)
    _due: float | None = field(default=None, init=False)
    """When the next turn is due, if a call was ordered for it."""

    @property
    def at_once(self) -> int:
        """How many accounts may connect at once."""
        return self.turns.at_once

    @property
    def waiting(self) -> int:
        """How many accounts wait for a turn."""
        return len(self._queue)

    def one_by_one(self) -> None:
        """From now on let one account connect at a time."""
        self.turns.begin_outage(self.agenda.seconds)
        self._give_turns()

    def all_go(self) -> None:
        """Go back to the limit and the stagger."""
        self.turns.end_outage(self.agenda.seconds)
        self._give_turns()

    def ask(self, account: Waiter) -> None:
        """Let an account wait for a turn."""
        account.turn = QUEUED
        self._queue[account] = None
        self._give_turns()

    def leave(self, account: Waiter) -> None:
        """Take an account's turn back, or its place in the queue."""
        turn, account.turn = account.turn, NO_TURN
        if turn == QUEUED:
            del self._queue[account]
        else:
            self.turns.take_back(canary=turn == CANARY, now=self.agenda.seconds)
            self._give_turns()

    def _give_turns(self) -> None:
        self._due = None
        while self._queue and (start := self.turns.next_start()) is not None:
            now = self.agenda.seconds
            if start > now:
                self._due = start
                self.agenda.call_at(start, self._on_time)
                return
            account, _ = self._queue.popitem(last=False)
            account.turn = CANARY if self.turns.give(now) else TURN
            account.grant = self.agenda.push(self.agenda.tick, account.index, GRANT)

    def _on_time(self, due: float) -> None:
        if due != self._due:
            return  # another time was ordered since
        self.turns.note_late(0.0)
        self._give_turns()
