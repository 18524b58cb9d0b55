"""``session bring`` and ``session take``: session files into the database of a config, and out of it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from adapters.file_names import EXTENSION
from adapters.sqlite import StorageError
from engine.cli.common import (
    DEFAULT_CONFIG,
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    AsJson,
    ConfigAndAccount,
    ConfigPath,
    fail,
    is_config,
    load_account,
    reporting_errors,
    say,
)
from engine.cli.declared import Parameter
from engine.cli.session_transfer import app
from engine.config import AccountConfig, Config, ConfigError, load
from engine.console.format import nearest
from engine.console.safe_text import json_text

if TYPE_CHECKING:
    from adapters.postgres.address import StoreAddress
    from adapters.postgres.session_keys import SessionKeys

__all__ = ["app"]

NO_DATABASE = "storage.database is left out, so sessions are files: name a PostgreSQL database there first"
BEYOND_GRACE = 30.0
"""Seconds beyond the grace of ``shutting_down`` that a node has to give an account up."""


@app.command("bring")
def bring_sessions(
    *words: Annotated[
        str,
        Parameter(
            name="[CONFIG] [FILE…]",
            negative="",
            help="The config file (config.yaml), and session files of its accounts; left out, all that there are.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Move session files into the database that storage.database names.

    What is committed is read back, and then the file gets a name that no program opens; it keeps its content. A file
    that is in use is left alone. Nodes may run; one takes the account afterwards. If it was interrupted, give it again.

    Exit code 0 if all are done, 1 if one could not be moved, 2 for a file of no account.
    """
    with reporting_errors():
        given = list(words)
        settings = load(Path(given.pop(0)) if given and is_config(given[0]) else DEFAULT_CONFIG)
        address, keys = address_of(settings), keys_of(settings)
        accounts = [(_account_of(settings, word), _file(word)) for word in given]
        import anyio  # noqa: PLC0415 - for this command alone

        from adapters.postgres.session_moves import bring, prepare_store, unfinished  # noqa: PLC0415 - needs psycopg

        anyio.run(prepare_store, address)
        if not accounts:
            left = unfinished(address, {each.name: each.session for each in settings.accounts})
            every = [(each, each.session) for each in settings.accounts]
            accounts = [(each, path) for each, path in every if each.name in left or os.path.lexists(path)]
        failed = False
        for account, file in accounts:
            try:
                done = bring(address, account.name, file, keys, patience=_patience(settings))
            except StorageError as exc:
                failed = True
                _print(as_json, {"account": account.name, "error": str(exc)}, f"❌ {account.name}: {exc}")
                continue
            data = {"account": account.name, "file": str(file), "aside": str(done.aside), "known": done.known}
            what = "the database had it already" if done.known else f"with {done.entities:,} users and chats"
            text = f"✅ {account.name}: its session is in the database ({what}); the file is {done.aside} now"
            _print(as_json, data, text)
        if not accounts:
            say("There is no session file to move")
        _warn_of_wildcards(settings)
        raise SystemExit(EXIT_FAILED if failed else 0)


@app.command("take")
def take_session(
    *words: ConfigAndAccount,
    to: Annotated[
        str | None,
        Parameter(name="--to", help="The file to write; left out, the account's session file in the config."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take an account's session out of the database into a new file of Telethon's, for your eyes only.

    The node that has the account gives it up first. From then on no node uses the session, until 'session bring' brings
    the file back. Nothing is overwritten, and if it was interrupted, give it again with the same file.

    Exit code 0 if it is done, 1 if it could not be done, 2 for an unknown account.
    """
    with reporting_errors():
        settings, one = load_account(words)
        address, keys = address_of(settings), keys_of(settings)
        target = one.session if to is None else _file(to)
        from adapters.postgres.session_moves import take  # noqa: PLC0415 - needs psycopg

        try:
            entities = take(address, one.name, target, keys, patience=_patience(settings))
        except FileExistsError:
            fail(EXIT_FAILED, f"{target}: there is a file already, and it is not overwritten; name another with --to")
        text = f"✅ {one.name}: {target} has its session, with {entities:,} users and chats"
        _print(as_json, {"account": one.name, "file": str(target), "entities": entities}, text)
        if not as_json:
            say(
                "⚠️ No node connects with it now. Keep the file as private as a password, use it in one program only, "
                "and bring it back with 'session bring'"
            )


@app.command("rekey")
def rekey_sessions(config: ConfigPath = DEFAULT_CONFIG, *, as_json: AsJson = False) -> None:
    """Encrypt all sessions of the database with the first key of storage.session_key.

    Those that are not encrypted, and those that another of its keys encrypts. Nodes may run; all must know the key. If
    it was interrupted, give it again.

    Exit code 0 if it is done, 1 if it could not be done, 2 for a config without a session key.
    """
    with reporting_errors():
        settings = load(config)
        address, keys = address_of(settings), keys_of(settings)
        if not keys.first:
            fail(
                EXIT_BAD_INPUT, f"{settings.path}: storage.session_key is left out; name the key to encrypt with there"
            )
        from adapters.postgres.session_rekey import rekey  # noqa: PLC0415 - needs psycopg

        done = rekey(address, keys)
        what = (
            f"{done:,} session{'s were' if done != 1 else ' was'} encrypted anew" if done else "nothing was to be done"
        )
        text = f"✅ All sessions are encrypted with the session key {keys.first}; {what}"
        _print(as_json, {"key": keys.first, "sessions": done}, text)


def keys_of(settings: Config) -> "SessionKeys":
    """Return the session keys of a config."""
    from adapters.postgres.session_keys import SessionKeys  # noqa: PLC0415 - for a config with a database alone

    return SessionKeys.read(settings.storage.session_key)


def _patience(settings: Config) -> float:
    """Return how long a node may take to give an account up: it learns of that from a beat, and closes a connection."""
    return settings.states.shutting_down.grace + BEYOND_GRACE


def address_of(settings: Config) -> "StoreAddress":
    """Return the address of the config's database; exit if it has none, or one that cannot be used."""
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415 - for a config with a database alone
    from adapters.postgres.errors import BadAddress  # noqa: PLC0415

    if settings.storage.database is None:
        fail(EXIT_BAD_INPUT, f"{settings.path}: {NO_DATABASE}")
    try:
        return StoreAddress.parse(settings.storage.database)
    except BadAddress as exc:
        fail(EXIT_BAD_INPUT, f"{settings.path}: {exc}")


def _file(word: str) -> Path:
    return Path(word if word.endswith(EXTENSION) else word + EXTENSION)


def _account_of(settings: Config, word: str) -> AccountConfig:
    """Return the account whose session a file is by its path, or else by its name; exit if there is none."""
    file = _file(word)
    path = os.path.realpath(file)
    for account in settings.accounts:
        if os.path.realpath(account.session) == path:
            return account
    for account in settings.accounts:
        if account.name == file.stem:
            return account
    names = [account.name for account in settings.accounts]
    fail(
        EXIT_BAD_INPUT,
        f"no account of {settings.path} has the session {file}, or is called {file.stem!r}; "
        f"{nearest(file.stem, names)}; nothing was moved",
    )


def _warn_of_wildcards(settings: Config) -> None:
    """Say that accounts are gone which the config finds by their files."""
    try:
        left = {account.name for account in load(settings.path).accounts}
    except ConfigError:  # a wildcard that no file fits is a mistake
        wildcard = f"⚠️ {settings.path} finds accounts by a wildcard in 'session', and no file fits it any more"
        say(f"{wildcard}: write each of them there with its name")
        return
    if gone := [account.name for account in settings.accounts if account.name not in left]:
        say(
            f"⚠️ {settings.path} finds accounts by a wildcard in 'session', and {gone[0]} has no file any more "
            f"({len(gone)} such accounts): write each of them there with its name"
        )


def _print(as_json: bool, data: dict[str, object], text: str) -> None:
    if as_json:
        print(json_text(data))
    else:
        say(text)
