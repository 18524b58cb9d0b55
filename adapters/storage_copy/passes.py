"""The three passes of a copy over all rows: read and check them, write them, read them back and compare."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from attrs import define, field

from adapters.storage_copy.errors import CopyDiffers
from adapters.storage_copy.rows import Digest, Progress, RowCheck, reporting
from adapters.storage_copy.tables import TABLES, CopiedTable, Row


@define
class CopyReport:
    """What was copied, or what would be."""

    rows: dict[str, int] = field(factory=dict)
    """How many rows each table has."""
    replaced: dict[str, int] = field(factory=dict)
    """How many rows of a table had texts with characters that PostgreSQL cannot have."""
    renumbered: bool = False
    """Whether records of the journal have other numbers now."""
    sessions: dict[str, int] = field(factory=dict)
    """The users and chats of each account's session."""
    without_login: list[str] = field(factory=list)
    elsewhere: list[tuple[str, str]] = field(factory=list)
    """Accounts whose login was taken out of the database before, and where it went."""
    went_on: bool = False
    """Whether an earlier copy had written all of it, and only logins were left to change sides."""

    @property
    def total(self) -> int:
        """How many rows there are."""
        return sum(self.rows.values())


class CopySide(Protocol):
    """A store whose tables are read and written as the rows that both have."""

    def read(self, table: CopiedTable) -> Iterator[Row]:
        """Yield the rows of a table."""

    def write(self, table: CopiedTable, rows: Iterator[Row]) -> None:
        """Add rows to a table."""


@define(eq=False)
class CopyPasses:
    """What all passes of one copy know."""

    progress: Progress
    replace: bool
    """Whether characters that PostgreSQL cannot have become U+FFFD."""
    report: CopyReport = field(factory=CopyReport)

    def scan(self, side: CopySide, place: str) -> dict[str, Digest]:
        """Read all rows, and return their digests. Raises ``NotStorable``."""
        digests = {}
        for table in TABLES:
            check, digest = RowCheck(table, place, self.replace), Digest()
            for row in check.checked(reporting(side.read(table), f"reading {table.name}", self.progress)):
                digest.add(row)
            digests[table.name] = digest
            self.report.rows[table.name] = digest.rows
            if check.replaced:
                self.report.replaced[table.name] = check.replaced
        return digests

    def write(self, source: CopySide, target: CopySide, place: str) -> None:
        """Write all rows."""
        for table in TABLES:
            rows = reporting(source.read(table), f"writing {table.name}", self.progress)
            target.write(table, RowCheck(table, place, self.replace).checked(rows))

    def compare(self, side: CopySide, place: str, digests: Mapping[str, Digest]) -> None:
        """Read what was written. Raises ``CopyDiffers``."""
        for table in TABLES:
            digest = Digest()
            for row in reporting(side.read(table), f"comparing {table.name}", self.progress):
                digest.add(row)
            if digest != (wanted := digests[table.name]):
                raise CopyDiffers(
                    f"{place}: the table {table.name} is not read back as it was written ({digest.rows:,} rows of "
                    f"{wanted.rows:,}); nothing was copied: does something else write to it?"
                )
