"""A new file for a database that was deleted, moved, replaced or overwritten while it was open.

As long as the connection still reads it, everything is copied out of the lost file. Otherwise the new file gets what
memory knows. Nothing that has the name meanwhile is overwritten: it is set aside, under a name that the report says.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from adapters.sqlite import schema
from adapters.sqlite.connect import create_directories, create_privately, open_database, open_read_only, transaction
from adapters.sqlite.errors import StorageError
from adapters.sqlite.open_file import INDEX, LOG, Loss, identity, place_of

_TRIES: Final = 5
"""How often another program may create a file under the name while this one wants to."""
_COMPANIONS: Final = (LOG, INDEX, "-journal")

Fill = Callable[[sqlite3.Connection], None]
"""Makes the tables in an empty database, and puts into it what memory knows."""


@frozen
class Rescue:
    """What happened to a file, and what took its place."""

    path: Path
    loss: Loss
    whole: bool
    """Whether the new file has everything that the lost one had; otherwise it has what memory knew."""
    aside: Path | None
    """Where the file is now that was found under the name; None if there was none."""
    renumbered: tuple[tuple[int, int], ...] = ()
    """The jobs that a command had added to that file: the number there, and the number in the new file."""


def rescue(
    path: Path, lost: sqlite3.Connection, loss: Loss, fill: Fill, ours: set[tuple[int, int]]
) -> tuple[sqlite3.Connection, Rescue]:
    """Put a new file in the place of one that was lost; return a connection to it, and what was done.

    ``ours`` are the files beside the lost one that belong to it (device, inode). ``lost`` is closed only when the
    new file has the name. Raises ``sqlite3`` errors, ``DatabaseUnusable`` and ``OSError``.
    """
    real = place_of(path)
    create_directories(real.parent)
    fresh = real.with_name(f".{real.name}.new")
    whole = loss.readable and copy_whole(lost, fresh)
    if not whole:
        _make(fresh, fill)
        if loss in (Loss.DAMAGED, Loss.CUT_SHORT):
            _save_jobs(lost, fresh)
    aside = take_place(fresh, real, ours)
    with suppress(sqlite3.Error):
        lost.close()  # before the new file has a log: SQLite does not see that an empty file lost its name
    connection = open_database(path)
    jobs: tuple[tuple[int, int], ...] = ()
    if aside is not None and loss in (Loss.GONE, Loss.REPLACED):
        with suppress(sqlite3.Error, StorageError):
            jobs = _adopt_jobs(aside, connection)
    return connection, Rescue(path, loss, whole, aside, jobs)


def copy_whole(lost: sqlite3.Connection, fresh: Path) -> bool:
    """Copy everything that the connection reads; return False if it cannot read everything."""
    try:
        _make(fresh, lost.backup)
        with closing(sqlite3.connect(fresh)) as copied:
            return bool(copied.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.Error:
        return False


def _make(fresh: Path, fill: Fill) -> None:
    """Make a file anew, for this user alone, durable when this returns."""
    for suffix in ("", *_COMPANIONS):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    create_privately(fresh)
    with closing(sqlite3.connect(fresh, isolation_level=None)) as target:
        target.execute("PRAGMA synchronous = FULL")
        fill(target)


def take_place(fresh: Path, path: Path, ours: set[tuple[int, int]]) -> Path | None:
    """Give the new file its name; return where the file is now that had the name meanwhile."""
    aside = None
    for _ in range(_TRIES):
        aside = _set_aside(path, ours) or aside
        try:
            os.link(fresh, path)  # unlike a rename, it never replaces what another program has just put there
        except FileExistsError:
            continue
        except OSError:  # no hard links here
            fresh.rename(path)
        fresh.unlink(missing_ok=True)
        for suffix in _COMPANIONS:
            Path(f"{fresh}{suffix}").unlink(missing_ok=True)
        _sync(path.parent)
        return aside
    raise FileExistsError(17, "another program creates this file again and again", str(path))


def _set_aside(path: Path, ours: set[tuple[int, int]]) -> Path | None:
    """Move what has the name, and the files beside it, to a free name; return it, or None if nothing had the name.

    SQLite joins a file and its log by their names, so a log of ours must not come to lie beside a foreign file.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    aside = next(
        each
        for number in range(1, 10_000)
        if not os.path.lexists(each := f"{path}.aside-{stamp}{f'-{number}' if number > 1 else ''}")
    )
    found = os.path.lexists(path)
    for suffix in ("", *_COMPANIONS):
        old = Path(f"{path}{suffix}")
        with suppress(FileNotFoundError):
            mine = bool(suffix) and identity(old) in ours
            old.rename(f"{aside}.lost{suffix}" if mine else f"{aside}{suffix}")
    return Path(aside) if found else None


def _save_jobs(lost: sqlite3.Connection, fresh: Path) -> None:
    """Copy the jobs that a damaged file still shows, from both ends up to the damage; what memory knows is newer."""
    with closing(sqlite3.connect(fresh, isolation_level=None)) as target:
        target.execute("BEGIN IMMEDIATE")
        for order in ("ASC", "DESC"):
            with suppress(sqlite3.Error):
                rows = lost.execute(f"SELECT * FROM jobs ORDER BY id {order}")
                names = [column[0] for column in rows.description]
                insert = f"INSERT OR IGNORE INTO jobs ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
                for row in rows:
                    target.execute(insert, row)
        target.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, (SELECT coalesce(max(id), 0) FROM jobs)) WHERE name = 'jobs'"
        )
        target.execute("COMMIT")


def _adopt_jobs(aside: Path, connection: sqlite3.Connection) -> tuple[tuple[int, int], ...]:
    """Take over the jobs of a file that a command has made because it found none: somebody was promised them.

    A file in which an engine has lived is another engine's, or an older one: nothing is taken from it.
    """
    columns = "kind, account, data, priority, due, added, wait"
    with closing(open_read_only(aside)) as found:
        if found.execute("PRAGMA user_version").fetchone()[0] != schema.VERSION:
            return ()
        if found.execute("SELECT 1 FROM lives LIMIT 1").fetchone():
            return ()
        rows = found.execute(f"SELECT id, {columns} FROM jobs WHERE state = 'queued' ORDER BY id").fetchall()
    numbers = []
    with transaction(connection):
        for number, *row in rows:
            new = connection.execute(f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row).lastrowid
            numbers.append((number, new or 0))
    return tuple(numbers)


def _sync(directory: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
