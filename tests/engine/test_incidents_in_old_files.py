"""Journals from before there were incidents: they are read and replayed as they are, and after their upgrade."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite import JournalWriter
from adapters.sqlite.alert_schema import TABLES as ALERTS
from adapters.sqlite.incident_schema import FIRST_VERSION
from adapters.sqlite.incident_schema import TABLES as INCIDENTS
from adapters.sqlite.schema import VERSION
from states.events import CaughtUp, Connected, NetworkLost, Started, StopRequested, TurnGranted
from tests.engine.commands import Run, runs, write_stories

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
accounts: [{name: News, session: one}]
"""
STORY = [
    Started(), TurnGranted(generation=0), Connected(), CaughtUp(recovered=3), NetworkLost(detail="reset"),
    StopRequested(reason="SIGTERM"),
]  # fmt: skip
OLDER = range(7, VERSION)
"""Schemas of the last versions; those before them are replayed by other tests."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs commands."""
    return runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


def make_older(path: Path, version: int) -> None:
    """Take out of a file what came after a schema, as if that version had written it."""
    with closing(sqlite3.connect(path)) as db:
        for number, tables in ((FIRST_VERSION, INCIDENTS), (9, ALERTS)):
            if number > version:
                for name in [words[5] for statement in tables if (words := statement.split())[1] == "TABLE"]:
                    db.execute(f"DROP TABLE {name.partition('(')[0]}")
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()


@pytest.mark.parametrize("version", OLDER)
async def test_it_is_replayed_before_and_after_its_upgrade(run: Run, tmp_path: Path, version: int) -> None:
    """What only reads leaves it as it is, and has no incidents; the engine upgrades it, with its records as before."""
    await write_stories(tmp_path, CONFIG, {"News": STORY})
    path = tmp_path / "data" / "engine.db"
    make_older(path, version)
    before = run("log", "--json")[1]
    assert len(before.splitlines()) == len(STORY)
    assert json.loads(run("log", "replay", "--json")[1])["agrees"] is True
    assert run("incidents") == (0, "there were no incidents\n", "")
    assert run("incidents", "show", "1") == (1, "", "there is no incident 1\n")
    assert json.loads(run("status", "--json")[1])["incidents"] == []
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,), "nothing that reads has upgraded it"
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None)
    assert (await journal.incidents.restore(0.0)).open == {}
    assert await journal.aclose(5) == 0
    assert run("log", "--json")[1] == before
    assert json.loads(run("log", "replay", "--json")[1])["agrees"] is True
    assert run("incidents") == (0, "there were no incidents\n", "")
