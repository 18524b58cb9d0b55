"""What ``engine.db`` has of usernames: budgets survive a lost file and a new name, and spoilt rows are left out."""

import sqlite3
from contextlib import closing
from pathlib import Path

from adapters.sqlite.renames import Rename
from adapters.sqlite.usernames import StoredName, StoredUsernames, read_usernames
from tests.adapters.sqlite.support import a_journal
from tests.adapters.sqlite.test_lost_file import delete_all, overwrite


async def test_a_budget_survives_a_lost_file(tmp_path: Path) -> None:
    """Of this engine's life, and of an earlier one's: without the times an account would ask too often."""
    path = tmp_path / "engine.db"
    async with a_journal(path) as journal:
        await journal.usernames.put_lookups("Account 1", [1.0, 2.5])
    async with a_journal(path) as journal:
        await journal.usernames.put_lookups("Account 2", [3.0])
        for lose in (overwrite, delete_all):
            lose(path)
            await journal.look()
            found = await journal.usernames.load()
            assert found.lookups == {"Account 1": [1.0, 2.5], "Account 2": [3.0]}


async def test_a_budget_goes_along_with_a_new_name(tmp_path: Path) -> None:
    """Two accounts that swap their names swap their budgets, also if the file is lost after that."""
    async with a_journal(tmp_path / "engine.db") as journal:
        await journal.usernames.put_lookups("Account 1", [1.0])
        await journal.usernames.put_lookups("Account 2", [2.0])
        moved = [Rename(former="Account 1", name="Account 2"), Rename(former="Account 2", name="Account 1")]
        await journal.rename(moved, [], 1.0)
        for _ in range(2):
            assert (await journal.usernames.load()).lookups == {"Account 1": [2.0], "Account 2": [1.0]}
            overwrite(tmp_path / "engine.db")
            await journal.look()


async def test_rows_that_no_engine_wrote_are_left_out(tmp_path: Path) -> None:
    """Whatever is in the columns, what can be read is."""
    path = tmp_path / "engine.db"
    async with a_journal(path) as journal:
        journal.usernames.put(StoredName("good", -100_123, "", 5.0))
        journal.usernames.put(StoredName("gone", 1, "", 5.0))
        journal.usernames.forget("gone")
        for account in ("a", "b", "c", "d"):
            await journal.usernames.put_lookups(account, [1.0])
    with closing(sqlite3.connect(path)) as database, database:
        bad = [
            ("a", "x", "", 1.0),
            ("b", 0, "", 1.0),
            ("c", 1, b"\xff", 1.0),
            ("d", 1, "", float("inf")),
            ("e", 1, "", "x"),
        ]
        database.executemany("INSERT INTO usernames VALUES (?, ?, ?, ?)", bad)
        texts = ['{"x": 1}', "[" * 5000, '[1e999, true, "x", 2.0]']
        names = dict(database.execute("SELECT name, id FROM names WHERE name IN ('a', 'b', 'c')"))
        for name, text in zip("abc", texts, strict=True):
            database.execute("UPDATE username_lookups SET times = ? WHERE account = ?", (text, names[name]))
    found = read_usernames(path)
    assert found.names == [StoredName("good", -100_123, "", 5.0)]
    assert found.lookups == {"a": [], "b": [], "c": [2.0], "d": [1.0]}


def test_a_file_of_an_older_version_has_none(tmp_path: Path) -> None:
    """It is read as it is."""
    path = tmp_path / "engine.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 9")
    assert read_usernames(path) == StoredUsernames()
