"""``export``: what it writes, and what it never does to a file."""

import csv
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite.schema import migrate
from engine.console.message_export import NAMES
from tests.engine.commands import Run, runs
from tests.engine.config.texts import PEM
from tests.engine.harness import EngineHarness

NASTY = '=1+1\n"quoted", and more'


@pytest.fixture
def export(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs ``export`` where three messages of one chat are stored, and one of another."""
    harness = EngineHarness(tmp_path)
    harness.write("{id: 2, host: 127.0.0.1, port: 9, public_key: dc.pem}", "  - {name: A, session: a}", "")
    (tmp_path / "dc.pem").write_text(PEM)
    path = tmp_path / "data" / "engine.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, path)
        insert = "INSERT INTO messages (owner, chat, id, at, text, job, deleted, raw) VALUES ('', ?, ?, ?, ?, 1, ?, ?)"
        db.execute(insert, (-100, 1, 1000.0, "old", None, None))
        db.execute(insert, (-100, 2, 2000.0, NASTY, 2500.0, '{"id":2}'))
        db.execute(insert, (-100, 3, 3000.0, "@handle", None, None))
        db.execute(insert, (-200, 1, 1000.0, "elsewhere", None, None))
        job = ("collect", '{"chat": "@News"}', '{"chat": -100}')
        db.execute("INSERT INTO jobs (kind, data, checkpoint, added) VALUES (?, ?, ?, 0)", job)
    return runs("export", capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


def test_lines_of_json_have_everything(export: Run) -> None:
    """One object for each message of the chat that a job calls so: times in UTC, the raw message as an object."""
    code, out, _ = export("--chat", "@news")
    found = [json.loads(line) for line in out.splitlines()]
    assert (code, [each["id"] for each in found]) == (0, [1, 2, 3])
    assert tuple(found[1]) == NAMES
    assert (found[1]["text"], found[1]["raw"]) == (NASTY, {"id": 2})
    assert (found[1]["deleted"], found[0]["deleted"]) == ("1970-01-01T00:41:40.000+00:00", None)


def test_a_spreadsheet_runs_nothing(export: Run, tmp_path: Path) -> None:
    """In CSV a text that would be a formula begins with an apostrophe, and line breaks stay inside their field."""
    assert export("--chat=-100", "--format", "csv", "--out", "out.csv")[0] == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8"), newline="")))
    assert [row["text"] for row in rows] == ["old", f"'{NASTY}", "'@handle"]
    assert [row["chat"] for row in rows] == ["-100"] * 3


def test_a_database_of_its_own(export: Run, tmp_path: Path) -> None:
    """SQLite has one table, takes the place of a file that is there, and leaves nothing beside it."""
    (tmp_path / "out.db").write_text("before")
    assert export("--chat=-100", "--format", "sqlite", "--out", "out.db", "--since", "1970-01-01T00:30+00:00")[0] == 0
    with closing(sqlite3.connect(tmp_path / "out.db")) as db:
        assert db.execute("SELECT id, text FROM messages").fetchall() == [(2, NASTY), (3, "@handle")]
        assert [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] == ["messages"]
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == ["out.db"]
    assert (tmp_path / "out.db").stat().st_mode & 0o777 == 0o600


def test_a_failed_export_leaves_the_file_as_it_was(
    export: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails half-way has neither replaced the file nor left a part of one."""
    (tmp_path / "out.csv").write_text("before")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "out.csv")

    monkeypatch.setattr("engine.cli.export.os.fsync", fail)
    code, _, err = export("--chat=-100", "--format", "csv", "--out", "out.csv")
    assert (code, "out.csv" in err) == (1, True)
    assert (tmp_path / "out.csv").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--chat", "@unknown"), 2, "no job has read a chat of this name"),
        (("--chat=-300",), 1, "no messages of -300 are stored"),
        (("--chat=-100", "--format", "sqlite"), 2, "name its file with --out"),
        (("--chat=-100", "--out", "data/engine.db"), 2, "write it elsewhere"),
        (("--chat=-100", "--out", "nowhere/out"), 1, "nowhere/out"),
    ],
)
def test_a_mistake_is_a_sentence(export: Run, words: tuple[str, ...], code: int, sentence: str) -> None:
    """Whatever cannot be done is said, with an exit code."""
    found, out, err = export(*words)
    assert (found, out) == (code, "")
    assert sentence in err
