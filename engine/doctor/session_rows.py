"""The check of sessions that are rows of the config's database: which accounts have a login there."""

import os
from collections.abc import Iterator
from typing import Final

from adapters.sqlite import StorageError
from engine.config import AccountConfig, Config
from engine.console.shell import engine_command
from engine.doctor.findings import Finding

MAX_NAMED: Final = 5
"""How many accounts a sentence names."""


def is_in_file(config: Config, account: AccountConfig) -> bool:
    """Return whether the session of an account is a file, or has one besides its rows in a database."""
    return config.storage.database is None or os.path.lexists(account.session)


def check(config: Config) -> Iterator[Finding]:
    """Yield which accounts have a login in the database; nothing without one, or with one that cannot be read."""
    if config.storage.database is None:
        return
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415 - only such a config needs PostgreSQL's client
    from adapters.postgres.errors import StoreUnused  # noqa: PLC0415
    from adapters.postgres.session_lookup import logins_of  # noqa: PLC0415

    try:
        logins = logins_of(StoreAddress.parse(config.storage.database))
    except StoreUnused:
        logins = {}  # the first start makes the tables, and so does what brings the sessions
    except StorageError:
        return  # the check of the database has said so
    names = [account.name for account in config.accounts]
    here = [name for name in names if logins.get(name, "") is None]
    away = [name for name in names if logins.get(name)]
    missing = [account for account in config.accounts if account.name not in logins]
    yield Finding("sessions", True, f"{len(here):,} of {len(names):,} accounts have a login in the database")
    if away:
        text = f"the session was taken out of the database, so no node has the account: {_named(away)}"
        yield Finding("sessions", None, text, f"{engine_command('session bring', config.path)} brings it back")
    files = [account.name for account in missing if os.path.lexists(account.session)]
    if files:
        text = f"the session is in a file, which no node reads: {_named(files)}"
        yield Finding("sessions", False, text, engine_command("session bring", config.path))
    nowhere = [account.name for account in missing if not os.path.lexists(account.session)]
    if nowhere:
        text = f"there is no login, neither in the database nor in a file of this machine: {_named(nowhere)}"
        yield Finding("sessions", False, text, engine_command("login", config.path, nowhere[0]))


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return f"{', '.join(names[:MAX_NAMED])}{more}"
