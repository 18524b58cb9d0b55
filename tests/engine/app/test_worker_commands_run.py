"""``nodes``, ``move`` and ``node drain`` for workers that share a file, with real processes."""

import json
import signal
from pathlib import Path

import pytest

from adapters.sandbox import Sandbox
from tests.engine.app.test_file_workers_run import fleet_at
from tests.engine.app.test_workers_run import ACCOUNTS
from tests.engine.nodes import clean

pytestmark = pytest.mark.slow


async def test_accounts_go_to_the_worker_that_a_person_names(tmp_path: Path) -> None:
    """One by one, or all of a worker, each without a second owner; and the worker takes accounts again when told."""
    async with Sandbox() as dc:
        fleet = fleet_at(tmp_path, dc)
        one = fleet.harness

        async def said_by(*words: str, code: int = 0) -> str:
            found, said = await one.command(*words)
            assert found == code, said + one.text
            return " ".join(said.split())

        async with fleet.running() as parent:
            moved = next(name for name in ACCOUNTS if fleet.owners()[name] == "one#1")
            assert f"{moved} is at one#2 now (host here)" in await said_by("move", "config.yaml", moved, "one#2")
            said = await said_by("node", "drain", "config.yaml", "one#2")
            assert "one#2 has no accounts any more, and takes none until 'node resume', or until its process" in said
            states = [
                json.loads(line) for line in (await one.command("nodes", "config.yaml", "--json"))[1].splitlines()
            ]
            assert [(at["name"], at["state"], at["accounts"]) for at in states] == [
                ("one#1", "alive", 4),
                ("one#2", "draining", 0),
            ]
            assert "is draining" in await said_by("move", "config.yaml", moved, "one#2", code=2)
            await said_by("node", "resume", "config.yaml", "one#2")
            await fleet.until(lambda: fleet.shares() == {"one#1": 2, "one#2": 2})
            assert await one.finish(parent, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
        said = await said_by("nodes", "config.yaml", code=3)
        assert "No node runs" in said
        said = await said_by("node", "drain", "config.yaml", "one#2", code=1)
        assert "one#2 does not run, and a worker starts without a drain" in said
    assert clean(one), one.text
