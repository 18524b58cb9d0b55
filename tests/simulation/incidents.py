"""Carries the incidents of a story out: to the network, the datacenter, the clocks, the disk and the engine itself."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import anyio
from attrs import define

from adapters.sandbox import Fault
from adapters.sandbox.errors import SandboxError
from engine.control import Verb
from tests.simulation.evidence import FaultSeen
from tests.simulation.network import NetworkFault
from tests.simulation.story import Incident, IncidentKind

if TYPE_CHECKING:
    from tests.simulation.run import Run

K = IncidentKind
PARKING = frozenset({K.CREDENTIALS_REVOKE, K.CREDENTIALS_DUPLICATE, K.CREDENTIALS_FORGET_KEY})
NETWORK_FAULTS: dict[IncidentKind, dict[str, Any]] = {
    K.NETWORK_GONE: {"gone": True, "unreachable": True},
    K.NETWORK_SILENT_UP: {"silent_up": True},
    K.NETWORK_SILENT_DOWN: {"silent_down": True},
    K.NETWORK_REFUSED: {"refused": True},
    K.NETWORK_SYN_DROPPED: {"dropped": True},
}


@define(eq=False)
class Incidents:
    """Plays the incidents of one run."""

    run: "Run"

    async def play(self, incident: Incident) -> None:
        """Wait for its time, and carry it out, until it is over."""
        run = self.run
        await anyio.sleep(max(0.0, incident.at - run.ledger.now))
        seen = FaultSeen(
            at=run.ledger.now,
            kind=incident.kind.value,
            account="" if incident.account is None else f"Account {incident.account}",
            parks=incident.kind in PARKING,
        )
        run.ledger.evidence.faults.append(seen)
        run.ledger.counters[f"incident.{incident.kind.value}"] += 1
        whom = f" for {seen.account}" if seen.account else ""
        value = "" if incident.value is None else f" {incident.value}"
        lasts = f", for {incident.seconds:g} s" if incident.seconds else ""
        run.ledger.tell(incident.kind.group, f"{incident.kind.value.partition('.')[2]}{value}{whom}{lasts}")
        try:
            await self._carry_out(incident)
        finally:
            seen.ended = run.ledger.now

    async def _carry_out(self, incident: Incident) -> None:
        if incident.kind in NETWORK_FAULTS or incident.kind in (K.NETWORK_LATENCY, K.NETWORK_DRIP):
            await self._network(incident)
        elif incident.kind is K.DATACENTER_RESTART:
            await self._restart_datacenter(incident)
        elif incident.kind.fault is not None:
            await self._datacenter(incident)
        else:
            await OTHERS[incident.kind](self, incident)

    def _port(self, incident: Incident) -> int | None:
        return None if incident.account is None else self.run.ports[f"Account {incident.account}"]

    async def _network(self, incident: Incident) -> None:
        options = NETWORK_FAULTS.get(incident.kind, {})
        if incident.kind is K.NETWORK_LATENCY:
            options = {"delay": float(incident.value or 0.0)}
        if incident.kind is K.NETWORK_DRIP:
            options = {"pieces": int(incident.value or 1)}
        fault = NetworkFault(port=self._port(incident), **options)
        faults = self.run.world.network.faults
        faults.append(fault)
        try:
            await anyio.sleep(incident.seconds)
        finally:
            faults.remove(fault)

    async def _reset(self, incident: Incident) -> None:
        self.run.world.network.reset_links(self._port(incident))

    async def _half_open(self, incident: Incident) -> None:
        links = self.run.world.network.silence_links(self._port(incident))
        await anyio.sleep(incident.seconds)
        for link in links:
            link.silent = False

    async def _restart_datacenter(self, incident: Incident) -> None:
        fault = NetworkFault(refused=True)
        network = self.run.world.network
        network.faults.append(fault)
        network.reset_links(None)
        try:
            await anyio.sleep(incident.seconds)
        finally:
            network.faults.remove(fault)

    async def _datacenter(self, incident: Incident) -> None:
        phone = None if incident.account is None else self.run.phones[f"Account {incident.account}"]
        try:
            await self.run.in_datacenter(
                lambda: self.run.sandbox.inject(Fault(account=phone, **incident.fault_options()))
            )
        except SandboxError as exc:
            self.run.ledger.tell("world", f"the incident is impossible: {exc}")
            self.run.ledger.counters["impossible"] += 1
            return
        await anyio.sleep(incident.seconds)

    # --- clocks ---

    async def _step_clock(self, incident: Incident) -> None:
        self.run.world.clock.stepped += float(incident.value or 0.0)

    async def _suspend(self, incident: Incident) -> None:
        self.run.world.clock.slept += incident.seconds
        if incident.seconds > 75:
            self.run.world.network.reset_links(None)  # the datacenter has given the silent links up

    # --- process ---

    async def _kill(self, incident: Incident) -> None:
        await self.run.kill(pause=incident.seconds)

    async def _kill_at_write(self, incident: Incident) -> None:
        await self.run.kill_at_write(int(incident.value or 1), pause=incident.seconds)

    async def _power_cut(self, incident: Incident) -> None:
        await self.run.kill(pause=incident.seconds, power=True)

    async def _restart(self, incident: Incident) -> None:
        await self.run.restart(pause=incident.seconds)

    # --- disk ---

    async def _disk(self, incident: Incident) -> None:
        await self.run.disk.play(incident)

    # --- commands ---

    async def _pause(self, incident: Incident) -> None:
        await self.run.commands.pause_and_resume(self._names(incident), incident.seconds)

    async def _reconnect(self, incident: Incident) -> None:
        await self.run.commands.give(Verb.RETRY, self._names(incident))

    async def _status(self, incident: Incident) -> None:
        await self.run.commands.show_status()

    async def _jobs(self, incident: Incident) -> None:
        await self.run.commands.change_jobs(incident.kind)

    def _names(self, incident: Incident) -> list[str]:
        if incident.account is not None:
            return [f"Account {incident.account}"]
        return list(self.run.ports)


OTHERS: Final[dict[IncidentKind, Callable[[Incidents, Incident], Awaitable[None]]]] = {
    K.NETWORK_RESET: Incidents._reset,
    K.NETWORK_HALF_OPEN: Incidents._half_open,
    K.CLOCK_STEP: Incidents._step_clock,
    K.CLOCK_SUSPEND: Incidents._suspend,
    K.PROCESS_KILL: Incidents._kill,
    K.PROCESS_KILL_AT_WRITE: Incidents._kill_at_write,
    K.PROCESS_POWER_CUT: Incidents._power_cut,
    K.PROCESS_RESTART: Incidents._restart,
    K.DISK_FULL: Incidents._disk,
    K.DISK_BROKEN: Incidents._disk,
    K.DISK_SLOW: Incidents._disk,
    K.DISK_LOCKED: Incidents._disk,
    K.CONTROL_PAUSE: Incidents._pause,
    K.CONTROL_RECONNECT: Incidents._reconnect,
    K.CONTROL_STATUS: Incidents._status,
    K.CONTROL_JOBS_CANCEL: Incidents._jobs,
    K.CONTROL_JOBS_RETRY: Incidents._jobs,
}
