"""Durable jobs in ``engine.db``: the engine's side (``JobStore``) and the commands' side (``add``, ``change``).

The engine writes through the journal's writer, so that a job's state, its results and its checkpoint become durable in
one transaction and in order. A command writes in a transaction of its own, and then tells the engine, if one runs, to
read the jobs again.
"""

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import anyio
import anyio.to_thread
from attrs import define, field, frozen

from adapters.redaction import redacted
from adapters.sqlite import job_schema, ledger_schema, schema
from adapters.sqlite.connect import open_database, open_read_only, read_rows, transaction
from adapters.sqlite.errors import (
    DatabaseUnusable,
    FileReplaced,
    JournalMissing,
    Undecodable,
    naming_file,
    translating_errors,
)
from adapters.sqlite.job_codec import MAX_TIME, encode_value, is_legible, job_from, job_row, legible
from adapters.sqlite.job_reader import counts_of, find
from adapters.sqlite.messages import Stored, rows_of
from adapters.sqlite.open_file import identity
from adapters.sqlite.process_queue import ProcessQueue
from adapters.sqlite.queue import Statement
from adapters.sqlite.writer import GroupWriter
from states.events import DatabaseCorrupt
from states.jobs import Job, JobEvent, decide

T = TypeVar("T")
TURN_TIMEOUT = 30.0
"""Seconds that a command waits for its turn to write."""


@frozen(kw_only=True)
class NewJob:
    """A job to be added; ``account`` None means any account, ``due`` (Unix seconds) None means at once.

    ``wait`` is the length of the wait that ends at ``due``, None if that is a time of day which was chosen.
    """

    kind: str
    data: dict[str, Any]
    account: str | None = None
    priority: int = 0
    due: float | None = None
    wait: float | None = None


@frozen(kw_only=True)
class ReadHistory:
    """The messages of a chat that a job has read: all after ``after`` that there were ``at`` this time."""

    chat: int
    after: int
    at: float
    """Unix seconds."""
    from_at: float | None = None
    """The date from which on it was read; None if it was by number."""
    user: int = 0
    """Whose chat it is; 0 where all members see a message under one number."""


@define(eq=False)
class JobStore:
    """The jobs of a running engine. Reads in a worker thread, writes through ``writer``."""

    claims: ClassVar[int | None] = None
    """No other engine reads the jobs of this file."""
    path: Path
    writer: GroupWriter
    _reader: sqlite3.Connection | None = field(default=None, init=False)
    _reader_of: int = field(default=0, init=False)
    """Which of the writer's files the reader has open, see ``GroupWriter.replaced``."""
    _reading: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def recover(self, why: str) -> None:
        """Put the jobs back into the queue that ran when the last engine ended."""
        await self.writer.write(job_schema.RECOVER, (why,))

    def _remember(self, job: Job) -> None:
        if self.writer.memory is not None:
            self.writer.memory.keep(job)

    async def save(self, job: Job) -> None:
        """Store the state of a job; durable a moment later, see ``flush``."""
        self._remember(job)
        await self.writer.write_together(self._rows_of(job))

    def _rows_of(self, job: Job) -> list[tuple[Statement, Sequence[Any]]]:
        return [(job_schema.JOB, job_row(job))]

    async def keep_trace(self, job: int, trace: str) -> None:
        """Store the traceback of a job's last failure, in the place of the one before."""
        await self.writer.write(job_schema.TRACE, (job, legible(redacted(trace))))

    async def keep(
        self,
        job: Job,
        messages: Sequence[Stored] = (),
        results: Sequence[Any] = (),
        history: ReadHistory | None = None,
    ) -> None:
        """Store the state of a job together with messages, deletions and results, in one transaction.

        ``results`` are the last of the job's; ``history`` is what it has read to the end. Raises ``TypeError`` or
        ``ValueError`` for a value that JSON does not have.
        """
        self._remember(job)
        first = job.results - len(results) + 1
        found = [
            *rows_of(messages, job.id),
            *(
                (job_schema.RESULT, (job.id, number, encode_value(value)))
                for number, value in enumerate(results, first)
            ),
        ]
        if history is not None:
            fill = (history.user, history.chat, f"job {job.id}", history.after, None, history.at, history.from_at)
            found.append((ledger_schema.FILL, fill))
        await self.writer.write_together([*found, *self._rows_of(job)])

    async def charge(self, job: Job, account: str, until: float, length: float) -> None:
        """Charge the budget of the job's kind and ``account`` until then, ``length`` s in all; the job has paid.

        Both are durable when this returns, or neither: a kill between the two would charge the job twice.
        """
        self._remember(job)
        await self.writer.write_together([self._charge_of(job, account, until, length), *self._rows_of(job)])
        await self.writer.flush()

    def _charge_of(self, job: Job, account: str, until: float, length: float) -> tuple[Statement, Sequence[Any]]:
        return job_schema.CHARGE, (job.id, until, job.kind, account, length)

    async def charges(self, now: float) -> list[tuple[str, str, float, float | None]]:
        """Return the charges that still count: kind, account, until when, how long; delete those that are over."""
        await self.writer.write(job_schema.FORGIVE, (now,))
        query = "SELECT kind, account, until, length FROM job_charges WHERE until >= ?"
        rows = await self._read(lambda db: read_rows(db, query, (now,)))
        return [row for row in rows if _is_charge(*row)]

    async def move_waits(self, shift: float, now: float) -> None:
        """Move all waits with a clock that was set by ``shift`` s; let none last longer than its length from ``now``.

        Those whose end is a time that the operator chose stay.
        """
        await self.writer.write_together(
            [(job_schema.MOVE_JOBS, (shift, now)), (job_schema.MOVE_CHARGES, (shift, now))]
        )
        await self.writer.flush()

    async def wake_due(self, now: float) -> None:
        """Make the jobs ready whose time has come."""
        await self.writer.write(job_schema.DUE, (now,))

    async def held_by(self) -> set[str]:
        """Return the accounts with which jobs stay because of a limit."""
        return await self._read(lambda db: {name for (name,) in read_rows(db, job_schema.SELECT_HELD)})

    async def waiting_held(self, now: float) -> list[Job]:
        """Return the jobs that wait, with an account, for the end of its flood wait or limit."""
        rows = await self._read(lambda db: read_rows(db, job_schema.SELECT_WAITING_HELD, (now,)))
        found = []
        for row in rows:
            with suppress(Undecodable):  # named when it is read to begin
                found.append(job_from(row))
        return found

    async def release_waiting(self, account: str, details: tuple[str, str]) -> None:
        """Make the jobs of an account ready that wait for what these details name."""
        await self.writer.write(job_schema.RELEASE_WAITING, (account, *details))
        await self.writer.flush()

    async def release_held(self, account: str, now: float) -> None:
        """Let any account do the jobs that stay with this one because of a limit, and whose wait is over."""
        await self.writer.write(job_schema.RELEASE_HELD, (account, now))

    async def flush(self) -> None:
        """Return when everything written before is durable, and so can be read."""
        await self.writer.flush()

    async def queues(self) -> list[tuple[str, str | None]]:
        """Return each (kind, account) that has ready jobs."""
        return await self._read(lambda db: list(_queues(db)))

    async def next_due(self) -> float | None:
        """Return when the next waiting job is due."""
        return await self._read(_next_due)

    async def ready(self, kind: str, account: str | None, limit: int) -> list[Job]:
        """Return the first ``limit`` jobs of this queue; call ``flush`` before, or some of them have begun already."""
        values = (kind, account or "", limit)
        rows = await self._read(lambda db: read_rows(db, job_schema.SELECT_READY, values))
        return await self._jobs_from(rows)

    async def _jobs_from(self, rows: Iterable[tuple[Any, ...]]) -> list[Job]:
        """Return the jobs of rows that may begin."""
        jobs = []
        for row in rows:
            try:
                jobs.append(job_from(row))
            except Undecodable as exc:
                # It would be read first each time, and keep all jobs behind it from beginning.
                await self.writer.write(job_schema.UNREADABLE, (row[0], str(exc), time.time()))
        for job in jobs:
            self._remember(job)
        return jobs

    async def give_back(self, busy: Collection[int]) -> None:
        """Do nothing: no other engine has this file."""

    async def take_place(self, job: Job, at_once: int) -> bool:
        """Return True: the engine itself counts its running jobs."""
        return True

    async def ended(self, ids: Sequence[int]) -> set[int]:
        """Return which of these jobs the operator has cancelled."""
        # One JSON value: there may be more jobs than a statement can have parameters.
        query = "SELECT id FROM jobs WHERE state = 'cancelled' AND id IN (SELECT value FROM json_each(?))"
        values = (encode_value(list(ids)),)
        over = await self._read(lambda db: {row[0] for row in db.execute(query, values)})
        if self.writer.memory is not None:
            for number in over:
                self.writer.memory.jobs.pop(number, None)
        return over

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many jobs there are, by kind and state."""
        return await self._read(counts_of)

    async def oldest_ready(self) -> float | None:
        """Return when the oldest of the jobs that could begin was added; None if there is none among the first."""
        rows = await self._read(lambda db: read_rows(db, job_schema.OLDEST_READY))
        return next((float(added) for (added,) in rows if isinstance(added, int | float)), None)

    async def add(self, jobs: Iterable[NewJob]) -> range:
        """Add jobs; return their numbers when they are durable."""
        rows = list(jobs)
        # Past the process queue: this process has a place there already, which its writer uses.
        return await anyio.to_thread.run_sync(lambda: add(self.path, rows, queues=False))

    async def prune(self, before: float) -> int:
        """Delete the oldest jobs that were done or cancelled before ``before`` (Unix seconds), at most a few hundred.

        Returns how many, durably; 0 when there is nothing more to delete. The messages that they collected stay.
        """
        old: int = await self._read(lambda db: db.execute(job_schema.COUNT_OLD, (before,)).fetchone()[0])
        if old:
            await self.writer.write(job_schema.PRUNE_JOBS, (before,))
            await self.writer.flush()
        return old

    async def is_waiting_for(self, job: NewJob) -> bool:
        """Return whether an equal job is queued or running."""
        query = (
            "SELECT 1 FROM jobs WHERE state IN ('queued', 'running') AND kind = ? AND account = ? AND data = ? LIMIT 1"
        )
        values = (job.kind, job.account or "", encode_value(job.data))
        return await self._read(lambda db: db.execute(query, values).fetchone() is not None)

    async def job(self, number: int) -> Job | None:
        """Return a job as the file has it, None if there is none."""
        await self.writer.flush()
        return await self._read(lambda db: find(db, number))

    async def aclose(self) -> None:
        """Close the reader."""
        async with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query in a worker thread, one at a time."""

        def run() -> T:
            with translating_errors(self.path), naming_file(self.path):
                if self._reader is not None and self._reader_of != self.writer.replaced:
                    self._reader.close()
                    self._reader = None
                if self._reader is None:
                    self._reader, self._reader_of = open_read_only(self.path), self.writer.replaced
                return query(self._reader)

        def checked() -> T:
            try:
                return run()
            except DatabaseUnusable as exc:
                if isinstance(exc.failure, DatabaseCorrupt):
                    self.writer.suspect()
                raise

        async with self._reading:
            return await anyio.to_thread.run_sync(checked)


def _queues(db: sqlite3.Connection) -> Iterator[tuple[str, str | None]]:
    """Yield the queues with ready jobs; jobs whose kind or account was spoilt are in none."""
    kind: Any = ""
    account: Any = ""
    while True:
        rows = _next(db, job_schema.NEXT_ACCOUNT, kind, account) or _next(db, job_schema.NEXT_KIND, kind)
        if not rows:
            return
        kind, account = rows[0]
        if is_legible(kind) and is_legible(account):
            yield kind, account or None


def _next(db: sqlite3.Connection, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Read what comes after these values; each of them may be a text that is not UTF-8, which must go back as such."""
    first, *parts = query.split("?")
    for value, part in zip(values, parts, strict=True):
        first += ("CAST(? AS TEXT)" if _is_odd(value) else "?") + part
    odd = [value.encode("utf-8", "surrogateescape") if _is_odd(value) else value for value in values]
    return read_rows(db, first, odd)


def _next_due(db: sqlite3.Connection) -> float | None:
    due = read_rows(db, job_schema.NEXT_DUE)[0][0]
    return due if isinstance(due, int | float) else None  # else its row is spoilt


def _is_charge(kind: Any, account: Any, until: Any, length: Any) -> bool:
    """Return whether a row can have been written by an engine."""
    times = isinstance(until, int | float) and (length is None or isinstance(length, int | float))
    return times and abs(until) < MAX_TIME and is_legible(kind) and is_legible(account)


def _is_odd(value: Any) -> bool:
    return isinstance(value, str) and not is_legible(value)


# --- for commands: never on an event loop -----------------------------------------------------------------------------


@contextmanager
def own_transaction(path: Path, *, queues: bool = True) -> Iterator[sqlite3.Connection]:
    """Open the file, create it if need be, and write in one transaction; if ``queues``, at this process's turn."""
    with translating_errors(path), naming_file(path):
        schema.check_owner(path)
        connection = open_database(path)
        process_queue = ProcessQueue(path)
        try:
            opened = identity(path)
            schema.migrate(connection, path)
            give_up = time.monotonic() + TURN_TIMEOUT
            turn = process_queue.turn(lambda: time.monotonic() >= give_up) if queues else nullcontext()
            with turn, transaction(connection):
                yield connection
            if identity(path) != opened:
                raise FileReplaced(f"{path}: the file was deleted or replaced at this moment; give the command again")
        finally:
            process_queue.close()
            connection.close()


def add(path: Path, jobs: Iterable[NewJob], *, queues: bool = True) -> range:
    """Add jobs, all or none; return their numbers.

    Raises ``StorageError``, and ``ValueError`` for data that JSON does not have.
    """
    rows = new_rows(jobs)
    if not rows:
        return range(0)
    with own_transaction(path, queues=queues) as db:
        return insert(db, rows)


def new_rows(jobs: Iterable[NewJob], *, clock: str | None = None) -> list[tuple[Any, ...]]:
    """Return the rows of new jobs; ``clock`` is the node that has computed their waits, if one has.

    Raises ``ValueError`` for data that JSON does not have.
    """
    now = time.time()
    return [
        (new.kind, new.account or "", encode_value(new.data), new.priority, new.due, now, new.wait, clock)
        for new in jobs
    ]


def insert(db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> range:
    """Add rows of jobs in a transaction; return their numbers."""
    db.executemany(job_schema.ADD, rows)
    last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()[0]
    return range(last - len(rows) + 1, last + 1)


def change(path: Path, numbers: Iterable[int], event: JobEvent) -> list[tuple[Job, Job] | int | str]:
    """Apply an operator's command to jobs, all in one transaction.

    Returns for each number the job before and after, the number itself if there is no such job, or why it cannot be
    read.
    """
    if not path.exists():
        raise JournalMissing(f"{path}: there is no such file; add a job or run the engine first")
    outcomes: list[tuple[Job, Job] | int | str] = []
    with own_transaction(path) as db:
        for number in numbers:
            try:
                before = find(db, number)
            except Undecodable as exc:
                outcomes.append(str(exc))
                continue
            if before is None:
                outcomes.append(number)
                continue
            after = decide(before, event, now=time.time())
            outcomes.append((before, after))
            if after is not before:
                _write(db, after)
    return outcomes


def _write(db: sqlite3.Connection, job: Job) -> None:
    row = job_row(job)
    db.execute(
        f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in job_schema.CHANGING)} WHERE id = ?", (*row[1:], row[0])
    )
