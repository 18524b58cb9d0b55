"""Incidents in each store: what is stored is what goes on after a crash, and what commands see."""

from collections.abc import Iterable
from typing import Any

import pytest
from attrs import evolve

from states.alerts import About, ChannelAlert, MessageKind
from states.incident import Incident
from states.incidents import AccountGone, AccountSeen, Acknowledged, Book, Elapsed, IncidentKind, IncidentReason, Sign
from tests.states.incident_support import BEGIN, Told, down, full, journal, names, needs, well
from tests.storage.incident_stores import IncidentsUnderTest, stored_incidents


def numbered(incidents: Iterable[Incident]) -> dict[int, Incident]:
    return {each.id: each for each in incidents}


def members(book: Book) -> dict[Any, int]:
    """Return what is in the open incidents of a book."""
    return {each: track.incident for each, track in book.tracks.items() if track.incident is not None}


async def test_what_is_stored_is_what_was_said(kept: IncidentsUnderTest) -> None:
    """Each incident comes back as it was said last, with all accounts that were ever in it."""
    law = Told()
    law.tell(*map(down, names(12)), needs("P"), journal(full()))
    law.wait(130)
    law.tell(well("Account 03"), Acknowledged(1), AccountGone("P"))
    law.wait(400)
    async with kept.engine() as engine:
        await engine.keep(law)
        again = await engine.incidents.restore(law.now)
    said = {each.incident.id: each.incident for each in law.changes}
    assert numbered(stored_incidents(kept)) == {number: said[number] for number in sorted(said)}
    assert numbered(stored_incidents(kept, open_only=True)) == dict(law.book.open)
    assert dict(again.open) == dict(law.book.open)
    assert members(again) == members(law.book)


async def test_the_next_engine_goes_on(kept: IncidentsUnderTest) -> None:
    """With what the last one has left open, under the same numbers; what it opens itself has the next one."""
    law = Told()
    law.tell(needs("A"), needs("B"), journal(full()))
    law.wait(130)
    law.tell(AccountGone("B"))
    async with kept.engine() as engine:
        assert (await engine.incidents.restore(BEGIN)).next_id == 1
        await engine.keep(law)
    async with kept.engine() as engine:
        book = await engine.incidents.restore(law.now)
        assert dict(book.open) == dict(law.book.open)
        assert members(book) == members(law.book)
        assert book.next_id == law.book.next_id
        again = Told(book=book, now=law.now)
        again.tell(Elapsed(), needs("A"), needs("C"), AccountGone("A"))
        await engine.keep(again)
    assert [(each.id, each.is_open) for each in stored_incidents(kept)] == [
        *((1, False), (2, False), (3, True), (4, True))
    ]


async def test_a_number_is_given_once(kept: IncidentsUnderTest) -> None:
    """Retention deletes what is over, and the numbers go on."""
    law = Told()
    law.tell(needs("A"), needs("B"), AccountGone("A"), AccountGone("B"), needs("C"))
    async with kept.engine() as engine:
        await engine.incidents.restore(BEGIN)
        await engine.keep(law)
        assert await engine.incidents.prune(law.now + 1) == 2
        assert await engine.incidents.prune(law.now + 1) == 0
        assert [each.id for each in stored_incidents(kept)] == [3]
        kept.execute("DELETE FROM incidents")
        assert kept.rows("SELECT count(*) FROM incident_members") == [(0,)]
        assert (await engine.incidents.restore(law.now)).next_id == 4
    with kept.reader() as reader:
        assert reader.last_number() == 3


async def test_what_was_not_stored_was_not_there(kept: IncidentsUnderTest) -> None:
    """An engine that dies before an incident is durable has none: the next one opens it, under the same number."""
    law = Told()
    law.tell(needs("A"))
    async with kept.engine() as engine:
        book = await engine.incidents.restore(law.now)
        assert book == Book(now=law.now, due=law.now)
        again = Told(book=book, now=law.now)
        again.tell(Elapsed(), needs("A"))
        assert [each.id for each in again.opened] == [1]


async def test_rows_of_others_are_in_the_same_transaction(kept: IncidentsUnderTest) -> None:
    """What is to be sent is stored with the incident, or neither is."""
    law = Told()
    law.tell(needs("A"))
    about = About(id=1, kind="needs_person", since=law.now, opened=law.now)
    alert = ChannelAlert(channel="c", about=about, message=MessageKind.OPENED, due=law.now)
    async with kept.engine() as engine:
        await engine.incidents.keep(law.changes, also=[engine.outbox.row_of(alert, law.now)])
        await engine.incidents.flush()
        assert kept.rows("SELECT (SELECT count(*) FROM incidents), (SELECT count(*) FROM alerts)") == [(1, 1)]


async def test_a_command_acknowledges_once(kept: IncidentsUnderTest) -> None:
    """What a command has acknowledged stays so, whatever the engine writes later."""
    law = Told()
    law.tell(needs("A"), needs("B"))
    async with kept.engine() as engine:
        await engine.keep(law)
        found, noted = kept.acknowledge(1, 5.0)
        assert (found, noted) == (evolve(law.book.open[1], acked=5.0), True)
        assert kept.acknowledge(1, 9.0) == (found, False)
        assert await engine.incidents.acknowledged() == {1}
        with kept.reader() as reader:
            assert reader.acknowledged() == [1]
        seen = len(law.changes)
        law.tell(AccountGone("A"), AccountGone("B"))
        await engine.keep(law, seen)
        over, noted = kept.acknowledge(2, 9.0)
        assert over is not None
        assert (over.acked, over.closed, noted) == (None, law.now, False)
        assert await engine.incidents.acknowledged() == set()
    assert [each.acked for each in stored_incidents(kept)] == [5.0, None]


@pytest.mark.parametrize("number", [0, -1, 7, 2**63, 10**30])
async def test_there_is_no_such_incident(kept: IncidentsUnderTest, number: int) -> None:
    """Any number may be asked for."""
    async with kept.engine():
        pass
    assert kept.acknowledge(number, 1.0) == (None, False)
    with kept.reader() as reader:
        assert (reader.incident(number), reader.left(number)) == (None, {})


async def test_who_left_and_who_is_inside(kept: IncidentsUnderTest) -> None:
    """An account that comes again is inside; the time of one that left is kept."""
    law = Told()
    law.tell(*map(down, names(4)))
    law.wait(130)
    law.tell(AccountGone("Account 01"), AccountGone("Account 02"))
    gone = law.now
    law.wait(10)
    law.tell(down("Account 02"))
    law.wait(130)
    async with kept.engine() as engine:
        await engine.keep(law)
    with kept.reader() as reader:
        assert reader.left(1) == {"Account 01": gone, "Account 02": None, "Account 03": None, "Account 04": None}
        inside = [(1, "connection", name) for name in names(4)[1:]]
        assert sorted(reader.inside()) == inside


async def test_an_account_without_updates_is_named(kept: IncidentsUnderTest) -> None:
    """All that an account can have trouble with makes it one of the incident's accounts."""
    reason = IncidentReason(kind=IncidentKind.STALLED, cause="StalledUpdates", at_once=True)
    law = Told()
    law.tell(AccountSeen(account="A", connection=Sign.WELL, updates=reason))
    async with kept.engine() as engine:
        await engine.keep(law)
    assert [each.accounts for each in stored_incidents(kept)] == [("A",)]
    with kept.reader() as reader:
        assert reader.left(1) == {"A": None}


async def test_incidents_of_a_time(kept: IncidentsUnderTest) -> None:
    """Those that went on at some time from the one to before the other, and of many the newest."""
    law = Told()
    for account in ("A", "B", "C"):
        law.tell(needs(account))
        law.wait(10)
        if account != "C":
            law.tell(AccountGone(account))
        law.wait(10)
    async with kept.engine() as engine:
        await engine.keep(law)
    with kept.reader() as reader:

        def found(**wanted: Any) -> list[int]:
            return [each.id for each in reader.incidents(**wanted)]

        assert found() == [1, 2, 3]
        assert found(last=2) == [2, 3]
        assert found(last=0) == []
        assert found(open_only=True) == [3]
        assert found(since=BEGIN + 10, until=BEGIN + 20) == [1]
        assert found(since=BEGIN + 11, until=BEGIN + 21) == [2]
        assert found(since=BEGIN + 1000) == [3]


@pytest.mark.parametrize("cell", ["kind = 'soon'", "severity = 'soon'", "since = 1e300", "opened = -1e300"])
async def test_a_spoilt_row_ends_nothing(kept: IncidentsUnderTest, cell: str) -> None:
    """A row that cannot be read is left out and named, and the engine begins with the others."""
    law = Told()
    law.tell(needs("A"), needs("B"))
    async with kept.engine() as engine:
        await engine.keep(law)
        kept.execute(f"UPDATE incidents SET {cell} WHERE id = 1")
        book = await engine.incidents.restore(law.now)
        again = Told(book=book, now=law.now)
        again.tell(Elapsed(), needs("B"))
        assert 2 in book.open
        assert again.opened == []
    with kept.reader() as reader:
        named: list[int] = []
        reader.on_unreadable = lambda number, why: named.append(number)
        assert [each.id for each in reader.incidents()] == [2]
        assert named == [1]


async def test_a_text_that_is_not_unicode_is_stored(kept: IncidentsUnderTest) -> None:
    """File names bring half characters along: they are replaced, and nothing is lost but them."""
    law = Told()
    law.tell(journal(full("/dat\udcffa")), needs("A\ud800"))
    law.wait(130)
    async with kept.engine() as engine:
        await engine.keep(law)
    assert {(each.cause, each.accounts) for each in stored_incidents(kept)} == {("/dat?a", ()), ("log_in", ("A?",))}


async def test_all_is_stored_anew(kept: IncidentsUnderTest) -> None:
    """When times have moved, or the file was lost, what is open is stored as it is now."""
    law = Told()
    law.tell(*map(down, names(5)), needs("P"))
    law.wait(130)
    async with kept.engine() as engine:
        await engine.incidents.keep_all(law.book)
        await engine.incidents.flush()
        assert dict((await engine.incidents.restore(law.now)).open) == dict(law.book.open)
        await engine.incidents.keep_all(Book())
        moved = {number: evolve(each, since=each.since - 50) for number, each in law.book.open.items()}
        await engine.incidents.keep_all(evolve(law.book, open=moved))
        await engine.incidents.flush()
        assert dict((await engine.incidents.restore(law.now)).open) == moved
