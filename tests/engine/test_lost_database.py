"""The engine's files lost while it runs: what it says, and what commands say meanwhile. Real processes."""

import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sandbox import Sandbox
from tests.engine.harness import COMPLAINTS, FAST, EngineHarness, all_are

NEVER = ["jobs", "add", "config.yaml", "collect", "chat=@nobody", "--after", "1h"]


def delete(data: Path) -> None:
    """Delete the database alone."""
    (data / "engine.db").unlink()


def delete_all(data: Path) -> None:
    """Delete the whole directory: database, lock, socket, logs."""
    shutil.rmtree(data)


def restore(data: Path) -> None:
    """Copy a database of another life over it, as ``cp backup engine.db`` does."""
    other = data / "other.db"
    with closing(sqlite3.connect(other)) as database, database:
        database.execute("CREATE TABLE foreign_data (value TEXT)")
    shutil.copyfile(other, data / "engine.db")


@pytest.mark.slow
@pytest.mark.parametrize("lose", [delete, delete_all, restore])
async def test_commands_and_the_stop_stay_truthful(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    """A job that is added after the loss is there after the end, the account is healthy in status, and it is told."""
    harness = EngineHarness(tmp_path)
    data = tmp_path / "data"
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001", rest=FAST)
        async with harness.running() as process:
            await harness.until(all_are("healthy", 1))
            lose(data)
            code, said = await harness.command(*NEVER)
            assert (code, said) == (0, "job 1\n")
            await harness.until(all_are("healthy", 1))
            code, said = await harness.command("status", "config.yaml")
            if lose is not delete_all:  # there the lock has to be made anew first
                assert (code, "1 healthy" in said) == (0, True), said
            assert await harness.finish(process, signal.SIGTERM) == 0
    assert harness.text.count("while the engine runs; a new one is there") == 1
    assert not COMPLAINTS.search(harness.text)
    code, said = await harness.command("jobs", "list", "config.yaml")
    assert " 1 " in said.partition("collect")[0]
    assert "collect" in said
