"""Incidents in ``engine.db``: what is peculiar to a file; ``tests/storage/test_incidents.py`` has the rest."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite import JournalMissing, JournalWriter, open_database
from adapters.sqlite.incident_reader import IncidentReader
from adapters.sqlite.incidents import acknowledge
from adapters.sqlite.renames import Rename, rename
from adapters.sqlite.schema import MIGRATIONS, VERSION
from states.incident import Incident
from states.incidents import Elapsed
from tests.adapters.sqlite.support import a_journal
from tests.states.incident_support import Told, full, journal, needs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine.db"


def stored(path: Path, *, open_only: bool = False) -> list[Incident]:
    with IncidentReader.open(path) as reader:
        return reader.incidents(open_only=open_only)


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


async def keep(writer: JournalWriter, law: Told, seen: int = 0) -> None:
    """Store what a law has said since then."""
    await writer.incidents.keep(law.changes[seen:])
    await writer.incidents.flush()


def test_without_a_file_there_is_nothing(path: Path) -> None:
    """Neither side makes a file."""
    with pytest.raises(JournalMissing):
        acknowledge(path, 1, 1.0)
    with pytest.raises(JournalMissing), IncidentReader.open(path):
        pass
    assert not path.exists()


async def test_a_file_from_before_there_were_incidents(path: Path) -> None:
    """Commands read it as one without any; the next engine makes the tables."""
    with closing(open_database(path)) as db:
        for step in MIGRATIONS[:7]:
            for statement in step:
                db.execute(statement)
        db.execute("PRAGMA user_version = 7")
    with IncidentReader.open(path) as reader:
        assert (reader.incidents(), reader.inside(), reader.last_number(), reader.acknowledged()) == ([], [], 0, [])
        assert reader.incident(1) is None
    async with a_journal(path) as writer:
        assert (await writer.incidents.restore(1.0)).open == {}
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


async def test_names_go_with_the_accounts(path: Path) -> None:
    """Accounts that swap their names have their incidents under the new ones."""
    law = Told()
    law.tell(needs("A"), needs("B"), journal(full("A")))
    law.wait(120)
    async with a_journal(path) as writer:
        await keep(writer, law)
    rename(path, [Rename(former="A", name="B"), Rename(former="B", name="A")], [], 1.0)
    assert [each.accounts for each in stored(path)] == [("B",), ("A",), ()]
    assert stored(path)[2].cause == "A", "a disk is no account"


@pytest.mark.parametrize(
    "column", ["kind", "cause", "fleet", "severity", "since", "opened", "closed", "acked", "detail"]
)
@pytest.mark.parametrize("value", ["x'ff00'", "CAST(x'ff' AS TEXT)", "1e300", "'soon'"])
async def test_a_spoilt_row_ends_nothing(path: Path, column: str, value: str) -> None:
    """A row that cannot be read is left out, and the engine begins with the others."""
    law = Told()
    law.tell(needs("A"), needs("B"))
    async with a_journal(path) as writer:
        await keep(writer, law)
        execute(path, f"UPDATE incidents SET {column} = {value} WHERE id = 1")
        book = await writer.incidents.restore(law.now)
        again = Told(book=book, now=law.now)
        again.tell(Elapsed(), needs("B"))
        assert 2 in book.open
        assert again.opened == []
        execute(path, f"UPDATE incident_members SET name = {value}, until = {value}")
        await writer.incidents.restore(law.now)
