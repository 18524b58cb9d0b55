"""``run`` with workers: real processes, a real PostgreSQL, real Telethon, a datacenter that destroys double logins."""

import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from unittest.mock import ANY

import anyio
import psycopg
import pytest
from anyio.abc import Process
from attrs import define

from adapters.sandbox import Sandbox
from engine import RemoteClient
from tests.engine.harness import FAST, EngineHarness
from tests.engine.nodes import Nodes, clean
from tests.timeouts import TIMEOUT

PHONES = tuple(f"+999662000{number}" for number in range(1, 5))
ACCOUNTS = tuple(f"Account {number}" for number in range(1, 5))


@define
class Fleet(Nodes):
    """One node with workers."""

    async def with_workers(self, *, workers: int = 2, lease: str = "200s", rest: str = "") -> EngineHarness:
        """Write the config, and bring the sessions into the database."""
        harness = EngineHarness(self.directory / "one")
        harness.directory.mkdir()
        node = f"node: {{name: one, host: here, lease: {lease}, workers: {workers}}}\n"
        harness.at(self.dc, *PHONES, rest=FAST + f"storage: {{database: '{self.url}'}}\n{node}{rest}")
        code, said = await harness.command("session", "bring", "config.yaml")
        assert code == 0, said
        self.settle()
        return harness

    def shares(self) -> dict[str | None, int]:
        """Return how many accounts each node has."""
        owners = list(self.owners().values())
        return {name: owners.count(name) for name in owners}

    def connections(self) -> int:
        """Return how many connections the database has besides the one that asks."""
        question = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with psycopg.connect(self.url, autocommit=True) as connection:
            [[count]] = connection.execute(question).fetchall()
            return int(count)


def pid_of(harness: EngineHarness, worker: int) -> int:
    """Return the process of a worker, as the log has it last."""
    return int(re.findall(rf"Worker {worker} is process (\d+)", harness.text)[-1])


def lives(pid: int) -> bool:
    """Return whether a process is there, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@asynccontextmanager
async def running(fleet: Fleet, harness: EngineHarness) -> AsyncIterator[Process]:
    """Run the parent until all accounts are healthy; no worker is left at the end."""
    async with harness.running() as process:
        try:
            await fleet.until(lambda: set(fleet.healthy()) == set(ACCOUNTS), harness)
            yield process
        finally:
            for worker in re.findall(r"is process (\d+)", harness.text):
                with suppress(OSError):
                    os.kill(int(worker), signal.SIGKILL)


@pytest.mark.slow
async def test_the_accounts_of_a_killed_worker_go_on_at_another_at_once(tmp_path: Path, store_url: str) -> None:
    """Long before the end of its lease, and it is started again; SIGTERM then ends all of them in an orderly way.

    A program that uses one of them finds it by the config, and goes on with it.
    """
    async with Sandbox() as dc:
        fleet = Fleet(tmp_path, store_url, dc)
        one = await fleet.with_workers(rest="remote: {programs: {reader: {accounts: '*', methods: '*'}}}\n")
        async with running(fleet, one) as parent, RemoteClient(one.config, "Account 4", name="reader") as client:
            assert (await client.get_me()).phone == PHONES[3].removeprefix("+")
            assert fleet.shares() == {"one#1": 2, "one#2": 2}
            assert await one.command("status", "config.yaml", "--json") == (0, ANY)
            code, said = await one.command("retry", "config.yaml", "*")
            assert (code, said.count("is healthy; it is asked for a sign of life now")) == (0, 4)
            killed = pid_of(one, 2)
            os.kill(killed, signal.SIGKILL)
            await fleet.until(lambda: fleet.shares() == {"one#1": 4}, one)
            assert (await client.get_me()).phone == PHONES[3].removeprefix("+")
            await one.until(lambda at: pid_of(at, 2) != killed)
            await fleet.until(lambda: set(fleet.healthy()) == set(ACCOUNTS), one)
            assert await one.finish(parent, signal.SIGTERM) == 0
            assert not lives(pid_of(one, 1))
            assert not lives(pid_of(one, 2))
            assert dc.stats()["connections"] == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert set(fleet.owners().values()) == {None}
    assert "Worker 2 (process" in one.text
    assert "has been ended by SIGKILL; another one is started in 1 s" in one.text
    assert "worker 1 - " in one.text
    assert clean(one), one.text


@pytest.mark.slow
async def test_no_worker_outlives_its_parent(tmp_path: Path, store_url: str) -> None:
    """They end in an orderly way, and free their accounts; the next start waits for nobody."""
    async with Sandbox() as dc:
        fleet = Fleet(tmp_path, store_url, dc)
        one = await fleet.with_workers()
        async with running(fleet, one) as parent:
            parent.kill()
            await fleet.until(lambda: not any(lives(pid_of(one, number)) for number in (1, 2)), one)
            await fleet.until(lambda: fleet.connections() == 0, one)
            with anyio.fail_after(TIMEOUT):
                while dc.stats()["connections"]:
                    await anyio.sleep(0.02)
        assert set(fleet.owners().values()) == {None}
        async with running(fleet, one) as again:
            assert await one.finish(again, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0


@pytest.mark.slow
async def test_a_worker_that_is_stopped_past_its_lease_is_ended_by_the_kernel(tmp_path: Path, store_url: str) -> None:
    """Its parent sees that, and its accounts go on at another; Ctrl+C in a terminal never reaches it."""
    async with Sandbox() as dc:
        fleet = Fleet(tmp_path, store_url, dc)
        one = await fleet.with_workers(lease="6s")
        async with running(fleet, one) as parent:
            stopped = pid_of(one, 2)
            assert os.getsid(stopped) == stopped
            os.kill(stopped, signal.SIGSTOP)
            await one.until(lambda at: f"Worker 2 (process {stopped}) has been ended by SIGKILL" in at.text)
            await fleet.until(lambda: "one#1" in fleet.shares() and None not in fleet.shares(), one)
            await fleet.until(lambda: set(fleet.healthy()) == set(ACCOUNTS), one)
            assert await one.finish(parent, signal.SIGINT) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(one), one.text


POISON = """
import os, signal
from engine import while_healthy

@while_healthy
async def poison(client):
    if (await client.get_me()).phone.endswith("0003"):
        os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.mark.slow
async def test_an_account_that_ends_its_workers_does_not_end_them_for_ever(tmp_path: Path, store_url: str) -> None:
    """It is found, and withheld from all nodes; the others are healthy again, and stay so."""
    async with Sandbox() as dc:
        fleet = Fleet(tmp_path, store_url, dc)
        one = await fleet.with_workers(rest="work: {modules: [poison.py]}\n")
        (one.directory / "poison.py").write_text(POISON)
        others = set(ACCOUNTS) - {"Account 3"}
        async with one.running() as parent:
            await one.until(lambda at: "Account 3 has ended each worker that had it" in at.text)
            await fleet.until(lambda: {name for name, owner in fleet.owners().items() if owner} == others, one)
            await fleet.until(lambda: set(fleet.healthy()) >= others, one)
            assert await one.finish(parent, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert one.text.count("has ended each worker") == 1
