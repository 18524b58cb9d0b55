"""``session backup`` and ``session restore``."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from adapters.session import OwnerLock, SessionError, SessionHeld
from adapters.session.backup import Backup, back_up, backups_of, put_in_place
from adapters.session.owner import owner_of
from adapters.sqlite import StorageError
from adapters.sqlite.connect import create_directories
from adapters.system import holder_of
from engine import paths
from engine.cli.common import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    AsJson,
    ConfigAndAccount,
    ConfigAndPattern,
    config_and_pattern,
    fail,
    load_account,
    match_accounts,
    refuse_rows,
    reporting_errors,
    say,
)
from engine.cli.declared import CommandGroup, Parameter
from engine.config import AccountConfig, Config, load
from engine.console.format import date_and_time, iso
from engine.console.safe_text import json_text
from engine.console.shell import engine_command

app = CommandGroup(name="session", help="Session files: their backups, and logins to and from other programs.")


@app.command("backup")
def backup(
    *words: ConfigAndPattern,
    as_json: AsJson = False,
) -> None:
    """Copy session files into the backups, even while the engine runs; the seven newest of each are kept.

    A session that has not changed since its newest backup is not copied again; that backup is printed instead.

    Exit code 0 if all are copied, 1 if one could not be copied, 2 for an unknown account.
    """
    with reporting_errors():
        config, account = config_and_pattern(words)
        settings = load(config)
        names = [one.name for one in settings.accounts]
        chosen = set(names if account is None else match_accounts(names, account))
        accounts = [one for one in settings.accounts if one.name in chosen]
        failed = False
        if settings.storage.database is not None and not any(one.session.exists() for one in accounts):
            fail(EXIT_FAILED, "the sessions are in the database and not in files; back it up with PostgreSQL's pg_dump")
        for one in accounts:
            try:
                path = back_up(one.session, _directory(settings), name=one.name)
            except StorageError as exc:
                failed = True
                _print(as_json, {"account": one.name, "error": str(exc)}, f"❌ {one.name}: {exc}")
            else:
                _print(as_json, {"account": one.name, "backup": str(path)}, f"✅ {one.name}: {path}")
        raise SystemExit(EXIT_FAILED if failed else 0)


@app.command("restore")
def restore(
    *words: ConfigAndAccount,
    source: Annotated[
        str | None,
        Parameter(
            name="--from",
            help="A backup or any session file, or a time (2026-11-24T10:30) for the last good backup made by "
            "then. Left out, the last good one.",
        ),
    ] = None,
    show: Annotated[bool, Parameter(name="--list", negative="", help="Only list the backups.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replace an account's session file with a backup.

    The present file is backed up first. If it is damaged, or not a session, it is set aside.

    Exit code 0 if it is done, 1 if it could not be done, 2 for an unknown account or a bad --from.
    """
    with reporting_errors():
        settings, one = load_account(words)
        if show:
            for copy in backups_of(_directory(settings), one.name):
                _print(as_json, *_describe_backup(copy))
            return
        refuse_rows(settings, one)
        _restore(settings, one, _choose_file(settings, one, source), as_json)


def _choose_file(settings: Config, one: AccountConfig, source: str | None) -> Path:
    """Return the file to restore; exit with a sentence if there is none."""
    listed = engine_command("session restore", settings.path, one.name, options=["--list"])
    if source is not None and Path(source).exists():
        return Path(source)
    until = _parse_time(source) if source is not None else None
    if source is not None and until is None:
        fail(EXIT_BAD_INPUT, f"--from: {source} is neither a file nor a time like 2026-11-24T10:30; see: {listed}")
    for copy in backups_of(_directory(settings), one.name):
        if (until is None or copy.at <= until) and copy.good:
            return copy.path
    of_then = f" of {source} or before" if until else ""
    advice = f"see: {listed}" if until else f"log in again: {engine_command('login', settings.path, one.name)}"
    fail(EXIT_FAILED, f"{one.name} has no good backup{of_then} in {_directory(settings)}; {advice}")


def _parse_time(text: str) -> datetime | None:
    """Return a time in ISO 8601, which is local unless it has an offset; None if it is not a time."""
    with suppress(ValueError, OverflowError, OSError):  # a date at the end of the calendar overflows
        return datetime.fromtimestamp(datetime.fromisoformat(text).timestamp(), UTC)
    return None


def _restore(settings: Config, one: AccountConfig, chosen: Path, as_json: bool) -> None:
    create_directories(one.session.parent)
    with owned(settings, one):
        kept = _back_up_present(settings, one)
        aside = put_in_place(chosen, one.session)
    text = f"✅ {one.name}: {one.session} has the content of {chosen}"
    text += f"; the previous file was damaged or not a session, and was set aside as {aside}" if aside else ""
    text += f"; the previous session is in {kept}" if kept and not aside else ""
    data = {"account": one.name, "restored": str(chosen), "kept": kept and str(kept), "aside": aside and str(aside)}
    _print(as_json, data, text)


@contextmanager
def owned(settings: Config, one: AccountConfig) -> Iterator[None]:
    """Own an account's session for the block; exit with the commands that free it if another program does."""
    lock = OwnerLock(one.session)
    try:
        lock.acquire()
    except SessionHeld as exc:
        fail(EXIT_FAILED, str(exc), *_advise_pause(settings, one))
    try:
        yield
    finally:
        lock.release()


def _advise_pause(settings: Config, one: AccountConfig) -> tuple[str, ...]:
    """Return the commands that free a session which the running engine uses; empty if another program uses it."""
    engine, owner = holder_of(settings.storage.directory / paths.LOCK), owner_of(one.session)
    if engine is None or owner is None or engine.pid != owner.pid:
        return ()
    pause, resume = (engine_command(verb, settings.path, one.name) for verb in ("pause", "resume"))
    return "That is the engine. Pause the account, do this again, then resume it:", pause, resume


def _back_up_present(settings: Config, one: AccountConfig) -> Path | None:
    """Back up the present session file, if it holds a login.

    No older backup is deleted to make room, because it may be the chosen one. Raises ``DatabaseUnusable`` if the backup
    fails; the present file is then not replaced.
    """
    if not one.session.exists():
        return None
    directory = _directory(settings)
    try:
        return back_up(one.session, directory, name=one.name, keep=len(backups_of(directory, one.name)) + 1)
    except SessionError:
        return None


def _directory(settings: Config) -> Path:
    return settings.storage.directory / paths.BACKUPS


def _describe_backup(copy: Backup) -> tuple[dict[str, Any], str]:
    good = copy.good
    data = {"path": str(copy.path), "at": iso(copy.at.timestamp()), "size": copy.size, "good": good}
    return data, f"{'✅' if good else '❌'} {date_and_time(copy.at.timestamp())}  {copy.path}"


def _print(as_json: bool, data: dict[str, Any], text: str) -> None:
    if as_json:
        print(json_text(data))
    else:
        say(text)
