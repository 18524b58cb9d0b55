"""The numbers of names (accounts, states, events, rules), which rows have in the place of the names.

SQLite would look up six of them for each decision, which costs as much as storing it. A number is never given twice and
never changes, so those that were read are right until another connection writes, which ``data_version`` shows.
"""

import sqlite3
from typing import Final

_VERSION: Final = "PRAGMA data_version"
_NUMBER: Final = "SELECT id FROM names WHERE name = ?"

_ADD: Final = "INSERT INTO names (name) VALUES (?)"


class NameNumbers(dict[str, int]):
    """The numbers that a connection has read, by name. Used in transactions only; a name without a number gets one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection
        self._version: int | None = None

    def begin(self) -> None:
        """Begin a transaction: forget the numbers if another connection has written since they were read."""
        version = self._connection.execute(_VERSION).fetchone()[0]
        if version != self._version:
            self.clear()
            self._version = version

    def __missing__(self, name: str) -> int:
        row = self._connection.execute(_NUMBER, (name,)).fetchone()
        if row is None:
            row = (self._connection.execute(_ADD, (name,)).lastrowid,)
        number: int = row[0]
        self[name] = number
        return number
