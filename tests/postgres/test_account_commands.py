"""Commands to accounts from other hosts: who carries one out, how long it may wait, and what is told if nobody does."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psycopg
import pytest
from attrs import define, field

from adapters.postgres.account_commands import MAX_WAITING, CommandAnswer, CommandRows, NoOutcome, ask_accounts
from adapters.postgres.address import StoreAddress
from adapters.postgres.fleet_reader import FleetReader
from engine.app.node_store import DatabaseCommands
from engine.cli.watch import FileSource
from engine.console.account_status import AccountStatus
from engine.console.status import EngineInfo
from engine.control.inbox import CommandInbox
from engine.control.protocol import CommandOutcome
from engine.screen.model import Do
from states import Snapshot
from states.incident import Incident
from states.job import JobSummary
from tests.postgres.support import WHY, Node, node
from tests.timeouts import TIMEOUT

ONE = ["Account 1"]


@pytest.fixture
async def a(store_url: str) -> AsyncIterator[Node]:
    async with node(store_url, "a") as it:
        await it.accounts.set_accounts({"Account 1": "*", "Account 2": "*"})
        yield it


@define
class Handlers:
    """What carries commands out: it notes them, and answers."""

    names: list[str]
    done: list[tuple[str, str]] = field(factory=list)
    leaves: bool = False
    """Whether an account is gone before its command is done."""
    timeout: float = 5.0

    async def pause(self, account: str) -> CommandOutcome:
        self.done.append(("pause", account))
        if self.leaves:
            self.names.remove(account)
        return CommandOutcome(account, True, f"{account} is paused")

    async def retry(self, account: str) -> CommandOutcome:
        raise RuntimeError("a bug")


@asynccontextmanager
async def inbox(url: str, life: int, handlers: Handlers) -> AsyncIterator[None]:
    """Carry commands out for a life."""
    async with anyio.create_task_group() as tasks:
        commands: Any = handlers
        tasks.start_soon(CommandInbox(DatabaseCommands(StoreAddress.parse(url), lambda: life), commands).run)
        yield
        tasks.cancel_scope.cancel()


async def ask(url: str, verb: str, names: Sequence[str], timeout: float = TIMEOUT) -> dict[str, CommandAnswer | str]:
    """Ask as a command does."""
    return await anyio.to_thread.run_sync(lambda: ask_accounts(StoreAddress.parse(url), verb, names, timeout=timeout))


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something is so."""
    with anyio.fail_after(TIMEOUT):
        while not holds():
            await anyio.sleep(0.01)


def rows_of(url: str) -> int:
    """Return how many commands the store has."""
    with psycopg.connect(url, autocommit=True) as connection:
        return len(connection.execute("SELECT id FROM account_commands").fetchall())


async def test_the_owner_answers_and_nothing_is_left(store_url: str, a: Node) -> None:
    """Each account has its own answer; a bug in one command is an answer as well, and ends no other."""
    await a.claim()
    handlers = Handlers(["Account 1", "Account 2"])
    async with inbox(store_url, a.life, handlers):
        found = await ask(store_url, "pause", ["Account 1", "Account 2"])
        assert found == {name: CommandAnswer(True, f"{name} is paused") for name in handlers.names}
        answer = (await ask(store_url, "retry", ONE))["Account 1"]
        assert answer == CommandAnswer(False, "Account 1: an error in the engine itself; see its node's log")
        answer = (await ask(store_url, "dance", ONE))["Account 1"]
        assert answer == CommandAnswer(False, "Account 1: its node has another version, which cannot do that")
    assert handlers.done == [("pause", "Account 1"), ("pause", "Account 2")]
    assert rows_of(store_url) == 0


async def test_a_command_for_an_account_that_moves_is_done_by_the_next_owner(store_url: str, a: Node) -> None:
    """The first one has begun it, and lost the account: its answer is not taken, the next owner's is."""
    await a.claim()
    first, second = Handlers(list(ONE), leaves=True), Handlers(list(ONE))
    async with node(store_url, "b") as b, anyio.create_task_group() as tasks:
        found: dict[str, CommandAnswer | str] = {}

        async def command() -> None:
            found.update(await ask(store_url, "pause", ONE))

        tasks.start_soon(command)
        async with inbox(store_url, a.life, first):
            await until(lambda: bool(first.done))
        [(number, _, _)] = await CommandRows(a.connection, lambda: a.life).due()
        assert not await CommandRows(b.connection, lambda: b.life).answer(number, done=False, said="of another")
        await a.accounts.release(a.life, {"Account 1": 1})
        assert await b.claim() == {"Account 1": 2}
        assert not await CommandRows(a.connection, lambda: a.life).answer(number, done=False, said="too late")
        async with inbox(store_url, b.life, second):
            await until(lambda: bool(found))
    assert found == {"Account 1": CommandAnswer(True, "Account 1 is paused")}
    assert (first.done, second.done) == ([("pause", "Account 1")], [("pause", "Account 1")])


async def test_a_command_that_nobody_begins_is_taken_back(store_url: str, a: Node) -> None:
    """At its deadline, so that it is not done hours later; one that was begun may still be done."""
    assert await ask(store_url, "pause", ONE, 0.1) == {"Account 1": NoOutcome.UNTOUCHED}
    assert rows_of(store_url) == 0
    await a.claim()
    rows = CommandRows(a.connection, lambda: a.life)
    async with anyio.create_task_group() as tasks:
        found: dict[str, CommandAnswer | str] = {}

        async def command() -> None:
            found.update(await ask(store_url, "pause", ONE, 1.0))

        tasks.start_soon(command)
        with anyio.fail_after(TIMEOUT):
            while not (due := await rows.due()):
                await anyio.sleep(0.01)
        assert await rows.begin([number for number, _, _ in due]) == {due[0][0]}
    assert found == {"Account 1": NoOutcome.BEGUN}


async def test_what_waits_is_bounded_and_ends_with_its_deadline(store_url: str, a: Node) -> None:
    """Commands of processes that were killed neither pile up nor are begun late, and are deleted some day."""
    await a.claim()
    rows = CommandRows(a.connection, lambda: a.life)
    sql = """INSERT INTO account_commands (account, verb, expires_at)
        SELECT id, 'pause', clock_timestamp() + interval '1 hour' FROM accounts, generate_series(1, %s)
        WHERE name = 'Account 1'"""
    await a.connection.execute(sql, (MAX_WAITING,))
    found = await ask(store_url, "pause", ["Account 1", "Account 2"], 0.1)
    assert found == {"Account 1": NoOutcome.CROWDED, "Account 2": NoOutcome.UNTOUCHED}
    due = await rows.due()
    await a.connection.execute("UPDATE account_commands SET expires_at = clock_timestamp() - interval '1 s'")
    assert len(due) == MAX_WAITING
    assert await rows.due() == []
    assert await rows.begin([number for number, _, _ in due]) == frozenset()
    await rows.listen()
    assert rows_of(store_url) == MAX_WAITING
    await a.connection.execute("UPDATE account_commands SET expires_at = clock_timestamp() - interval '1 day'")
    await rows.listen()
    assert rows_of(store_url) == 0


async def test_the_life_that_is_over_answers_nothing(store_url: str, a: Node) -> None:
    """The row says that it owns the account until somebody frees it."""
    await a.claim()
    await a.connection.execute(
        """INSERT INTO account_commands (account, verb, expires_at)
            SELECT id, 'pause', 'infinity' FROM accounts WHERE name = 'Account 1'"""
    )
    rows = CommandRows(a.connection, lambda: a.life)
    [(number, _, _)] = await rows.due()
    await a.nodes.end(a.life, WHY)
    assert await rows.begin([number]) == frozenset()
    assert not await rows.answer(number, done=True, said="done")


@define
class Found:
    """What a look of ``status --watch`` has found."""

    accounts: dict[str, AccountStatus]
    info: EngineInfo
    jobs: JobSummary = field(factory=JobSummary)
    incidents: list[Incident] = field(factory=list)
    code: int = 0


async def test_the_screen_of_status_commands_an_account_at_another_node(
    store_url: str, a: Node, tmp_path: Path
) -> None:
    """No engine runs on this data, and the key does what the command does."""
    await a.claim()
    seen = Found({"Account 1": AccountStatus(Snapshot())}, EngineInfo(running=False, nodes=()))
    source = FileSource(tmp_path, lambda: seen, seen, store_url)
    assert await source.perform(Do.PAUSE, "Account 1") == "The engine is not running; start it with 'run' first"
    with FleetReader.open(StoreAddress.parse(store_url)) as fleet:
        source.seen = Found(seen.accounts, EngineInfo(running=False, nodes=fleet.nodes()))
    async with inbox(store_url, a.life, Handlers(list(ONE))):
        assert await source.perform(Do.PAUSE, "Account 1") == "Account 1 is paused"
    await a.nodes.end(a.life, WHY)
    assert await source.perform(Do.PAUSE, "Account 1") == "no node runs"
