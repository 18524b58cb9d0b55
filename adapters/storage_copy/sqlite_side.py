"""``engine.db`` as one side of a copy."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from attrs import define, field

from adapters.session.file import sync_directory
from adapters.sqlite.connect import create_privately, open_read_only
from adapters.sqlite.copy import sync_file
from adapters.sqlite.errors import JournalMissing, translating_errors
from adapters.sqlite.schema import VERSION, migrate, schema_version
from adapters.storage_copy.errors import CopyRefused
from adapters.storage_copy.rows import plain_real
from adapters.storage_copy.tables import (
    INCIDENTS,
    JOBS,
    LIVES,
    MEMBERS,
    POLICIES,
    CopiedColumn,
    CopiedTable,
    Row,
)

UNFINISHED: Final = ".copying"
"""What the name of a file ends in that is not complete yet."""
_NUMBERED: Final = (JOBS.name, INCIDENTS.name)
"""Tables whose greatest number is remembered although its row is gone."""


@define(eq=False)
class SqliteSide:
    """One ``engine.db``: opened to be read, or a new one that is filled under another name."""

    path: Path
    """Its name for people, and in the end."""
    _connection: sqlite3.Connection
    _file: Path
    _names: dict[int, str] = field(factory=dict, init=False)
    _ids: dict[str, int] = field(factory=dict, init=False)
    _policies: dict[str, int] = field(factory=dict, init=False)

    @classmethod
    @contextmanager
    def reading(cls, path: Path) -> Iterator[Self]:
        """Open a file, all of whose rows are then read as of one moment. Its engine must not run.

        Raises ``JournalMissing``, ``CopyRefused`` for another schema, and ``DatabaseUnusable``.
        """
        if not path.exists():
            raise JournalMissing(f"{path}: there is no journal to copy; check storage.directory in the config")
        with translating_errors(path), closing(open_read_only(path)) as connection:
            if (version := schema_version(connection, path)) != VERSION:
                raise CopyRefused(f"{path}: the database has schema {version}, and {VERSION} is copied")
            connection.text_factory = _decode
            connection.execute("BEGIN")
            side = cls(path, connection, path)
            side._names = dict(connection.execute("SELECT id, name FROM names"))
            yield side

    @classmethod
    @contextmanager
    def filling(cls, path: Path) -> Iterator[Self]:
        """Begin a new file, which gets its name by ``finish``; one that was not finished is begun anew."""
        unfinished = path.with_name(path.name + UNFINISHED)
        _remove(unfinished)
        create_privately(unfinished)
        try:
            with translating_errors(path), closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = OFF")  # made durable at once, when all is there
                connection.execute("PRAGMA synchronous = OFF")
                migrate(connection, unfinished)
                connection.text_factory = _decode
                connection.execute("BEGIN")
                yield cls(path, connection, unfinished)
        finally:
            _remove(unfinished)

    def finish(self) -> None:
        """Make what was filled durable, and give it its name."""
        self._connection.execute("COMMIT")
        self._connection.close()
        sync_file(self._file)
        if os.path.lexists(self.path):
            raise CopyRefused(f"{self.path}: another program has just made this file, and it is not overwritten")
        self._file.rename(self.path)
        sync_directory(self.path.parent)

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, table: CopiedTable) -> Iterator[Row]:
        """Yield the rows of a table."""
        columns = ", ".join(_life(each) if table is LIVES else each.name for each in table.columns)
        where = " WHERE incident IN (SELECT id FROM incidents)" if table is MEMBERS else ""
        order = f" ORDER BY {table.order}" if table.order else ""
        rows = self._connection.execute(f"SELECT {columns} FROM {table.name}{where}{order}")
        makers = [(place, made) for place, each in enumerate(table.columns) if (made := self._maker(table, each))]
        if not makers:
            yield from rows
            return
        for row in rows:
            cells = list(row)
            for place, made in makers:
                cells[place] = made(cells[place])
            yield tuple(cells)

    def _maker(self, table: CopiedTable, column: CopiedColumn) -> Callable[[Any], Any] | None:
        """Return what makes the value of a column from what is stored; None where they are the same."""
        if column.kind == "real":
            return plain_real
        if column.kind == "bool":
            return _boolean
        return self._names.get if _is_number(table, column) else None

    def names(self) -> list[str]:
        """Return all names, in the order of their numbers."""
        return list(self._names.values())

    def accounts(self) -> list[str]:
        """Return the accounts that are named where PostgreSQL has them by number."""
        query = """SELECT account FROM remote_updates UNION SELECT account FROM remote_cursors
            UNION SELECT (SELECT name FROM names WHERE id = account) FROM username_lookups"""
        return [name for (name,) in self._connection.execute(query) if name is not None]

    def greatest(self) -> dict[str, int]:
        """Return the greatest number that each of these tables has given: of ``jobs`` and ``incidents``."""
        found = {}
        for name in _NUMBERED:
            query = f"""SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{name}'), 0),
                coalesce((SELECT max(id) FROM {name}), 0))"""
            found[name] = int(self._connection.execute(query).fetchone()[0])
        return found

    # --- writing -----------------------------------------------------------------------------------------------------

    def add_names(self, names: Iterable[str]) -> None:
        """Have these names in the file."""
        self._connection.executemany("INSERT OR IGNORE INTO names (name) VALUES (?)", ((name,) for name in names))
        self._names = dict(self._connection.execute("SELECT id, name FROM names"))
        self._ids = {name: number for number, name in self._names.items()}

    def write(self, table: CopiedTable, rows: Iterable[Row]) -> None:
        """Add rows to a table."""
        names = ", ".join(column.name for column in table.columns)
        marks = ", ".join("?" * len(table.columns))
        places = [place for place, column in enumerate(table.columns) if _is_number(table, column)]
        policy = table.columns.index(next(c for c in table.columns if c.name == "policy")) if table is LIVES else None
        self._connection.executemany(
            f"INSERT INTO {table.name} ({names}) VALUES ({marks})", self._stored(rows, places, policy)
        )
        if table is POLICIES:
            self._policies = dict(self._connection.execute("SELECT policy, id FROM policies"))

    def _stored(self, rows: Iterable[Row], places: list[int], policy: int | None) -> Iterator[Row]:
        ids = self._ids
        for row in rows:
            if not places and policy is None:
                yield row
                continue
            cells = list(row)
            for place in places:
                cells[place] = ids[cells[place]]
            if policy is not None:
                cells[policy] = self._policies[cells[policy]]
            yield tuple(cells)

    def set_greatest(self, numbers: dict[str, int]) -> None:
        """Let the tables go on counting after these numbers."""
        for name, number in numbers.items():
            self._connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
            if number:
                self._connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, number))


def _is_number(table: CopiedTable, column: CopiedColumn) -> bool:
    """Return whether the file has a number of ``names`` in a column."""
    return column.kind == "name" or (column.kind == "account" and table.name == "username_lookups")


def _boolean(value: Any) -> Any:
    return bool(value) if value in (0, 1) else value


def _life(column: CopiedColumn) -> str:
    return "(SELECT policy FROM policies WHERE id = lives.policy)" if column.name == "policy" else column.name


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _remove(unfinished: Path) -> None:
    for end in ("", "-journal", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            unfinished.with_name(unfinished.name + end).unlink()
