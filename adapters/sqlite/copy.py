"""Copies of a database as it is at one moment, also while other programs write to it, and before an upgrade."""

import os
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from adapters.sqlite.connect import create_directories, open_read_only
from adapters.sqlite.errors import translating_errors, unusable

PAGES: Final = 8192
"""Pages that are copied at once: some 30 MB, between which Ctrl+C is heard."""
DIRECTORY: Final = "backups"
"""Where copies go that are made before an upgrade, beside the database."""
KEEP: Final = 3
"""How many of them are kept."""
UNFINISHED: Final = ".unfinished"


def copy_database(source: Path, target: Path) -> None:
    """Copy a database into a new file, for this user alone, and make the copy durable.

    The copy has what was committed when it began. Nobody who writes to the database meanwhile waits, or makes it begin
    again: all of it is read in one transaction. Raises ``DatabaseUnusable``, and ``FileExistsError``.
    """
    create_directories(target.parent)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(open_read_only(source)) as read, translating_errors(source):
        read.execute("BEGIN")
        read.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with closing(sqlite3.connect(target, isolation_level=None)) as written:
            written.execute("PRAGMA synchronous = OFF")  # made durable at once, below
            read.backup(written, pages=PAGES)
        read.execute("COMMIT")
    sync_file(target)


def sync_file(path: Path) -> None:
    """Make the content of a file that nobody has open durable. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copies_before_upgrades(path: Path) -> list[Path]:
    """Return the copies that were made of a database before upgrades, newest first."""
    found = []
    with suppress(OSError):
        found = [each for each in (path.parent / DIRECTORY).glob(f"{path.name}-schema-*Z") if each.is_file()]
    return sorted(found, key=lambda each: (each.name.rpartition("-")[2], each.name), reverse=True)


def keep_copy(path: Path, version: int) -> Path:
    """Keep a copy of a database whose schema is to be upgraded from ``version``; the newest three are kept.

    The caller holds the right to write, so nothing is committed meanwhile. Raises ``DatabaseUnusable``: without a copy
    there is no upgrade.
    """
    directory = path.parent / DIRECTORY
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%S")
    copy = directory / f"{path.name}-schema-{version}-{stamp}Z"
    unfinished = directory / f".{copy.name}{UNFINISHED}"
    try:
        create_directories(directory)
        for left in directory.glob(f".{path.name}-schema-*{UNFINISHED}"):  # by a process that was killed
            left.unlink()
        copy_database(path, unfinished)
        unfinished.rename(copy)
        _sync_directory(directory)
    except OSError as exc:
        where = directory if exc.filename is None else Path(exc.filename)
        raise unusable(where, exc) or exc from exc
    for old in copies_before_upgrades(path)[KEEP:]:
        with suppress(OSError):
            old.unlink()
    return copy


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
