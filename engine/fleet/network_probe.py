"""The network probe: while accounts wait for the network, it checks whether the datacenter answers again.

It sends one probe for each route to the datacenter, however many accounts wait there, and none while no account waits.
A probe uses no account, so it costs none of them an attempt. When the datacenter answers, the waits of the accounts on
that route end.

Probes are as rare as polite clients are: never two within ``LEAST_PAUSE`` on one route and, after the first
``FIRST_SECONDS`` of an outage, no more than gRPC's connection back-off would make attempts. An outage lasts until an
account has connected on that route, whether or not somebody waits all the time. A datacenter or a proxy that refuses
the probe is not asked again until the wait for such a refusal is over.

Each account is notified once, and again only after it has connected, or after a probe has found the datacenter silent.
So if the trouble is the account's own, its waits grow as its schedule says, however well the datacenter answers.
"""

import random
from collections.abc import Callable, Hashable, Iterable, Mapping

import anyio
from attrs import define, field

from engine.fleet.ports import Connector, DatacenterState
from engine.wakeup import Wakeup
from states import State, Step
from states.events import Connected
from states.schedules import Backoff, BackoffSchedules

FIRST_PAUSE = 0.5
"""Seconds from the beginning of an outage to its first probe."""
LEAST_PAUSE = 2.0
"""Seconds between two probes of one route, at least."""
FIRST_SECONDS = 10.0
"""For so long from its beginning an outage is probed each ``LEAST_PAUSE``, and then by ``LATER``."""
LATER = Backoff(first=1.0, factor=1.6, cap=120.0, jitter=0.2)
"""gRPC's connection back-off (github.com/grpc/grpc/blob/master/doc/connection-backoff.md). Its attempts count from the
beginning of the outage; the jitter only ever makes a probe later than such an attempt."""
PROBE_TIMEOUT = 3.0
"""Seconds that an answer may take."""
MAX_PROBES_AT_ONCE = 16
"""Probes of the whole fleet at a time."""
FORGET_AFTER = 3600.0
"""Seconds without a probe after which a route that nobody waits on is forgotten."""


def next_probe(elapsed: float, draw: float) -> float:
    """Return when the next probe is due after one at ``elapsed``, both in seconds since the outage began.

    ``draw`` from [0, 1) determines the jitter.
    """
    if elapsed + LEAST_PAUSE < FIRST_SECONDS:
        return elapsed + LEAST_PAUSE
    attempt, pause, nth = 0.0, 0.0, 0
    while attempt <= max(elapsed, FIRST_SECONDS):
        nth += 1
        pause = LATER.steady(nth)
        attempt += pause
    return attempt + draw * LATER.jitter * pause


@define
class _ProbedOutage:
    """What the probe remembers of a route that does not work. All times are the loop's."""

    began: float
    due: float
    """When the next probe may be sent."""
    last: float = float("-inf")
    """When the last probe was sent."""
    refusals: int = 0
    """How many probes were refused, one after the other."""
    over: bool = False
    """Whether an account has connected on the route since."""
    changed: Wakeup = field(factory=Wakeup)

    def begin(self, now: float) -> None:
        """Begin another outage; its first probe keeps its distance from the last one of the outage before."""
        self.began, self.refusals, self.over = now, 0, False
        self.due = max(now + FIRST_PAUSE, self.last + LEAST_PAUSE)
        self.changed.notify()


@define(eq=False)
class NetworkProbe:
    """Probes the routes on which accounts wait.

    ``datacenter_answers`` is called with the names of the accounts whose datacenter answers again. ``refused`` is the
    schedule of waits after a probe that was refused.
    """

    connectors: Mapping[str, Connector]
    datacenter_answers: Callable[[Iterable[str]], None]
    refused: Backoff = field(factory=lambda: BackoffSchedules().transport_flood)
    probes: int = field(default=0, init=False)
    """How many probes were sent."""
    _random: random.Random = field(factory=random.Random, init=False, repr=False)
    _waiting: dict[Hashable, set[str]] = field(factory=dict, init=False)
    """The accounts that wait, by route."""
    _routes: dict[str, Hashable] = field(factory=dict, init=False)
    """The route of each account that waits."""
    _outages: dict[Hashable, _ProbedOutage] = field(factory=dict, init=False)
    _notified: set[str] = field(factory=set, init=False)
    _probed: set[Hashable] = field(factory=set, init=False)
    """Routes that have a task which probes them."""
    _changed: Wakeup = field(factory=Wakeup, init=False)

    def observe(self, account: str, step: Step) -> None:
        """Note whether an account waits for the network, and whether its route works."""
        if step.snapshot.state is State.HEALTHY:
            self._notified.discard(account)
            if step.record.event == Connected.__name__ and self._outages:
                self._end_outage(self.connectors[account].route)
        waits = step.snapshot.waits_for_network
        if waits and account not in self._routes:
            self._add(account)
        elif not waits and account in self._routes:
            self._remove(account)

    async def run(self) -> None:
        """Probe for as long as accounts wait, until cancelled."""
        limit = anyio.CapacityLimiter(MAX_PROBES_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            while True:
                for route in self._waiting.keys() - self._probed:
                    self._probed.add(route)
                    tasks.start_soon(self._probe, route, limit, name=f"network probe: {route}")
                await self._changed.wait()

    def _add(self, account: str) -> None:
        now, route = anyio.current_time(), self.connectors[account].route
        self._routes[account] = route
        self._waiting.setdefault(route, set()).add(account)
        outage = self._outages.get(route)
        if outage is None:
            self._forget(now)
            self._outages[route] = _ProbedOutage(now, now + FIRST_PAUSE)
        elif outage.over:
            outage.begin(now)
        self._changed.notify()

    def _remove(self, account: str) -> None:
        route = self._routes.pop(account)
        self._waiting[route].discard(account)
        if not self._waiting[route]:
            del self._waiting[route]

    def _end_outage(self, route: Hashable) -> None:
        if outage := self._outages.get(route):
            outage.over = True

    def _forget(self, now: float) -> None:
        """Forget the routes that nobody has waited on for long."""
        for route, outage in tuple(self._outages.items()):
            if route not in self._waiting and now - outage.due > FORGET_AFTER:
                del self._outages[route]

    def _regroup(self, route: Hashable) -> None:
        """Move the accounts away whose route is another by now: with several proxies, it changes."""
        for account in sorted(self._waiting.get(route, ())):
            if self.connectors[account].route != route:
                self._remove(account)
                self._add(account)

    async def _probe(self, route: Hashable, limit: anyio.CapacityLimiter) -> None:
        """Probe a route whenever it is due, until no account waits there."""
        try:
            while waiting := self._waiting.get(route):
                outage = self._outages[route]
                self._postpone(outage)
                if (rest := outage.due - anyio.current_time()) > 0:
                    with anyio.move_on_after(rest):
                        await outage.changed.wait()
                    self._regroup(route)
                    continue
                connector = self.connectors[min(waiting)]
                async with limit:
                    self.probes += 1
                    outage.last = anyio.current_time()
                    found = await connector.probe_datacenter(timeout=PROBE_TIMEOUT)
                self._plan(outage, found)
                self._conclude(route, answers=found == "answers")
        finally:
            self._probed.discard(route)

    def _postpone(self, outage: _ProbedOutage) -> None:
        """Let a probe of the first seconds that nobody waited for in time be one of those that come later."""
        end = outage.began + FIRST_SECONDS
        if outage.due <= end < anyio.current_time():
            outage.due = max(outage.due, outage.began + next_probe(FIRST_SECONDS, self._random.random()))

    def _plan(self, outage: _ProbedOutage, found: DatacenterState) -> None:
        """Say when the next probe is due."""
        if found == "refuses":
            outage.refusals += 1
            wait = max(LEAST_PAUSE, self.refused.delay(outage.refusals, self._random.random()))
            outage.due = anyio.current_time() + wait
        else:
            outage.refusals = 0
            elapsed = max(0.0, outage.last - outage.began)
            outage.due = max(outage.last + LEAST_PAUSE, outage.began + next_probe(elapsed, self._random.random()))

    def _conclude(self, route: Hashable, *, answers: bool) -> None:
        """Notify the accounts on a route that answers, each once."""
        waiting = self._waiting.get(route, set())
        if not answers:
            self._notified -= waiting
            return
        news = waiting - self._notified
        if news:
            self._notified |= news
            self.datacenter_answers(sorted(news))
