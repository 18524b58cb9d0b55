"""Statements that store many rows at once, which go to the server as one text of JSON, however many there are.

A statement for each row would be parsed and planned each time. An array for each column takes half as long again: the
client has to write each value by itself.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from attrs import field, frozen

Row = tuple[Any, ...]
"""The cells of a row, each a number, a text or None."""
_encode: Final = msgspec.json.Encoder().encode
_MAX_INTEGER: Final = 2**63 - 1
_PYTHON: Final[dict[str, type]] = {"bigint": int, "float8": float, "boolean": bool, "text": str}


@frozen(eq=False)
class RowStatement:
    """One kind of row and the SQL that stores any number of them.

    ``sql`` finds the rows as ``rows``, whose columns are ``c0``, ``c1`` and so on, of these ``types``; other values
    follow as ``%s`` in the order of ``constants``. Statements with a lower ``order`` run first.

    PostgreSQL refuses or forgets one of two rows with one ``key`` (numbers of columns) in one statement. So those with
    a key that came before go into another statement after it; with ``latest`` only the last of them is stored.
    """

    name: str
    sql: str
    types: tuple[str, ...]
    order: int = 0
    key: tuple[int, ...] = (0,)
    latest: bool = False
    constants: tuple[Any, ...] = ()
    columns: tuple[str, ...] = field(init=False)
    _kinds: tuple[type, ...] = field(init=False)
    text: str = field(init=False)
    """The whole statement."""

    @columns.default
    def _name_columns(self) -> tuple[str, ...]:
        return tuple(f"c{number}" for number in range(len(self.types)))

    @_kinds.default
    def _find_kinds(self) -> tuple[type, ...]:
        return tuple(_PYTHON[each] for each in self.types)

    @text.default
    def _make_text(self) -> str:
        columns = ", ".join(map(" ".join, zip(self.columns, self.types, strict=True)))
        return f"WITH rows AS (SELECT * FROM json_to_recordset(%s::json) AS given ({columns})) {self.sql}"

    def storable(self, row: Sequence[Any]) -> Row:
        """Return a row as PostgreSQL can store it.

        Raises ``TypeError`` or ``ValueError`` for a value that a column cannot have: a bug of who wrote it.
        """
        if len(row) != len(self.types):
            raise ValueError(f"a row of {len(row)} cells for {self.name}, which has {len(self.types)}")
        for value, kind in zip(row, self._kinds, strict=True):
            if value is not None and not (type(value) is kind and _is_plain(value, kind)):
                return tuple([_storable(value, of) for value, of in zip(row, self.types, strict=True)])
        return tuple(row)  # nearly all are like this

    def calls(self, rows: Sequence[Row], constants: Sequence[Any] = ()) -> list[tuple[str, list[Any]]]:
        """Return the statements that store these rows, each with its values."""
        return [
            (self.text, [_encode([dict(zip(self.columns, row, strict=True)) for row in part]).decode(), *constants])
            for part in self._rounds(rows)
        ]

    def _rounds(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Return the rows of each statement, in one order everywhere: else two transactions may wait for each other."""
        if len(rows) == 1:
            return [list(rows)]
        rounds: list[list[Row]] = []
        times: dict[Row, int] = {}
        if self.latest:
            rounds = [list({self._key_of(row): row for row in rows}.values())]
        else:
            for row in rows:
                key = self._key_of(row)
                number = times[key] = times.get(key, -1) + 1
                if number == len(rounds):
                    rounds.append([])
                rounds[number].append(row)
        for each in rounds:
            each.sort(key=self._key_of)
        return rounds

    def _key_of(self, row: Row) -> Row:
        return tuple([row[column] for column in self.key])


def clean(text: str) -> str:
    """Return a text as PostgreSQL can store it: without NUL, and without half characters (surrogates)."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _is_plain(value: Any, kind: type) -> bool:
    """Return whether a value of a column's own type needs no change and no refusal."""
    if isinstance(value, str):
        return value.isascii() and "\0" not in value
    if kind is int:
        return bool(-_MAX_INTEGER <= value <= _MAX_INTEGER)
    return kind is bool or bool(math.isfinite(value))


def _storable(value: Any, of: str) -> Any:
    if value is None:
        return None
    if of == "text":
        if not isinstance(value, str):
            raise TypeError(f"a value of type {type(value).__name__} cannot be stored as a text")
        return clean(str(value))  # an enumeration's member is a text of another class
    if not isinstance(value, int | float):
        raise TypeError(f"a value of type {type(value).__name__} cannot be stored as a number")
    if of == "float8":
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be stored")
        return float(value)
    if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
        raise ValueError(f"{value:.3e} is too great to be stored")
    return _PYTHON[of](value)
