"""The beacon: while accounts wait for the network, somebody looks whether it is back.

One question for each way to the datacenter, whoever waits there, and none while nobody does. It goes without any
account, so it costs none of them an attempt. When the datacenter answers, the waits of those accounts end.

An account is told once. Only when the datacenter was seen dark after that, or the account got through, it is told
again: if the trouble is the account's own, its waits grow as its schedule says, however bright the beacon.
"""

from collections.abc import Callable, Iterable, Mapping

import anyio
from attrs import define, field

from engine.fleet.ports import Connector
from engine.wakeup import Wakeup
from states import State, Step

MIN_PAUSE = 0.5
"""Seconds between two looks at the beginning of an outage."""
MAX_PAUSE = 5.0
SLOWER = 60.0
"""The pause is this part of the time that was waited so far: half a second in the first half minute, then more."""
TIMEOUT = 3.0
"""Seconds that an answer may take."""
ACCEPTED_PAUSE = 2.5
"""Seconds between two looks where somebody takes connections and does not answer: a server in trouble is spared."""
AT_ONCE = 16
"""Looks of the whole fleet at a time."""


@define(eq=False)
class NetworkProbe:
    """Looks for those who wait. ``restored`` hears the names of accounts whose datacenter answers again."""

    connectors: Mapping[str, Connector]
    restored: Callable[[Iterable[str]], None]
    looks: int = field(default=0, init=False)
    """How often it looked."""
    _waiting: dict[str, set[str]] = field(factory=dict, init=False)
    """For each way the accounts that wait there."""
    _way: dict[str, str] = field(factory=dict, init=False)
    """For each account that waits its way."""
    _told: set[str] = field(factory=set, init=False)
    _looked_after: set[str] = field(factory=set, init=False)
    _changed: Wakeup = field(factory=Wakeup, init=False)

    def observe(self, account: str, step: Step) -> None:
        """Note who waits for the network and who does not."""
        if step.snapshot.state is State.HEALTHY:
            self._told.discard(account)
        waits = step.snapshot.waits_for_network
        if waits == (account in self._way):
            return
        if waits:
            way = self._way[account] = self.connectors[account].route
            self._waiting.setdefault(way, set()).add(account)
            self._changed.notify()
        else:
            way = self._way.pop(account)
            self._waiting[way].discard(account)
            if not self._waiting[way]:
                del self._waiting[way]

    async def run(self) -> None:
        """Look, for as long as somebody waits; to be cancelled."""
        places = anyio.CapacityLimiter(AT_ONCE)
        async with anyio.create_task_group() as tasks:
            while True:
                for way in self._waiting.keys() - self._looked_after:
                    self._looked_after.add(way)
                    tasks.start_soon(self._look_after, way, places, name=f"beacon: {way}")
                await self._changed.wait()

    async def _look_after(self, way: str, places: anyio.CapacityLimiter) -> None:
        """Look in ever longer pauses, until nobody waits on this way any more."""
        began = anyio.current_time()
        pause = MIN_PAUSE
        try:
            while way in self._waiting:
                await anyio.sleep(pause)
                waiting = self._waiting.get(way)
                if not waiting:
                    break
                connector = self.connectors[min(waiting)]
                async with places:
                    self.looks += 1
                    found = await connector.probe_datacenter(timeout=TIMEOUT)
                self._heard(way, answers=found == "answers")
                least = MIN_PAUSE if found == "dark" else ACCEPTED_PAUSE
                pause = min(MAX_PAUSE, max(least, (anyio.current_time() - began) / SLOWER))
        finally:
            self._looked_after.discard(way)

    def _heard(self, way: str, *, answers: bool) -> None:
        waiting = self._waiting.get(way, set())
        if not answers:
            self._told -= waiting
            return
        news = waiting - self._told
        if news:
            self._told |= news
            self.restored(sorted(news))
