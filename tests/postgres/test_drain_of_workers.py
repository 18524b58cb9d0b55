"""``node drain`` and ``node resume`` of an engine with workers, each of which is a node."""

from pathlib import Path

import anyio.to_thread
import pytest

from engine.cli.node import drain, resume
from tests.postgres.support import node
from tests.postgres.test_log import CONFIG

ALL = {"eu#1", "eu#2"}


async def test_the_name_of_an_engine_means_all_its_workers(
    store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was a single process once, and that is no reason to say that it does not run; another engine is left alone."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(url=store_url), "utf-8")
    async with node(store_url, "eu") as former, node(store_url, "eu#1") as one, node(store_url, "eu#2"):
        await former.nodes.end(former.life, "it was stopped")
        async with node(store_url, "eu-1"):
            for command, states in ((drain, ALL), (resume, set[str]())):
                await anyio.to_thread.run_sync(command, str(path), "eu")
                found = await one.nodes.living()
                assert {each.name for each in found if each.draining} == states
        assert "does not run" not in capsys.readouterr().out
