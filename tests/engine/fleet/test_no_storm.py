"""Nothing that a server does makes an account spin: by law, in virtual time, and with a real client."""

from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sandbox import Fault, FaultKind
from states import Event, Policy, State
from states.events import (
    AuthKeyUnknown,
    DatabaseLocked,
    NetworkLost,
    ProtocolBroken,
    ServerFault,
    TimedOut,
    TransportFlood,
    Unexpected,
)
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.engine.fakes import FakeConnector, MemoryJournal, living
from tests.engine.test_matrix import Row, account
from tests.timeouts import TIMEOUT
from tests.virtual_time import virtually

HANDFUL = 5
WINDOW = 10.0
"""Seconds."""
AT_ONCE = (NetworkLost, TransportFlood, ProtocolBroken, ServerFault, Unexpected, DatabaseLocked, AuthKeyUnknown)
outcomes = st.one_of(st.just("ok"), st.sampled_from([kind() for kind in AT_ONCE]))
losses = st.sampled_from(
    [NetworkLost(), ProtocolBroken(), TransportFlood(), Unexpected(), TimedOut(), AuthKeyUnknown()]
)


def most_within(times: list[float], window: float) -> int:
    """Return the largest number of times that lie within any window."""
    return max((sum(1 for at in times if start <= at < start + window) for start in times), default=0)


@settings(max_examples=60)
@given(st.lists(outcomes, max_size=60), losses)
def test_however_attempts_fail_there_is_a_handful_in_ten_seconds(fates: list[Event | str], drops: Event) -> None:
    """Under the schedules of the guide, whatever each attempt meets and however at once each link is lost again."""
    connector = FakeConnector(outcomes=list(fates), drops=drops, connect_takes=0.0, close_takes=0.0)

    async def main() -> None:
        async with living(connector, MemoryJournal(), policy=Policy()):
            await anyio.sleep(1800)

    virtually(main)
    assert connector.opened
    assert most_within([at for at, _ in connector.opened], WINDOW) <= HANDFUL


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.ACCEPT_THEN_CLOSE, PHONE),
        Fault(FaultKind.TRANSPORT_ERROR, PHONE, code=-429),
        Fault(FaultKind.GARBAGE, PHONE, times=10_000),
        Fault(FaultKind.RESET, PHONE, times=10_000),
    ],
    ids=lambda fault: fault.kind.value,
)
async def test_a_real_client_makes_an_attempt_for_each_wait(tmp_path: Path, fault: Fault) -> None:
    """Where Telethon alone connects thousands of times, the server sees one connection for each wait that is over."""
    harness = DatacenterHarness(tmp_path)
    async with harness as dc, account(harness, dc, Row("", [], [], [])) as (runner, journal):
        with anyio.fail_after(TIMEOUT):
            while runner.snapshot.state is not State.HEALTHY:
                await anyio.sleep(0.01)
        before = dc.stats()["accepted"]
        await dc.inject(fault)
        await dc.inject(Fault(FaultKind.RESET, PHONE))
        await anyio.sleep(0.9)
        opened = sum("Open" in record.effects for _, record in journal.records) - 1
        assert 1 <= dc.stats()["accepted"] - before <= opened <= 10
