"""Incidents in ``engine.db``: what is stored is what goes on after a crash, and what commands see."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from adapters.sqlite import JournalMissing, JournalWriter, open_database
from adapters.sqlite.incident_reader import IncidentReader
from adapters.sqlite.incidents import acknowledge
from adapters.sqlite.renames import Rename, rename
from adapters.sqlite.schema import MIGRATIONS, VERSION
from states.incident import Incident
from states.incidents import AccountGone, AccountSeen, Acknowledged, Book, Elapsed, IncidentKind, IncidentReason, Sign
from tests.adapters.sqlite.support import a_journal
from tests.states.incident_support import Told, down, full, journal, names, needs, well


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


def numbered(incidents: Iterable[Incident]) -> dict[int, Incident]:
    return {each.id: each for each in incidents}


async def test_what_is_stored_is_what_was_said(path: Path) -> None:
    """Each incident comes back as it was said last, with all accounts that were ever in it."""
    law = Told()
    law.tell(*map(down, names(12)), needs("P"), journal(full()))
    law.wait(130)
    law.tell(well("Account 03"), Acknowledged(1), AccountGone("P"))
    law.wait(400)
    async with a_journal(path) as writer:
        await keep(writer, law)
        again = await writer.incidents.restore(law.now)
    said = {each.incident.id: each.incident for each in law.changes}
    assert numbered(stored(path)) == {number: said[number] for number in sorted(said)}
    assert numbered(stored(path, open_only=True)) == dict(law.book.open)
    assert dict(again.open) == dict(law.book.open)
    assert {each: track.incident for each, track in again.tracks.items()} == {
        each: track.incident for each, track in law.book.tracks.items() if track.incident is not None
    }
    assert again.next_id == law.book.next_id


async def test_a_number_is_given_once(path: Path) -> None:
    """Retention deletes what is over, and the numbers go on."""
    law = Told()
    law.tell(needs("A"), needs("B"), AccountGone("A"), AccountGone("B"), needs("C"))
    async with a_journal(path) as writer:
        await keep(writer, law)
        assert await writer.incidents.prune(law.now + 1) == 2
        assert await writer.incidents.prune(law.now + 1) == 0
        assert [each.id for each in stored(path)] == [3]
        execute(path, "DELETE FROM incidents")
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT count(*) FROM incident_members").fetchone() == (0,)
        assert (await writer.incidents.restore(law.now)).next_id == 4


async def test_what_was_not_stored_was_not_there(path: Path) -> None:
    """An engine that dies before an incident is durable has none: the next one opens it, under the same number."""
    law = Told()
    law.tell(needs("A"))
    async with a_journal(path) as writer:
        book = await writer.incidents.restore(law.now)
        assert book == Book(now=law.now, due=law.now)
        again = Told(book=book, now=law.now)
        again.tell(Elapsed(), needs("A"))
        assert [each.id for each in again.opened] == [1]


async def test_an_account_without_updates_is_named(path: Path) -> None:
    """All that an account can have trouble with makes it one of the incident's accounts."""
    reason = IncidentReason(kind=IncidentKind.STALLED, cause="StalledUpdates", at_once=True)
    law = Told()
    law.tell(AccountSeen(account="A", connection=Sign.WELL, updates=reason))
    async with a_journal(path) as writer:
        await keep(writer, law)
    assert [each.accounts for each in stored(path)] == [("A",)]


async def test_rows_of_others_are_in_the_same_transaction(path: Path) -> None:
    """What is to be sent is stored with the incident, or neither is."""
    from adapters.sqlite.schema import NAME

    law = Told()
    law.tell(needs("A"))
    async with a_journal(path) as writer:
        await writer.incidents.keep(law.changes, also=[(NAME, ("outbox",))])
        await writer.incidents.flush()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM names").fetchall() == [("outbox",)]
    assert len(stored(path)) == 1


async def test_a_command_acknowledges_once(path: Path) -> None:
    """What a command has acknowledged stays so, whatever the engine writes later."""
    law = Told()
    law.tell(needs("A"), needs("B"))
    async with a_journal(path) as writer:
        await keep(writer, law)
        found, noted = await anyio.to_thread.run_sync(acknowledge, path, 1, 5.0)
        assert (found, noted) == (evolve(law.book.open[1], acked=5.0), True)
        assert await anyio.to_thread.run_sync(acknowledge, path, 1, 9.0) == (found, False)
        assert await writer.incidents.acknowledged() == {1}
        seen = len(law.changes)
        law.tell(AccountGone("A"), AccountGone("B"))
        await keep(writer, law, seen)
        over, noted = await anyio.to_thread.run_sync(acknowledge, path, 2, 9.0)
        assert over is not None
        assert (over.acked, over.closed, noted) == (None, law.now, False)
    assert [each.acked for each in stored(path)] == [5.0, None]


@pytest.mark.parametrize("number", [0, -1, 7, 2**63, 10**30])
async def test_there_is_no_such_incident(path: Path, number: int) -> None:
    """Any number may be asked for."""
    async with a_journal(path):
        pass
    assert acknowledge(path, number, 1.0) == (None, False)


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


async def test_all_is_stored_anew(path: Path) -> None:
    """When the file was lost, what is open is in the new one."""
    law = Told()
    law.tell(*map(down, names(5)), needs("P"))
    law.wait(130)
    async with a_journal(path) as writer:
        await writer.incidents.keep_all(law.book)
        await writer.incidents.flush()
        assert dict((await writer.incidents.restore(law.now)).open) == dict(law.book.open)
        await writer.incidents.keep_all(Book())
