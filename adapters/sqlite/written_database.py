"""The file that a writer has open: written in one transaction at a time, and replaced when it was lost.

All of it is for the writer's thread.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field

from adapters.files import NoDatabaseFile
from adapters.sqlite.connect import open_database
from adapters.sqlite.errors import DatabaseUnusable, database_failure
from adapters.sqlite.integrity import is_intact
from adapters.sqlite.memory import Memory
from adapters.sqlite.names import NameNumbers
from adapters.sqlite.node_file import life_ended
from adapters.sqlite.open_file import LOG, MAX_LOG_BYTES, Loss, OpenFile, beside, identity
from adapters.sqlite.process_queue import ProcessQueue
from adapters.sqlite.queue import Row, Statement
from adapters.sqlite.rescue import Rescue, rescue
from adapters.sqlite.schema import schema_version
from adapters.sqlite.shared_rescue import companions_of, put_back
from states.events import DatabaseCorrupt, DatabaseUnavailable, Failure

_CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"
_FENCE = "SELECT 1 FROM nodes WHERE id = ? AND state <> 'dead'"
_LOST = "the database was deleted, moved or replaced while workers had it open"
_CHECK_SECONDS = 10.0
"""How long a check of the file may take that another part has found damaged; after that it is taken for damaged."""


@define(eq=False, kw_only=True)
class WrittenDatabase:
    """A database file with this process's place in its queue. It owns the connection, and closes it."""

    path: Path
    connection: sqlite3.Connection
    busy_timeout: float
    """Seconds that one call into SQLite may wait for a lock."""
    memory: Memory | None
    """What goes into a new file if this one is lost; None leaves a lost file alone."""
    on_rescue: Callable[[Rescue], None]
    """Called when a new file has taken the place of a lost one."""
    life: int = 0
    """The life of the node that writes, where several processes share the file; 0 where it is one engine's.

    Each transaction then begins with the question whether that life is over; a lost file is put back by one of them.
    """
    on_found_again: Callable[[Rescue | None], None] = lambda done: None
    """Called when a shared file that was lost was opened again; with what was done, if it was done here."""
    opened: OpenFile = field(init=False)
    """Whether the file is still the one that has the name."""
    _process_queue: ProcessQueue = field(init=False)
    _numbers: NameNumbers = field(init=False)
    _shared: tuple[int, int] | None = field(default=None, init=False)
    """Which file it is, where it is shared."""
    _companions: set[tuple[int, int]] = field(factory=set, init=False)
    """The files beside it, where it is shared."""

    def __attrs_post_init__(self) -> None:
        self._process_queue = ProcessQueue(self.path)
        self.opened = OpenFile(self.path, self.connection)

    def begin(self) -> None:
        """Set the connection up, and begin to watch the file."""
        self._numbers = NameNumbers(self.connection)
        self.connection.execute(f"PRAGMA busy_timeout = {int(self.busy_timeout * 1000)}")
        if self.life:
            self._shared = identity(self.path)
            self.connection.execute("PRAGMA wal_autocheckpoint = 0")  # see ``_move_log``
        self._watch()

    def find_failure(self, *, suspected: bool = False) -> Failure | None:
        """Look at the file, and make a new one if it was lost; return why that could not be done.

        If it is ``suspected`` to be damaged, its content is checked, too.
        """
        if self.life:
            return None if self._is_in_place() else self._find_again()
        self._watch()
        loss = self.opened.look()
        if loss is None and suspected and self.memory is not None:
            loss = None if self._seems_intact() else Loss.DAMAGED
        return None if loss is None else self._rescue(loss)

    def is_replaced_after(self, exc: Exception, failure: Failure) -> bool:
        """Return whether an error, which means ``failure``, was damage of the file, so that a new one is there now."""
        return _is_damage(exc, failure) and self.memory is not None and self._rescue(Loss.DAMAGED) is None

    def failure_of(self, exc: Exception) -> Failure | None:
        """Return the typed event for an error in writing; None if it means a bug."""
        return database_failure(exc) or self._missing_tables()

    def write(self, batch: Sequence[tuple[Statement, list[Row]]], gives_up: Callable[[], bool]) -> None:
        """Write one batch in one transaction, at this process's turn: all of it or, with an exception, nothing.

        ``gives_up`` ends the wait for the turn.
        """
        with self._process_queue.turn(gives_up):
            self._roll_back()  # what memory did not suffice for, the last time
            self.connection.execute("BEGIN IMMEDIATE")
            self._execute(batch)
            if self.life:
                self._move_log()
                return
        with contextlib.suppress(sqlite3.Error):  # the log is as durable as the file
            self.opened.move_log()

    def shrink_log(self) -> None:
        """Move the WAL into the file, if that is possible now: it is as durable as the file."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.execute(_CHECKPOINT)

    def close(self) -> None:
        """Close the connection, and leave the process queue."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        self.opened.close()
        self._process_queue.close()

    def _watch(self) -> None:
        if self.memory is not None:
            self.opened.begin()

    def _missing_tables(self) -> Failure | None:
        """Return what is wrong if another program has deleted tables; None if they are there."""
        try:
            if self.memory is not None:
                schema_version(self.connection, self.path)
        except DatabaseUnusable as exc:
            return exc.failure
        return None

    def _seems_intact(self) -> bool:
        try:
            return is_intact(self.connection, timeout=_CHECK_SECONDS) is True and self._missing_tables() is None
        except sqlite3.Error as exc:
            return not isinstance(database_failure(exc), DatabaseCorrupt)

    def _rescue(self, loss: Loss) -> Failure | None:
        assert self.memory is not None
        ours = self.opened.companions
        try:
            if loss.readable:  # a file that was moved away is whole without its log
                self.shrink_log()
            self.connection, done = rescue(self.path, self.connection, loss, self.memory.fill, ours)
        except DatabaseUnusable as exc:
            return exc.failure
        except OSError as exc:
            why = exc.strerror or type(exc).__name__
            return DatabaseUnavailable(detail=f"the database {loss.value}, and a new one cannot be made ({why})")
        except sqlite3.Error as exc:
            if (failure := database_failure(exc)) is None:
                raise
            return failure
        self.opened.close()
        self.opened = OpenFile(self.path, self.connection)
        self._process_queue.close()
        self._process_queue = ProcessQueue(self.path)
        self.begin()
        self.on_rescue(done)
        return None

    def _execute(self, batch: Sequence[tuple[Statement, list[Row]]]) -> None:
        """Run the statements of a batch and commit; roll back if one fails."""
        try:
            if self.life:
                self._check_life()
            mark = self.opened.propose_mark()
            if any(statement.names for statement, _ in batch):
                self._numbers.begin()
            for statement, rows in batch:
                statement.execute(self.connection, rows, self._numbers)
            self.connection.execute("COMMIT")
        except BaseException:
            self._numbers.clear()  # of names that were written with the batch
            with contextlib.suppress(sqlite3.Error, MemoryError):
                self._roll_back()
            raise
        if mark is not None:
            self.opened.note_mark(mark)

    def _check_life(self) -> None:
        """Raise ``LifeIsOver`` if the life of the writer is over; in the transaction, so that no death is between."""
        if not self._is_in_place():
            raise NoDatabaseFile(_LOST)
        if not self._companions:
            self._companions = companions_of(self.path)
        if self.connection.execute(_FENCE, (self.life,)).fetchone() is None:
            raise life_ended(self.path, self.life)

    def _find_again(self) -> Failure | None:
        """Open what is in the place of a lost file: all that was in it, if any worker could copy it."""
        try:
            done = put_back(self.path, self.connection, self._companions)
            lost, self.connection = self.connection, open_database(self.path)
            lost.close()
        except DatabaseUnusable as exc:
            return exc.failure
        except OSError as exc:
            return DatabaseUnavailable(detail=f"{_LOST}, and a copy cannot be made ({exc.strerror})")
        except sqlite3.Error as exc:
            if (failure := database_failure(exc)) is None:
                raise
            return failure
        self._companions = set()
        self.begin()
        self.on_found_again(done)
        return None

    def _is_in_place(self) -> bool:
        with contextlib.suppress(OSError):  # it cannot be told now
            return identity(self.path) == self._shared
        return True

    def _move_log(self) -> None:
        """Move a long log into the file, at this process's turn: the others write nothing meanwhile.

        Between their transactions a log would never be moved as a whole, and so would never end to grow.
        """
        with contextlib.suppress(sqlite3.Error, OSError):
            if os.stat(beside(self.path, LOG)).st_size >= MAX_LOG_BYTES:
                self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _roll_back(self) -> None:
        if self.connection.in_transaction:  # many errors of SQLite roll back by themselves
            self.connection.execute("ROLLBACK")


def _is_damage(exc: Exception, failure: Failure) -> bool:
    """Return whether no other try can do better: the file is damaged, or was cut short."""
    code = getattr(exc, "sqlite_errorcode", None)
    return isinstance(failure, DatabaseCorrupt) or code == sqlite3.SQLITE_IOERR_SHORT_READ
