"""``reload`` on nodes that share their accounts, with real processes."""

import signal
from pathlib import Path

import pytest

from adapters.sandbox import Sandbox
from tests.engine.app.test_nodes_run import ACCOUNTS, Nodes, clean

pytestmark = pytest.mark.slow


async def test_accounts_leave_and_come_back_while_nodes_run(tmp_path: Path, store_url: str) -> None:
    """Removed at one node, it runs nowhere; added again, it runs once all nodes have read their configs."""
    async with Sandbox() as dc:
        nodes = Nodes(tmp_path, store_url, dc)
        one, two = await nodes.node("one"), await nodes.node("two")
        nodes.settle()
        whole = one.config.read_text()
        less = "\n".join(line for line in whole.splitlines() if "Account 2" not in line)
        async with two.running() as second:
            await nodes.until(lambda: set(nodes.healthy()) == set(ACCOUNTS), two)
            async with one.running() as first:
                await one.until(lambda at: "This node has a lease" in at.text)
                one.config.write_text(whole.replace("name: Account 2", "name: Another"))
                code, said = await one.command("reload", "config.yaml")
                assert code == 1, said
                assert "another name is another account" in " ".join(said.split())
                one.config.write_text(less)
                code, said = await one.command("reload", "config.yaml")
                assert code == 0, said
                await nodes.until(lambda: nodes.owners()["Account 2"] is None, one, two)
                await one.until(lambda at: dc.stats()["connections"] == 1)
                assert "The configs of other nodes are older (two)" in " ".join(one.text.split())
                one.config.write_text(whole)
                code, said = await one.command("reload", "config.yaml")
                assert code == 0, said
                code, said = await one.command("nodes", "config.yaml")
                assert nodes.owners()["Account 2"] is None, said
                code, said = await two.command("reload", "config.yaml")
                assert code == 0, said
                await nodes.until(lambda: nodes.owners()["Account 2"] is not None, one, two)
                await one.until(lambda at: dc.stats()["connections"] == 2)
                assert await one.finish(first, signal.SIGTERM) == 0
            assert await two.finish(second, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(one, two), one.text + two.text
