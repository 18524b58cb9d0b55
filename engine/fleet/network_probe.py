"""The network probe: while accounts wait for the network, it checks whether the datacenter answers again.

It sends one probe for each route to the datacenter, however many accounts wait there, and none while no account waits.
A probe uses no account, so it costs none of them an attempt. When the datacenter answers, the waits of the accounts on
that route end. What is probed when is decided in ``probe_plan``.

Probes are as rare as polite clients are: never two within ``LEAST_PAUSE`` on one route and, after the first
``FIRST_SECONDS`` of an outage, no more than gRPC's connection back-off would make attempts. An outage lasts until an
account has connected on that route, whether or not somebody waits all the time. A datacenter or a proxy that refuses
the probe is not asked again until the wait for such a refusal is over.

Each account is notified once, and again only after it has connected, or after a probe has found the datacenter silent.
So if the trouble is the account's own, its waits grow as its schedule says, however well the datacenter answers.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping

import anyio
from attrs import Factory, define, field

from engine.fleet.ports import Connector
from engine.fleet.probe_plan import MAX_PROBES_AT_ONCE, PROBE_TIMEOUT, ProbePlan
from engine.wakeup import Wakeup
from states import Step
from states.schedules import Backoff, BackoffSchedules


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
    _plan: ProbePlan = field(
        default=Factory(
            lambda self: ProbePlan(self._route_of, self.datacenter_answers, self._wake, self.refused), takes_self=True
        ),
        init=False,
    )
    _probed: dict[Hashable, Wakeup] = field(factory=dict, init=False)
    """Routes that have a task which probes them, and what wakes it."""
    _changed: Wakeup = field(factory=Wakeup, init=False)

    def observe(self, account: str, step: Step) -> None:
        """Note whether an account waits for the network, and whether its route works."""
        self._plan.observe(account, step, anyio.current_time())

    def forget(self, account: str) -> None:
        """Forget an account that the fleet has no more."""
        self._plan.forget(account)

    def use_refused(self, schedule: Backoff) -> None:
        """Wait by another schedule after the next probe that is refused."""
        self.refused = self._plan.refused = schedule

    async def run(self) -> None:
        """Probe for as long as accounts wait, until cancelled."""
        limit = anyio.CapacityLimiter(MAX_PROBES_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            while True:
                for route in self._plan.waiting.keys() - self._probed:
                    self._probed[route] = Wakeup()
                    tasks.start_soon(self._probe, route, limit, name=f"network probe: {route}")
                await self._changed.wait()

    def _route_of(self, account: str) -> Hashable:
        return self.connectors[account].route

    def _wake(self, route: Hashable) -> None:
        if wakeup := self._probed.get(route):
            wakeup.notify()
        self._changed.notify()

    async def _probe(self, route: Hashable, limit: anyio.CapacityLimiter) -> None:
        """Probe a route whenever it is due, until no account waits there."""
        plan = self._plan
        try:
            while (due := plan.due(route, anyio.current_time())) is not None:
                if (rest := due - anyio.current_time()) > 0:
                    with anyio.move_on_after(rest):
                        await self._probed[route].wait()
                    plan.regroup(route, anyio.current_time())
                    continue
                connector = self.connectors[plan.asks(route)]
                async with limit:
                    self.probes += 1
                    plan.sent(route, anyio.current_time())
                    found = await connector.probe_datacenter(timeout=PROBE_TIMEOUT)
                plan.found(route, found, anyio.current_time())
        finally:
            del self._probed[route]
