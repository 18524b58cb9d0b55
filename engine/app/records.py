"""Where a config's journal is read: in the engine's own file, or in the database of many nodes. A composition root."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from adapters.sqlite import JournalReader
from engine import paths

if TYPE_CHECKING:  # a command that reads a file needs neither
    from engine.journal.ports import JournalRecords


class StoragePlace(Protocol):
    """Where a config keeps its data: its outline, and its section ``storage``."""

    @property
    def directory(self) -> Path:
        """``storage.directory``."""

    @property
    def database(self) -> str | None:
        """``storage.database``: the address of a PostgreSQL database; None is a file in the directory."""


def open_records(place: StoragePlace) -> "JournalRecords":
    """Open the journal for reading. Raises ``StorageError``, and ``JournalMissing`` where none was written yet."""
    if place.database is None:
        return JournalReader.open(place.directory / paths.DATABASE)
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415 - psycopg is needed for such a config alone
    from adapters.postgres.journal_reader import StoreRecords  # noqa: PLC0415

    return StoreRecords.open(StoreAddress.parse(place.database))
