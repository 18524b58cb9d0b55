"""Nodes of the tests: engines as processes of their own that share a PostgreSQL database and a datacenter."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import psycopg
from attrs import define, field

from adapters.postgres.address import StoreAddress
from adapters.postgres.errors import StoreError
from adapters.postgres.job_commands import add_jobs
from adapters.postgres.journal_reader import StoreRecords
from adapters.postgres.nodes import SERVER
from adapters.sandbox import Sandbox
from adapters.sqlite.jobs import NewJob
from tests.engine.harness import COMPLAINTS, FAST, EngineHarness
from tests.timeouts import TIMEOUT

PHONES: Final = ("+9996620001", "+9996620002")
ACCOUNTS: Final = ("Account 1", "Account 2")
CHANNEL: Final = "nodes_news"
"""To which ``Sender`` has its messages sent."""
PATIENT: Final = """
states:
  connecting: {patience: [60s]}
  reconnecting: {patience: [60s]}
  healthy: {probe_every: 1s, prove_every: 5s, stable_after: 400ms}
  timeout: {patience: [30s, 30s]}
  backoff:
    network: {first: 100ms, factor: 2, cap: 500ms, jitter: 0.2}
fleet: {stagger: 0}
"""
"""States for tests that count connections: a busy machine loses none."""


@define
class Nodes:
    """Nodes of one database and one datacenter, which share accounts with these phones."""

    directory: Path
    url: str
    dc: Sandbox
    phones: tuple[str, ...] = PHONES

    @property
    def accounts(self) -> list[str]:
        """The names of the accounts."""
        return [f"Account {number}" for number in range(1, len(self.phones) + 1)]

    async def node(
        self,
        name: str,
        *,
        lease: str = "60s",
        more: str = "",
        rest: str = "",
        url: str | None = None,
        states: str = FAST,
    ) -> EngineHarness:
        """Write the config of a node; the first one brings the sessions into the database.

        A lease that a test waits for is short: one that is not ends no node whose machine is busy.
        ``url`` is the way of this node to the database, if it has one of its own.
        """
        harness = EngineHarness(self.directory / name)
        harness.directory.mkdir()
        shared = f"storage: {{database: '{url or self.url}'}}\n"
        shared += f"node: {{name: {name}, host: {name}, lease: {lease}{more}}}\n"
        harness.at(self.dc, *self.phones, rest=states + shared + rest)
        if name == "one":
            code, said = await harness.command("session", "bring", "config.yaml")
            assert code == 0, said
        else:
            for file in harness.directory.glob("*.session*"):
                file.unlink()
        return harness

    def settle(self) -> None:
        """Let accounts be claimed at once, as in a database that has been watched for a lease."""
        self.execute(f"INSERT INTO settled_servers (server) SELECT {SERVER} ON CONFLICT DO NOTHING")

    def rows(self, question: str) -> list[tuple[object, ...]]:
        """Return the rows of a question to the database."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            return connection.execute(question.encode()).fetchall()

    def execute(self, statement: str) -> None:
        """Change the database."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement.encode())

    def owners(self) -> dict[str, str | None]:
        """Return the node of each account."""
        question = "SELECT a.name, n.name FROM accounts a LEFT JOIN nodes n ON n.id = a.owner AND n.state <> 'dead'"
        return {str(account): None if node is None else str(node) for account, node in self.rows(question)}

    def lives(self) -> dict[str, object]:
        """Return the life of each node that is not dead."""
        return {str(name): life for name, life in self.rows("SELECT name, id FROM nodes WHERE state <> 'dead'")}

    def jobs(self) -> list[str]:
        """Return the states of all jobs."""
        return [str(state) for (state,) in self.rows("SELECT state FROM jobs ORDER BY id")]

    def in_ledger(self) -> int:
        """Return how many users the ledger of completeness has."""
        return len(self.rows("SELECT DISTINCT user_id FROM ledger"))

    def healthy(self) -> dict[str, int]:
        """Return the number of the life in which each account is healthy."""
        with StoreRecords.open(StoreAddress.parse(self.url)) as records:
            snapshots = records.snapshots()
        return {name: at.life for name, (at, _) in snapshots.items() if at.state.value == "healthy"}

    def all_healthy(self, since: int = 1) -> bool:
        """Return whether all accounts are healthy, in lives that have this number or a later one.

        The states of a life that was killed stay in the database until the next one has begun.
        """
        found = self.healthy()
        return set(found) == set(self.accounts) and min(found.values()) >= since

    async def until(self, holds: Callable[[], bool], *said: EngineHarness) -> None:
        """Wait until something is so in the database, which may be out of reach meanwhile."""
        try:
            with anyio.fail_after(TIMEOUT):
                while not await anyio.to_thread.run_sync(_or_false, holds):
                    await anyio.sleep(0.1)
        except TimeoutError:
            raise AssertionError("\n".join(["it did not come to pass", *(each.text for each in said)])) from None


def _or_false(holds: Callable[[], bool]) -> bool:
    with suppress(psycopg.OperationalError, StoreError):
        return holds()
    return False


def clean(*nodes: EngineHarness) -> bool:
    """Say whether there is nothing in the logs that Python complains of."""
    return not any(COMPLAINTS.search(node.text) for node in nodes)


@asynccontextmanager
async def kept_running(harness: EngineHarness) -> AsyncIterator[list[int]]:
    """Run an engine for the block as a service manager does: it starts again whenever it ends. Yields the exit codes.

    At the end of the block it is killed.
    """
    codes: list[int] = []

    async def keep() -> None:
        while True:
            async with harness.running() as process:
                codes.append(await process.wait())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep)
        yield codes
        tasks.cancel_scope.cancel()


@define(eq=False)
class Sender:
    """Adds jobs that send numbered texts to the channel ``CHANNEL``, one after the other, from outside all nodes.

    ``run`` it beside a test. A job whose adding was not acknowledged may have been added or not; it is not repeated.
    """

    nodes: Nodes
    pause: float = 0.1
    acknowledged: list[str] = field(factory=list)
    uncertain: list[str] = field(factory=list)
    _numbers: Iterator[int] = field(factory=itertools.count)

    @classmethod
    async def of(cls, nodes: Nodes, pause: float = 0.1) -> "Sender":
        """Make the channel, with all accounts in it."""
        await nodes.dc.create_channel(CHANNEL, "News of nodes", megagroup=True, members=nodes.phones)
        return cls(nodes, pause)

    async def run(self) -> None:
        """Add jobs until cancelled."""
        address = StoreAddress.parse(self.nodes.url)
        for number in self._numbers:
            text = f"message {number}"
            job = NewJob(kind="send", data={"to": f"@{CHANNEL}", "text": text})
            try:
                await anyio.to_thread.run_sync(add_jobs, address, [job], abandon_on_cancel=True)
            except StoreError:
                self.uncertain.append(text)
            except asyncio.CancelledError:
                self.uncertain.append(text)
                raise
            else:
                self.acknowledged.append(text)
            await anyio.sleep(self.pause)

    async def goes_on(self, count: int = 3) -> None:
        """Return when so many more jobs were acknowledged."""
        wanted = len(self.acknowledged) + count
        with anyio.fail_after(TIMEOUT):
            while len(self.acknowledged) < wanted:
                await anyio.sleep(0.05)

    def sent(self) -> Counter[str]:
        """Return how often the datacenter has each text."""
        return Counter(each.text for each in self.nodes.dc.channel_messages(CHANNEL))

    async def check(self, *said: EngineHarness) -> None:
        """Expect each acknowledged message once, and each other one once at most, when all jobs are done."""
        await self.nodes.until(lambda: set(self.nodes.jobs()) == {"done"}, *said)
        sent = self.sent()
        assert [text for text in self.acknowledged if sent[text] != 1] == []
        assert [text for text, times in sent.items() if times > 1] == []
        assert self.acknowledged
        assert sent.keys() <= {*self.acknowledged, *self.uncertain}
