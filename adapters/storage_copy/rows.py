"""Rows on their way: what the other store could not have is found before anything is written, and all are summed up."""

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any, Final

import msgspec
from attrs import define, field

from adapters.storage_copy.errors import NotStorable
from adapters.storage_copy.tables import JOURNAL, CopiedTable, Row

_TYPES: Final[dict[str, type]] = {
    "int": int, "real": float, "text": str, "bool": bool, "blob": bytes, "name": str, "account": str,
}  # fmt: skip
_NUMBERS: Final = 2**63
MAX_TIME: Final = 1e15
"""Seconds beyond every time that an engine wrote."""
_encode: Final = msgspec.msgpack.Encoder().encode
_MASK: Final = 2**128 - 1


@define
class Digest:
    """How many rows there are, and a sum of their hashes, which does not depend on their order."""

    rows: int = 0
    sum: int = 0

    def add(self, row: Row) -> None:
        """Add a row whose values are plain."""
        self.rows += 1
        self.sum = self.sum + int.from_bytes(blake2b(_encode(row), digest_size=16).digest()) & _MASK

    def summing(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows, and add each."""
        for row in rows:
            self.add(row)
            yield row


@define(eq=False)
class RowCheck:
    """Sees that the rows of a table can be stored by both stores; ``replace`` says what happens to a text that cannot.

    With it, characters that PostgreSQL cannot have (NUL, and bytes that are no UTF-8) become U+FFFD.
    """

    table: CopiedTable
    place: str
    replace: bool
    replaced: int = field(default=0, init=False)
    """Rows with such texts."""
    _good: set[tuple[type, ...]] = field(factory=set, init=False)
    """Types that rows have had, and may have."""
    _texts: tuple[int, ...] = field(init=False)
    _reals: tuple[int, ...] = field(init=False)
    _at: int | None = field(init=False)
    """Which column has to be a time: records are found by it."""

    def __attrs_post_init__(self) -> None:
        kinds = [column.kind for column in self.table.columns]
        self._texts = tuple(place for place, kind in enumerate(kinds) if _TYPES[kind] is str)
        self._reals = tuple(place for place, kind in enumerate(kinds) if kind == "real")
        self._at = [column.name for column in self.table.columns].index("at") if self.table is JOURNAL else None

    def checked(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows. Raises ``NotStorable`` for one that cannot be stored."""
        good, texts, reals, at = self._good, self._texts, self._reals, self._at
        for row in rows:
            types = tuple(map(type, row))
            if types not in good:
                self._check_types(row, types)
                good.add(types)
            for place in texts:
                text = row[place]
                if text is not None and not is_storable(text):
                    row = self._with_text(row, place)  # noqa: PLW2901 - nearly no row is like this
            for place in reals:
                if row[place] is not None and row[place] != row[place]:
                    self._refuse(row, place, "is no number (NaN), which SQLite cannot store")
            if at is not None and not abs(row[at]) < MAX_TIME:
                self._refuse(row, at, f"is no time ({row[at]})")
            yield row

    def _check_types(self, row: Row, types: tuple[type, ...]) -> None:
        for place, (column, found) in enumerate(zip(self.table.columns, types, strict=True)):
            if found is type(None):
                if not column.optional:
                    self._refuse(row, place, "is missing")
            elif found is not _TYPES[column.kind]:
                self._refuse(row, place, f"is a value of another type ({found.__name__})")

    def _with_text(self, row: Row, place: int) -> Row:
        text = row[place]
        if not self.replace:
            what = "has a NUL character" if "\0" in text else "has bytes that are no UTF-8"
            self._refuse(
                row, place, f"{what}, which PostgreSQL cannot store", "give --replace to have U+FFFD in its place"
            )
        self.replaced += 1
        return (*row[:place], clean_text(text), *row[place + 1 :])

    def _refuse(self, row: Row, place: int, why: str, remedy: str = "mend or delete that row") -> None:
        name = self.table.columns[place].name
        raise NotStorable(f"{self.place}: {self.table.named(row)}: {name} {why}; nothing was copied: {remedy}")


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can have a text: without NUL, and without halves of characters."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean_text(text: str) -> str:
    """Return a text with U+FFFD in place of what PostgreSQL cannot have."""
    return text.replace("\0", "\ufffd").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


Progress = Callable[[str, int], None]
"""Is told what is under way, and how many rows it has come to."""
PROGRESS_ROWS: Final = 5_000
"""Rows between two reports."""


def reporting(rows: Iterable[Row], what: str, progress: Progress) -> Iterator[Row]:
    """Yield the rows, and tell how far it is."""
    count = 0
    for count, row in enumerate(rows, 1):
        if count % PROGRESS_ROWS == 0:
            progress(what, count)
        yield row
    progress(what, count)


def plain_real(value: Any) -> Any:
    """Return a number as both stores give it back: SQLite has no -0.0."""
    return value + 0.0 if type(value) is float else float(value) if type(value) is int else value
