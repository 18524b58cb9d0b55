"""One session file in use: its owner, its unwritten rows, and how a thread writes it, visit by visit."""

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field

from adapters.session import file as files
from adapters.session.backup import COMPANIONS, moved_away
from adapters.session.contents import Changes, Contents
from adapters.session.errors import (
    NotASession,
    SessionDamaged,
    SessionNotSaved,
    SessionReplaced,
    SessionTaken,
)
from adapters.session.failures import (
    UNWRITABLE,
    FailureReports,
    LiveFileTimeouts,
    SessionObserver,
    classify_write_error,
)
from adapters.session.loading import SessionLoader
from adapters.session.owner import OwnerLock
from adapters.session.recall import read_from_file
from adapters.session.schema import check_is_file
from adapters.session.writer import WriteBehind, shared
from adapters.sqlite.errors import DatabaseUnusable, database_failure, unusable
from states.events import DatabaseCorrupt, DatabaseLocked, DatabaseUnavailable

READ_ONLY: Final = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What a read-only mount, and a directory or a file without the right to write, answer."""
WRITE_ERRORS: Final = (sqlite3.Error, OSError, MemoryError, NotASession, SessionReplaced)
"""What a commit may meet outside this program; anything else is a bug."""
MAX_ROWS: Final = 10_000
"""Rows that may wait to be written before an answer with more of them is held up."""
MAX_OPEN: Final = 64
"""Files that stay open between two commits."""
_NOT_OPEN: Final = "the session is not open here, so its new login is not saved; see what holds the file"

_open = 0
_open_lock = threading.Lock()


def _count_open(change: int) -> int:
    global _open  # noqa: PLW0603  # of the process, as descriptors are
    with _open_lock:
        _open += change
        return _open


@define(eq=False)
class LiveFile:
    """A session file that this process owns. Change ``contents``, then call ``touch`` or ``flush``.

    ``backups`` is where a copy goes before the file is upgraded, and where the last good one is looked for.
    """

    path: Path
    backups: Path
    name: str
    report: SessionObserver
    timeouts: LiveFileTimeouts = field(factory=LiveFileTimeouts)
    writer: WriteBehind = shared
    contents: Contents = field(factory=Contents, init=False)
    _lock: OwnerLock = field(init=False)
    _key: bytes = field(default=b"", init=False, repr=False)
    _inode: tuple[int, int] | None = field(default=None, init=False)
    _stamp: files.StatStamp | None = field(default=None, init=False)
    """The stamp of the file when memory and file were last known to agree."""
    _database: sqlite3.Connection | None = field(default=None, init=False)
    _log_asked: bool = field(default=False, init=False)
    """Whether this connection has turned the write-ahead log on, as far as the file's disk supports one."""
    _used_at: float = field(default=0.0, init=False)
    _guard: threading.Lock = field(factory=threading.Lock, init=False)
    """Held for moments: the loop takes it at each change."""
    _using: threading.Lock = field(factory=threading.Lock, init=False)
    """Held by who reads or writes the file, so that memory is never replaced by what was read before a commit."""
    _waiting: "list[Future[None]]" = field(factory=list, init=False)
    _closing: bool = field(default=False, init=False)
    _damaged: SessionDamaged | None = field(default=None, init=False)
    _unlocked: bool = field(default=False, init=False)
    """Whether the file is used without a lock, because its directory is read-only."""
    _failures: FailureReports = field(init=False)

    @_lock.default
    def _make_lock(self) -> OwnerLock:
        return OwnerLock(self.path)

    @_failures.default
    def _make_failures(self) -> FailureReports:
        return FailureReports(self.report, self.timeouts)

    @property
    def _loader(self) -> SessionLoader:
        return SessionLoader(self.path, self.backups, self.name)

    # --- for the program ---------------------------------------------------------------------------------------------

    @property
    def where(self) -> Path:
        """The file."""
        return self.path

    @property
    def owned(self) -> bool:
        """Whether this process owns the file now."""
        return self._lock.held or self._unlocked

    @property
    def unsaved(self) -> bool:
        """Whether something waits to be written."""
        return self._damaged is None and (bool(self.contents.dirty) or self._closing)

    @property
    def is_current(self) -> bool:
        """Whether this process owns the file and no other program has written to it. Reads directories only."""
        return self.owned and self.agrees

    @property
    def agrees(self) -> bool:
        """Whether no other program has written to the file since it was last read or written here."""
        return self._stamp == files.stat_stamp(self.path)

    def open(self, *, create: bool, adopt: bool = False) -> bool:
        """Own the file, and read it unless memory agrees with it; return whether memory was replaced. Blocks.

        A file that holds another login than memory does is read if ``adopt``, and unwritten changes of the old login
        are forgotten. Raises ``SessionError`` (``SessionReplaced`` unless ``adopt``; ``SessionTaken`` for a file whose
        login was moved into a database, unless it is to be created), ``DatabaseUnusable``, and
        ``FileNotFoundError`` if the file is missing and is not to be created.
        """
        if not self._using.acquire(timeout=files.OPEN_TIMEOUT):
            detail = "a write to the file does not end"
            raise DatabaseUnusable(f"{self.path}: {detail}; check the disk", DatabaseUnavailable(detail=detail))
        try:
            return self._open(create=create, adopt=adopt)
        finally:
            self._using.release()

    def _open(self, *, create: bool, adopt: bool) -> bool:
        with self._guard:
            self._closing = False
        fresh = not self.owned
        if fresh:
            self._own(create=create)
        try:
            if self._stamp == files.stat_stamp(self.path):
                return False
            contents, stamp = self._loader.load(writable=not self._unlocked)
        except BaseException:
            if fresh:
                self._release()
            raise
        return self._take_over(contents, stamp, fresh=fresh, adopt=adopt)

    def _own(self, *, create: bool) -> None:
        missing = FileNotFoundError(2, "there is no such session file", str(self.path))
        try:
            if create:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not create and not self.path.exists():
                if (moved := moved_away(self.path)) is not None:  # a new login would be a second one
                    raise SessionTaken(f"{self.path}: {moved}")
                raise missing
            check_is_file(self.path)
            self._lock.acquire()
        except FileNotFoundError:
            raise
        except OSError as exc:
            if exc.errno not in READ_ONLY or not self.path.exists():
                raise unusable(self.path, exc) or exc from exc
            self._unlocked = True  # where no lock file can be made, nobody else can write either
        if not self.path.exists():
            try:
                if not create:
                    raise missing
                files.create(self.path)
                self._lock.lock_data()
            except BaseException:
                self._release()
                raise

    def _release(self) -> None:
        self._unlocked = False
        self._lock.release()

    def _take_over(self, contents: Contents, stamp: files.StatStamp, *, fresh: bool, adopt: bool) -> bool:
        """Decide between memory and what a file of this stamp held; return whether memory was replaced."""
        key, known = contents.identity.key, self._key
        first = self._stamp is None
        if not first and key != known and not adopt:
            if fresh:
                self._release()
            raise SessionReplaced(
                f"{self.path}: the file was given another login while it was closed; make a new client for it"
            )
        with self._guard:
            other = first or key != known or not (self.contents.dirty or not fresh)
            if other:
                self.contents = contents
            self._key, self._inode, self._damaged = key, files.inode_of(stamp), None
            self._stamp = stamp
        return other

    def touch(self) -> bool:
        """Have the file written soon, if it differs from memory; return False, and do nothing, if it is not owned.

        Whoever closes the file sees a change that was made before this call: it is written first.
        """
        with self._guard:
            if not self.owned:
                return False
        if self.contents.dirty:
            self.writer.wake(self, self.timeouts.gather)
        return True

    def flush(self) -> "Future[None]":
        """Return a future that is done when all that differs now is durable."""
        future: Future[None] = Future()
        with self._guard:
            self._waiting.append(future)
        self.writer.wake(self)
        return future

    def close(self) -> "Future[None]":
        """Have everything written, the file closed and its lock released; return a future of it.

        A file that cannot be written stays owned, and is tried again until it is written or the process ends.
        """
        future: Future[None] = Future()
        if not self.owned:
            future.set_result(None)
            return future
        with self._guard:
            self._closing = True
            self._waiting.append(future)
        self.writer.wake(self)
        return future

    def delete(self) -> bool:
        """Delete the file; return whether that succeeded. Blocks for a moment."""
        with suppress(Exception):
            self.close().result(self.timeouts.retry)
        if self.owned:
            return False
        try:
            for suffix in COMPANIONS:
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self.path.unlink()
        except OSError:
            return False
        return True

    def read_entities(
        self, column: int, values: Sequence[Any], known: Container[int], timeout: float
    ) -> list[tuple[Any, ...]]:
        """Return the entities that decide about these values; see ``SessionStore``."""
        return read_from_file(self, column, values, known, timeout)

    # --- reading -----------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self, timeout: float) -> Iterator[sqlite3.Connection]:
        """Lend a connection for a look at the file, from any thread; waits at most so long for this program's writes.

        Raises ``sqlite3`` errors, ``OSError``, and ``SessionError`` if the file is damaged or of another login.
        """
        if self._damaged is not None:
            raise self._damaged
        if not self._using.acquire(blocking=False):
            if (
                self._database is not None
            ):  # a write is under way: memory has its rows, and it keeps nobody from reading
                current = self.agrees
                with self._open_another() as database:
                    yield database
                self._keep_stamp(current)
                return
            if not self._using.acquire(timeout=timeout):
                raise TimeoutError(errno.ETIMEDOUT, "a write to the file does not end")
        fresh = self._database is None
        try:
            with self._lend() as database:
                yield database
        except sqlite3.DatabaseError as exc:
            if isinstance(database_failure(exc), DatabaseCorrupt) and self.owned:
                self._fail_visit(exc)
                raise self._damaged or exc from exc
            raise
        finally:
            self._using.release()
            if fresh and self._database is not None:
                self.writer.wake(self, self.timeouts.idle)  # which closes it

    @contextmanager
    def _lend(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection of the file that this process owns, or another one to a file that was closed."""
        if not self.owned:
            with self._open_another() as database:
                yield database
            return
        current, fresh = self.agrees, self._database is None
        database = self._connect()
        if fresh or not current:
            self._check_login(database)
        self._used_at = time.monotonic()
        yield database
        self._keep_stamp(fresh and current)

    def _keep_stamp(self, current: bool) -> None:
        """Note that memory and file still agree if they did before a look, which may touch the log beside the file."""
        if current:
            with self._guard:
                self._note_stamp()

    @contextmanager
    def _open_another(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection of its own."""
        with closing(files.open_quietly(self.path, timeout=0)) as database:
            self._check_login(database)
            yield database

    def _check_login(self, database: sqlite3.Connection) -> None:
        if files.load_identity(database).key not in (self._key, self.contents.identity.key):
            raise SessionReplaced(f"{self.path}: the file holds another login now, so nothing of it is used")

    def _find_inode(self) -> tuple[int, int]:
        found = os.stat(self.path)
        return found.st_dev, found.st_ino

    # --- in a thread of the writer's ---------------------------------------------------------------------------------

    def visit(self) -> float | None:
        """Write what differs; see ``WrittenFile``."""
        with self._using:
            return self._visit()

    def _visit(self) -> float | None:
        with self._guard:
            waiting, self._waiting = self._waiting, []
            contents, key = self.contents, self._key
        if self._damaged is not None:
            self._abandon(waiting)
            return None
        if not self.owned:  # it was closed since this visit was asked for, with all that was to be written
            unsaved = contents.identity_unsaved  # unless it could not be opened again for a new login
            self._resolve(waiting, SessionNotSaved(f"{self.path}: {_NOT_OPEN}") if unsaved else None)
            return None
        with_dates = self._closing and contents.dates_decide()
        dirty, changes = contents.take()
        if not changes.rows and not with_dates:
            contents.give_back(dirty)
            return self._finish_visit(waiting)
        try:
            self._commit(changes, key)
        except Exception as exc:
            contents.give_back(dirty)
            with self._guard:
                self._waiting = [*waiting, *self._waiting]
            if isinstance(exc, WRITE_ERRORS):
                return self._fail_visit(exc)
            raise  # the writer reports the bug, and visits the file again
        contents.confirm()
        self._used_at = time.monotonic()
        self._failures.clear(changes.rows)
        return self._finish_visit(waiting)

    def _commit(self, changes: Changes, key: bytes) -> None:
        database = self._connect()
        expected = (key,) if changes.identity is None else (key, changes.identity.key)
        if not files.write(database, changes, expected):
            raise SessionReplaced("the session file holds another login now, so nothing is written to it")
        with self._guard:
            if self._key == key:  # otherwise the program has adopted another login meanwhile
                self._key = key if changes.identity is None else changes.identity.key
                self._note_stamp()

    def _connect(self) -> sqlite3.Connection:
        """Return a connection to the file that has the name now."""
        found = self._find_inode()
        if self._database is not None and found == self._inode:
            self._enable_log(self._database)
            return self._database
        self._disconnect()
        database = files.connect(self.path, mode="rw", timeout=0)
        try:
            self._enable_log(database)
            database.execute("pragma synchronous = full")
        except BaseException:
            database.close()
            raise
        self._database = database
        _count_open(1)
        if found != self._inode:  # another copy took the file's place: it may lack rows that the old one had
            self._inode = found
            self.contents.mark_rows_dirty()
        return database

    def _enable_log(self, database: sqlite3.Connection) -> None:
        """Turn the write-ahead log on. Under another program's lock it works without, and the next visit tries."""
        if not self._log_asked:
            with suppress(sqlite3.OperationalError):
                database.execute("pragma journal_mode = wal")
                self._log_asked = True

    def _disconnect(self) -> None:
        self._log_asked = False
        if self._database is not None:
            database, self._database = self._database, None
            current = self._stamp == files.stat_stamp(self.path)
            _count_open(-1)
            with suppress(sqlite3.Error):
                database.close()  # which moves the rows in the log into the file
            if current:
                self._note_stamp()

    def _note_stamp(self) -> None:
        """Note that the file is as memory is; not if another one has taken its place in this moment."""
        stamp = files.stat_stamp(self.path)
        if files.inode_of(stamp) == self._inode:
            self._stamp = stamp

    def _finish_visit(self, waiting: "list[Future[None]]") -> float | None:
        """Close what is not needed once everything is written, and resolve ``waiting``; return when to come again."""
        again: float | None = None
        closing = self._closing  # who asks for it after this look has the file visited again
        now, idle_at = time.monotonic(), self._used_at + self.timeouts.idle
        if closing or now >= idle_at or _count_open(0) > MAX_OPEN:
            self._disconnect()
        elif self._database is not None:
            again = idle_at - now
        with self._guard:
            if closing and self._closing and not self.contents.dirty:
                self._closing = False
                self._release()
        if self.contents.dirty:
            again = 0.0
        self._resolve(waiting)
        return again

    def _resolve(self, waiting: "list[Future[None]]", error: SessionNotSaved | None = None) -> None:
        for future in waiting:
            if not future.set_running_or_notify_cancel():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _fail_visit(self, exc: Exception) -> float | None:
        """Report what is wrong if it is time to, and return in how many seconds to try again."""
        failure = classify_write_error(exc)
        if self._unlocked and isinstance(failure, DatabaseUnavailable):
            failure = evolve(failure, detail=UNWRITABLE)  # SQLite only says that it cannot open something
        if isinstance(failure, DatabaseCorrupt):
            self._disconnect()
            self._damaged = self._loader.set_aside(failure)
            self.report(evolve(failure, detail=str(self._damaged)))
            with self._guard:
                waiting, self._waiting = self._waiting, []
            self._abandon(waiting)
            return None
        if not isinstance(failure, DatabaseLocked):
            self._disconnect()  # another connection may do better
        return self._failures.add(failure, unsaved=self.contents.dirty.rows, in_haste=self._closing)

    def _abandon(self, waiting: "list[Future[None]]") -> None:
        """Write no more: the file is damaged, and the operator decides what takes its place."""
        self._disconnect()
        with self._guard:
            self._closing = False
            self._release()
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(self._damaged)
