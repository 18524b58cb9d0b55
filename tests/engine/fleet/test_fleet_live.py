"""The fleet's manners with real Telethon clients, real TCP, session files and journal, against the sandbox."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sqlite import JournalWriter
from adapters.system import SystemClock
from adapters.telegram import Datacenter, TelegramConnector
from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.outage_detector import OutageDetector
from engine.fleet.runner import Runner
from engine.fleet.supervisor import Supervisor
from states import Policy, State, Step
from states.schedules import Backoff, BackoffSchedules, Health
from tests.timeouts import TIMEOUT

ACCOUNTS = 20
LIMIT = 4
SOON_STABLE = Policy(
    healthy=Health(stable_after=0.2), backoff=BackoffSchedules(network=Backoff(first=10 * TIMEOUT, cap=10 * TIMEOUT))
)
"""An account that tried in vain would wait far longer than the test does, if nothing cut its wait short."""


@asynccontextmanager
async def fleet_at(dc: Sandbox, directory: Path) -> AsyncIterator[Supervisor]:
    """Run twenty accounts on this datacenter for the length of the block, from when all their links are stable."""
    datacenter = Datacenter(dc.dc_id, "127.0.0.1", dc.port, dc.public_key)
    datacenter.trust()
    journal = await JournalWriter.open(directory / "engine.db", on_trouble=lambda *_: None)
    supervisor = Supervisor({}, anyio.Event(), grace=15)
    turns = ConnectLimiter(LIMIT, 0.0)
    network = OutageDetector(turns, supervisor.notify)

    def observe(account: str, step: Step) -> None:
        network.observe(account, step)

    for number in range(ACCOUNTS):
        path = directory / f"{number}.session"
        session = SQLiteSession(str(path))
        session.set_dc(dc.dc_id, "127.0.0.9", 443)  # nothing listens there: no mistake of ours leads outside
        session.auth_key = AuthKey(dc.authorize(f"+999662{number:04}"))
        session.save()
        session.close()
        supervisor.runners[str(number)] = Runner(
            account=str(number),
            connector=TelegramConnector(session=path, api_id=1, api_hash="0" * 32, datacenter=datacenter),
            limiter=turns,
            journal=journal,
            clock=SystemClock(),
            policy=SOON_STABLE,
            observer=observe,
        )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await until_back(supervisor, reconnects=0)
        yield supervisor
        supervisor.stop.set()
    await journal.aclose(TIMEOUT)


async def until_back(supervisor: Supervisor, *, reconnects: int) -> None:
    """Wait until every account is healthy, has come back so often, and its link is stable."""
    with anyio.fail_after(TIMEOUT):
        while not all(
            at.state is State.HEALTHY and at.reconnects >= reconnects and at.stable
            for at in supervisor.snapshots.values()
        ):
            await anyio.sleep(0.02)


async def test_a_mass_reset_meets_the_limit(tmp_path: Path) -> None:
    """After a reset of all, the server never sees more handshakes at once than the limit, and all are back."""
    async with Sandbox() as dc, fleet_at(dc, tmp_path) as supervisor:
        dc.reset_counters()
        await dc.inject(Fault(FaultKind.RESET))
        await until_back(supervisor, reconnects=1)
        assert 1 <= dc.stats()["handshakes"]["most"] <= LIMIT
        assert all(at.links == 2 for at in supervisor.snapshots.values()), "no account needed a second attempt"


async def test_after_an_outage_no_account_waits_for_its_own_schedule(tmp_path: Path) -> None:
    """Half a second without a port: a few try in vain, and all are back long before their own wait is over."""
    async with Sandbox() as dc, fleet_at(dc, tmp_path) as supervisor:
        await dc.inject(Fault(FaultKind.REFUSE))
        dc.reset_counters()
        await dc.inject(Fault(FaultKind.RESET))
        with anyio.fail_after(TIMEOUT):
            while not any(at.links == 2 for at in supervisor.snapshots.values()):
                await anyio.sleep(0.01)
        await anyio.sleep(0.5)
        tries = [at.links for at in supervisor.snapshots.values()].count(2)
        await dc.clear()
        await until_back(supervisor, reconnects=1)
        assert 1 <= tries < ACCOUNTS // 2
        assert dc.stats()["handshakes"]["most"] <= LIMIT
