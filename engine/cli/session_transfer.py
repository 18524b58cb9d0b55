"""``session export`` and ``session import``: logins to and from other programs."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from adapters.file_names import is_string_session
from adapters.files import COMPANIONS
from adapters.session import transfer
from adapters.session.backup import put_in_place
from adapters.session.transfer import MAX_TEXT_BYTES, NoLogin, PortableLogin
from adapters.sqlite.connect import create_directories
from engine.cli.common import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    ConfigAndAccount,
    fail,
    load_account,
    refuse_rows,
    reporting_errors,
    say,
)
from engine.cli.declared import Parameter
from engine.cli.session_backup import app, owned
from engine.config import AccountConfig
from engine.console.shell import command, engine_command

__all__ = ["app"]

ONE_PROGRAM = (
    "⚠️ One login is for one program: two that use it at once make Telegram destroy it. Use it in one of them only, and "
    "keep the file as private as a password"
)


@app.command("export")
def export_login(
    *words: ConfigAndAccount,
    to: Annotated[
        Literal["string", "pyrogram"],
        Parameter(help="string: a StringSession of Telethon; pyrogram: a session of Pyrogram or Kurigram."),
    ],
) -> None:
    """Write an account's login into a new FILE for another program; it is for your eyes only.

    With --to pyrogram a FILE that ends in .session becomes a session file, any other a session string. The account must
    not be in use. Nothing is overwritten.

    Exit code 0 if it is done, 1 if it could not be done, 2 for an unknown account.
    """
    with reporting_errors():
        if len(words) < 2:
            fail(EXIT_BAD_INPUT, "name an account, and the file to write")
        *account, target = words
        settings, one = load_account(tuple(account))
        path = Path(target)
        refuse_rows(settings, one)
        if not one.session.exists():  # before its lock, whose directory need not exist either
            fail(EXIT_FAILED, f"{one.name} is not logged in: {one.session} does not exist")
        with owned(settings, one):
            try:
                _write(path, to, transfer.login_of(one.session), settings.telegram.api_id)
            except NoLogin as exc:
                fail(EXIT_FAILED, f"{one.name}: {exc}")
            except FileExistsError:
                fail(EXIT_FAILED, f"{path}: there is a file already, and it is not overwritten; name another one")
            except OSError as exc:
                raise exc if exc.filename else OSError(exc.errno, exc.strerror, str(path)) from exc
        say(f"✅ {one.name}: {path} has its login", ONE_PROGRAM)


@app.command("import")
def import_login(*words: Annotated[ConfigAndAccount, Parameter(allow_leading_hyphen=True)]) -> None:
    """Make an account's session of a login in FILE, or from standard input if that is -.

    FILE is a string session of Telethon, Pyrogram or Kurigram, a session file of Pyrogram or Kurigram, or one of
    Telethon's. The account must have no session yet: nothing is overwritten. The login is never printed.

    Exit code 0 if it is done, 1 if it could not be done, 2 for an unknown account.
    """
    with reporting_errors():
        if len(words) < 2:
            fail(EXIT_BAD_INPUT, "name an account, and the file to read, or - for standard input")
        *account, source = words
        if is_string_session(source):
            fail(
                EXIT_BAD_INPUT, "a login does not belong on the command line, where others can see it; put it in a file"
            )
        settings, one = load_account(tuple(account))
        create_directories(one.session.parent)
        with owned(settings, one):
            if one.session.exists():
                login_out = engine_command("logout", settings.path, one.name)
                aside = _command_aside(one.session)
                sentence = f"{one.session}: {one.name} has a session already, and it is not overwritten"
                fail(EXIT_FAILED, f"{sentence}; log it out ({login_out}) or move it away: {aside}")
            _import(one, source)
        say(f"✅ {one.name}: {one.session} has the login", ONE_PROGRAM)
        if settings.storage.database is not None:
            say(f"No node uses a file; into the database: {engine_command('session bring', settings.path)}")


def _command_aside(session: Path) -> str:
    """Return the command that moves a session away, with the log beside it, which may have the latest of it."""
    there = [suffix for suffix in ("", *COMPANIONS) if os.path.lexists(f"{session}{suffix}")]
    return " && ".join(command("mv", f"{session}{suffix}", f"{session}.old{suffix}") for suffix in there)


def _import(one: AccountConfig, source: str) -> None:
    try:
        login = _read(source)
        if login is None:
            put_in_place(Path(source), one.session)
        else:
            transfer.create_session(one.session, login)
    except FileNotFoundError as exc:
        # Never quoted: a login as text may stand where the file belongs.
        if exc.filename == source:
            fail(EXIT_BAD_INPUT, "there is no such file to import from; check its path")
        fail(EXIT_FAILED, f"{one.session}: {str(exc.strerror).lower()}; see that the directory can be written")
    except NoLogin as exc:
        fail(EXIT_FAILED, f"nothing is imported: {exc}")


def _read(source: str) -> PortableLogin | None:
    if source != "-":
        return transfer.read(Path(source))
    return transfer.from_bytes(sys.stdin.buffer.read(MAX_TEXT_BYTES + 1) if sys.stdin else b"")


def _write(path: Path, to: str, login: PortableLogin, api_id: int) -> None:
    if to == "string":
        transfer.write_text(path, transfer.telethon_string(login))
    elif path.suffix == ".session":
        transfer.write_pyrogram(path, login, api_id)
    else:
        transfer.write_text(path, transfer.pyrogram_string(login, api_id))
