"""A spoilt row, a missing table or a file of the wrong kind costs a sentence, and ends neither a command nor a run."""

import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite import DatabaseUnusable
from adapters.sqlite.connect import open_database
from adapters.sqlite.memory import Memory
from adapters.sqlite.schema import migrate
from engine import doctor
from engine.config import load
from states.events import Connected, Event, NetworkLost, Started, TurnGranted
from tests.engine.commands import Run, runs, write_stories
from tests.timeouts import TIMEOUT

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: A, session: a}
  - {name: B, session: b}
"""
SPOILT: Mapping[str, str] = {
    "a name of bytes": "UPDATE names SET name = x'ff00' WHERE name = 'A'",
    "an account without a name": "UPDATE names SET id = -9 WHERE name = 'A'",
    "a life that is no number": "UPDATE lives SET life = 'x'",
    "a life at no time": "UPDATE lives SET at = 'x'",
    "an entry of no life": "UPDATE journal SET life = 'x' WHERE seq = 2",
    "an entry of no event": "UPDATE journal SET event = -9 WHERE seq = 2",
    "a snapshot of nobody": "UPDATE snapshots SET account = -9 WHERE account = 1",
    "a snapshot after no entry": "UPDATE snapshots SET seq = 'x'",
    "a job of bytes": "UPDATE jobs SET account = x'ff00'",
    "a worker of bytes": "UPDATE jobs SET worker = x'ff00'",
    "a count that is no number": "UPDATE job_counts SET jobs = 'x'",
}
COMMANDS = (
    ["status"], ["status", "--json"], ["log"], ["log", "--json"], ["log", "stats"], ["log", "replay"],
    ["log", "explain", "2"], ["jobs", "list"], ["jobs", "list", "--json"], ["jobs", "show", "1"],
)  # fmt: skip
STORY: tuple[Event, ...] = (Started(), TurnGranted(generation=0), Connected(), NetworkLost(detail="reset"))


@pytest.fixture
async def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command beside a journal of two accounts and a job."""
    await write_stories(tmp_path, CONFIG, {"A": STORY, "B": STORY})
    command = runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)
    assert command("jobs", "add", "send", "to=me", "text=x", "--account", "A")[0] == 0
    return command


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path / "data" / "engine.db")) as database, database:
        database.execute(statement)


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_row_ends_no_command(run: Run, tmp_path: Path, name: str) -> None:
    """Each command that reads has one of its documented exit codes."""
    change(tmp_path, SPOILT[name])
    for words in COMMANDS:
        assert run(*words)[0] in (0, 1, 2, 3), words


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE snapshots SET at = 'x' WHERE account = (SELECT id FROM names WHERE name = 'A')",
        "UPDATE snapshots SET at = x'ff00' WHERE account = (SELECT id FROM names WHERE name = 'A')",
        "UPDATE names SET name = x'ff00' WHERE name = 'A'",
    ],
)
def test_a_spoilt_row_keeps_no_writer_from_opening(run: Run, tmp_path: Path, statement: str) -> None:
    """What the writer keeps in memory for a lost file leaves the row out, and has the others."""
    change(tmp_path, statement)
    path = tmp_path / "data" / "engine.db"
    with closing(open_database(path)) as connection:
        memory = Memory(path)
        memory.load(connection)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        memory.fill(fresh)
        kept = fresh.execute("SELECT name FROM snapshots JOIN names ON names.id = account").fetchall()
    assert kept == [("B",)]


async def test_a_missing_table_is_named_by_run_and_doctor(run: Run, tmp_path: Path) -> None:
    """Neither says that all is well, nor that the program has an error."""
    change(tmp_path, "DROP TABLE job_traces")
    path = tmp_path / "data" / "engine.db"
    with (
        closing(open_database(path)) as connection,
        pytest.raises(DatabaseUnusable, match="lacks the table job_traces"),
    ):
        migrate(connection, path)
    found = await doctor.run_checks(load(tmp_path / "config.yaml"), fix=False)
    assert any(each.ok is False and "lacks the table job_traces" in each.text for each in found)


PROGRAM = """
import threading, time
from engine.console import streams
from engine.app import process
streams.prepare()
process._MAX_EXIT = 0.1
threading.Thread(target=time.sleep, args=(3600,)).start()
print("said")
process._end_within(5)
"""


def test_a_pool_that_a_job_has_left_holds_up_no_exit() -> None:
    """Python waits at its exit for threads and pools; the program does not, and loses neither output nor exit code."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stdout) == (5, "said\n")
