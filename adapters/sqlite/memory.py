"""What the engine's process knows of its own file: enough to go on in a new one when the file is lost.

The writer's thread notes here what it has stored: the last snapshot of each account and where its life began. The jobs
are those that the engine has read into memory and that are not over.
"""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field

from adapters.sqlite import job_schema, remote_schema, schema, username_schema
from adapters.sqlite.connect import read_rows
from adapters.sqlite.job_codec import encode_value, is_legible, job_row
from adapters.sqlite.queue import Batch, Row, Statement
from states.jobs import Job, JobState

_OVER = (JobState.DONE, JobState.CANCELLED)


@define(eq=False)
class Memory:
    """Names, policies, lives and snapshots as they were stored last, who lives them, and the jobs in memory."""

    path: Path
    _names: set[str] = field(factory=set, init=False)
    _policies: set[str] = field(factory=set, init=False)
    _lives: dict[str, Row] = field(factory=dict, init=False)
    """The row of ``schema.LIFE``, by account."""
    _snapshots: dict[str, Row] = field(factory=dict, init=False)
    """The row of ``schema.SNAPSHOT``, by account."""
    _present: dict[str, Row] = field(factory=dict, init=False)
    """The row of ``schema.PRESENT``, by account: which engine lives its life."""
    _cursors: dict[tuple[str, str], Row] = field(factory=dict, init=False)
    """The row of ``remote_schema.REMOTE_CURSOR``, by account and program."""
    _lookups: dict[str, Row] = field(factory=dict, init=False)
    """The row of ``username_schema.LOOKUPS``, by account: how many usernames it may still look up."""
    jobs: dict[int, Job] = field(factory=dict, init=False)
    """Changed on the loop, read in the thread."""
    last_job: int = field(default=0, init=False)
    """The greatest number that a job has had: no number is given twice."""

    def load(self, connection: sqlite3.Connection) -> None:
        """Note what the file has when it is opened: an account may rest, and store nothing."""
        self._names = {name for (name,) in read_rows(connection, "SELECT name FROM names") if is_legible(name)}
        query = "SELECT (SELECT name FROM names WHERE id = account), at, snapshot FROM snapshots"
        self._snapshots = {
            name: (name, at, snapshot)
            for name, at, snapshot in read_rows(connection, query)
            if is_legible(name) and isinstance(at, int | float) and is_legible(snapshot)  # else it is spoilt
        }
        self._cursors = {row[:2]: row for row in remote_schema.all_cursors(connection) if all(map(is_legible, row[:3]))}
        self._lookups = {
            name: (name, times)
            for name, times in username_schema.all_lookups(connection)
            if is_legible(name) and is_legible(times)
        }
        self.note_last_job(connection)

    def rename(self, names: Mapping[str, str]) -> None:
        """Give what is known of accounts other names, as the file has done. The writer may note others meanwhile."""
        for noted in (self._lives, self._snapshots, self._present, self._lookups):
            moved = {names[name]: row for name in names if (row := noted.pop(name, None)) is not None}
            noted.update({name: (name, *row[1:]) for name, row in moved.items()})
        cursors = [(names.get(account, account), *rest) for account, *rest in self._cursors.values()]
        self._cursors = {(row[0], row[1]): tuple(row) for row in cursors}
        self._names.update(names.values())

    def note_last_job(self, connection: sqlite3.Connection) -> None:
        """Note the greatest number that a job has had so far."""
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
        self.last_job = max(self.last_job, row[0] if row and isinstance(row[0], int) else 0)

    def stored(self, batch: Batch) -> None:
        """Note rows that have become durable. In the writer's thread."""
        for statement, rows in batch:
            if statement is schema.ABSENT:
                for account, _ in rows:
                    self._present.pop(account, None)
            elif statement is remote_schema.REMOTE_CURSOR:
                self._cursors.update({(row[0], row[1]): row for row in rows})
            elif statement is remote_schema.FORGET_CURSOR:
                for row in rows:
                    self._cursors.pop((row[0], row[1]), None)
            elif statement is schema.NAME:
                self._names.update([name for (name,) in rows])
            elif statement is schema.POLICY:
                self._policies.update([policy for (policy,) in rows])
            elif (noted := self._noted(statement)) is not None:
                noted.update({row[0]: row for row in rows})

    def _noted(self, statement: Statement) -> dict[str, Row] | None:
        """Return where the rows of a statement are kept, by account; None for those that are not."""
        if statement is schema.SNAPSHOT:
            return self._snapshots
        if statement is schema.LIFE:
            return self._lives
        if statement is username_schema.LOOKUPS:
            return self._lookups
        return self._present if statement is schema.PRESENT else None

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
        for statement, rows in (
            (schema.NAME, [(name,) for name in sorted(self._names)]),
            (schema.POLICY, [(policy,) for policy in sorted(self._policies)]),
            (schema.LIFE, [self._life(account) for account in self._lives]),
            (schema.SNAPSHOT, list(self._snapshots.values())),
            (schema.PRESENT, list(self._present.values())),
            (remote_schema.REMOTE_CURSOR, list(self._cursors.values())),
            (username_schema.LOOKUPS, list(self._lookups.values())),
        ):
            statement.execute(connection, rows)
        columns = ("id", "kind", "data", "priority", "added", *job_schema.CHANGING)
        insert = f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        for job in list(self.jobs.values()):
            number, *changing = job_row(job)
            connection.execute(insert, (number, job.kind, encode_value(job.data), job.priority, job.added, *changing))
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'jobs'")
        connection.execute("INSERT INTO sqlite_sequence VALUES ('jobs', ?)", (self.last_job,))
        connection.execute("COMMIT")

    def _life(self, account: str) -> Row:
        """Return a life that begins, in the new file, with the account's last snapshot: a replay starts there."""
        row = self._lives[account]
        _, at, snapshot = self._snapshots.get(account, (account, row[2], row[4]))
        return (*row[:2], at, row[3], snapshot)
