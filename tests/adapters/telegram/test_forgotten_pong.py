"""A pong that nobody awaits, when its link ends with an error."""

import asyncio
import gc
from typing import Any

import anyio
import pytest

from adapters.sandbox import Fault, FaultKind
from adapters.telegram.protocol_watch import ProtocolStuck
from states.events import Failure
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT


@pytest.fixture
async def complaints() -> list[str]:
    """What asyncio complains of."""
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(str(context["message"])))
    return said


async def test_the_pong_of_a_keep_alive_is_forgotten_with_its_link(
    harness: DatacenterHarness, complaints: list[str]
) -> None:
    """Telethon sends its own ping and awaits no pong: a link that ends with an error in between is no warning."""
    async with harness as dc:
        link = harness.connector().link(1)
        await link.open(timeout=TIMEOUT)
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        sender: Any = link._client._sender
        sender._keepalive_ping(7)
        with anyio.fail_after(TIMEOUT):
            while not sender._pending_state:
                await anyio.sleep(0.01)
        await sender._disconnect(error=ProtocolStuck("the datacenter refuses the salt that it gave itself"))
        await link.close(timeout=TIMEOUT)
        await link.connector.settle()
        del sender
        gc.collect()
        await asyncio.sleep(0)
    assert complaints == []


async def test_a_proof_of_a_link_that_is_down_reports_it(harness: DatacenterHarness) -> None:
    """The ping that goes with a late proof cannot be sent either, and nothing but the failure comes of it."""
    async with harness:
        link = harness.connector().link(1)
        await link.open(timeout=TIMEOUT)
        link._pinged_at = -1e9
        client: Any = link._client
        await client._sender._disconnect()
        assert isinstance((await link.probe(proof=True, timeout=TIMEOUT))[-1], Failure)
        await link.close(timeout=TIMEOUT)
        await link.connector.settle()
