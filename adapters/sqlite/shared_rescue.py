"""A new file for one that was deleted, moved or replaced while several workers had it open.

As long as one of them has it open, all of it is still there. Whichever notices first copies it and puts the copy in the
place; the others find that copy, and go on with it. A lock sees to it that one does so, and each copy has a number, so
that none takes another's copy for a foreign file. Nothing is lost: no transaction is committed by whoever does not find
the file in its place, and the copy waits for one that is under way. What had the name meanwhile is set aside.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from adapters.files import open_file
from adapters.sqlite.connect import open_existing
from adapters.sqlite.errors import DatabaseUnusable
from adapters.sqlite.open_file import INDEX, LOG, Loss, beside, identity
from adapters.sqlite.rescue import Rescue, copy_whole, take_place
from adapters.system.kernel_locks import try_lock
from states.events import DatabaseUnavailable

LOCK_TIMEOUT: Final = 10.0
"""Seconds that a worker waits for another one that copies the file."""
Identity = tuple[int, int]
_TOKEN: Final = "SELECT token FROM node_server"


def companions_of(path: Path) -> set[Identity]:
    """Return which files are beside a database now."""
    with suppress(OSError):
        return {known for each in (LOG, INDEX) if (known := identity(beside(path, each))) is not None}
    return set()


def put_back(path: Path, lost: sqlite3.Connection, ours: set[Identity]) -> Rescue | None:
    """Have all that ``lost`` reads in the place of a file that is not there; None if another worker has done so.

    ``ours`` are the files beside the lost one. Blocks. Raises ``DatabaseUnusable``, ``OSError`` and ``sqlite3`` errors.
    """
    with _alone(path):
        run, number = _split(lost.execute(_TOKEN).fetchone())
        found = _token_at(path)
        if found is not None and found[0] == run and found[1] > number:
            return None
        loss = Loss.GONE if identity(path) is None else Loss.REPLACED
        fresh = path.with_name(f".{path.name}.new")
        # Waits for a transaction that has looked before the file was lost; those after it are committed by nobody.
        lost.execute("BEGIN IMMEDIATE")
        lost.execute("ROLLBACK")
        if not copy_whole(lost, fresh):
            raise _unusable(path, "the database was lost, and cannot be copied; see to the disk")
        with closing(sqlite3.connect(fresh)) as copy, copy:
            copy.execute("UPDATE node_server SET token = ?", (f"{run}.{number + 1}",))
        aside = take_place(fresh, path, ours)
    return Rescue(path, loss, True, aside)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    descriptor = open_file(path.with_name(f"{path.name}.rescue"), os.O_RDWR | os.O_CREAT)
    try:
        give_up = time.monotonic() + LOCK_TIMEOUT
        while not try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() >= give_up:
                raise _unusable(path, "the database was lost, and another worker does not end to copy it")
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _token_at(path: Path) -> tuple[str, int] | None:
    """Return the token of what has the name; None if that is no such file."""
    with suppress(sqlite3.Error), closing(open_existing(path, "ro", 1.0)) as found:
        return _split(found.execute(_TOKEN).fetchone())
    return None


def _split(row: tuple[str] | None) -> tuple[str, int]:
    run, _, number = (row[0] if row else "").partition(".")
    return run, int(number) if number.isdecimal() else 0


def _unusable(path: Path, why: str) -> DatabaseUnusable:
    return DatabaseUnusable(f"{path}: {why}", DatabaseUnavailable(detail=why))
