"""Statements that store many rows at once: each column of the rows is one array, however many rows there are.

A statement per row would cost a round trip of parsing and planning each; an array is parsed once, and its statement is
prepared after a few uses.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

from attrs import field, frozen

Row = tuple[Any, ...]
"""The cells of a row, each a number, a text, bytes or None."""
_MAX_INTEGER: Final = 2**63 - 1
_PYTHON: Final[dict[str, Any]] = {"bigint": int, "float8": float, "boolean": bool}


@frozen(eq=False)
class ArrayStatement:
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
    text: str = field(init=False)
    """The whole statement."""

    @text.default
    def _make_text(self) -> str:
        arrays = ", ".join(f"%s::{each}[]" for each in self.types)
        names = ", ".join(f"c{number}" for number in range(len(self.types)))
        return f"WITH rows AS (SELECT * FROM unnest({arrays}) AS given ({names})) {self.sql}"

    def storable(self, row: Sequence[Any]) -> Row:
        """Return a row as PostgreSQL can store it.

        Raises ``TypeError`` or ``ValueError`` for a value that a column cannot have: a bug of who wrote it.
        """
        return tuple([_storable(value, of) for value, of in zip(row, self.types, strict=True)])

    def calls(self, rows: Sequence[Row], constants: Sequence[Any] = ()) -> list[tuple[str, list[Any]]]:
        """Return the statements that store these rows, each with its values."""
        return [(self.text, [*map(list, zip(*part, strict=True)), *constants]) for part in self._rounds(rows)]

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


def _storable(value: Any, of: str) -> Any:
    if value is None:
        return None
    if of == "text":
        if not isinstance(value, str):
            raise TypeError(f"a value of type {type(value).__name__} cannot be stored as a text")
        return clean(str(value))  # an enumeration's member is a text of another class
    if of == "bytea":
        return bytes(value)
    if not isinstance(value, int | float):
        raise TypeError(f"a value of type {type(value).__name__} cannot be stored as a number")
    if of == "float8":
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be stored")
        return float(value)
    if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
        raise ValueError(f"{value:.3e} is too great to be stored")
    return _PYTHON[of](value)
