"""An ``engine.db`` of the version with schema 7, in ``schema_7.sql``: read, upgraded, archived, taken back."""

import json
import re
import sqlite3
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest

from adapters.sqlite import JournalTooNew, JournalWriter, schema
from adapters.sqlite.copy import copies_before_upgrades
from adapters.sqlite.schema import MIGRATIONS, VERSION
from tests.engine.commands import Run, runs
from tests.engine.harness import ROOT

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
accounts:
  - {name: Healthy, session: one}
  - {name: Held, session: two}
  - {name: Lost, session: three}
  - {name: Paused, session: four}
  - {name: Rejected, session: five}
"""
RECORDS = 24
DUMP = (ROOT / "tests" / "adapters" / "sqlite" / "schema_7.sql").read_text("utf-8")


def dump(database: Path) -> str:
    """Return everything that is in a file, as SQL."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as read:
        version = read.execute("PRAGMA user_version").fetchone()[0]
        return "\n".join([*read.iterdump(), f"PRAGMA user_version = {version};\n"])


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return the file, as that version has left it beside a config."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    path = tmp_path / "data" / "engine.db"
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.executescript(DUMP)
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command beside the config."""
    return runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


async def upgrade(database: Path) -> None:
    """Open the file as an engine does."""
    journal = await JournalWriter.open(database, on_trouble=lambda *_: None)
    assert await journal.aclose(5) == 0


def check_content(run: Run) -> None:
    """Prove that the commands find everything in the file that was in it."""
    code, out, _ = run("status", "--json")
    said = json.loads(out)
    accounts = {row["name"]: row for row in said["accounts"]}
    assert code == 3
    assert said["incidents"] == []
    assert said["jobs"]["counts"] == {"queued": 2, "running": 0, "done": 0, "failed": 0, "cancelled": 0}
    assert accounts["Rejected"]["action"] == "log_in"
    assert accounts["Paused"]["paused"] is True
    assert [hold["request"] for hold in accounts["Held"]["holds"]] == ["messages.sendMessage"]
    assert accounts["Lost"]["cause"] == "NetworkLost: no route to host"
    assert len(run("log", "--json")[1].splitlines()) == RECORDS
    assert run("log", "replay")[0] == 0
    assert run("incidents")[0] == 0
    jobs = [json.loads(line) for line in run("jobs", "list", "--json")[1].splitlines()]
    assert [(job["id"], job["account"], job["state"]) for job in jobs] == [(1, "Held", "queued"), (2, None, "queued")]


def test_it_can_be_read_before_an_engine_upgrades_it(database: Path, run: Run) -> None:
    """The commands of this version find everything in it, and leave it as it is."""
    check_content(run)
    assert dump(database) == DUMP
    assert copies_before_upgrades(database) == []


async def test_an_engine_upgrades_it_and_keeps_a_copy(database: Path) -> None:
    """The copy is what the file was, to the last row; the file has the new tables."""
    await upgrade(database)
    [kept] = copies_before_upgrades(database)
    assert dump(kept) == DUMP
    after = dump(database)
    assert f"PRAGMA user_version = {VERSION};" in after
    assert "CREATE TABLE incidents" in after
    assert "CREATE TABLE alerts" in after
    assert "CREATE TABLE message_deletions" in after


def test_nothing_is_lost_by_the_upgrade(database: Path, run: Run) -> None:
    """``jobs add`` upgrades as an engine does: then there is one more job, and everything else is there."""
    assert run("jobs", "add", "send", "to=@news", "text=new")[0] == 0
    assert run("jobs", "cancel", "3")[0] == 0
    with closing(sqlite3.connect(database)) as written:
        assert written.execute("PRAGMA user_version").fetchone() == (VERSION,)
        written.execute("DELETE FROM jobs WHERE id = 3")
        written.execute("DELETE FROM job_counts WHERE jobs = 0")
        written.commit()
    check_content(run)


def test_an_archive_of_it_is_of_its_schema(database: Path, run: Run, tmp_path: Path) -> None:
    """It is copied and restored as it is; the engine that runs on it then upgrades it."""
    code, out, err = run("backup", "all.tar.gz", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["schema"] == 7
    database.unlink()
    assert run("restore", "all.tar.gz")[0] == 0
    assert dump(database) == DUMP
    check_content(run)


async def test_the_way_back(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The earlier version refuses the upgraded file, names the copy, and goes on with it in the file's place."""
    await upgrade(database)
    with monkeypatch.context() as earlier:
        earlier.setattr(schema, "MIGRATIONS", MIGRATIONS[:7])
        later = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", "".join(chain.from_iterable(MIGRATIONS[7:])))
        earlier.setattr(schema, "TABLES", schema.TABLES - set(later))
        [kept] = copies_before_upgrades(database)
        with pytest.raises(JournalTooNew, match=rf"has schema {VERSION}, .* knows 7; .*: {kept}$"):
            await upgrade(database)
        for companion in ("", "-wal", "-shm"):
            database.with_name(database.name + companion).unlink(missing_ok=True)
        kept.rename(database)
        await upgrade(database)
        assert dump(database) == DUMP
    await upgrade(database)
    assert f"PRAGMA user_version = {VERSION};" in dump(database)
