"""The integrity check of a database, within a time limit."""

import sqlite3
import time
from typing import Final

_STEPS: Final = 10_000
"""Instructions of SQLite between two checks of the clock: less than a millisecond."""


def is_intact(database: sqlite3.Connection, *, timeout: float) -> bool | None:
    """Return whether SQLite finds no fault in a file; None if the check is not done within ``timeout`` seconds.

    Raises ``sqlite3.Error`` for a file that cannot be read at all.
    """
    give_up = time.monotonic() + timeout
    database.set_progress_handler(lambda: time.monotonic() > give_up, _STEPS)
    try:
        return bool(database.execute("pragma quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return None
    finally:
        database.set_progress_handler(None, 0)
