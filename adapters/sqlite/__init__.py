"""The engine's own file, ``engine.db``: written by group commit, read by commands."""

from adapters.sqlite.codec import event_from
from adapters.sqlite.connect import open_database, open_read_only
from adapters.sqlite.errors import (
    DatabaseUnusable,
    JournalMissing,
    JournalTooNew,
    StorageError,
    Undecodable,
    WriterBroken,
    WriterClosed,
    database_failure,
)
from adapters.sqlite.journal import JournalWriter
from adapters.sqlite.journal_rows import StoredLife, StoredMove
from adapters.sqlite.queue import Statement
from adapters.sqlite.reader import JournalReader
from adapters.sqlite.repair import Repair
from adapters.sqlite.rescue import Rescue
from adapters.sqlite.writer import GroupWriter, WriterObserver, WriterTimeouts

__all__ = [
    "DatabaseUnusable",
    "GroupWriter",
    "JournalMissing",
    "JournalReader",
    "JournalTooNew",
    "JournalWriter",
    "Repair",
    "Rescue",
    "Statement",
    "StorageError",
    "StoredLife",
    "StoredMove",
    "Undecodable",
    "WriterBroken",
    "WriterClosed",
    "WriterObserver",
    "WriterTimeouts",
    "database_failure",
    "event_from",
    "open_database",
    "open_read_only",
]
