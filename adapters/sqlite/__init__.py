"""The engine's own file, ``engine.db``: written by group commit, read by commands."""

from typing import TYPE_CHECKING

from states.lazy_names import lazy_names

if TYPE_CHECKING:
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
    from adapters.sqlite.queue import Statement
    from adapters.sqlite.reader import JournalReader
    from adapters.sqlite.repair import Repair
    from adapters.sqlite.rescue import Rescue
    from adapters.sqlite.writer import GroupWriter, WriterObserver, WriterTimeouts
    from adapters.stores.journal_rows import StoredLife, StoredMove

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

_HOMES = {
    "adapters.sqlite.codec": ("event_from",),
    "adapters.sqlite.connect": ("open_database", "open_read_only"),
    "adapters.sqlite.errors": (
        "DatabaseUnusable",
        "JournalMissing",
        "JournalTooNew",
        "StorageError",
        "Undecodable",
        "WriterBroken",
        "WriterClosed",
        "database_failure",
    ),
    "adapters.sqlite.journal": ("JournalWriter",),
    "adapters.stores.journal_rows": ("StoredLife", "StoredMove"),
    "adapters.sqlite.queue": ("Statement",),
    "adapters.sqlite.reader": ("JournalReader",),
    "adapters.sqlite.repair": ("Repair",),
    "adapters.sqlite.rescue": ("Rescue",),
    "adapters.sqlite.writer": ("GroupWriter", "WriterObserver", "WriterTimeouts"),
}
"""The module of each name, which is imported when the name is first asked for: a command only reads."""

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's
    __getattr__ = lazy_names(__name__, _HOMES)
