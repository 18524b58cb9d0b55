"""Sessions as rows: one owner, whose epoch counts; groups; a store that is away."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from telethon.crypto import AuthKey
from telethon.tl.types import InputPeerUser

from adapters.postgres.address import StoreAddress
from adapters.postgres.live_rows import LiveRows, Ownership
from adapters.postgres.sessions import PATIENT, SessionRows
from adapters.postgres.store_thread import StoreThread
from adapters.session import SessionHeld, failures
from adapters.session import holdfast_session as sessions_module
from adapters.session.contents import Contents, key_fingerprint
from adapters.session.errors import SessionError, SessionNotSaved, SessionReplaced, SessionTaken
from adapters.sqlite.errors import DatabaseUnusable
from states.events import DatabaseLocked, DatabaseUnavailable, Failure
from tests.adapters.session.support import KEY, RecordingSession, until, user
from tests.postgres.relay import Relay, relay
from tests.postgres.server import SUPERUSER, PostgresServer
from tests.storage.session_stores import RowSessions, logged_in
from tests.storage.test_sessions import bounded
from tests.timeouts import TIMEOUT


@pytest.fixture
def account(store_url: str) -> Iterator[RowSessions]:
    """An account of a database, owned by a node."""
    rows = RowSessions(store_url)
    yield rows
    rows.close()


@pytest.fixture
async def wire(postgres: PostgresServer) -> AsyncIterator[Relay]:
    """A wire to the server that a test can cut."""
    async with relay(postgres.socket) as it:
        yield it


def through(wire: Relay, url: str) -> str:
    """Return the address that goes through a relay."""
    return f"postgresql://{SUPERUSER}@{wire.address}/{url.partition('?')[0].rpartition('/')[2]}"


# --- one owner -------------------------------------------------------------------------------------------------------


def test_a_late_write_of_a_former_owner_is_refused(account: RowSessions) -> None:
    """Nothing of it is stored over what the new owner has written, and all that waits for it is told."""
    old = logged_in(account.open(gather=3600))
    old._contents.put_state(0, (1, 1, 1.0, 1))
    account.move()
    new = account.open()
    new._contents.put_state(0, (9, 9, 9.0, 9))
    new.flush().wait()
    old.auth_key = AuthKey(b"o" * 256)
    with pytest.raises(SessionHeld, match=r"this node does not own the account.*neither used nor written here"):
        old.save().wait()
    assert account.key() == KEY
    assert account.execute("SELECT pts FROM session_states") == [(9,)]
    assert "DatabaseUnavailable" in old.names()
    with pytest.raises(SessionHeld, match="does not own"):
        old.process_entities([user(1)])
    with pytest.raises(SessionHeld):
        old.reopen()
    new.close()
    assert account.ids() == []


def test_a_dead_life_writes_nothing_even_if_nobody_else_owns_its_account(account: RowSessions) -> None:
    """The fence is asked in each transaction, and not only the account's owner."""
    session = logged_in(account.open())
    account.execute("UPDATE nodes SET state = 'dead'")
    session.process_entities([user(1)])
    with pytest.raises(SessionHeld):
        session.flush().wait()
    assert account.ids() == []


def test_a_draining_life_still_writes(account: RowSessions) -> None:
    """A node that gives its accounts away writes what it has before."""
    session = logged_in(account.open())
    account.execute("UPDATE nodes SET state = 'draining'")
    session.process_entities([user(1)])
    session.close()
    assert account.ids() == [1]


def test_the_owner_cannot_change_within_a_write(account: RowSessions) -> None:
    """A release, and so a claim, waits for a commit that is under way: what comes after it sees all of it."""
    session = logged_in(account.open())
    with psycopg.connect(account.url) as other:
        other.execute("LOCK TABLE session_entities IN SHARE MODE")
        session.process_entities([user(1)])
        released = threading.Event()

        def release() -> None:
            account.execute("UPDATE accounts SET owner = NULL")
            released.set()

        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
        until(lambda: account.execute(waits, "%INTO session_entities%") == [(1,)])
        thread = threading.Thread(target=release)
        thread.start()
        until(lambda: released.is_set() or account.execute(waits, "UPDATE accounts%") == [(1,)])
        assert not released.is_set()
        other.rollback()
        thread.join(TIMEOUT)
    until(lambda: account.ids() == [1])


def test_who_does_not_own_an_account_reads_nothing_of_it(account: RowSessions) -> None:
    """The epoch of an earlier claim of the same life is as little as another life."""
    logged_in(account.open()).close()
    life, epoch = account.ownership.life, account.ownership.epoch
    for wrong in (Ownership(life, epoch - 1), Ownership(life, epoch + 1), Ownership(life + 1, epoch)):
        account.ownership = wrong
        with pytest.raises(SessionHeld):
            account.open()


def test_a_session_that_was_taken_away_is_not_used(account: RowSessions) -> None:
    """Neither opened, nor written by who has it open."""
    session = logged_in(account.open())
    account.execute("UPDATE sessions SET taken_to = '/home/u/a.session'")
    with pytest.raises(SessionTaken, match=r"taken away to /home/u/a\.session.*session bring"):
        account.open()
    session.process_entities([user(1)])
    with pytest.raises(SessionTaken, match="taken away"):
        session.flush().wait()


def test_an_account_without_a_session_is_one_that_is_not_there(account: RowSessions) -> None:
    """As a missing file is, so that it counts as not logged in."""
    with pytest.raises(FileNotFoundError, match="no session in the database"):
        RecordingSession(store=account.store().place(account.name, account.ownership).make, create=False)


def test_another_login_is_taken_over_only_on_purpose(account: RowSessions) -> None:
    """A session whose account was given another login writes nothing over it, and reads it where that is wanted."""
    session = logged_in(account.open())
    account.execute("UPDATE sessions SET key = %s, login = %s", b"n" * 256, key_fingerprint(b"n" * 256))
    session.process_entities([user(1)])
    with pytest.raises(SessionReplaced, match="given another login, so nothing is written"):
        session.flush().wait()
    assert account.ids() == []
    with pytest.raises(SessionReplaced):
        session.reopen()
    session.reopen(adopt=True)
    assert session.auth_key.key == b"n" * 256
    session.close()
    assert account.ids() == []
    assert account.key() == b"n" * 256


# --- groups ----------------------------------------------------------------------------------------------------------


def test_many_sessions_are_written_in_one_transaction(store_url: str) -> None:
    """What fifty accounts remember within a moment costs one commit."""
    accounts = [RowSessions(store_url, f"account {number}") for number in range(50)]
    rows = accounts[0].store(gather=3600)
    sessions = [logged_in(each.session(rows), bytes([number]) * 256) for number, each in enumerate(accounts)]
    for number, session in enumerate(sessions):
        session.process_entities([user(number + 1)])
    sessions[0].flush().wait()
    until(lambda: accounts[0].execute("SELECT count(*) FROM session_entities") == [(50,)])
    assert accounts[0].execute("SELECT count(DISTINCT xmin::text) FROM session_entities") == [(1,)]
    rows.close(TIMEOUT)


def test_one_that_is_refused_holds_up_no_other_of_its_group(store_url: str) -> None:
    """Of two accounts with one login the second is refused, in a sentence, and the third is written beside it."""
    first, second, third = (RowSessions(store_url, name) for name in "ABC")
    rows = first.store(gather=3600)
    logged_in(first.session(rows))
    double, beside = second.session(rows), third.session(rows)
    beside.set_dc(2, "127.0.0.1", 443)
    beside.auth_key = AuthKey(b"b" * 256)
    double.set_dc(2, "127.0.0.1", 443)
    double.auth_key = AuthKey(KEY)
    beside.save().wait()
    with pytest.raises(SessionError, match=r"\(B\): another account of the database has the same login"):
        double.save().wait()
    with pytest.raises(SessionNotSaved, match="its new login is not saved"):
        double.save().wait()
    assert third.key() == b"b" * 256
    assert second.execute("SELECT count(*) FROM sessions") == [(2,)]
    rows.close(TIMEOUT)


def test_an_error_of_the_server_shows_no_key(account: RowSessions, caplog: Any, capsys: Any) -> None:
    """What PostgreSQL says of a row that it does not take may quote it; neither log nor event does."""
    session = account.open()
    account.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no row %%', encode(NEW.key, 'escape'); END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION refuse()"""
    )
    session.set_dc(2, "127.0.0.1", 443)
    session.auth_key = AuthKey(b"SECRET__" * 32)
    until(lambda: "DatabaseUnavailable" in session.names())
    account.execute("DROP TRIGGER refuse ON sessions")
    session.save().wait()
    told = "".join([repr(session.told), caplog.text, *capsys.readouterr()])
    assert "RaiseException" in told
    assert "SECRET__" not in told
    session.close()


# --- a store that is away --------------------------------------------------------------------------------------------


async def test_what_could_not_be_written_is_written_when_the_store_is_back(account: RowSessions, wire: Relay) -> None:
    """In a black hole a write fails at its deadline and is told; afterwards the store has everything, once."""
    rows = account.store(through(wire, account.url), query=0.3)
    session = await asyncio.to_thread(account.session, rows)
    await asyncio.to_thread(logged_in, session)
    wire.swallow()
    session.process_entities([user(1)])
    await asyncio.to_thread(until, lambda: "DatabaseUnavailable" in session.names())
    assert account.ids() == []
    wire.restore()
    await asyncio.to_thread(until, lambda: account.ids() == [1] and "DatabaseRecovered" in session.names())
    await session.close()


@pytest.mark.parametrize("failure", [DatabaseLocked(), DatabaseUnavailable()])
def test_no_session_tells_of_a_store_that_is_away_for_a_moment(failure: Failure, monkeypatch: Any) -> None:
    """The lease and the journal do, once for all accounts; what lasts longer than a failover each session tells."""
    now, told = [0.0], list[Any]()
    monkeypatch.setattr(failures.time, "monotonic", lambda: now[0])
    reports = failures.FailureReports(told.append, PATIENT)
    for now[0] in range(19):
        reports.add(failure, unsaved=1, in_haste=False)
    reports.clear(1)
    assert told == []
    for now[0] in range(30, 52):
        reports.add(failure, unsaved=1, in_haste=False)
    reports.clear(1)
    assert [type(each).__name__ for each in told] == [type(failure).__name__, "DatabaseRecovered"]


async def test_a_peer_that_cannot_be_looked_up_is_no_unknown_one(
    account: RowSessions, wire: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a loop the question ends within a moment and raises, so that Telethon does not ask the network."""
    monkeypatch.setattr(sessions_module, "LOOP_READ_TIMEOUT", 0.1)
    rows = account.store(through(wire, account.url))
    with bounded(1):
        session = await asyncio.to_thread(account.session, rows)
        await asyncio.to_thread(logged_in, session)
        session.process_entities([user(1), user(2)])
        await session.flush()
        wire.swallow()
        with pytest.raises(DatabaseUnusable, match="does not answer in time"):
            session.get_input_entity(1)
        with (
            patch.object(StoreThread, "call", side_effect=AssertionError("the loop waits once more")),
            pytest.raises(DatabaseUnusable, match="has not answered a moment ago"),
        ):
            session.get_input_entity(1)
        wire.restore()
        await session.recall(1)
        assert session.get_input_entity(1) == InputPeerUser(1, 7)
        await session.close()


async def test_the_end_is_bounded_and_says_what_is_not_written(account: RowSessions, wire: Relay) -> None:
    """With the store away, closing returns how many sessions wait, and whoever awaits one is told."""
    rows = account.store(through(wire, account.url), query=0.2)
    session = await asyncio.to_thread(account.session, rows)
    await asyncio.to_thread(logged_in, session)
    wire.swallow()
    session.process_entities([user(1)])
    waiting = session.flush()
    assert await asyncio.to_thread(rows.close, 0.3) == 1
    with pytest.raises(SessionError, match="could not be written in time"):
        await waiting


def test_the_end_of_a_process_writes_what_was_not_closed(account: RowSessions) -> None:
    """What waits to be gathered is written when the store is closed."""
    rows = account.store(gather=3600)
    session = logged_in(account.session(rows))
    session.process_entities([user(1)])
    began = time.monotonic()
    assert rows.close(TIMEOUT) == 0
    assert time.monotonic() - began < TIMEOUT
    assert account.ids() == [1]


# --- the end ---------------------------------------------------------------------------------------------------------


def test_the_end_tells_all_that_wait_for_a_session_of_a_batch_that_was_refused() -> None:
    """Each of the batch is written by itself then, and the end comes before the second one's turn."""
    rows = SessionRows(StoreAddress.parse("postgresql://127.0.0.1:1/none"))
    waiting = []

    async def commit(self: SessionRows, batch: list[Any]) -> dict[Any, Any]:
        if len(batch) > 1:
            raise psycopg.IntegrityError("one of them")
        await asyncio.sleep(3600)
        return {}

    with patch.object(SessionRows, "_commit", commit):
        for number in (1, 2, 3):
            live = LiveRows(rows, f"A{number}", Ownership(1, 1), lambda failure: None)
            live._take_over(number, Contents(), adopt=False)
            live.contents.put_state(0, (1, 1, 1.0, 1))
            waiting.append(live.flush())
        assert rows.close(0.3) == 3
    assert [type(each.exception(timeout=0)) for each in waiting] == [SessionNotSaved] * 3


def test_a_thread_that_cannot_begin_is_an_error_and_no_wait_for_ever() -> None:
    """Its loop needs descriptors, of which none may be left."""
    with (
        patch.object(asyncio, "new_event_loop", side_effect=OSError(24, "Too many open files")),
        patch.object(asyncio.events, "new_event_loop", side_effect=OSError(24, "Too many open files")),
        pytest.raises(DatabaseUnusable, match="Too many open files"),
    ):
        SessionRows(StoreAddress.parse("postgresql://127.0.0.1:1/none"))
