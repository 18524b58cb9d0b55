"""``reload`` of an engine with workers: real processes, over a file and over a PostgreSQL database."""

import os
import signal
from pathlib import Path

import anyio
import pytest

from adapters.sandbox import Sandbox
from tests.engine.app.test_file_workers_run import fleet_at
from tests.engine.app.test_workers_run import ACCOUNTS, Fleet, pid_of, running
from tests.engine.harness import EngineHarness
from tests.engine.nodes import clean

pytestmark = pytest.mark.slow

LAST = ACCOUNTS[-1]


def without(text: str, account: str) -> str:
    """Return a config without an account."""
    return "\n".join(line for line in text.splitlines() if f"name: {account}," not in line) + "\n"


async def reload(one: EngineHarness, text: str, *, code: int = 0) -> str:
    """Reload another config, and return what is printed."""
    one.config.write_text(text, "utf-8")
    found, said = await one.command("reload", "config.yaml")
    assert found == code, said + one.text
    return " ".join(said.split())


async def test_accounts_come_and_go_at_workers_that_share_a_file(tmp_path: Path) -> None:
    """Also while a worker dies: it begins with the new config, and no login has two connections at any moment."""
    async with Sandbox() as dc:
        fleet = fleet_at(tmp_path, dc)
        one = fleet.harness
        whole = one.config.read_text("utf-8")
        async with fleet.running() as parent:
            said = await reload(one, whole.replace("workers: 2", "workers: 3"), code=1)
            assert "node cannot change while the engine runs" in said
            said = await reload(one, without(whole, LAST))
            assert f"1 account removed (closed in order, and what is stored is kept): {LAST}" in said
            await one.until(lambda at: dc.stats()["connections"] == 3)
            await fleet.until(lambda: fleet.owners().get(LAST) is None)
            killed = pid_of(one, 2)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reload, one, whole)
                await one.until(lambda at: dc.stats()["connections"] == 3)
                os.kill(killed, signal.SIGKILL)
            await fleet.until(lambda: fleet.shares() == {"one#1": 2, "one#2": 2})
            await one.until(lambda at: dc.stats()["connections"] == 4)
            assert pid_of(one, 2) != killed
            module = one.directory / "broken.py"
            module.write_text("raise RuntimeError('this cannot be')")
            said = await reload(one, whole + "work: {modules: [broken]}\n", code=2)
            assert "broken cannot be imported" in said
            one.config.write_text(without(whole, LAST), "utf-8")
            parent.send_signal(signal.SIGHUP)
            await fleet.until(lambda: fleet.owners().get(LAST) is None)
            assert await one.finish(parent, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(one), one.text


async def test_a_module_that_is_just_being_changed_ends_no_engine(tmp_path: Path) -> None:
    """A worker that has to start meanwhile is tried again, for the others run with the same config."""
    async with Sandbox() as dc:
        fleet = fleet_at(tmp_path, dc)
        one = fleet.harness
        module = one.directory / "mod.py"
        module.write_text("whole = True\n", "utf-8")
        async with fleet.running() as parent:
            said = await reload(one, one.config.read_text("utf-8") + "work: {modules: [mod]}\n")
            assert "work.modules: none → {module: mod}" in said
            module.write_text("half = ", "utf-8")
            os.kill(pid_of(one, 2), signal.SIGKILL)
            await one.until(lambda at: "Worker 2 has printed: mod cannot be imported" in at.text)
            await one.until(lambda at: "has ended with exit code 2; another one is started" in at.text)
            module.write_text("whole = True\n", "utf-8")
            await fleet.until(lambda: fleet.shares() == {"one#1": 2, "one#2": 2})
            assert await one.finish(parent, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(one), one.text


async def test_accounts_come_and_go_at_workers_of_a_database(tmp_path: Path, store_url: str) -> None:
    """The answer speaks for all; an added account begins when all workers know it, and the others keep theirs."""
    async with Sandbox() as dc:
        fleet = Fleet(tmp_path, store_url, dc)
        one = await fleet.with_workers()
        whole = one.config.read_text("utf-8")
        async with running(fleet, one) as parent:
            before = fleet.healthy()
            said = await reload(one, without(whole, LAST))
            assert f"1 account removed (closed in order, and what is stored is kept): {LAST}" in said
            await fleet.until(lambda: fleet.owners()[LAST] is None, one)
            said = await reload(one, whole.replace("probe_every: 200ms", "probe_every: 300ms"))
            assert "states.healthy.probe_every: 0.2 s → 0.3 s" in said
            await fleet.until(lambda: set(fleet.healthy()) == set(ACCOUNTS), one)
            assert {name: fleet.healthy()[name] for name in ACCOUNTS[:2]} == {
                name: before[name] for name in ACCOUNTS[:2]
            }
            assert fleet.rows("SELECT DISTINCT generation FROM nodes WHERE state <> 'dead'") == fleet.rows(
                "SELECT generation FROM account_section"
            )
            assert "The configs of other nodes are older" not in " ".join(one.text.split())
            assert await one.finish(parent, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(one), one.text
