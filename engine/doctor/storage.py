"""Checks of the engine's own files: its directory, its journal, and the process that uses them."""

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from adapters.sqlite import DatabaseUnusable, open_read_only
from adapters.sqlite.integrity import is_intact
from adapters.sqlite.schema import VERSION, check_tables, schema_version
from adapters.system import Holder, holder_of
from engine import paths
from engine.config import Config
from engine.console.format import date_and_time
from engine.console.shell import command, engine_command
from engine.doctor import directories
from engine.doctor.findings import Finding
from states.events import DatabaseCorrupt

BUSY_TIMEOUT: Final = 3.0
"""Seconds to wait for a lock on the journal."""
INTEGRITY_TIMEOUT: Final = 5.0
"""Seconds that SQLite's integrity check of the journal may take."""
MAX_WAL_BYTES: Final = 256 * 10**6
"""A larger write-ahead log means that a reader keeps SQLite from emptying it."""


def check(config: Config, fix: bool) -> Iterator[Finding]:
    """Check the data directory and the files in it."""
    directory = config.storage.directory
    holder = _holder(directory / paths.LOCK)
    if holder is not None:
        since = f" since {date_and_time(holder.since)}" if holder.since else ""
        yield Finding("engine", True, f"runs as process {holder.pid}{since}")
    else:
        yield Finding("engine", True, "does not run on this data")
    yield from directories.check_directory("storage", directory, fix=fix)
    yield from directories.check_space([directory, *(account.session.parent for account in config.accounts)])
    if (directory / paths.BACKUPS).exists():
        yield from directories.check_directory("backups", directory / paths.BACKUPS, fix=fix)
    for name, is_right in ((paths.LOCK, Path.is_file), (paths.SOCKET, Path.is_socket), (paths.LOGS, Path.is_dir)):
        path = directory / name
        if (path.exists() or path.is_symlink()) and not is_right(path):
            text = f"{path} is something else than the engine's own; run needs the name"
            yield Finding("storage", False, text, command("mv", path, path.with_name(f"{name}.aside")))
    database = directory / paths.DATABASE
    if not database.exists():
        yield Finding("journal", True, f"{database} does not exist yet; run creates it")
        return
    yield from directories.check_writable("journal", database)
    yield from directories.check_private("journal", database, fix=fix)
    yield from _check_journal(config, database, holder, fix)


def _holder(path: Path) -> Holder | None:
    return holder_of(path) if path.parent.is_dir() else None


def _check_journal(config: Config, path: Path, holder: Holder | None, fix: bool) -> Iterator[Finding]:
    try:
        with closing(open_read_only(path, busy_timeout=BUSY_TIMEOUT)) as database:
            mode = str(database.execute("pragma journal_mode").fetchone()[0])
            version = int(database.execute("pragma user_version").fetchone()[0])
            if version <= VERSION:
                schema_version(database, path)  # before anything is mended: it may be another program's database
            intact = is_intact(database, timeout=INTEGRITY_TIMEOUT)
            if version == VERSION:
                check_tables(database, path)
    except DatabaseUnusable as exc:
        damaged = isinstance(exc.failure, DatabaseCorrupt)
        yield Finding("journal", False, str(exc), _move_away(path, holder) if damaged else "")
        return
    except sqlite3.Error as exc:
        yield Finding("journal", False, f"{path}: cannot be read ({exc})", _move_away(path, holder))
        return
    yield _check_journal_mode(config, path, mode, fix=fix and holder is None)
    if intact is None:
        yield Finding("journal", None, f"is too large to be checked within {INTEGRITY_TIMEOUT:g} s; no fault so far")
    elif intact:
        yield Finding("journal", True, "is intact")
    else:
        yield Finding("journal", False, "is damaged", _move_away(path, holder))
    known = version <= VERSION
    text = f"schema {version}" + ("" if known else f", and this version of Holdfast knows {VERSION}")
    yield Finding("journal", known, text, "" if known else "use the version of Holdfast that wrote it, or a newer one")
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size > MAX_WAL_BYTES:
        text = f"its write-ahead log has {wal.stat().st_size / 10**6:,.0f} MB"
        yield Finding("journal", None, text, "end the program that keeps reading it, such as log -f")


def _check_journal_mode(config: Config, path: Path, mode: str, *, fix: bool) -> Finding:
    if mode == "wal":
        return Finding("journal", True, "journal mode is wal")
    if not fix:
        return Finding(
            "journal", False, f"journal mode is {mode}", engine_command("doctor", config.path, options=["--fix"])
        )
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)) as database:
            now = str(database.execute("pragma journal_mode = wal").fetchone()[0])
    except sqlite3.Error as exc:
        return Finding(
            "journal", False, f"journal mode is {mode}, and cannot be changed ({exc})", "end the program that uses it"
        )
    return Finding("journal", now == "wal", f"journal mode is {now} now", fixed=now == "wal")


def _move_away(path: Path, holder: Holder | None) -> str:
    """Return the command that moves the journal and its log away; the next run then starts with an empty one."""
    aside = shlex.quote(str(path.parent / "damaged"))
    move = f"mkdir -p {aside} && mv {shlex.quote(str(path))}* {aside}"
    return f"stop the engine, then: {move}" if holder else move
