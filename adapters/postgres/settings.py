"""The settings with which every connection to a PostgreSQL store begins, and which servers will not do."""

from typing import Any, Final

from attrs import frozen

from adapters.postgres.address import StoreAddress
from adapters.postgres.errors import unusable

MINIMUM_VERSION: Final = 140000
"""PostgreSQL 14."""

SET_UP: Final = """
    SELECT current_setting('server_version_num')::int, current_setting('server_version'),
        pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool,
        set_config('idle_in_transaction_session_timeout', %(idle)s, false),
        set_config('statement_timeout', %(query)s, false),
        set_config('lock_timeout', %(query)s, false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('TimeZone', 'UTC', false),
        set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN ('off', 'local')
            THEN 'on' ELSE current_setting('synchronous_commit') END, false)"""
"""The first statement; its row is for ``check_server``. A server that commits without writing would lose what it has
acknowledged."""


@frozen
class StoreTimeouts:
    """How long a store is waited for, in seconds."""

    connect: float = 5.0
    """For each server of the address."""
    query: float = 10.0
    """For one statement, and for its locks."""
    idle: float = 5.0
    """After which the server ends a transaction in which nothing happens: its locks would hold up others."""
    turn: float = 10.0
    """For one of the pool's connections."""


def connection_options(address: StoreAddress, application: str, timeouts: StoreTimeouts) -> dict[str, Any]:
    """Return the options of a connection that the address does not set itself."""
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - settings are read where it is not installed

    options = {
        "application_name": application[:63],
        "connect_timeout": max(2, round(timeouts.connect)),  # psycopg takes no less
        "tcp_user_timeout": round(timeouts.query * 1000),
        "keepalives_idle": 30,
        "client_encoding": "utf8",
    }
    given = conninfo_to_dict(address.conninfo)
    return {name: value for name, value in options.items() if given.get(name) is None}


def set_up_values(timeouts: StoreTimeouts) -> dict[str, str]:
    """Return the values of ``SET_UP``."""
    return {"idle": f"{round(timeouts.idle * 1000)}ms", "query": f"{round(timeouts.query * 1000)}ms"}


def check_server(address: StoreAddress, row: tuple[Any, ...], *, writes: bool) -> None:
    """Raise ``StoreUnusable`` for a server that is too old, or that only reads where ``writes`` is wanted."""
    number, version, reads_only = row[:3]
    if number < MINIMUM_VERSION:
        shown = str(version).split()[0][:20]
        raise unusable(address.shown, f"the server is PostgreSQL {shown}", "14 is the oldest that will do")
    if writes and reads_only:
        raise unusable(
            address.shown,
            "the server only reads, for it is a standby or set so",
            "name all servers in the address and add '?target_session_attrs=read-write'",
        )
