"""The engine's own files: its directory and its journal, and who runs on them."""

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

from adapters.sqlite import DatabaseUnusable, open_read_only
from adapters.sqlite.integrity import is_intact
from adapters.sqlite.schema import VERSION
from adapters.system import Holder, holder_of
from engine import paths
from engine.config import Config
from engine.console.shell import engine_command
from engine.doctor import places
from engine.doctor.findings import Finding
from states.events import DatabaseCorrupt

BUSY_SECONDS: Final = 3.0
"""How long somebody's lock on the journal is waited for."""
SOUND_SECONDS: Final = 5.0
"""How long SQLite may look at it."""
LOG_LARGE: Final = 256 * 10**6


def look(config: Config, fix: bool) -> Iterator[Finding]:
    """Look at the data directory and what is in it."""
    directory = config.storage.directory
    holder = _holder(directory / paths.LOCK)
    if holder is not None:
        since = datetime.fromtimestamp(holder.since).astimezone()
        yield Finding("engine", True, f"runs as process {holder.pid} since {since:%Y-%m-%d %H:%M:%S}")
    else:
        yield Finding("engine", True, "does not run on this data")
    yield from places.directory("storage", directory, fix=fix)
    yield from places.space([directory, *(account.session.parent for account in config.accounts)])
    if (directory / paths.BACKUPS).exists():
        yield from places.directory("backups", directory / paths.BACKUPS, fix=fix)
    database = directory / paths.DATABASE
    if not database.exists():
        yield Finding("journal", True, f"{database} does not exist yet; run makes it")
        return
    yield from places.writable("journal", database)
    yield from places.private("journal", database, fix=fix)
    yield from _journal(config, database, holder, fix)


def _holder(path: Path) -> Holder | None:
    return holder_of(path) if path.parent.is_dir() else None


def _journal(config: Config, path: Path, holder: Holder | None, fix: bool) -> Iterator[Finding]:
    try:
        with closing(open_read_only(path, busy_timeout=BUSY_SECONDS)) as database:
            mode = str(database.execute("pragma journal_mode").fetchone()[0])
            version = int(database.execute("pragma user_version").fetchone()[0])
            sound = is_intact(database, timeout=SOUND_SECONDS)
    except DatabaseUnusable as exc:
        damaged = isinstance(exc.failure, DatabaseCorrupt)
        yield Finding("journal", False, str(exc), _out_of_the_way(path, holder) if damaged else "")
        return
    except sqlite3.Error as exc:
        yield Finding("journal", False, f"{path}: cannot be read ({exc})", _out_of_the_way(path, holder))
        return
    yield _mode(config, path, mode, fix=fix and holder is None)
    if sound is None:
        yield Finding("journal", None, f"is too large to be checked within {SOUND_SECONDS:g} s; no fault so far")
    else:
        yield Finding(
            "journal", sound, "is sound" if sound else "is damaged", "" if sound else _out_of_the_way(path, holder)
        )
    known = version <= VERSION
    text = f"schema {version}" + ("" if known else f", and known here is {VERSION}")
    yield Finding("journal", known, text, "" if known else "use the version of Holdfast that wrote it, or a newer one")
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size > LOG_LARGE:
        text = f"its log has {log.stat().st_size / 10**6:,.0f} MB"
        yield Finding("journal", None, text, "end the program that reads it all the time, such as log -f")


def _mode(config: Config, path: Path, mode: str, *, fix: bool) -> Finding:
    if mode == "wal":
        return Finding("journal", True, "journal mode is wal")
    if not fix:
        return Finding("journal", False, f"journal mode is {mode}", engine_command("doctor", config.path, "--fix"))
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as database:
            now = str(database.execute("pragma journal_mode = wal").fetchone()[0])
    except sqlite3.Error as exc:
        return Finding("journal", False, f"journal mode is {mode}, and cannot be changed ({exc})", "end who uses it")
    return Finding("journal", now == "wal", f"journal mode is {now} now", fixed=now == "wal")


def _out_of_the_way(path: Path, holder: Holder | None) -> str:
    """Return the command that moves the journal and its log away; accounts then start with an empty one."""
    aside = shlex.quote(str(path.parent / "damaged"))
    move = f"mkdir -p {aside} && mv {shlex.quote(str(path))}* {aside}"
    return f"stop the engine, then: {move}" if holder else move
