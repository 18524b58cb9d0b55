"""A fleet that runs on files goes into a database, encrypted there, and back: real processes, real Telethon."""

import base64
import signal
from pathlib import Path

import pytest

from adapters.sandbox import Sandbox
from tests.engine.harness import FAST, EngineHarness, all_are
from tests.engine.nodes import PHONES, Nodes, clean

KEY, OTHER = (base64.b64encode(letter * 32).decode() for letter in (b"k", b"o"))
STORAGE = "storage: {{database: '{url}', session_key: '{key}'}}\nnode: {{name: one, host: one, lease: 6s}}\n"


def beside(first: EngineHarness, name: str, more: str = "") -> EngineHarness:
    """Return an engine of the same accounts in another directory, where no session file is."""
    made = EngineHarness(first.directory.parent / name)
    made.directory.mkdir()
    (made.directory / "dc.pem").write_bytes((first.directory / "dc.pem").read_bytes())
    made.config.write_text(first.config.read_text("utf-8") + more, "utf-8")
    return made


@pytest.mark.slow
async def test_a_fleet_goes_into_a_database_and_back(tmp_path: Path, store_url: str) -> None:
    """Each account goes on with its login, its life and its jobs, on each side; no login is ever used twice."""
    async with Sandbox() as dc:
        files = EngineHarness(tmp_path / "files")
        files.directory.mkdir()
        files.at(dc, *PHONES, rest=FAST)
        nodes = Nodes(tmp_path, store_url, dc)
        async with files.running() as process:
            await files.until(all_are("healthy", len(PHONES)))
            assert await files.finish(process, signal.SIGTERM) == 0
        added = ("jobs", "add", "config.yaml", "send", "--account", "Account 1", "to=me", "text=hello")
        assert (await files.command(*added))[0] == 0
        first = beside(files, "first", STORAGE.format(url=store_url, key=KEY))
        wrong = beside(files, "wrong", STORAGE.format(url=store_url, key=OTHER))
        code, said = await files.command("storage", "copy", "config.yaml", str(first.config))
        assert (code, "2 logins are in the database" in said) == (0, True), said
        async with wrong.running() as process:
            assert await process.wait() == 1
        assert "2 sessions are encrypted with the session key" in wrong.text
        nodes.settle()
        async with first.running() as process:
            await nodes.until(lambda: nodes.healthy() == {"Account 1": 2, "Account 2": 2}, first)
            await nodes.until(lambda: nodes.jobs() == ["done"], first)
            assert await first.finish(process, signal.SIGTERM) == 0
        assert (await first.command("log", "replay", "config.yaml"))[0] == 0
        assert nodes.rows("SELECT DISTINCT length(key) FROM sessions") == [(284,)]
        back = beside(files, "back")
        code, said = await first.command("storage", "copy", "config.yaml", str(back.config))
        assert code == 0, said
        async with back.running() as process:
            await back.until(all_are("healthy", len(PHONES)))
            assert await back.finish(process, signal.SIGTERM) == 0
        assert (await back.command("log", "replay", "config.yaml"))[0] == 0
        assert {entry.life for entry in back.entries()} == {1, 2, 3}
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(files, first, wrong, back)
    assert KEY not in first.text + wrong.text
    assert OTHER not in wrong.text
