"""The network probe: while accounts wait for the network, it checks whether the datacenter answers again.

It sends one probe for each route to the datacenter, however many accounts wait there, and none while no account waits.
A probe uses no account, so it costs none of them an attempt. When the datacenter answers, the waits of the accounts on
that route end.

Each account is notified once, and again only after it has connected, or after a probe has found the datacenter silent.
So if the trouble is the account's own, its waits grow as its schedule says, however well the datacenter answers.
"""

from collections.abc import Callable, Iterable, Mapping

import anyio
from attrs import define, field

from engine.fleet.ports import Connector
from engine.wakeup import Wakeup
from states import State, Step

MIN_PAUSE = 0.5
"""Seconds between two probes at the beginning of an outage."""
MAX_PAUSE = 5.0
PAUSE_DIVISOR = 60.0
"""The pause is the length of the outage so far divided by this: half a second in the first half minute, then more."""
PROBE_TIMEOUT = 3.0
"""Seconds that an answer may take."""
ACCEPTED_PAUSE = 2.5
"""Seconds between two probes where a server takes connections and does not answer: a server in trouble is spared."""
MAX_PROBES_AT_ONCE = 16
"""Probes of the whole fleet at a time."""


@define(eq=False)
class NetworkProbe:
    """Probes the routes on which accounts wait.

    ``datacenter_answers`` is called with the names of the accounts whose datacenter answers again.
    """

    connectors: Mapping[str, Connector]
    datacenter_answers: Callable[[Iterable[str]], None]
    probes: int = field(default=0, init=False)
    """How many probes were sent."""
    _waiting: dict[str, set[str]] = field(factory=dict, init=False)
    """The accounts that wait, by route."""
    _routes: dict[str, str] = field(factory=dict, init=False)
    """The route of each account that waits."""
    _notified: set[str] = field(factory=set, init=False)
    _probed: set[str] = field(factory=set, init=False)
    """Routes that have a task which probes them."""
    _changed: Wakeup = field(factory=Wakeup, init=False)

    def observe(self, account: str, step: Step) -> None:
        """Note whether an account waits for the network."""
        if step.snapshot.state is State.HEALTHY:
            self._notified.discard(account)
        waits = step.snapshot.waits_for_network
        if waits == (account in self._routes):
            return
        if waits:
            route = self._routes[account] = self.connectors[account].route
            self._waiting.setdefault(route, set()).add(account)
            self._changed.notify()
        else:
            route = self._routes.pop(account)
            self._waiting[route].discard(account)
            if not self._waiting[route]:
                del self._waiting[route]

    async def run(self) -> None:
        """Probe for as long as accounts wait, until cancelled."""
        limit = anyio.CapacityLimiter(MAX_PROBES_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            while True:
                for route in self._waiting.keys() - self._probed:
                    self._probed.add(route)
                    tasks.start_soon(self._probe, route, limit, name=f"network probe: {route}")
                await self._changed.wait()

    async def _probe(self, route: str, limit: anyio.CapacityLimiter) -> None:
        """Probe a route, with growing pauses, until no account waits there."""
        began = anyio.current_time()
        pause = MIN_PAUSE
        try:
            while route in self._waiting:
                await anyio.sleep(pause)
                waiting = self._waiting.get(route)
                if not waiting:
                    break
                connector = self.connectors[min(waiting)]
                async with limit:
                    self.probes += 1
                    found = await connector.probe_datacenter(timeout=PROBE_TIMEOUT)
                self._conclude(route, answers=found == "answers")
                least = MIN_PAUSE if found == "dark" else ACCEPTED_PAUSE
                pause = min(MAX_PAUSE, max(least, (anyio.current_time() - began) / PAUSE_DIVISOR))
        finally:
            self._probed.discard(route)

    def _conclude(self, route: str, *, answers: bool) -> None:
        """Notify the accounts on a route that answers, each once."""
        waiting = self._waiting.get(route, set())
        if not answers:
            self._notified -= waiting
            return
        news = waiting - self._notified
        if news:
            self._notified |= news
            self.datacenter_answers(sorted(news))
