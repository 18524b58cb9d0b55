"""SQLite between threads that run one at a time: others run between two statements, and waits for locks are virtual.

All threads of the simulation are one thread for SQLite, whose busy handler would sleep for real while the thread that
holds the lock stands still. So a connection does not wait inside SQLite, and tries again in virtual time.
"""

import sqlite3
from itertools import chain, repeat
from typing import Any, Final

from tests.simulation.threads import scheduler_now

_RETRIES: Final = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.025, 0.025, 0.05, 0.05, 0.1)
"""Seconds between the tries for a lock, as SQLite's own busy handler has them; the last stays."""


class SwitchingConnection(sqlite3.Connection):
    """A connection between whose statements other threads run, by seed."""

    _timeout: float

    def __init__(self, database: Any, timeout: float = 5.0, *args: Any, **keywords: Any) -> None:
        super().__init__(database, 0.0, *args, **keywords)
        self._timeout = timeout

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        scheduler = scheduler_now()
        scheduler.switch_point()
        name, _, value = sql.partition("=")
        if name.strip().lower() == "pragma busy_timeout":
            self._timeout = int(value) / 1000
            return super().execute("select 1")
        give_up = scheduler.now + self._timeout
        for pause in chain(_RETRIES, repeat(_RETRIES[-1])):
            try:
                cursor = super().execute(sql, parameters)
                break
            except sqlite3.OperationalError as exc:
                if getattr(exc, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or scheduler.now >= give_up:
                    raise
            scheduler.sleep(min(pause, give_up - scheduler.now))
        scheduler.switch_point()
        return cursor

    def close(self) -> None:
        scheduler_now().switch_point()
        super().close()


def install_connections() -> None:
    """Make all connections of this process such ones."""
    real: Any = sqlite3.connect

    def connect(database: Any, *args: Any, **keywords: Any) -> Any:
        keywords.setdefault("factory", SwitchingConnection)
        return real(database, *args, **keywords)

    for module in (sqlite3, sqlite3.dbapi2):
        setattr(module, "connect", connect)  # noqa: B010 - the checker knows a function with overloads there
