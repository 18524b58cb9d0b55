"""When an entity was last seen: kept in memory, and written where it matters without a commit of its own."""

import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from telethon.tl.types import User

from adapters.session import HoldfastSession
from adapters.session.contents import MAX_DATE_LAG
from tests.adapters.session.support import rows, telethons

NOW = 1_800_000_000


def named(number: int, username: str) -> User:
    """Return a user with a username."""
    return User(id=number, access_hash=number * 7, username=username)


def see(session: HoldfastSession, now: int, *users: User) -> None:
    """Have a session see users at a time."""
    with patch("time.time", return_value=now):
        session.process_entities(list(users))


def test_a_close_with_nothing_but_dates_writes_nothing(tmp_path: Path) -> None:
    """A fleet that stops does not make a commit for each account because its own user was seen again."""
    path = tmp_path / "a.session"
    session = HoldfastSession(telethons(path))
    see(session, NOW, named(1, "one"))
    session.close()
    assert rows(path, "select date from entities") == [NOW]
    session.reopen()
    before = path.read_bytes()
    see(session, NOW + 60, named(1, "one"))
    session.close()
    assert path.read_bytes() == before


def test_a_date_is_written_when_that_of_the_file_is_a_day_old(tmp_path: Path) -> None:
    """However often it was seen in between."""
    path = tmp_path / "a.session"
    session = HoldfastSession(telethons(path))
    for seconds in (0, 60, MAX_DATE_LAG - 1, MAX_DATE_LAG):
        see(session, NOW + seconds, named(1, "one"))
        session.flush().wait()
        assert rows(path, "select date from entities") == [NOW if seconds < MAX_DATE_LAG else NOW + MAX_DATE_LAG]
    session.close()


def test_dates_are_written_along_with_other_rows(tmp_path: Path) -> None:
    """They cost nothing then."""
    path = tmp_path / "a.session"
    session = HoldfastSession(telethons(path))
    see(session, NOW, named(1, "one"))
    session.flush().wait()
    see(session, NOW + 60, named(1, "one"), named(2, "two"))
    session.close()
    assert rows(path, "select date from entities") == [NOW + 60, NOW + 60]


def test_a_date_that_decides_whose_a_username_is_is_written_at_the_close(tmp_path: Path) -> None:
    """The next program finds the same user under it: the one that was seen last."""
    path = tmp_path / "a.session"
    session = HoldfastSession(telethons(path))
    see(session, NOW, named(1, "shared"))
    see(session, NOW + 10, named(2, "shared"))
    session.flush().wait()
    see(session, NOW + 20, named(1, "shared"))
    session.close()
    other = HoldfastSession(path)
    assert other.get_entity_rows_by_username("shared") == (1, 7)
    other.close()


def test_a_date_that_is_no_number_is_taken_for_an_old_one(tmp_path: Path) -> None:
    """Another program may have stored anything there."""
    path = telethons(tmp_path / "a.session")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("insert into entities values (1, 7, 'one', null, null, 'yesterday')")
    session = HoldfastSession(path)
    see(session, NOW, named(1, "one"))
    session.close()
    assert rows(path, "select date from entities") == [NOW]
