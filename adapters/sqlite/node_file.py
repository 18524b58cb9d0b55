"""A connection to ``engine.db`` for the lease of a node, and which file it is that answers.

Beats, claims and deaths are short transactions with ``BEGIN IMMEDIATE``, so SQLite orders them as one writer after the
other: what row locks do in a server. They do not queue behind the rows of the journal (``process_queue.py``): they ask
for the lock again and again, and get it between two of the writers' transactions.

A file does not fail over. But it can be deleted, moved or replaced under those that have it open, and then another one
answers, which may know nothing of the claims of now. So each transaction looks whether the file still has its name, and
if not, goes on in the copy that one of the workers puts there (``shared_rescue.py``). Each answer names the file: by a
token that is drawn when one process has the file for itself, and by its place on the disk. Whether nobody can have a
claim that it does not know is noted beside it, so that no copy of the file says so.
"""

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread
from attrs import define, field

from adapters.files import check_database
from adapters.sqlite import schema
from adapters.sqlite.connect import open_database, open_existing, transaction
from adapters.sqlite.errors import DatabaseUnusable, StorageError, database_failure, translating_errors
from adapters.sqlite.open_file import identity
from adapters.sqlite.shared_rescue import companions_of, put_back
from adapters.system import forks
from states.events import DatabaseLocked, DatabaseUnavailable

if TYPE_CHECKING:
    from adapters.sqlite.repair import Repair

T = TypeVar("T")

TIMEOUT: Final = 2.0
"""Seconds that a transaction may wait for the lock of another program."""
_POLL_SECONDS: Final = 0.0005
_SETTLED: Final = "{}.settled"
"""The note beside the file: which one nobody can have a claim of that it does not know."""


class LifeIsOver(StorageError):
    """The life of a node has ended, so nothing that it writes is taken."""


class NameHeld(StorageError):
    """Another life of a node with this name is not over; ``beat`` is the last one that ``server`` has of it."""

    def __init__(self, sentence: str, *, life: int, beat: int, server: str) -> None:
        super().__init__(sentence)
        self.life, self.beat, self.server = life, beat, server


def life_ended(path: Path, life: int) -> LifeIsOver:
    """Return the error for a life that has ended."""
    return LifeIsOver(f"{path}: life {life} of this node has ended, so nothing that it writes is taken; it begins anew")


@define(eq=False)
class NodeFile:
    """One connection, for one caller at a time. Its calls run in worker threads, which may outlive their callers."""

    path: Path
    _db: sqlite3.Connection
    _file: tuple[int, int] | None
    _durable: bool
    _companions: set[tuple[int, int]] = field(factory=set, init=False)
    """The files beside it."""
    _busy: threading.Lock = field(factory=threading.Lock, init=False)
    _limiter: anyio.CapacityLimiter | None = field(default=None, init=False)
    """A thread of its own: no beat waits behind what other threads do."""
    _closed: bool = field(default=False, init=False)

    @classmethod
    def open(cls, path: Path, *, durable: bool = False) -> "NodeFile":
        """Open a file that is there, with the schema of now. Blocks. Raises ``DatabaseUnusable``.

        ``durable`` says that what is written outlives the machine: beats need not, as those that sent them do not.
        """
        with translating_errors(path, (sqlite3.Error, OSError)):
            return cls(path, *_opened(path, durable), durable)

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` does in one transaction. Raises ``DatabaseUnusable``, and whatever ``work`` raises.

        A caller that is cancelled does not wait; the transaction may still be carried out.
        """
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(self.run, work, abandon_on_cancel=True, limiter=self._limiter)

    async def read(self, look: Callable[[], T]) -> T:
        """Return what ``look`` returns, over a connection of its own; in a thread."""
        return await anyio.to_thread.run_sync(look)

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the same in this thread."""
        with self._busy:
            try:
                if self._closed:
                    raise self.unusable("the connection is closed")
                with translating_errors(self.path, (sqlite3.Error, OSError)):
                    return self._run(work)
            finally:
                if self._closed:
                    self._db.close()

    @property
    def server(self) -> str:
        """Which file answers; to be asked in a transaction."""
        token = self._db.execute("SELECT token FROM node_server").fetchone()
        return f"{token[0] if token else ''} {self._file}"

    @property
    def is_settled(self) -> bool:
        """Whether nobody can have a claim that this file does not know; to be asked in a transaction."""
        with suppress(OSError):
            return _note_of(self.path).read_text(encoding="utf-8") == self.server
        return False

    def note_settled(self) -> None:
        """Note that; to be called in a transaction. A note that cannot be written is written by another one."""
        with suppress(OSError):
            _write_note(self.path, self.server)

    def move_log(self) -> None:
        """Move the log into the file, as far as that is possible now. Blocks."""
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def close(self) -> None:
        """Close the connection as soon as nothing is under way on it; does not wait."""
        self._closed = True
        if self._busy.acquire(blocking=False):
            try:
                self._db.close()
            finally:
                self._busy.release()

    def unusable(self, why: str) -> DatabaseUnusable:
        """Return the error for a file that cannot be used."""
        return DatabaseUnusable(f"{self.path}: {why}", DatabaseUnavailable(detail=why))

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if identity(self.path) != self._file:
            self._find_again()
        try:
            with self._transaction():
                return work(self._db)
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:
                raise
        # A full disk: what the log has is moved into the file, which makes room in the log for a beat.
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        with self._transaction():
            return work(self._db)

    def _find_again(self) -> None:
        """Open what is in the place of a lost file: all that was in it, if any worker could copy it."""
        put_back(self.path, self._db, self._companions)
        lost = self._db
        self._db, self._file = _opened(self.path, self._durable)
        lost.close()
        self._companions = set()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._begin()
        try:
            if identity(self.path) != self._file:
                raise self.unusable("the database was deleted, moved or replaced while workers had it open")
            if not self._companions:
                self._companions = companions_of(self.path)
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _begin(self) -> None:
        give_up = time.monotonic() + TIMEOUT
        while True:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as exc:
                if not isinstance(database_failure(exc), DatabaseLocked) or time.monotonic() >= give_up:
                    raise
                time.sleep(_POLL_SECONDS)


def _opened(path: Path, durable: bool) -> tuple[sqlite3.Connection, tuple[int, int] | None]:
    """Open a file that is there; return which one it is, too. Raises ``OSError`` and ``sqlite3`` errors."""
    forks.withhold_database(path)
    check_database(path, follow=False)
    found = identity(path)
    db = open_existing(path, "rw", TIMEOUT)  # whoever closes it last has it alone while the log is moved into it
    try:
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        db.execute("PRAGMA wal_autocheckpoint = 0")  # the journal's writers do that
        db.execute("PRAGMA busy_timeout = 0")  # from now on ``_begin`` waits
    except BaseException:
        db.close()
        raise
    return db, found


def make_file(path: Path, *, repairs: bool = False) -> list["Repair"]:
    """Have the file there, with the schema of now. Blocks. Raises ``StorageError``.

    With ``repairs``, for one process that has it for itself, snapshots that cannot be read are made anew, and returned.
    """
    with translating_errors(path):
        schema.check_owner(path)
        db = open_database(path)
        try:
            schema.migrate(db, path)
            if not repairs:
                return []
            from adapters.sqlite.repair import repair_snapshots  # noqa: PLC0415 - it needs the whole law

            return repair_snapshots(db, path)
        finally:
            db.close()


def take_over(path: Path) -> list["Repair"]:
    """End all lives that the file has, for one process that has it for itself. Blocks.

    The caller holds the locks of the directory, and knows that no process of these lives is there any more: their
    accounts are free at once. Returns which snapshots could not be read and were made anew. Raises ``StorageError``.
    """
    repairs = make_file(path, repairs=True)
    file = NodeFile.open(path)
    try:

        def work(db: sqlite3.Connection) -> None:
            _end_lives(db)
            db.execute("INSERT OR REPLACE INTO node_server VALUES (1, ?)", (secrets.token_hex(16),))
            db.execute(f"PRAGMA application_id = {secrets.randbits(31) | 1}")  # see ``header_watch.py``
            file.note_settled()

        file.run(work)
        file.move_log()
        return repairs
    finally:
        file.close()


def end_lives(db: sqlite3.Connection) -> None:
    """End the lives that the file has, for an engine that has it for itself again. Raises ``sqlite3`` errors."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'nodes'").fetchone() is None:
        return  # an older version of the program has opened it
    if db.execute("SELECT 1 FROM nodes WHERE state <> 'dead' LIMIT 1").fetchone() is not None:
        with transaction(db):
            _end_lives(db)


def _end_lives(db: sqlite3.Connection) -> None:
    db.execute("UPDATE node_accounts SET owner = NULL WHERE owner IS NOT NULL")
    db.execute(
        "UPDATE nodes SET state = 'dead', ended = ?, ended_why = 'its process is gone' WHERE state <> 'dead'",
        (time.time(),),
    )
    db.execute("UPDATE nodes SET freed = 1 WHERE freed = 0")


def _note_of(path: Path) -> Path:
    return Path(_SETTLED.format(path))


def _write_note(path: Path, text: str) -> None:
    fresh = Path(f"{_note_of(path)}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(_note_of(path))
