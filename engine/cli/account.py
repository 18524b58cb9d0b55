"""``account``: the accounts of a config. ``add`` and ``remove`` edit the file, and keep its comments."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from engine.cli.common import (
    DEFAULT_CONFIG,
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    AsJson,
    ConfigAndAccount,
    ConfigPath,
    config_and_account,
    fail,
    reporting_errors,
    say,
)
from engine.cli.declared import CommandGroup, Parameter
from engine.config import load
from engine.console.format import nearest
from engine.console.names import named
from engine.console.safe_text import json_text, one_line
from engine.console.shell import engine_command

app = CommandGroup("account", "The accounts of a config: list them, add one, remove one.")


@app.command("list")
def list_accounts(config: ConfigPath = DEFAULT_CONFIG, *, as_json: AsJson = False) -> None:
    """Print the accounts of a config, and their session files.

    Exit code 0, or 2 for a config that cannot be used.
    """
    with reporting_errors():
        accounts = load(config).accounts
        if as_json:
            print(json_text([{"name": each.name, "session": str(each.session)} for each in accounts], indent=2))
            return
        width = max(len(each.name) for each in accounts)
        say(*(f"{each.name:{width}}  {os.path.relpath(each.session, config.absolute().parent)}" for each in accounts))


@app.command("add")
def add_account(
    *words: ConfigAndAccount,
    session: Annotated[str, Parameter(help="Telethon's session file, which need not exist yet.")],
    phone: Annotated[str | None, Parameter(help="The phone number, for the login.")] = None,
    proxy: Annotated[str | None, Parameter(help="The way to Telegram, such as socks5://10.0.0.1:1080.")] = None,
) -> None:
    """Write one more account into the config; everything else in the file stays as it is.

    What the file was is kept beside it, under a name that ends in .bak. A running engine takes the account in with
    reload. Nothing is written if an engine could not use the config then.

    Exit code 0 if it is done, 1 if it could not be done, 2 for a config that cannot be used.
    """
    with reporting_errors():
        from engine.config.edit import with_account  # noqa: PLC0415 - what only lists needs no writer of YAML

        path, name = config_and_account(words)
        load(path)  # a mistake that is there already is not one of the edit
        given = {"name": name, "session": session, "phone": phone, "proxy": proxy}
        entry = {key: value for key, value in given.items() if value is not None}
        _edit(path, lambda text: with_account(text, entry))
        say(f"{name} is in {path} now")
        _tell_next(path, f"log it in with: {engine_command('login', path, name)}")


@app.command("remove")
def remove_account(*words: ConfigAndAccount) -> None:
    """Take an account out of the config; everything else in the file, and all that is stored of it, stays as it is.

    What the file was is kept beside it, under a name that ends in .bak. A running engine closes the account with
    reload. The session file stays: logout makes it useless, and this does not.

    Exit code 0 if it is done, 1 if it could not be done, 2 for an unknown account or a config that cannot be used.
    """
    with reporting_errors():
        from engine.config.edit import without_account  # noqa: PLC0415 - as above

        path, name = config_and_account(words)
        names = [each.name for each in load(path).accounts]
        found = named(names, name)
        if found is None:
            fail(EXIT_BAD_INPUT, f"{path.name} has no account {name!r}; {nearest(name, names)}")
        _edit(path, lambda text: without_account(text, _index_of(text, path, found)))
        say(f"{found} is not in {path} any more")
        _tell_next(path)


def _index_of(text: str, path: Path, name: str) -> int:
    """Return the number of an account's entry in the file, from 0; exit if it has none of its own."""
    from engine.config.document import read_yaml  # noqa: PLC0415 - as above
    from engine.config.values import substitute  # noqa: PLC0415

    plain: Any = substitute(read_yaml(text).value, (), [])
    for index, account in enumerate(plain["accounts"]):
        if (called := account.get("name")) is not None and named([str(called)], name) is not None:
            return index
    wildcard = "its session file is one of those that a wildcard in the config means; move the file away instead"
    fail(EXIT_FAILED, f"{name} has no entry of its own in {path.name}: {wildcard}")


def _edit(path: Path, change: Any) -> None:
    from engine.config.edit import CannotEdit  # noqa: PLC0415 - as above
    from engine.config.edit_file import EditRefused, edit_file  # noqa: PLC0415

    try:
        edit_file(path, change)
    except CannotEdit as exc:
        fail(EXIT_FAILED, f"{path}: {exc}")
    except EditRefused as exc:
        fail(EXIT_FAILED, str(exc))


def _tell_next(path: Path, *steps: str) -> None:
    told = [*steps, f"have a running engine read it with: {engine_command('reload', path)}"]
    print(one_line("; ".join(told)), file=sys.stderr)
