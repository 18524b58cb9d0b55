"""``backup`` and ``restore``: the real commands, beside an engine that runs, and where one must not run."""

import json
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.archive.marker import NAME
from adapters.sandbox import Sandbox
from tests.engine.commands import Run, runs
from tests.engine.harness import EngineHarness

pytestmark = pytest.mark.slow

PHONES = ("+9996620001", "+9996620002")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in the directory of the harness."""
    return runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


def records(database: Path) -> int:
    """Return how many records a journal has."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as read:
        return int(read.execute("SELECT count(*) FROM journal").fetchone()[0])


async def both_healthy(harness: EngineHarness) -> None:
    """Wait until both accounts are connected."""
    await harness.until(lambda engine: engine.states() == ["healthy", "healthy"])


@pytest.mark.slow
async def test_a_fleet_comes_back_from_a_backup_that_was_made_while_it_ran(harness: EngineHarness) -> None:
    """Everything is deleted, restored elsewhere, and connects with the same logins; a running engine refuses it."""
    archive = harness.directory / "backup.tar.gz"
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        async with harness.running() as process:
            await both_healthy(harness)
            code, said = await harness.command("backup", str(harness.config), str(archive), "--json")
            assert code == 0
            members = {member["name"]: member for member in json.loads(said)["members"]}
            assert list(members) == [
                "config.yaml",
                "datacenter.pem",
                "sessions/0001.session",
                "sessions/0002.session",
                "engine.db",
            ]
            code, said = await harness.command("restore", str(harness.config), str(archive))
            assert code == 3
            assert await harness.finish(process, signal.SIGTERM) == 0
        elsewhere = EngineHarness(harness.directory / "elsewhere")
        elsewhere.directory.mkdir()
        code, said = await elsewhere.command("restore", str(elsewhere.config), str(archive))
        assert code == 0, said
        for name in ("config.yaml", "dc.pem", "account1.session", "account2.session"):
            (harness.directory / name).unlink()
        shutil.rmtree(harness.directory / "data")
        before = records(elsewhere.directory / "data" / "engine.db")
        assert before > 0
        async with elsewhere.running() as process:
            # The restored journal says that they are healthy; that they are so again is in this engine's log.
            await elsewhere.until(lambda engine: engine.text.count("Successfully connected") == 2)
            await both_healthy(elsewhere)
            assert await elsewhere.finish(process, signal.SIGTERM) == 0
        assert records(elsewhere.directory / "data" / "engine.db") > before
        code, _ = await elsewhere.command("log", "replay", str(elsewhere.config))
        assert code == 0


CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
accounts: [{name: A, session: a}, {name: B, session: b}]
"""


def test_what_is_in_an_archive_is_listed(tmp_path: Path, run: Run) -> None:
    """For people and for programs; accounts that nobody has logged in are said to be left out."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    code, out, _ = run("backup", "b.tar.gz")
    assert code == 0
    assert out.startswith("✅ b.tar.gz: config, 0 sessions; ")
    assert "A is not in it: " in out
    code, out, _ = run("restore", "b.tar.gz", "--list")
    assert code == 0
    assert "config.yaml  the config" in out
    code, out, _ = run("restore", "config.yaml", "b.tar.gz", "--list", "--json")
    said = json.loads(out)
    assert [member["role"] for member in said["members"]] == ["config"]
    assert [one["account"] for one in said["left_out"]] == ["A", "B"]
    assert said["schema"] is None


def test_sessions_that_are_in_a_database_are_not_said_to_be_missing(tmp_path: Path, run: Run) -> None:
    """One sentence says where they are, and not one for each account that nobody has logged in."""
    (tmp_path / "config.yaml").write_text(CONFIG + 'storage: {database: "postgresql://holdfast@db/fleet"}')
    code, out, err = run("backup", "b.tar.gz")
    assert code == 0
    assert "What nodes share is in the database, and not in the archive: sessions," in err
    assert out.startswith("✅ b.tar.gz: config, 0 sessions; ")
    assert out.count("\n") == 1


def test_a_session_that_cannot_be_copied_is_an_exit_code(tmp_path: Path, run: Run) -> None:
    """A timer that makes backups notices it; the archive is there all the same."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "a.session").write_text("no session " * 100)
    code, out, _ = run("backup", "b.tar.gz")
    assert code == 1
    assert "❌ A is not in it: " in out
    assert (tmp_path / "b.tar.gz").exists()


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ("backup", 2, "name an archive"),
        ("backup config.yaml", 2, "name an archive"),
        ("restore", 2, "name an archive"),
        ("restore a b c", 2, "3 words are too many"),
        ("backup other.yaml b.tar.gz", 2, "no such file"),
        ("backup nowhere/b.tar.gz", 1, "no such file or directory"),
        ("restore nowhere.tar.gz", 1, "no such file or directory"),
        ("restore config.yaml", 2, "name an archive"),
        ("restore config.yaml config.yaml", 1, "no archive of Holdfast's"),
        ("restore .", 1, "this is no file"),
        ("restore nowhere.tar.gz --list", 1, "no such file or directory"),
    ],
)
def test_a_mistake_is_a_sentence(tmp_path: Path, run: Run, words: str, code: int, why: str) -> None:
    """With the exit code that says whose it is."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    found, out, err = run(*words.split())
    assert (found, out) == (code, "")
    assert why in err
    assert "Traceback" not in err


async def test_an_engine_does_not_run_on_half_a_restore(harness: EngineHarness) -> None:
    """It says which command completes it."""
    (harness.directory / "config.yaml").write_text(CONFIG)
    (harness.directory / "data").mkdir()
    (harness.directory / "data" / NAME).write_text("/srv/backup.tar.gz")
    async with harness.running() as process:
        assert await harness.finish(process) == 1
    await harness.until(lambda engine: "give 'restore' again, with /srv/backup.tar.gz" in engine.text)
