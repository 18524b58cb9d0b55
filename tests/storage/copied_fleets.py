"""Fleets for tests of copies: rows of every table with whatever a column can have, and all that a file holds."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from adapters.sqlite.connect import open_database
from adapters.sqlite.schema import TABLES as SQLITE_TABLES
from adapters.sqlite.schema import migrate
from adapters.storage_copy.tables import TABLES, CopiedColumn, CopiedTable
from states import State

HEAD: Final = "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\n"
TEXTS: Final = (
    "", "A", "\\N", "\\.", "a\tb\nc\rd", "'\"\\", "\ue000", "\ue0000041", "😀 ünïcode", '{"a": "\\u0000", "b": NaN}',
    "\x01\x7f\x85", "%s %%", "x" * 3000,
)  # fmt: skip
SHORT: Final = tuple(text for text in TEXTS if len(text) < 1000)
"""Those that an index has room for."""
NUMBERS: Final = (0, 1, -1, 7, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))
REALS: Final = (0.0, 1.0, -2.5, 0.1, 1e-300, 1.7e9, 1e300, float("inf"), float("-inf"))
NAMES: Final = ("A", "Account 1", "b😀", "back\\slash", *(state.value for state in State))
BODIES: Final = ('{"payload":{},"effects":[]}', '{"payload":{"detail":"\\u0000"},"effects":["x"]}')
POLICIES: Final = ('{"one": 1}', '{"two": "ü"}')


def config(path: Path, *accounts: str, database: str | None = None, more: str = "") -> Path:
    """Write a config of these accounts, whose files are beside it."""
    storage = f"  database: '{database}'\n" if database else ""
    lines = "".join(f"- {{name: '{name}', session: '{name}'}}\n" for name in accounts or ("A",))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEAD}storage:\n  directory: data\n{storage}{more}accounts:\n{lines}", encoding="utf-8")
    return path


class RandomFleet:
    """Rows of every table, drawn by a seed."""

    def __init__(self, seed: int, *, rows: int = 8, first: int = 1) -> None:
        self._random = random.Random(seed)
        self._rows = rows
        self._first = first

    def fill(self, path: Path) -> None:
        """Make a new ``engine.db`` with these rows."""
        with closing(open_database(path)) as file:
            migrate(file, path)
            file.execute("BEGIN")
            file.executemany("INSERT INTO names (name) VALUES (?)", [(name,) for name in dict.fromkeys(NAMES)])
            file.executemany("INSERT INTO policies (policy) VALUES (?)", [(text,) for text in POLICIES])
            for table in TABLES:
                if table.name != "policies":
                    names = ", ".join(column.name for column in table.columns)
                    for row in self._rows_of(table):
                        marks = ", ".join("?" * len(row))
                        file.execute(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", row)
            file.execute("DELETE FROM incident_members WHERE incident NOT IN (SELECT id FROM incidents)")  # as always
            file.execute("UPDATE sqlite_sequence SET seq = seq + 5")  # the last rows have been deleted
            file.execute("COMMIT")

    def _rows_of(self, table: CopiedTable) -> Iterator[tuple[Any, ...]]:
        seen = set()
        for number in range(self._random.randint(0, self._rows)):
            row = tuple(self._value(table, column, number) for column in table.columns)
            if row[: table.key] not in seen:
                seen.add(row[: table.key])
                yield row

    def _value(self, table: CopiedTable, column: CopiedColumn, number: int) -> Any:
        draw = self._random
        if column.optional and draw.random() < 0.3:
            return None
        given = {
            ("journal", "seq"): self._first + number,
            ("journal", "body"): draw.choice(BODIES),
            ("journal", "at"): 1.7e9 + 4000 * number,
            ("jobs", "id"): number * 3 + 1,
            ("jobs", "state"): draw.choice(["queued", "running", "done", "failed", "cancelled"]),
            ("incidents", "id"): number + 999_998,
            ("incident_members", "incident"): number // 2 + 999_998,
            ("snapshots", "seq"): self._first - 1,
            ("lives", "pruned_to"): draw.choice([0, self._first - 1]),
            ("lives", "policy"): draw.choice([1, 2]),
        }
        if (table.name, column.name) in given:
            return given[table.name, column.name]
        if column.kind == "name" or (table.name, column.kind) == ("username_lookups", "account"):
            return draw.randint(1, len(NAMES))
        if column.kind == "account":
            return draw.choice(NAMES)
        choices: dict[str, Any] = {"int": NUMBERS, "real": REALS, "bool": (0, 1), "blob": (b"", b"\0\xff" * 9)}
        keyed = column in table.columns[: table.key] or column.name in {"kind", "account"}
        return draw.choice(choices.get(column.kind) or (SHORT if keyed else TEXTS))


def contents(path: Path) -> dict[str, list[Any]]:
    """Return all rows of a file that a copy has to carry, as another program reads them."""
    left_out = {"present", "file_moves"}
    with closing(sqlite3.connect(path)) as file:
        file.text_factory = bytes
        found = {
            name: sorted(file.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for name in sorted(SQLITE_TABLES - left_out)
        }
        found["sqlite_sequence"] = sorted(file.execute("SELECT * FROM sqlite_sequence"), key=repr)
        file.execute("PRAGMA integrity_check").fetchone()
    return found
