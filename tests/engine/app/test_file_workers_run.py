"""``run`` with workers that share one ``engine.db``: real processes, real Telethon, and no server beside them."""

import os
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process
from attrs import define

from adapters.sandbox import Sandbox
from adapters.sqlite import JournalReader
from adapters.sqlite.errors import StorageError
from tests.engine.app.test_workers_run import ACCOUNTS, PHONES, lives, pid_of
from tests.engine.harness import FAST, EngineHarness
from tests.engine.nodes import clean
from tests.timeouts import TIMEOUT


@define
class FileFleet:
    """One config with workers, and the file that they share."""

    harness: EngineHarness

    @property
    def database(self) -> Path:
        """The file."""
        return self.harness.directory / "data" / "engine.db"

    def rows(self, question: str) -> list[tuple[object, ...]]:
        """Return what another program reads; nothing while there is no such file."""
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            return db.execute(question).fetchall()
        return []

    def owners(self) -> dict[object, object]:
        """Return the worker of each account."""
        return dict(
            self.rows(
                """SELECT a.name, n.name FROM node_accounts a
                    LEFT JOIN nodes n ON n.id = a.owner AND n.state <> 'dead'"""
            )
        )

    def shares(self) -> dict[object, int]:
        """Return how many accounts each worker has."""
        owners = list(self.owners().values())
        return {name: owners.count(name) for name in owners}

    def healthy(self) -> set[str]:
        """Return the accounts that are healthy."""
        with suppress(StorageError), JournalReader.open(self.database) as reader:
            return {name for name, (at, _) in reader.snapshots().items() if at.state.value == "healthy"}
        return set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something is so in the file."""
        try:
            with anyio.fail_after(TIMEOUT):
                while not await anyio.to_thread.run_sync(holds):
                    await anyio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"it did not come to pass\n{self.owners()}\n{self.harness.text}") from None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Process]:
        """Run the parent until all accounts are healthy; no worker is left at the end."""
        async with self.harness.running() as process:
            try:
                await self.until(lambda: self.healthy() == set(ACCOUNTS))
                yield process
            finally:
                for number in (1, 2):
                    with suppress(OSError, IndexError):
                        os.kill(pid_of(self.harness, number), signal.SIGKILL)


def fleet_at(directory: Path, dc: Sandbox, *, lease: str = "200s", rest: str = "") -> FileFleet:
    """Write the config of two workers without a database."""
    harness = EngineHarness(directory / "one")
    harness.directory.mkdir()
    node = f"node: {{name: one, host: here, lease: {lease}, workers: 2}}\n"
    harness.at(dc, *PHONES, rest=FAST + "storage: {directory: data}\n" + node + rest)
    return FileFleet(harness)


@pytest.mark.slow
async def test_a_worker_whose_directory_was_deleted_can_die(tmp_path: Path) -> None:
    """Its accounts go on at once, and so does it: the parent knows its life, though the note of it is gone."""
    async with Sandbox() as dc:
        fleet = fleet_at(tmp_path, dc)
        one = fleet.harness
        async with fleet.running() as parent:
            killed = pid_of(one, 2)
            await anyio.to_thread.run_sync(shutil.rmtree, one.directory / "data" / "workers" / "2")
            os.kill(killed, signal.SIGKILL)
            await fleet.until(lambda: fleet.shares() == {"one#1": 4})
            await fleet.until(lambda: fleet.shares() == {"one#1": 2, "one#2": 2})
            await fleet.until(lambda: fleet.healthy() == set(ACCOUNTS))
            assert "not known to be over" not in one.text
            assert await one.finish(parent, signal.SIGTERM) == 0
            assert clean(one), one.text
        assert dc.stats()["logins_destroyed"] == 0


@pytest.mark.slow
async def test_the_accounts_of_a_killed_worker_go_on_in_the_same_file(tmp_path: Path) -> None:
    """At once, and back when it was started again: no job is lost or done twice, replay agrees, no login destroyed."""
    async with Sandbox() as dc:
        fleet = fleet_at(tmp_path, dc)
        one = fleet.harness
        async with fleet.running() as parent:
            assert fleet.shares() == {"one#1": 2, "one#2": 2}
            for name in ACCOUNTS:
                code, said = await one.command(
                    "jobs", "add", "config.yaml", "send", "--account", name, "to=me", f"text=to {name}"
                )
                assert code == 0, said
            killed = pid_of(one, 2)
            os.kill(killed, signal.SIGKILL)
            await fleet.until(lambda: fleet.shares() == {"one#1": 4})
            await fleet.until(lambda: fleet.healthy() == set(ACCOUNTS))
            await fleet.until(lambda: fleet.rows("SELECT DISTINCT state FROM jobs") == [("done",)])
            await fleet.until(lambda: fleet.shares() == {"one#1": 2, "one#2": 2})  # the other one was started again
            await fleet.until(lambda: fleet.healthy() == set(ACCOUNTS))
            assert await one.finish(parent, signal.SIGTERM) == 0
            assert not lives(pid_of(one, 1))
        assert dc.stats()["logins_destroyed"] == 0
        assert dc.stats()["connections"] == 0
    code, said = await one.command("log", "replay", "config.yaml")
    assert code == 0, said
    assert fleet.rows("SELECT count(*) FROM nodes WHERE state <> 'dead'") == [(0,)]
    assert clean(one), one.text


@pytest.mark.slow
async def test_a_file_goes_from_workers_to_one_engine_and_back(tmp_path: Path) -> None:
    """Each goes on where the other has left the accounts; a file that is deleted under workers is put back whole."""
    async with Sandbox() as dc:
        fleet = fleet_at(tmp_path, dc)
        one = fleet.harness
        with_workers = one.config.read_text("utf-8")
        async with fleet.running() as parent:
            before = fleet.rows("SELECT count(*) FROM lives")
            fleet.database.unlink()
            await one.until(lambda at: "was deleted, or moved away" in at.text)
            code, said = await one.command("jobs", "add", "config.yaml", "send", "to=me", "text=hello")
            assert code == 0, said
            await fleet.until(lambda: fleet.rows("SELECT state FROM jobs") == [("done",)])
            assert fleet.rows("SELECT count(*) FROM lives") == before
            code, said = await one.command("status", "config.yaml", "--json")
            assert code == 0, said
            assert await one.finish(parent, signal.SIGTERM) == 0
        one.config.write_text(with_workers.replace("workers: 2", "workers: 1"), "utf-8")
        async with one.running() as alone:
            await fleet.until(lambda: fleet.healthy() == set(ACCOUNTS))
            assert await one.finish(alone, signal.SIGTERM) == 0
        one.config.write_text(with_workers, "utf-8")
        async with fleet.running() as again:
            await fleet.until(lambda: fleet.shares() == {"one#1": 2, "one#2": 2})
            assert await one.finish(again, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    code, said = await one.command("log", "replay", "config.yaml")
    assert code == 0, said
    assert "lost its lease" not in one.text
    assert clean(one), one.text
