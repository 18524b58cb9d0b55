"""``storage copy``: a fleet from files into a database, or back."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from adapters.system import EngineLock, raise_limit
from engine import paths
from engine.cli.common import EXIT_BAD_INPUT, EXIT_ENGINE_RUNS, AsJson, fail, reporting_errors, say, standing
from engine.cli.declared import CommandGroup, Parameter
from engine.config import Config, ConfigError, load
from engine.console.safe_text import json_text, one_line

if TYPE_CHECKING:
    from adapters.storage_copy.copy import DatabaseOfFleet, FilesOfFleet
    from adapters.storage_copy.passes import CopyReport
    from adapters.storage_copy.rows import Progress

app = CommandGroup("storage", help="Move everything that is stored between files and a database.")

_LINE_SECONDS = 0.2
"""Seconds between two texts of the line that shows how far it is."""


@app.command("copy")
def copy_storage(
    *words: Annotated[
        str,
        Parameter(name="FROM TO", negative="", help="The config of what is there, and that of where it is to go."),
    ],
    check: Annotated[
        bool, Parameter(name="--check", negative="", help="Only look whether it can be done; nothing is written.")
    ] = False,
    replace: Annotated[
        bool,
        Parameter(
            name="--replace", negative="", help="Have U+FFFD in place of characters that PostgreSQL cannot store."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy everything that is stored from FROM to TO, two configs of which one has storage.database.

    Journal, jobs, results, messages, incidents and logins go from engine.db and the session files into the database, or
    back. Neither side may be in use, and TO must be empty. All is read back and compared before it is there. Each login
    changes sides: session files get a name that no program opens, and rows are marked as taken. If it was interrupted,
    give it again.

    Exit code 0 if it is done, 1 if it could not be done, 2 for configs that do not fit, 3 if FROM or TO is in use.
    """
    with reporting_errors():
        if len(words) != 2:
            fail(EXIT_BAD_INPUT, "name two configs: that of what is there, and that of where it is to go")
        old, new = (load(Path(word)) for word in words)
        _check_direction(old, new)
        os.umask(0o077)
        began = time.monotonic()
        half = "TO has all rows or none of them; give the same command again, before anything else"
        stands = f"interrupted: {'nothing was written' if check else half}"
        with standing(stands), _progress_line() as progress:
            report = _copy(old, new, progress, check=check, replace=replace)
        seconds = time.monotonic() - began
        if as_json:
            print(json_text(_as_json(report, check=check)))
        else:
            _print(report, new, seconds, check=check)
            if not check:
                _warn_of_wildcards(old)


def _check_direction(old: Config, new: Config) -> None:
    """Exit unless one config has a database and the other has none."""
    if old.storage.database is None and new.storage.database is None:
        what = "neither config has storage.database: for files use 'backup' and 'restore'"
        fail(EXIT_BAD_INPUT, f"{old.path} and {new.path}: {what}")
    if old.storage.database is not None and new.storage.database is not None:
        what = "both configs have storage.database: from one database to another use PostgreSQL's pg_dump"
        fail(EXIT_BAD_INPUT, f"{old.path} and {new.path}: {what}")


def _copy(old: Config, new: Config, progress: "Progress", *, check: bool, replace: bool) -> "CopyReport":
    files = old if old.storage.database is None else new
    directory = files.storage.directory
    if files is new and not check:
        from adapters.sqlite.connect import create_directories  # noqa: PLC0415 - what reads command lines needs it not

        create_directories(directory)
    raise_limit(2 * len(files.accounts))  # a lock on each session
    with _locked(directory):
        from adapters.storage_copy.copy import copy_to_database, copy_to_files  # noqa: PLC0415 - needs psycopg
        from adapters.storage_copy.errors import StoreInUse  # noqa: PLC0415 - as above

        try:
            if files is old:
                return copy_to_database(_files(old), _database(new), progress=progress, check=check, replace=replace)
            return copy_to_files(_database(old), _files(new), progress=progress, check=check, replace=replace)
        except StoreInUse as exc:
            fail(EXIT_ENGINE_RUNS, str(exc))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of an engine's directory, if there is one."""
    if not directory.is_dir():
        yield
        return
    with EngineLock(directory / paths.LOCK).held(time.time()):
        yield


def _files(config: Config) -> "FilesOfFleet":
    from adapters.storage_copy.copy import FilesOfFleet  # noqa: PLC0415 - as above

    sessions = {account.name: account.session for account in config.accounts}
    return FilesOfFleet(database=config.storage.directory / paths.DATABASE, sessions=sessions)


def _database(config: Config) -> "DatabaseOfFleet":
    from adapters.storage_copy.copy import DatabaseOfFleet  # noqa: PLC0415 - as above
    from engine.cli.session_store import address_of, keys_of  # noqa: PLC0415 - as above

    hosts = {account.name: account.hosts for account in config.accounts}
    address, keys = address_of(config), keys_of(config)
    return DatabaseOfFleet(address=address, hosts=hosts, node=config.node.known_as, keys=keys)


@contextmanager
def _progress_line() -> Iterator["Progress"]:
    """Yield what shows on a terminal how far it is, on one line that is gone at the end."""
    shown = sys.stderr.isatty()
    last = 0.0

    def progress(what: str, count: int) -> None:
        nonlocal last
        if shown and time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            print(f"\r\x1b[K{one_line(what)}: {count:,}", end="", file=sys.stderr, flush=True)

    try:
        yield progress
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# --- what is printed -------------------------------------------------------------------------------------------------


def _print(report: "CopyReport", new: Config, seconds: float, *, check: bool) -> None:
    tables = ", ".join(f"{rows:,} of {name}" for name, rows in report.rows.items() if rows)
    for name, rows in report.replaced.items():
        say(f"⚠️ {name}: in {rows:,} rows U+FFFD stands in place of characters that PostgreSQL cannot store")
    for name in report.without_login:
        say(f"➖ {name}: nobody has logged it in, so there is no session to copy")
    for name, place in report.elsewhere:
        say(f"➖ {name}: its session was taken away before, to {place}; it stays there")
    if report.renumbered:
        say("⚠️ the journal's records have new numbers, because those of the database have gaps")
    count = len(report.sessions)
    logins = f"{count:,} login{'s' if count != 1 else ''}"
    if check:
        say(f"✅ {report.total:,} rows ({tables or 'none'}) and {logins} can be copied; nothing was written")
        return
    if report.went_on:
        say(f"✅ An earlier copy had written all rows; {logins} changed sides now")
    else:
        say(f"✅ {report.total:,} rows ({tables or 'none'}) are copied, read back and equal; {seconds:,.1f} s")
    if count and new.storage.database is not None:
        say(
            f"✅ {logins} are in the database; the session files are called .brought-TIME now, and no program uses them"
        )
    elif count:
        say(f"✅ {logins} in session files; in the database they are marked as taken, and no node uses them")


def _as_json(report: "CopyReport", *, check: bool) -> dict[str, Any]:
    return {
        "check": check,
        "rows": report.rows,
        "sessions": list(report.sessions),
        "without_login": report.without_login,
        "elsewhere": [{"account": name, "place": place} for name, place in report.elsewhere],
        "replaced": report.replaced,
        "renumbered": report.renumbered,
        "went_on": report.went_on,
    }


def _warn_of_wildcards(config: Config) -> None:
    """Say that the config does not find its accounts any more, where it found them by their files."""
    try:
        left = {account.name for account in load(config.path).accounts}
    except ConfigError:  # a wildcard that no file fits is a mistake
        left = set()
    if config.storage.database is None and left != {account.name for account in config.accounts}:
        say(f"⚠️ {config.path} finds accounts by a wildcard in 'session', and their files have other names now")
