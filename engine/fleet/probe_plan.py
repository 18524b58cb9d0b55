"""The plan of the network probe: which routes are probed, when, and whom an answer concerns.

It sends nothing and knows no clock: the network probe follows it in the time of the event loop, and a simulation in
virtual time. All times are seconds of one clock.
"""

import random
from collections.abc import Callable, Hashable, Iterable
from typing import Final

from attrs import define, field

from engine.fleet.ports import DatacenterState
from states import State, Step
from states.events import Connected
from states.schedules import Backoff, BackoffSchedules

FIRST_PAUSE: Final = 0.5
"""Seconds from the beginning of an outage to its first probe."""
LEAST_PAUSE: Final = 2.0
"""Seconds between two probes of one route, at least."""
FIRST_SECONDS: Final = 10.0
"""For so long from its beginning an outage is probed each ``LEAST_PAUSE``, and then by ``LATER``."""
LATER: Final = Backoff(first=1.0, factor=1.6, cap=120.0, jitter=0.2)
"""gRPC's connection back-off (github.com/grpc/grpc/blob/master/doc/connection-backoff.md). Its attempts count from the
beginning of the outage; the jitter only ever makes a probe later than such an attempt."""
PROBE_TIMEOUT: Final = 3.0
"""Seconds that an answer may take."""
MAX_PROBES_AT_ONCE: Final = 16
"""Probes of the whole fleet at a time."""
FORGET_AFTER: Final = 3600.0
"""Seconds without a probe after which a route that nobody waits on is forgotten."""


def next_probe(elapsed: float, draw: float) -> float:
    """Return when the next probe is due after one at ``elapsed``, both in seconds since the outage began.

    ``draw`` from [0, 1) determines the jitter.
    """
    if elapsed + LEAST_PAUSE < FIRST_SECONDS:
        return elapsed + LEAST_PAUSE
    attempt, pause, nth = 0.0, 0.0, 0
    while attempt <= max(elapsed, FIRST_SECONDS):
        if pause == LATER.cap:  # all that come are as long: an outage of weeks has thousands of them
            attempt += (elapsed - attempt) // pause * pause
        nth += 1
        pause = LATER.steady(nth)
        attempt += pause
    return attempt + draw * LATER.jitter * pause


@define
class _ProbedOutage:
    """What the plan remembers of a route that does not work."""

    began: float
    due: float
    """When the next probe may be sent."""
    last: float = float("-inf")
    """When the last probe was sent."""
    refusals: int = 0
    """How many probes were refused, one after the other."""
    over: bool = False
    """Whether an account has connected on the route since."""

    def begin(self, now: float) -> None:
        """Begin another outage; its first probe keeps its distance from the last one of the outage before."""
        self.began, self.refusals, self.over = now, 0, False
        self.due = max(now + FIRST_PAUSE, self.last + LEAST_PAUSE)


@define(eq=False)
class ProbePlan:
    """Which routes wait for a probe, and when it is due.

    ``route_of`` says by which route an account reaches the datacenter now. ``datacenter_answers`` is called with the
    names of the accounts whose datacenter answers again, ``changed`` with a route whose next probe may be due earlier
    than was said. ``refused`` is the schedule of waits after a probe that was refused.
    """

    route_of: Callable[[str], Hashable]
    datacenter_answers: Callable[[Iterable[str]], None]
    changed: Callable[[Hashable], None]
    refused: Backoff = field(factory=lambda: BackoffSchedules().transport_flood)
    rng: random.Random = field(factory=random.Random, repr=False)
    waiting: dict[Hashable, set[str]] = field(factory=dict, init=False)
    """The accounts that wait, by route."""
    _routes: dict[str, Hashable] = field(factory=dict, init=False)
    """The route of each account that waits."""
    _outages: dict[Hashable, _ProbedOutage] = field(factory=dict, init=False)
    _notified: set[str] = field(factory=set, init=False)

    def observe(self, account: str, step: Step, now: float) -> None:
        """Note whether an account waits for the network, and whether its route works."""
        if step.snapshot.state is State.HEALTHY:
            self._notified.discard(account)
            if step.record.event == Connected.__name__ and self._outages:
                self._end_outage(self.route_of(account))
        waits = step.snapshot.waits_for_network
        if waits and account not in self._routes:
            self._add(account, now)
        elif not waits and account in self._routes:
            self._remove(account)

    def due(self, route: Hashable, now: float) -> float | None:
        """Return when the next probe of a route is due; None if no account waits there."""
        if route not in self.waiting:
            return None
        outage = self._outages[route]
        end = outage.began + FIRST_SECONDS
        if outage.due <= end < now:  # one of the first seconds, for which nobody waited in time, comes later
            outage.due = max(outage.due, outage.began + next_probe(FIRST_SECONDS, self.rng.random()))
        return outage.due

    def asks(self, route: Hashable) -> str:
        """Return the account by whose way a route is probed; one waits there."""
        return min(self.waiting[route])

    def sent(self, route: Hashable, now: float) -> None:
        """Note that a probe is sent."""
        if outage := self._outages.get(route):
            outage.last = now

    def found(self, route: Hashable, found: DatacenterState, now: float) -> None:
        """Take the result of a probe: say when the next one is due, and notify whom it concerns, each once."""
        if outage := self._outages.get(route):
            self._plan(outage, found, now)
        waiting = self.waiting.get(route, set())
        if found != "answers":
            self._notified -= waiting
            return
        news = waiting - self._notified
        if news:
            self._notified |= news
            self.datacenter_answers(sorted(news))

    def heard(self, accounts: Iterable[str]) -> None:
        """Note that accounts know otherwise that their datacenter answers."""
        self._notified.update(accounts)

    def forget(self, account: str) -> None:
        """Forget an account that the fleet has no more."""
        self._notified.discard(account)
        if account in self._routes:
            self._remove(account)

    def regroup(self, route: Hashable, now: float) -> None:
        """Move the accounts away whose route is another by now: with several proxies, it changes."""
        for account in sorted(self.waiting.get(route, ())):
            if self.route_of(account) != route:
                self._remove(account)
                self._add(account, now)

    def _add(self, account: str, now: float) -> None:
        route = self.route_of(account)
        self._routes[account] = route
        changed = route not in self.waiting
        self.waiting.setdefault(route, set()).add(account)
        outage = self._outages.get(route)
        if outage is None:
            self._forget(now)
            self._outages[route] = _ProbedOutage(now, now + FIRST_PAUSE)
        elif outage.over:
            outage.begin(now)
            changed = True
        if changed:  # not for each account: there may be very many
            self.changed(route)

    def _remove(self, account: str) -> None:
        route = self._routes.pop(account)
        self.waiting[route].discard(account)
        if not self.waiting[route]:
            del self.waiting[route]

    def _end_outage(self, route: Hashable) -> None:
        if outage := self._outages.get(route):
            outage.over = True

    def _forget(self, now: float) -> None:
        """Forget the routes that nobody has waited on for long."""
        for route, outage in tuple(self._outages.items()):
            if route not in self.waiting and now - outage.due > FORGET_AFTER:
                del self._outages[route]

    def _plan(self, outage: _ProbedOutage, found: DatacenterState, now: float) -> None:
        """Say when the next probe is due."""
        if found == "refuses":
            outage.refusals += 1
            outage.due = now + max(LEAST_PAUSE, self.refused.delay(outage.refusals, self.rng.random()))
        else:
            outage.refusals = 0
            elapsed = max(0.0, outage.last - outage.began)
            outage.due = max(outage.last + LEAST_PAUSE, outage.began + next_probe(elapsed, self.rng.random()))
