"""What the engine's process knows of its own file: enough to go on in a new one when the file is lost.

The writer's thread notes here what it has stored: the last snapshot of each account and where its life began. The jobs
are those that the engine has read into memory and that are not over.
"""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import define, field

from adapters.sqlite import job_schema, schema
from adapters.sqlite.connect import read_rows
from adapters.sqlite.job_codec import encode_value, is_legible, job_row
from adapters.sqlite.queue import QueuedWrite
from states.jobs import Job, JobState

_OVER = (JobState.DONE, JobState.CANCELLED)


@define(eq=False)
class Memory:
    """Names, policies, lives and snapshots as they were stored last, who lives them, and the jobs in memory."""

    path: Path
    _names: set[str] = field(factory=set, init=False)
    _policies: set[str] = field(factory=set, init=False)
    _lives: dict[str, list[Any]] = field(factory=dict, init=False)
    """The row of ``schema.LIFE``, by account."""
    _snapshots: dict[str, list[Any]] = field(factory=dict, init=False)
    """The row of ``schema.SNAPSHOT``, by account."""
    _present: dict[str, list[Any]] = field(factory=dict, init=False)
    """The row of ``schema.PRESENT``, by account: which engine lives its life."""
    jobs: dict[int, Job] = field(factory=dict, init=False)
    """Changed on the loop, read in the thread."""
    last_job: int = field(default=0, init=False)
    """The greatest number that a job has had: no number is given twice."""

    def load(self, connection: sqlite3.Connection) -> None:
        """Note what the file has when it is opened: an account may rest, and store nothing."""
        self._names = {name for (name,) in read_rows(connection, "SELECT name FROM names") if is_legible(name)}
        query = "SELECT (SELECT name FROM names WHERE id = account), at, snapshot FROM snapshots"
        self._snapshots = {
            name: [name, schema.real(at), snapshot]
            for name, at, snapshot in read_rows(connection, query)
            if is_legible(name) and isinstance(at, int | float) and is_legible(snapshot)  # else it is spoilt
        }
        self.note_last_job(connection)

    def note_last_job(self, connection: sqlite3.Connection) -> None:
        """Note the greatest number that a job has had so far."""
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
        self.last_job = max(self.last_job, row[0] if row and isinstance(row[0], int) else 0)

    def stored(self, writes: Iterable[QueuedWrite]) -> None:
        """Note rows that have become durable. In the writer's thread."""
        for write in writes:
            for row in write.rows:
                if row.statement is schema.SNAPSHOT:
                    self._snapshots[str(row.key)] = json.loads(row.text)
                elif row.statement is schema.LIFE:
                    self._lives[str(row.key)] = json.loads(row.text)
                elif row.statement is schema.PRESENT:
                    self._present[str(row.key)] = json.loads(row.text)
                elif row.statement is schema.ABSENT:
                    self._present.pop(str(row.key), None)
                elif row.statement is schema.NAME:
                    self._names.add(str(row.key))
                elif row.statement is schema.POLICY:
                    self._policies.add(str(row.key))

    def keep(self, job: Job) -> None:
        """Note a job as it is now; one that is over is forgotten."""
        self.last_job = max(self.last_job, job.id)
        if job.state in _OVER:
            self.jobs.pop(job.id, None)
        else:
            self.jobs[job.id] = job

    def fill(self, connection: sqlite3.Connection) -> None:
        """Make the tables in an empty database, and store what is known. In the writer's thread."""
        schema.migrate(connection, self.path)
        connection.execute("BEGIN IMMEDIATE")
        for sql, rows in (
            (schema.NAME.sql, [[name] for name in sorted(self._names)]),
            (schema.POLICY.sql, [[policy] for policy in sorted(self._policies)]),
            (schema.LIFE.sql, [self._life(account) for account in self._lives]),
            (schema.SNAPSHOT.sql, list(self._snapshots.values())),
            (schema.PRESENT.sql, list(self._present.values())),
        ):
            connection.execute(sql, (json.dumps(rows),))
        columns = ("id", "kind", "data", "priority", "added", *job_schema.CHANGING)
        insert = f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        for job in list(self.jobs.values()):
            number, *changing = job_row(job)
            connection.execute(insert, (number, job.kind, encode_value(job.data), job.priority, job.added, *changing))
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'jobs'")
        connection.execute("INSERT INTO sqlite_sequence VALUES ('jobs', ?)", (self.last_job,))
        connection.execute("COMMIT")

    def _life(self, account: str) -> list[Any]:
        """Return a life that begins, in the new file, with the account's last snapshot: a replay starts there."""
        row = self._lives[account]
        _, at, snapshot = self._snapshots.get(account, (account, row[2], row[4]))
        return [*row[:2], at, row[3], snapshot]
