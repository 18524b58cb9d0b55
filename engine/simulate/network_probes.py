"""The network probe in virtual time: the same plan as the engine's, without tasks."""

from collections import deque
from collections.abc import Callable, Hashable

from attrs import define, field

from engine.fleet.ports import DatacenterState
from engine.fleet.probe_plan import MAX_PROBES_AT_ONCE, PROBE_TIMEOUT, ProbePlan
from engine.simulate.agenda import Agenda
from engine.simulate.disturbances import Conditions, Opening

_NOBODY_THERE = {Opening.NO_ROUTE, Opening.REFUSED}


def answer_of(conditions: Conditions, rtt: float) -> tuple[DatacenterState, float]:
    """Return what a probe finds under these conditions, and after how many seconds."""
    wait = rtt + conditions.latency
    if conditions.opening in _NOBODY_THERE:
        return "dark", wait if conditions.opening is Opening.REFUSED else 0.0
    if conditions.opening is Opening.HANGS:
        return "dark", PROBE_TIMEOUT
    if conditions.silent or 2 * wait > PROBE_TIMEOUT:
        return "accepts", PROBE_TIMEOUT
    if conditions.opening is Opening.CLOSED or conditions.lost:
        return "accepts", 2 * wait
    if conditions.transport in (-404, -429, -444):
        return "refuses", 2 * wait
    return "answers", 2 * wait


@define(eq=False)
class SimulatedProbes:
    """Probes the routes of ``plan``; ``ask`` returns what a probe by an account's way finds, and when."""

    plan: ProbePlan
    agenda: Agenda
    ask: Callable[[str], tuple[DatacenterState, float]]
    sent: int = field(default=0, init=False)
    """How many probes were sent."""
    _under_way: set[Hashable] = field(factory=set, init=False)
    _due: dict[Hashable, float] = field(factory=dict, init=False)
    """When each route is looked at next."""
    _held_up: deque[Hashable] = field(factory=deque, init=False)
    """Routes whose probe waits until fewer are under way."""

    def changed(self, route: Hashable) -> None:
        """Look at a route now: its next probe may be due earlier than it was."""
        if route not in self._under_way and route not in self._held_up:
            self._look(route)

    def _look(self, route: Hashable) -> None:
        now = self.agenda.seconds
        due = self.plan.due(route, now)
        if due is None:
            self._due.pop(route, None)
        elif due > now:
            if self._due.get(route) != due:
                self._due[route] = due
                self.agenda.call_at(due, lambda at: self._on_time(route, at))
        elif len(self._under_way) >= MAX_PROBES_AT_ONCE:
            self._held_up.append(route)
        else:
            self._send(route, now)

    def _on_time(self, route: Hashable, at: float) -> None:
        if self._due.get(route) == at:
            del self._due[route]
            self.changed(route)

    def _send(self, route: Hashable, now: float) -> None:
        self.sent += 1
        self._under_way.add(route)
        self._due.pop(route, None)
        self.plan.sent(route, now)
        found, after = self.ask(self.plan.asks(route))
        self.agenda.call_at(now + after, lambda _: self._hear(route, found))

    def _hear(self, route: Hashable, found: DatacenterState) -> None:
        self._under_way.discard(route)
        self.plan.found(route, found, self.agenda.seconds)
        self._look(route)
        while self._held_up and len(self._under_way) < MAX_PROBES_AT_ONCE:
            self._look(self._held_up.popleft())
