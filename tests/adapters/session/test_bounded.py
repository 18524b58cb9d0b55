"""Memory has the entities of a large file that were used last, and whatever is asked, the answer is the file's."""

import asyncio
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from telethon.sessions import SQLiteSession
from telethon.tl.types import InputPeerUser, User

from adapters.session import HoldfastSession, SessionDamaged, contents, holdfast_session
from adapters.session import file as files
from adapters.session.contents import ID, USERNAME
from adapters.session.errors import SessionReplaced
from adapters.sqlite.errors import DatabaseUnusable
from tests.adapters.session.support import KEY, QUICK, RecordingSession, telethons, user
from tests.adapters.session.test_oracle import CHANGES, answers, do
from tests.timeouts import TIMEOUT

BOUND = 10


@contextmanager
def bounded(entities: int, slack: int = 0) -> Iterator[None]:
    """Let so few entities stay in memory."""
    with (
        patch.object(contents, "MAX_ENTITIES", entities),
        patch.object(files, "MAX_ENTITIES", entities),
        patch.object(contents, "_SLACK", slack),
    ):
        yield


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    """A file with more entities than stay in memory."""
    with bounded(BOUND, 2):
        yield telethons(tmp_path / "large.session", entities=100)


def opened(path: Path, gather: float = QUICK.gather) -> RecordingSession:
    """Open a file."""
    return RecordingSession(path, timeouts=evolve(QUICK, gather=gather))


def known(session: HoldfastSession) -> int:
    """Return how many entities are in memory."""
    return len(session._contents.entities)


def wait_written(session: HoldfastSession) -> None:
    """Wait until the file has everything."""
    session.flush().wait()


@settings(max_examples=25)
@given(changes=st.lists(CHANGES, max_size=8), bound=st.integers(0, 3))
def test_it_answers_as_telethons_own_does_however_little_is_in_memory(
    changes: list[tuple[Any, ...]], bound: int
) -> None:
    """With hardly an entity in memory, each answer after each change is that of Telethon's session; so is the file."""
    with tempfile.TemporaryDirectory() as place, bounded(bound):
        ours, theirs = str(Path(place, "ours")), str(Path(place, "theirs"))
        mine, oracle = HoldfastSession(ours), SQLiteSession(theirs)
        now = int(time.time())
        for number, change in enumerate(changes):
            with patch("time.time", return_value=now + number):
                do(mine, change)
                do(oracle, change)
                wait_written(mine)
                assert answers(mine) == answers(oracle)
                wait_written(mine)
                assert known(mine) <= bound
        mine.close()
        oracle.close()
        with closing(SQLiteSession(ours)) as crossed, closing(SQLiteSession(theirs)) as kept:
            assert answers(crossed) == answers(kept)


def test_opening_a_large_file_reads_the_account_alone(large: Path) -> None:
    """Of a hundred entities none is read but the account's own, and each is found all the same."""
    with closing(sqlite3.connect(large, isolation_level=None)) as database:
        database.execute("insert into entities (id, hash) values (0, 7)")
    session = opened(large)
    assert set(session._contents.entities) == {0, 7}
    for number in range(1, 101):
        assert session.get_input_entity(number) == InputPeerUser(number, number * 7)
    assert known(session) <= BOUND + 2
    assert {0, 7} <= set(session._contents.entities), "the account's own are asked for at each connect"
    session.close()


def test_a_small_file_is_read_whole_and_asked_nothing(tmp_path: Path) -> None:
    """What is not in memory of a file whose entities all are is not looked for there."""
    session = opened(telethons(tmp_path / "small.session", entities=3))
    with patch.object(type(session._live), "reading", side_effect=AssertionError("the file was read")):
        assert session.get_entity_rows_by_id(2) == (2, 14)
        assert session.get_entity_rows_by_username("nobody") is None
    session.close()


def test_what_was_written_is_forgotten_and_found_again(tmp_path: Path) -> None:
    """A file that grows keeps the last entities in memory, and finds the others by id and by username."""
    session = opened(telethons(tmp_path / "grows.session"))
    with bounded(BOUND, 2):
        for number in range(1, 101):
            session.process_entities([User(id=number, access_hash=number * 3, username=f"User_{number}")])
            if number % 20 == 0:
                wait_written(session)
        assert known(session) <= BOUND + 2
        for number in (*range(1, 101), *range(1, 101)):  # also what was found, and forgotten since
            assert session.get_entity_rows_by_username(f"user_{number}") == (number, number * 3)
            assert session.get_entity_rows_by_id(number) == (number, number * 3)
        assert known(session) <= BOUND + 2
        session.close()


def test_a_row_that_is_not_written_yet_stays(large: Path) -> None:
    """While another program holds the file, memory has more than its bound; afterwards the file has every row."""
    session = opened(large, gather=600)
    with closing(sqlite3.connect(large, isolation_level=None)) as other:
        other.execute("begin immediate")
        session.process_entities([user(number) for number in range(200, 240)])
        session._contents.shrink()
        assert known(session) >= 40
        assert session.get_entity_rows_by_id(205) == (205, 205 * 7)
        other.execute("rollback")
    wait_written(session)
    assert known(session) <= BOUND + 2
    session.close()
    with closing(sqlite3.connect(large)) as database:
        assert database.execute("select count(*) from entities where id >= 200").fetchone() == (40,)


def test_the_date_of_an_entity_is_written_before_it_is_forgotten(tmp_path: Path) -> None:
    """Of two with one username the one that was seen last is found, although its date alone had changed."""
    session = opened(telethons(tmp_path / "dates.session"))
    now = int(time.time())
    first, second = (User(id=number, access_hash=number, username="shared") for number in (1, 2))
    with bounded(0):
        for moment, peer in enumerate((first, second, first)):
            with patch("time.time", return_value=now + moment):
                session.process_entities([peer])
            if moment < 2:
                session._live.flush().result(TIMEOUT)  # type: ignore[union-attr]
        session._contents.shrink()
        wait_written(session)
        assert known(session) == 0
        assert session.get_entity_rows_by_username("shared") == (1, 1)
        session.close()


def test_a_locked_file_is_not_taken_for_one_without_the_peer(large: Path) -> None:
    """A lookup that cannot read raises, so that Telethon does not ask the network; memory still answers."""
    with closing(sqlite3.connect(large, isolation_level=None)) as other:
        other.execute("pragma journal_mode = delete")
    session = opened(large)
    assert session.get_entity_rows_by_id(5) == (5, 35)
    wait_written(session)
    session._live._disconnect()  # type: ignore[union-attr]  # as after a pause
    with closing(sqlite3.connect(large, isolation_level=None)) as other:
        other.execute("pragma journal_mode = delete")
        other.execute("begin exclusive")
        with patch.object(holdfast_session, "READ_TIMEOUT", 0.1), pytest.raises(DatabaseUnusable, match="locked"):
            session.get_input_entity(50)
        assert session.get_entity_rows_by_id(5) == (5, 35)
        other.execute("rollback")
    assert session.get_entity_rows_by_id(50) == (50, 350)
    session.close()


def test_a_damaged_file_is_set_aside_and_named(large: Path) -> None:
    """Damage that a lookup meets is treated as damage that a write meets: set aside, told, and never "not found"."""
    session = opened(large)
    size = large.stat().st_size
    with large.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(SessionDamaged, match="set aside"):
        session.get_entity_rows_by_name("User 50")
    with pytest.raises(SessionDamaged):
        session.get_entity_rows_by_id(50)
    assert "DatabaseCorrupt" in session.names()
    session._contents.take()  # or the end of the tests would wait for it


def test_another_login_s_hashes_are_not_used(large: Path, tmp_path: Path) -> None:
    """An access hash is of one login: a file that has another one now says nothing about peers."""
    session = opened(large)
    telethons(tmp_path / "other.session", b"o" * 256, entities=100).rename(large)
    with pytest.raises(SessionReplaced):
        session.get_entity_rows_by_id(50)
    session._contents.take()


def test_what_another_program_wrote_is_found(large: Path) -> None:
    """A row that memory does not have is the file's as it is now; that another program wrote is noticed as ever."""
    session = opened(large)
    assert session.is_current()
    assert session.get_entity_rows_by_id(50) == (50, 350)
    assert session.is_current(), "a lookup is no write of another program"
    with closing(sqlite3.connect(large, isolation_level=None)) as other:
        other.execute("update entities set hash = 1 where id = 60")
    assert not session.is_current()
    assert session.get_entity_rows_by_id(60) == (60, 1)
    session.close()


def test_a_closed_session_answers_and_leaves_the_file_alone(large: Path) -> None:
    """The file is read without being owned, and no log stays beside it."""
    session = opened(large)
    session.close()
    assert session.get_entity_rows_by_id(50) == (50, 350)
    assert session._live is not None
    assert not session._live.owned
    assert not large.with_name(f"{large.name}-wal").exists()


def test_a_write_that_takes_long_keeps_nobody_from_reading(large: Path) -> None:
    """While a thread commits, a lookup neither waits for it nor fails."""
    session = opened(large)
    assert session.get_entity_rows_by_id(50) == (50, 350)
    live = session._live
    assert live is not None
    with live._using, patch.object(holdfast_session, "READ_TIMEOUT", 0.0):
        assert session.get_entity_rows_by_id(60) == (60, 420)
    assert session.is_current()
    session.close()


def test_nothing_is_forgotten_while_the_file_is_read(large: Path) -> None:
    """A row that is written and would be forgotten between a read and its use stays for as long as the lookup lasts."""
    session = opened(large)
    held = session._contents
    with held.lookup():
        held.merge(ID, range(1, 31), [(number, 7, None, None, None, 1) for number in range(1, 31)])
        held.shrink()
        assert len(held.entities) >= 30
    held.shrink()
    assert len(held.entities) <= BOUND
    session.close()


def test_a_name_that_nobody_has_is_looked_for_once(large: Path) -> None:
    """That the file has no such username is remembered until one is seen."""
    session = opened(large)
    assert session.get_entity_rows_by_username("nobody") is None
    assert session._contents.lacks(USERNAME, ["nobody"]) == []
    session.process_entities([User(id=7000, access_hash=1, username="nobody")])
    assert session.get_entity_rows_by_username("nobody") == (7000, 1)
    session.close()


def test_a_name_that_its_bearer_gives_up_is_somebody_else_s(large: Path) -> None:
    """The first of two with one name is in memory; once it has another name, the second one is found in the file."""
    with closing(sqlite3.connect(large, isolation_level=None)) as database:
        database.execute("update entities set name = 'Twin' where id in (40, 60)")
    session = opened(large)
    assert session.get_entity_rows_by_name("Twin") == (40, 280)
    session.process_entities([User(id=40, access_hash=280, first_name="Alone")])
    assert session.get_entity_rows_by_name("Twin") == (60, 420)
    session.close()


async def test_recalled_peers_cost_the_loop_no_look_into_the_file(large: Path) -> None:
    """The file is read in another thread, and the questions that follow are answered from memory."""
    session = await asyncio.to_thread(opened, large)
    readers = set[int]()
    real = holdfast_session.recall

    def noted(at: contents.Contents, *rest: Any) -> None:
        if at.lacks(*rest[1:3]):
            readers.add(threading.get_ident())
        real(at, *rest)

    with patch.object(holdfast_session, "recall", noted):
        await session.recall(50, "user 51", "nobody")
        assert readers
        assert threading.get_ident() not in readers
        assert session.get_input_entity(50) == InputPeerUser(50, 350)
        with pytest.raises(ValueError, match="nobody"):
            session.get_input_entity("nobody")
        assert threading.get_ident() not in readers
    await session.close()


def test_a_key_is_in_place(large: Path) -> None:
    """The login of a large file is read as of any other."""
    session = opened(large)
    assert session.auth_key.key == KEY
    session.close()
