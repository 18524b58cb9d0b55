"""The contract of sessions, which Telethon's files and rows of a database keep alike."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession
from telethon.tl.types import InputPeerUser, User

from adapters.postgres import live_rows
from adapters.session import SessionHeld, contents
from adapters.session import file as files
from tests.adapters.session.support import KEY, until, user
from tests.adapters.session.test_oracle import CHANGES, answers, do
from tests.storage.session_stores import FileSessions, RowSessions, SessionsUnderTest, logged_in
from tests.timeouts import TIMEOUT


@pytest.fixture(params=["file", "rows"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionsUnderTest]:
    """A session in each kind of store."""
    if request.param == "file":
        yield FileSessions(tmp_path)
        return
    rows = RowSessions(request.getfixturevalue("store_url"))
    yield rows
    rows.close()


@contextmanager
def bounded(entities: int) -> Iterator[None]:
    """Let so few entities stay in memory."""
    with ExitStack() as patches:
        for module in (contents, files, live_rows):
            patches.enter_context(patch.object(module, "MAX_ENTITIES", entities))
        patches.enter_context(patch.object(contents, "_SLACK", 0))
        yield


async def test_a_key_is_stored_when_save_returns(sessions: SessionsUnderTest) -> None:
    """Others read the key as soon as ``await save()`` is over, with the session still open."""
    session = await asyncio.to_thread(sessions.open)
    session.set_dc(2, "127.0.0.1", 443)
    session.auth_key = AuthKey(KEY)
    await session.save()
    assert sessions.key() == KEY
    await session.close()


async def test_saving_waits_for_nothing_but_a_key(sessions: SessionsUnderTest) -> None:
    """While nothing can be written, entities let ``save`` return at once, and a new key does not."""
    session = logged_in(await asyncio.to_thread(sessions.open))
    with sessions.held():
        session.process_entities([user(1)])
        await asyncio.wait_for(session.save(), TIMEOUT)
        session.auth_key = AuthKey(b"n" * 256)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.save(), 0.2)
    await session.save()
    assert sessions.key() == b"n" * 256
    assert sessions.ids() == [1]
    await session.close()


def test_what_is_remembered_is_stored_by_itself(sessions: SessionsUnderTest) -> None:
    """Entities are stored a moment later, without a ``save``, and nothing is told of it."""
    session = logged_in(sessions.open())
    session.process_entities([user(1), user(2)])
    until(lambda: sessions.ids() == [1, 2])
    assert session.names() == []
    session.close()


def test_closing_stores_what_is_not_written_yet(sessions: SessionsUnderTest) -> None:
    """Even if it would have been gathered for an hour."""
    session = logged_in(sessions.open(gather=3600))
    session.process_entities([user(1)])
    session.close()
    assert sessions.ids() == [1]


def test_what_cannot_be_written_is_told_and_written_later(sessions: SessionsUnderTest) -> None:
    """An observer hears that the session waits, and that it is written; nothing is lost."""
    session = logged_in(sessions.open())
    with sessions.held(), patch.object(live_rows, "OPEN_TIMEOUT", TIMEOUT):
        session.process_entities([user(1)])
        if isinstance(sessions, FileSessions):
            until(lambda: "DatabaseLocked" in session.names())
        assert sessions.ids() == []
    until(lambda: sessions.ids() == [1])
    session.close()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(CHANGES, max_size=8), bound=st.sampled_from([0, 2, 5_000]))
def test_rows_answer_as_telethons_own_session_does(store_url: str, changes: list[tuple[Any, ...]], bound: int) -> None:
    """With little in memory or much, each answer after each change is that of Telethon's, also in the next process."""
    with emptied(store_url) as sessions, bounded(bound):
        mine, oracle = sessions.open(), SQLiteSession(None)
        now = int(time.time())
        for number, change in enumerate(changes):
            with patch("time.time", return_value=now + number):
                do(mine, change)
                do(oracle, change)
                mine.flush().wait()
                assert answers(mine) == answers(oracle)
        mine.close()
        sessions.move()
        again = sessions.open()
        oracle.tmp_auth_key = None  # which is stored only if that is asked for
        assert answers(again) == answers(oracle)
        again.close()
        oracle._conn.close()


@contextmanager
def emptied(url: str) -> Iterator[RowSessions]:
    """Begin with a database without accounts, and end what was opened."""
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("TRUNCATE session_entities, session_states, session_files, sessions, accounts, nodes CASCADE")
    sessions = RowSessions(url)
    try:
        yield sessions
    finally:
        sessions.close()


def test_all_of_it_is_there_in_the_next_process(sessions: SessionsUnderTest) -> None:
    """Whoever opens the session next has the login, the entities, the update states and what was sent."""
    first = logged_in(sessions.open())
    changes = [
        (
            "process_entities",
            [User(id=3, access_hash=-(2**63), username="Alice_One", phone="9996620001", first_name="A")],
        ),
        ("takeout_id", 7),
    ]
    for change in changes:
        do(first, change)
    before = answers(first)
    first.close()
    sessions.move()
    second = sessions.open()
    assert answers(second) == before
    second.close()


HOSTILE = {
    11: "nul\0within",
    12: "half \ud83d of a character",
    13: "long " * 2_000,
    14: "\ue000" + "0000 private",
    15: "'; DROP TABLE sessions; --",
    16: "\x1b[31m\u202e%s {} \\",
    17: "x" * 4_096,
    18: "",
}


def test_hostile_names_are_kept_and_found(sessions: SessionsUnderTest) -> None:
    """Whatever Telegram gives for a name, it neither ends the writer nor is taken for another, in memory or stored."""
    session = logged_in(sessions.open())
    with bounded(0):
        for number, name in HOSTILE.items():
            if number != 12 or isinstance(sessions, RowSessions):  # which SQLite cannot store at all
                session._contents.put_entities([(number, number, name[:200] or None, None, name)], number)
        session.flush().wait()
        session.close()
        sessions.move()
        again = sessions.open()
        for number, name in HOSTILE.items():
            if number in (12, 13):
                continue
            assert again.get_entity_rows_by_name(name) == (number, number), repr(name)[:30]
            if name:
                assert again.get_entity_rows_by_username(name[:200]) == (number, number), repr(name)[:30]
        assert again.get_entity_rows_by_id(13) == (13, 13)
        assert again.get_entity_rows_by_name("long " * 20) is None
        again.close()


def test_numbers_beyond_all_bounds_end_nothing(sessions: SessionsUnderTest) -> None:
    """A row that no store has room for is left out, and those beside it are written."""
    session = logged_in(sessions.open())
    session._contents.put_entities(
        [(1, 1, None, None, "A"), (2**70, 1, None, None, "B"), (3, 2**80, None, None, "C")], 1
    )
    session.process_entities([user(4)])
    session.flush().wait()
    assert sessions.ids() == [1, 4]
    assert session.names() == []
    session.close()
    assert sessions.ids() == [1, 4]


def test_what_was_forgotten_is_found_again(sessions: SessionsUnderTest) -> None:
    """A session that grows keeps few entities in memory, and finds the others by id, username, phone and name."""
    session = logged_in(sessions.open())
    with bounded(10):
        for number in range(1, 61):
            peer = User(
                id=number, access_hash=number * 3, username=f"User_{number}", phone=str(number), first_name="Twin"
            )
            session.process_entities([peer])
            if number % 20 == 0:
                session.flush().wait()
        assert session.entities_in_memory <= 10
        for number in (1, 30, 60):
            assert session.get_entity_rows_by_username(f"user_{number}") == (number, number * 3)
            assert session.get_entity_rows_by_phone(str(number)) == (number, number * 3)
            assert session.get_entity_rows_by_id(number) == (number, number * 3)
            assert session.get_input_entity(number) == InputPeerUser(number, number * 3)
        assert session.get_entity_rows_by_name("Twin") == (1, 3)
        assert session.get_entity_rows_by_username("nobody") is None
        session.close()


def test_a_name_that_its_bearer_gives_up_is_somebody_else_s(sessions: SessionsUnderTest) -> None:
    """What the store still says of an entity that has changed since is passed over for the next one."""
    session = logged_in(sessions.open(gather=3600))
    with bounded(0):
        session.process_entities([User(id=number, access_hash=number, first_name="Twin") for number in (40, 60)])
        session.flush().wait()
        assert session.get_entity_rows_by_name("Twin") == (40, 40)
        session.process_entities([User(id=40, access_hash=40, first_name="Alone")])
        assert session.get_entity_rows_by_name("Twin") == (60, 60)
        session.close()


def test_of_many_with_one_username_the_last_seen_counts(sessions: SessionsUnderTest) -> None:
    """Even if the store has more of them than are read."""
    session = logged_in(sessions.open(gather=3600))
    with bounded(0):
        for number in range(1, 111):
            session._contents.put_entities([(number, number, "shared", None, None)], number)
        session.flush().wait()
        assert session.entities_in_memory == 0
        assert session.get_entity_rows_by_username("shared") == (110, 110)
        session.close()


def test_two_processes_have_it_one_after_the_other(sessions: SessionsUnderTest) -> None:
    """While one has it open another one cannot, and may once it is closed and the account is the other's."""
    first = logged_in(sessions.open())
    if isinstance(sessions, RowSessions):
        stale, sessions.ownership = sessions.ownership, live_rows.Ownership(sessions.ownership.life + 1, 1)
        with pytest.raises(SessionHeld, match=r"node node 1 of A on host owns the account.*neither used nor written"):
            sessions.open()
        sessions.ownership = stale
    else:
        with pytest.raises(SessionHeld, match="in this very program already"):
            sessions.open()
    first.close()
    sessions.move()
    sessions.open().close()


def test_no_repr_shows_the_key(sessions: SessionsUnderTest) -> None:
    """Nor does that of what it is made of."""
    session = logged_in(sessions.open(), b"SECRETKEY" * 28 + b"last")
    shown = repr(session) + repr(session._live) + repr(session._contents) + repr(session._contents.identity)
    assert "SECRETKEY" not in shown
    session.close()
