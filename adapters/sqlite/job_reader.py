"""Reads jobs for commands, in a process of their own, with an engine running or without."""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from attrs import define, field

from adapters.sqlite import job_schema
from adapters.sqlite.connect import read_rows
from adapters.sqlite.errors import Undecodable
from adapters.sqlite.job_codec import job_from
from adapters.sqlite.read_only import reading
from states.job import Job

FIRST_VERSION = 3
"""The first schema with jobs; a file of an older one has none."""
VERSION_WITH_LENGTHS = 4
"""The first schema that has the lengths of waits."""
VERSION_WITH_HELD = 10
"""The first schema that says which jobs stay with an account because of a limit."""
TRACES_VERSION = 6
"""The first schema with the tracebacks of failed jobs."""
PAGE_ROWS = 1000
MAX_NUMBER = 2**63 - 1
"""The greatest number that a row of SQLite can have."""


@define(eq=False)
class JobReader:
    """Reads the jobs of one file. A context manager; not for an event loop."""

    path: Path
    _db: sqlite3.Connection
    _version: int
    on_unreadable: Callable[[int, str], None] = field(default=lambda number, why: None)
    """Called for each job that ``jobs`` leaves out because its row cannot be read: its number, and why."""

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open the file for the block. Raises ``JournalMissing``, ``JournalTooNew`` and ``DatabaseUnusable``."""
        with reading(path, "add a job or run the engine first") as (db, version):
            yield cls(path, db, version)

    @property
    def _has_jobs(self) -> bool:
        return self._version >= FIRST_VERSION

    @property
    def _select(self) -> str:
        """The query for jobs that fits the file's schema: a command does not migrate what it only reads."""
        if self._version >= VERSION_WITH_HELD:
            return job_schema.SELECT_JOB
        with_lengths = self._version >= VERSION_WITH_LENGTHS
        return job_schema.SELECT_JOB_WITHOUT_HELD if with_lengths else job_schema.SELECT_JOB_WITHOUT_LENGTHS

    def job(self, number: int) -> Job | None:
        """Return a job by its number."""
        return find(self._db, number, self._select) if self._has_jobs else None

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many jobs there are, by kind and state."""
        return counts_of(self._db) if self._has_jobs else {}

    def count_failed(self, accounts: Collection[str], since: float, until: float) -> int:
        """Return how many jobs of these accounts have failed from ``since`` to before ``until`` (Unix seconds).

        Those that were retried meanwhile have not.
        """
        if not self._has_jobs or not accounts:
            return 0
        query = """SELECT count(*) FROM jobs INDEXED BY jobs_by_state WHERE state = 'failed' AND ended >= ?
            AND ended < ? AND worker IN (SELECT value FROM json_each(?))"""
        return int(read_rows(self._db, query, (since, until, json.dumps(list(accounts))))[0][0])

    def jobs(self, wanted: Mapping[str, Sequence[str] | None], *, last: int | None = None) -> Iterator[Job]:
        """Yield the jobs whose columns have one of the values that ``wanted`` has for them (None: any), oldest first.

        ``last`` limits the result to the newest so many. Jobs are read page by page, so that a slow consumer holds up
        no checkpoint.
        """
        if not self._has_jobs:
            return
        filters = {column: values for column, values in wanted.items() if values is not None}
        where = " AND ".join(["id > ?", *(f"{name} IN ({','.join('?' * len(of))})" for name, of in filters.items())])
        values = [value for of in filters.values() for value in of]
        after = 0
        if last is not None:
            query = f"SELECT min(id) FROM (SELECT id FROM jobs WHERE {where} ORDER BY id DESC LIMIT ?)"
            first = self._db.execute(query, [0, *values, last]).fetchone()[0]
            if first is None:
                return
            after = first - 1
        while True:
            query = f"{self._select} WHERE {where} ORDER BY id LIMIT {PAGE_ROWS}"
            page = read_rows(self._db, query, [after, *values])
            for row in page:
                try:
                    job = job_from(row)
                except Undecodable as exc:
                    self.on_unreadable(row[0], str(exc))
                else:
                    yield job
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]

    def newest_of(self, account: str, count: int, *, among: int) -> list[Job]:
        """Return the newest jobs that are for an account, or were done by it, among the newest of all; newest first."""
        if not self._has_jobs:
            return []
        where = "id > (SELECT coalesce(max(id), 0) - ? FROM jobs) AND (account = ? OR worker = ?)"
        query = f"{self._select} WHERE {where} ORDER BY id DESC LIMIT ?"
        found = []
        for row in read_rows(self._db, query, (among, account, account, count)):
            try:
                found.append(job_from(row))
            except Undecodable as exc:
                self.on_unreadable(row[0], str(exc))
        return found

    def trace(self, number: int) -> str | None:
        """Return the traceback of a job's last failure, if one is kept."""
        if self._version < TRACES_VERSION:
            return None
        rows = read_rows(self._db, "SELECT trace FROM job_traces WHERE job = ?", (number,))
        return str(rows[0][0]) if rows else None

    def results(self, number: int, limit: int) -> list[Any]:
        """Return the first ``limit`` results that a job has stored."""
        if not self._has_jobs:
            return []
        query = "SELECT value FROM job_results WHERE job = ? ORDER BY number LIMIT ?"
        return [decoded(value) for (value,) in read_rows(self._db, query, (number, limit))]

    def messages(self, chat: int) -> Iterator[tuple[int, str]]:
        """Yield number and text of the messages collected from a chat in which all members see the same numbers."""
        if self._has_jobs:
            yield from self._db.execute(
                "SELECT id, text FROM messages WHERE owner = '' AND chat = ? ORDER BY id", (chat,)
            )


def decoded(text: str) -> Any:
    """Return a value that was stored as JSON; of one that cannot be read, why."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError, TypeError) as exc:
        return {"unreadable": f"{type(exc).__name__}: {exc}"}


def find(db: sqlite3.Connection, number: int, select: str = job_schema.SELECT_JOB) -> Job | None:
    """Return a job by its number, None if there is none."""
    if not 0 < number <= MAX_NUMBER:
        return None
    rows = read_rows(db, f"{select} WHERE id = ?", (number,))
    return job_from(rows[0]) if rows else None


def counts_of(db: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Return how many jobs there are, by kind and state."""
    counts: dict[str, dict[str, int]] = {}
    for kind, state, jobs in read_rows(db, job_schema.COUNTS):
        if isinstance(kind, str) and isinstance(state, str) and isinstance(jobs, int):  # else the row is spoilt
            counts.setdefault(kind, {})[state] = jobs
    return counts
