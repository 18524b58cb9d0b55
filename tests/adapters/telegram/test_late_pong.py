"""A pong that comes after its probe has given up."""

import anyio

from adapters.sandbox import Fault, FaultKind
from states.events import ProbeAnswered, TimedOut
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT


async def test_a_late_pong_is_nothing_unreadable(harness: DatacenterHarness) -> None:
    """Nobody is advised to update anything because the network was slow."""
    async with harness as dc:
        connector = harness.connector()
        link = connector.link(1)
        await link.open(timeout=TIMEOUT)
        await dc.inject(Fault(FaultKind.SLOW, request="pingDelayDisconnect", seconds=0.3, times=1))
        assert isinstance((await link.probe(proof=False, timeout=0.05))[-1], TimedOut)
        await anyio.sleep(0.5)
        assert isinstance((await link.probe(proof=False, timeout=TIMEOUT))[-1], ProbeAnswered)
        assert connector.unreadable.count == 0
        await link.close(timeout=TIMEOUT)
        await connector.settle()
