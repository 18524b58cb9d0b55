"""A session file of another program may hold any number as the date of its update state."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.session import HoldfastSession
from tests.adapters.session.support import telethons


@pytest.mark.parametrize("date", [-(2**62), -1, 0, 2**31, 253_402_300_800, 2**62])
async def test_any_date_of_an_update_state_is_read(tmp_path: Path, date: int) -> None:
    """It is moved into the range of Telegram's times, and the session opens."""
    path = tmp_path / "account1.session"
    telethons(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("insert or replace into update_state values (0, 7, 0, ?, 1)", (date,))
    session = HoldfastSession(path)
    try:
        state = session.get_update_state(0)
    finally:
        await session.close()
    assert state.pts == 7
    assert 0 <= state.date.timestamp() <= 2**31 - 1
