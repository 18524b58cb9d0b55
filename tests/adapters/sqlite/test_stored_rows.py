"""How rows come into the file: many by one statement, names as numbers, and every value as it was."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite import open_database, schema
from adapters.sqlite.names import NameNumbers
from adapters.sqlite.queue import Statement, storable
from adapters.sqlite.reader import JournalReader
from adapters.sqlite.written_database import WrittenDatabase
from states import Snapshot
from states.events import Started
from tests.adapters.sqlite.support import a_journal, decide

ROW = Statement("row", "INSERT INTO found SELECT column1, column2 FROM rows", width=2)
NAMED = Statement("named", "INSERT INTO found SELECT column1, column2 FROM rows", width=2, names=(0,))


class Counting:
    """A connection that counts its statements."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self.real, self.statements = real, 0

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        """Execute a statement."""
        self.statements += 1
        return self.real.execute(sql, *values)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """Yield a database with names, and a table of found rows."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.execute("CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")
        database.execute("CREATE TABLE found (first, second)")
        yield database


@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 600])
def test_rows_are_stored_in_order_by_few_statements(database: sqlite3.Connection, count: int) -> None:
    """One statement stores up to 256 rows, whatever their number, and no row that is not there."""
    counting = Counting(database)
    rows = [(number, f"text {number}") for number in range(count)]
    ROW.execute(counting, rows)  # type: ignore[arg-type]
    assert database.execute("SELECT * FROM found").fetchall() == rows
    assert counting.statements == -(-count // 256)


values = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63) + 1, 2**63 - 1) | st.text()


@given(st.lists(values, max_size=5))
@settings(deadline=None)
def test_values_come_back_bit_for_bit(row: list[object]) -> None:
    """Numbers and texts come back as they were, except half characters, which no file can have."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE found (first, second)")
        rows = [storable((number, value)) for number, value in enumerate(row)]
        ROW.execute(database, rows)
        found = [value for (value,) in database.execute("SELECT second FROM found ORDER BY first")]
    legible = [value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for value in row]
    assert [(type(each), each) for each in found] == [(type(each), each) for each in legible]


def test_a_number_too_long_for_sqlite_is_stored_as_a_real(database: sqlite3.Connection) -> None:
    """It was one when rows were JSON, too."""
    ROW.execute(database, [storable((1, 2**70))])
    assert database.execute("SELECT second FROM found").fetchall() == [(float(2**70),)]


def test_names_are_looked_up_once(database: sqlite3.Connection) -> None:
    """Names that were read cost no statement any more, and a new one gets a number."""
    numbers = NameNumbers(Counting(database))  # type: ignore[arg-type]
    NAMED.execute(database, [("a", 1), ("b", 2), ("a", 3)], numbers)
    asked = numbers._connection.statements  # type: ignore[attr-defined]
    NAMED.execute(database, [("b", 4)] * 100, numbers)
    assert numbers._connection.statements == asked  # type: ignore[attr-defined]
    stored = database.execute("SELECT name, second FROM found JOIN names ON id = first").fetchall()
    assert stored[:3] == [("a", 1), ("b", 2), ("a", 3)]


async def test_names_that_another_program_has_changed_are_read_again(tmp_path: Path) -> None:
    """Whoever gives a name another number between two batches finds each record under its own name."""
    path, made = tmp_path / "engine.db", decide(Snapshot(), Started(), 7.0)
    async with a_journal(path) as journal:
        await journal.write("Account 1", made.record, made.snapshot)
        await journal.flush()
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE names SET name = 'Account 2' WHERE name = 'Account 1'")
            other.execute("INSERT INTO names (name) VALUES ('Account 1')")
        await journal.write("Account 1", made.record, made.snapshot)
        await journal.flush()
    with JournalReader.open(path) as reader:
        assert [entry.account for entry in reader.entries()] == ["Account 2", "Account 1"]


def test_names_of_a_batch_that_failed_are_looked_up_again(tmp_path: Path) -> None:
    """A number that was given in a transaction that was rolled back is not used in the next one."""
    path = tmp_path / "engine.db"
    connection = open_database(path)
    schema.migrate(connection, path)
    file = WrittenDatabase(path=path, connection=connection, busy_timeout=1.0, memory=None, on_rescue=lambda _: None)
    file.begin()
    broken = Statement("broken", "INSERT INTO nowhere SELECT column1 FROM rows", width=1, order=50)
    at = [("Account 1", 7.0, "{}")]
    with pytest.raises(sqlite3.OperationalError):
        file.write([(schema.SNAPSHOT, at), (broken, [(1,)])], lambda: False)
    file.write([(schema.NAME, [("other",)]), (schema.SNAPSHOT, at)], lambda: False)
    query = "SELECT name FROM snapshots JOIN names ON id = account"
    assert connection.execute(query).fetchall() == [("Account 1",)]
    file.close()
