"""One session file in use: who owns it, what is not written yet, and how it is written, visit by visit."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from attrs import define, evolve, field, frozen

from adapters.session import file as files
from adapters.session.backup import back_up, last_good, set_aside
from adapters.session.contents import Changes, Contents
from adapters.session.errors import SessionDamaged, SessionReplaced
from adapters.session.owner import OwnerLock
from adapters.session.writer import WriteBehind, shared
from adapters.sqlite.errors import database_failure, unusable
from states.events import DatabaseCorrupt, DatabaseLocked, DatabaseRecovered, DatabaseUnavailable, Failure

Report = Callable[[Failure | DatabaseRecovered], None]
"""Hears, in a thread of the writer's, what keeps a file from being written, and when it is written again."""

MAX_ROWS: Final = 10_000
"""Rows that may wait to be written before those who bring more have to wait."""
MAX_OPEN: Final = 64
"""Files that are kept open between two commits."""


@frozen(kw_only=True)
class LiveFileTimeouts:
    """How long things wait, in seconds."""

    gather: float = 0.25
    """How far a file is behind memory, when nothing hinders it."""
    busy: float = 30.0
    """For somebody's lock: so long it is tried again and again, without holding up a thread."""
    retry: float = 5.0
    """Between two tries after that, or when the disk is full or the file cannot be written."""
    told: float = 1.0
    """After which a lock is reported; each time it has lasted twice as long, again."""
    told_most: float = 60.0
    """Between two such reports, at the most."""
    idle: float = 5.0
    """After which a file that nobody writes to is closed; then all of it is in one file."""


_open = 0
_open_lock = threading.Lock()


def _count_open(change: int) -> int:
    global _open  # noqa: PLW0603  # of the process, as descriptors are
    with _open_lock:
        _open += change
        return _open


@define(eq=False)
class LiveFile:
    """A session file that this process owns. Changes are made to ``contents``, then ``touch`` or ``flush`` is called.

    ``backups`` is where a copy goes before the file is upgraded, and where the last good one is looked for.
    """

    path: Path
    backups: Path
    name: str
    report: Report
    waits: LiveFileTimeouts = LiveFileTimeouts()
    writer: WriteBehind = shared
    contents: Contents = field(factory=Contents, init=False)
    _lock: OwnerLock = field(init=False)
    _key: bytes = field(default=b"", init=False, repr=False)
    _inode: tuple[int, int] | None = field(default=None, init=False)
    _loaded: files.StatStamp | None = field(default=None, init=False)
    _database: sqlite3.Connection | None = field(default=None, init=False)
    _used: float = field(default=0.0, init=False)
    _guard: threading.Lock = field(factory=threading.Lock, init=False)
    _waiting: "list[Future[None]]" = field(factory=list, init=False)
    _closing: bool = field(default=False, init=False)
    _damaged: SessionDamaged | None = field(default=None, init=False)
    # Of the present trouble:
    _since: float | None = field(default=None, init=False)
    _tell_at: float = field(default=0.0, init=False)
    _told: bool = field(default=False, init=False)
    _tries: int = field(default=0, init=False)

    @_lock.default
    def _make_lock(self) -> OwnerLock:
        return OwnerLock(self.path)

    # --- for the program ---------------------------------------------------------------------------------------------

    @property
    def owned(self) -> bool:
        """Whether this process owns the file now."""
        return self._lock.held

    @property
    def unsaved(self) -> bool:
        """Whether something waits to be written."""
        return self._damaged is None and (bool(self.contents.marks) or self._closing)

    @property
    def is_current(self) -> bool:
        """Whether the file is ours, and nobody else has written to it. Looks at the directory only."""
        return self._lock.held and self._loaded == self._stamp()

    def open(self, *, create: bool, adopt: bool = False) -> bool:
        """Own the file, and read it unless memory has it already; return whether memory is another one now. Blocks.

        A file that holds another login than memory does is read if ``adopt``, and what was not written of the old one
        is forgotten. Raises ``SessionError`` (``SessionReplaced`` unless ``adopt``), ``DatabaseUnusable``, and
        ``FileNotFoundError`` if the file is missing and is not to be created.
        """
        with self._guard:
            self._closing = False
        fresh = not self._lock.held
        if fresh:
            self._own(create=create)
        try:
            if self._loaded == self._stamp():
                return False
            contents = self._read()
        except BaseException:
            if fresh:
                self._lock.release()
            raise
        return self._take_over(contents, fresh=fresh, adopt=adopt)

    def _own(self, *, create: bool) -> None:
        missing = FileNotFoundError(2, "there is no such session file", str(self.path))
        if create:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not self.path.exists():
            raise missing
        try:
            self._lock.acquire()
        except OSError as exc:
            raise unusable(self.path, exc) or exc from exc
        if not self.path.exists():
            try:
                if not create:
                    raise missing
                files.create(self.path)
            except BaseException:
                self._lock.release()
                raise

    def _take_over(self, contents: Contents, *, fresh: bool, adopt: bool) -> bool:
        """Decide between memory and what was read."""
        key, known = contents.identity.key, self._key
        first = self._loaded is None
        if not first and key != known and not adopt:
            if fresh:
                self._lock.release()
            raise SessionReplaced(
                f"{self.path}: the file was given another login while it was closed; make a new client for it"
            )
        with self._guard:
            other = first or key != known or not (self.contents.marks or not fresh)
            if other:
                self.contents = contents
            self._key, self._inode, self._damaged = key, self._find(), None
            self._loaded = self._stamp()
        return other

    def touch(self) -> None:
        """Have the file written soon, if it differs from memory."""
        if self.contents.marks:
            self.writer.wake(self, self.waits.gather)

    def flush(self) -> "Future[None]":
        """Return a future that is done when all that differs now is durable."""
        future: Future[None] = Future()
        with self._guard:
            self._waiting.append(future)
        self.writer.wake(self)
        return future

    def close(self) -> "Future[None]":
        """Have everything written, the file closed and given up; return a future of it.

        When the file cannot be written, it stays owned, and is tried until it can or the process ends.
        """
        future: Future[None] = Future()
        if not self._lock.held:
            future.set_result(None)
            return future
        with self._guard:
            self._closing = True
            self._waiting.append(future)
        self.writer.wake(self)
        return future

    def delete(self) -> bool:
        """Delete the file; return whether it could be. Blocks for a moment."""
        with suppress(Exception):
            self.close().result(self.waits.retry)
        if self._lock.held:
            return False
        try:
            for suffix in ("-wal", "-shm", "-journal"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self.path.unlink()
        except OSError:
            return False
        return True

    # --- reading -----------------------------------------------------------------------------------------------------

    def _read(self) -> Contents:
        try:
            return self._load()
        except sqlite3.Error as exc:
            failure = database_failure(exc)
            if isinstance(failure, DatabaseCorrupt):
                raise self._set_aside(failure) from exc
            raise unusable(self.path, exc) or exc from exc

    def _load(self) -> Contents:
        """Read the file, which must be of the present schema; an older one is backed up and upgraded first."""
        with closing(files.connect(self.path, mode="rw", timeout=files.OPENING_SECONDS)) as database:
            database.execute("pragma query_only = on")  # what is no session stays as it is
            version = files.version_of(database, self.path)
            if version < files.VERSION:
                back_up(self.path, self.backups, name=self.name)
                database.execute("pragma query_only = off")
                files.upgrade(database, version)
            return files.load(database)

    def _find(self) -> tuple[int, int]:
        found = os.stat(self.path)
        return found.st_dev, found.st_ino

    def _stamp(self) -> files.StatStamp:
        return files.stat_stamp(self.path)

    # --- in a thread of the writer's ---------------------------------------------------------------------------------

    def visit(self) -> float | None:
        """Write what differs; see ``Visited``."""
        with self._guard:
            waiting, self._waiting = self._waiting, []
            contents, key = self.contents, self._key
        if self._damaged is not None:
            self._give_up(waiting)
            return None
        marks, changes = contents.take()
        if not changes.rows and not (self._closing and changes.entities):
            contents.give_back(marks)
            return self._rest(waiting)
        try:
            self._commit(changes, key)
        except (sqlite3.Error, OSError, SessionReplaced) as exc:
            contents.give_back(marks)
            with self._guard:
                self._waiting = [*waiting, *self._waiting]
            return self._failed(exc)
        self._used = time.monotonic()
        self._succeeded(changes.rows)
        return self._rest(waiting)

    def _commit(self, changes: Changes, key: bytes) -> None:
        database = self._connected()
        mine = (key,) if changes.identity is None else (key, changes.identity.key)
        if not files.write(database, changes, mine):
            raise SessionReplaced("the session file holds another login now, so nothing is written to it")
        with self._guard:
            if self._key == key:  # nobody took another login over meanwhile
                self._key = key if changes.identity is None else changes.identity.key
                self._loaded = self._stamp()

    def _connected(self) -> sqlite3.Connection:
        """Return a connection to the file that has the name now."""
        found = self._find()
        if self._database is not None and found == self._inode:
            return self._database
        self._disconnect()
        database = files.connect(self.path, mode="rw", timeout=0)
        try:
            with suppress(sqlite3.OperationalError):  # somebody is in the way: it is as good without, and tried again
                database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
        except BaseException:
            database.close()
            raise
        self._database = database
        _count_open(1)
        if found != self._inode:  # another copy of it was put there: it may lack what this one had
            self._inode = found
            self.contents.mark_rows()
        return database

    def _disconnect(self) -> None:
        if self._database is not None:
            database, self._database = self._database, None
            current = self._loaded == self._stamp()
            _count_open(-1)
            with suppress(sqlite3.Error):
                database.close()  # which moves what is in the log to where it belongs
            if current:
                self._loaded = self._stamp()

    def _rest(self, waiting: "list[Future[None]]") -> float | None:
        """There is nothing to write: close what is not needed, and tell who waited for it."""
        again: float | None = None
        idle = time.monotonic() - self._used
        if self._closing or idle >= self.waits.idle or _count_open(0) > MAX_OPEN:
            self._disconnect()
        elif self._database is not None:
            again = self.waits.idle - idle
        with self._guard:
            closing = self._closing and not self.contents.marks
            if closing:
                self._closing = False
                self._lock.release()
        if self.contents.marks:
            again = 0.0
        _resolve(waiting)
        return again

    def _failed(self, exc: Exception) -> float | None:
        """Say what is wrong if it is time to, and return when to try again."""
        failure = self._meaning(exc)
        if isinstance(failure, DatabaseCorrupt):
            self._disconnect()
            self._damaged = self._set_aside(failure)
            self.report(evolve(failure, detail=str(self._damaged)))
            with self._guard:
                waiting, self._waiting = self._waiting, []
            self._give_up(waiting)
            return None
        now = time.monotonic()
        locked = isinstance(failure, DatabaseLocked)
        if not locked:
            self._disconnect()  # another connection may do better
        if self._since is None:
            self._since, self._tries = now, 0
            self._tell_at = self.waits.told if locked else 0.0
        waited = now - self._since
        if waited >= self._tell_at:
            self._told = True
            self._tell_at = waited + min(max(waited, self.waits.told), self.waits.told_most)
            self.report(evolve(failure, waited=waited, unsaved=self.contents.marks.rows))
        self._tries += 1
        soon = min(0.02 * self._tries, 0.25)
        return soon if self._closing or (locked and waited < self.waits.busy) else self.waits.retry

    def _meaning(self, exc: Exception) -> DatabaseLocked | DatabaseUnavailable | DatabaseCorrupt:
        if isinstance(exc, FileNotFoundError):
            return DatabaseUnavailable(
                detail="the session file was deleted while it is in use; put it back, or restore a backup"
            )
        if isinstance(exc, SessionReplaced):
            return DatabaseUnavailable(detail=str(exc))
        if isinstance(exc, OSError):
            return DatabaseUnavailable(detail=f"the session file cannot be reached ({exc.strerror})")
        failure = database_failure(exc)
        if isinstance(failure, DatabaseLocked | DatabaseUnavailable | DatabaseCorrupt):
            return failure
        return DatabaseUnavailable(detail=f"the session file cannot be written ({type(exc).__name__}: {exc})")

    def _succeeded(self, rows: int) -> None:
        if self._since is not None:
            waited, self._since = time.monotonic() - self._since, None
            if self._told:
                self._told = False
                self.report(DatabaseRecovered(waited=waited, written=rows))

    def _set_aside(self, failure: DatabaseCorrupt) -> SessionDamaged:
        """Move the damaged file out of the way, and say where it is and what could take its place."""
        try:
            where = f"was set aside as {set_aside(self.path).name}"
        except OSError as exc:
            where = f"could not be set aside ({exc.strerror})"
        good = last_good(self.backups, self.name)
        backup = f"the last good backup is {good.path}" if good else "there is no backup, so log in again"
        return SessionDamaged(f"{self.path}: {failure.detail}; it {where}; {backup}")

    def _give_up(self, waiting: "list[Future[None]]") -> None:
        """Write no more: the file is damaged, and a person decides what takes its place."""
        self._disconnect()
        with self._guard:
            self._closing = False
            self._lock.release()
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(self._damaged)


def _resolve(waiting: "list[Future[None]]") -> None:
    for future in waiting:
        if future.set_running_or_notify_cancel():
            future.set_result(None)
