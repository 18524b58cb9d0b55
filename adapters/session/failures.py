"""Why a session file could not be written: as typed events, reported less and less often while the failure lasts."""

import sqlite3
import time
from collections.abc import Callable
from typing import Final

from attrs import define, evolve, field, frozen

from adapters.redaction import redacted
from adapters.session.errors import NotASession, SessionReplaced
from adapters.sqlite.errors import database_failure
from adapters.system.descriptors import exhaustion, is_exhaustion
from states.events import DatabaseCorrupt, DatabaseLocked, DatabaseRecovered, DatabaseUnavailable, Failure

SessionObserver = Callable[[Failure | DatabaseRecovered], None]
"""Called, in a thread of the writer's, with what keeps a file from being written, and when it is written again."""

UNWRITABLE: Final = (
    "the session is read-only (SQLITE_READONLY): the account works, and what changes is in memory alone; make the file "
    "and its directory writable"
)
_FIRST_RETRY_SECONDS: Final = 0.02
_MAX_RETRY_SECONDS: Final = 0.25
"""Between two tries while another program's lock is waited for: the wait grows up to this."""


@frozen(kw_only=True)
class LiveFileTimeouts:
    """How long a session file waits for what, in seconds."""

    gather: float = 0.25
    """How far the file may be behind memory while nothing hinders it."""
    busy: float = 30.0
    """How long another program's lock is tried again and again, without holding up a thread."""
    retry: float = 5.0
    """Between two tries after that, or while the disk is full or the file cannot be written."""
    report_after: float = 1.0
    """After which a lock is reported; each time it has lasted twice as long, it is reported again."""
    report_broken_after: float = 0.0
    """After which it is reported that a file cannot be written for another reason."""
    max_report_interval: float = 60.0
    """Between two such reports, at the most."""
    idle: float = 5.0
    """After which a file without changes is closed; then all of the session is in one file."""


@define(eq=False)
class FailureReports:
    """The tries to write one file that have failed since it was last written."""

    report: SessionObserver
    timeouts: LiveFileTimeouts
    _since: float | None = field(default=None, init=False)
    _report_at: float = field(default=0.0, init=False)
    _reported: bool = field(default=False, init=False)
    _tries: int = field(default=0, init=False)

    def add(self, failure: DatabaseLocked | DatabaseUnavailable, *, unsaved: int, in_haste: bool) -> float:
        """Count a failed try, report it if it is time to, and return in how many seconds to try again.

        ``unsaved`` is the number of rows that wait; ``in_haste`` says that the session is being closed.
        """
        now, timeouts = time.monotonic(), self.timeouts
        locked = isinstance(failure, DatabaseLocked)
        if self._since is None:
            self._since, self._tries = now, 0
            self._report_at = timeouts.report_after if locked else timeouts.report_broken_after
        waited = now - self._since
        if waited >= self._report_at:
            self._reported = True
            self._report_at = waited + min(max(waited, timeouts.report_after), timeouts.max_report_interval)
            self.report(evolve(failure, waited=waited, unsaved=unsaved))
        self._tries += 1
        if in_haste or (locked and waited < timeouts.busy):
            return min(_FIRST_RETRY_SECONDS * self._tries, _MAX_RETRY_SECONDS)
        return timeouts.retry

    def clear(self, written: int) -> None:
        """Note that the file was written; report it if a failure was reported before."""
        if self._since is None:
            return
        waited, self._since = time.monotonic() - self._since, None
        if self._reported:
            self._reported = False
            self.report(DatabaseRecovered(waited=waited, written=written))


def classify_write_error(exc: Exception) -> DatabaseLocked | DatabaseUnavailable | DatabaseCorrupt:
    """Return the event that an exception means which a commit to a session file raised."""
    if isinstance(exc, FileNotFoundError):
        return DatabaseUnavailable(
            detail="the session file was deleted while it is in use; put it back, or restore a backup"
        )
    if isinstance(exc, SessionReplaced):
        return DatabaseUnavailable(detail=str(exc))
    if isinstance(exc, NotASession):
        return DatabaseUnavailable(
            detail="something else is in the place of the session file; put it back, or restore a backup"
        )
    if is_exhaustion(exc):
        return DatabaseUnavailable(detail=exhaustion(exc))
    if isinstance(exc, OSError):
        return DatabaseUnavailable(detail=f"the session file cannot be reached ({exc.strerror})")
    failure = database_failure(exc)
    if getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY:
        return DatabaseUnavailable(detail=UNWRITABLE)
    if isinstance(failure, DatabaseLocked | DatabaseUnavailable | DatabaseCorrupt):
        return failure
    return DatabaseUnavailable(
        detail=f"the session file cannot be written ({type(exc).__name__}: {redacted(str(exc))})"
    )
