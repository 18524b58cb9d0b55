"""A client that is given to ``ConnectionMonitor`` connected: its first loss is the loss of a stable link."""

import anyio

from adapters.sandbox import Fault, FaultKind, Sandbox
from engine import ConnectionMonitor
from states import Policy, State
from states.events import Connected, NetworkLost, Started, TurnGranted
from states.schedules import Backoff, BackoffSchedules
from tests.engine.app.test_monitor import script
from tests.states.harness import AccountDriver
from tests.timeouts import TIMEOUT

SLOW = Policy(backoff=BackoffSchedules(network=Backoff(first=3600.0, cap=3600.0)))
"""Whoever waits after a loss waits for an hour."""


async def healthy(monitor: ConnectionMonitor, reconnects: int) -> None:
    """Wait until the client was connected again so often."""
    with anyio.fail_after(TIMEOUT):
        while True:
            stats = monitor.get_stats()["A"]
            if stats["status"] == "healthy" and stats["reconnects"] == reconnects:
                return
            await anyio.sleep(0.01)


async def backed_off(monitor: ConnectionMonitor) -> int:
    """Wait until the client waits after a loss; return how often it was connected again before."""
    with anyio.fail_after(TIMEOUT):
        while (stats := monitor.get_stats()["A"])["status"] != "backoff":
            await anyio.sleep(0.01)
    return int(stats["reconnects"])


async def test_the_first_loss_of_a_connected_client_is_healed_at_once() -> None:
    """Its connection had stood before it was watched: no wait, although it was watched for a moment only."""
    async with Sandbox() as dc, script(dc) as client:
        monitor = ConnectionMonitor(policy=SLOW)
        monitor.register_client("A", client)
        monitor.start_monitoring()
        await healthy(monitor, 0)
        await dc.inject(Fault(FaultKind.RESET))
        await healthy(monitor, 1)
        assert await client.get_me() is not None
        await dc.inject(Fault(FaultKind.RESET))
        assert await backed_off(monitor) == 1
        await monitor.stop_monitoring()


async def test_a_client_given_unconnected_has_to_prove_itself() -> None:
    """The monitor's own first connection counts as unstable until it has held."""
    async with Sandbox() as dc, script(dc) as client:
        await client.disconnect()
        monitor = ConnectionMonitor(policy=SLOW)
        monitor.register_client("A", client)
        monitor.start_monitoring()
        await healthy(monitor, 0)
        await dc.inject(Fault(FaultKind.RESET))
        assert await backed_off(monitor) == 0
        await monitor.stop_monitoring()


def test_a_connection_that_had_held_is_stable_in_the_law() -> None:
    """``Connected`` says that the link stood before: its loss leads to an attempt at once."""
    for held, after in ((True, State.RECONNECTING), (False, State.BACKOFF)):
        driver = AccountDriver()
        for event in (Started(), TurnGranted(generation=0), Connected(held=held), NetworkLost()):
            driver.take(event)
        assert driver.snapshot.state is after
