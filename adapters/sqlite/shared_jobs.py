"""Durable jobs of one file that several nodes share: what ``adapters.postgres.jobs`` is for a server.

A job for one account is done by the node that owns the account. A job for any account is *claimed* when it is read: the
row notes the life that has it, and no other life gets it, until that one gives it back or is dead.
"""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar, Final

from attrs import define, field

from adapters.sqlite import shared_job_schema as of_jobs
from adapters.sqlite.connect import read_rows
from adapters.sqlite.job_codec import encode_value, job_row
from adapters.sqlite.jobs import JobStore, NewJob, insert, new_rows
from adapters.sqlite.node_file import NodeFile, life_ended
from adapters.sqlite.queue import Statement
from states.job import Job, JobState

CLAIM_ROWS: Final = 32
"""Jobs for any account that a node claims at a time: what one node has in memory, no other can do."""


@define(eq=False, kw_only=True)
class SharedJobs(JobStore):
    """The jobs of a running node: what it writes goes through ``writer``, in order; what it claims does not."""

    claims: ClassVar[int | None] = CLAIM_ROWS
    link: NodeFile
    """What it claims and adds over, durably; closed with the jobs."""
    life: int
    """The row of ``nodes`` that this node has now."""
    node: str
    """Its name: the clock by which it computes when a wait ends."""
    _placed: set[int] = field(factory=set, init=False)
    """Jobs that have a place under a limit of all nodes."""

    async def recover(self, why: str) -> None:
        """Put the jobs back into their queues that dead lives had, this node's own earlier ones among them."""
        if not (await self._read(lambda db: db.execute(of_jobs.HAS_ORPHANS).fetchone()))[0]:
            return

        def work(db: sqlite3.Connection) -> None:
            self._fence(db)
            db.execute(of_jobs.RECOVER_ORPHANS, (why,))
            db.execute(of_jobs.FREE_PLACES_OF_THE_DEAD)

        await self.link.transact(work)

    async def give_back(self, busy: Collection[int]) -> None:
        """Let other nodes have the jobs that were read and have not begun; ``busy`` are those that have."""
        self._placed.intersection_update(busy)
        values = {"life": self.life, "busy": encode_value(list(busy))}

        def work(db: sqlite3.Connection) -> None:
            self._fence(db)
            db.execute(of_jobs.GIVE_BACK, values)
            db.execute(of_jobs.FREE_PLACES, values)

        await self.link.transact(work)

    async def take_place(self, job: Job, at_once: int) -> bool:
        """Take one of the ``at_once`` places of the job's kind among all nodes; return whether one was free.

        It is free again when the job is stored as one that does not run, or when this node is dead.
        """
        values = {"job": job.id, "kind": job.kind, "life": self.life, "at_once": at_once}

        def work(db: sqlite3.Connection) -> bool:
            self._fence(db)
            return db.execute(of_jobs.TAKE_PLACE, values).rowcount > 0

        taken = await self.link.transact(work)
        if taken:
            self._placed.add(job.id)
        return taken

    async def move_waits(self, shift: float, now: float) -> None:
        """Move the waits that this node computed with a clock that was set by ``shift`` s.

        None, with a ``shift`` of 0 not anyone's, lasts longer than its length from ``now``.
        """
        row = (shift, now, self.node)
        await self.writer.write_together([(of_jobs.MOVE_JOBS_OF_NODE, row), (of_jobs.MOVE_CHARGES_OF_NODE, row)])
        await self.writer.flush()

    async def wake_due(self, now: float) -> None:
        """Make the jobs of this node's accounts, and of any, ready whose time has come."""
        await self.writer.write(of_jobs.DUE_FOR_LIFE, (now, self.life))

    async def held_by(self) -> set[str]:
        """Return the accounts of this node, and those of no config, with which jobs stay because of a limit."""
        rows = await self._read(lambda db: read_rows(db, of_jobs.SELECT_HELD_OF_LIFE, (self.life,)))
        return {name for (name,) in rows}

    async def queues(self) -> list[tuple[str, str | None]]:
        """Return each (kind, account) that has ready jobs which this node may do."""
        rows = await self._read(lambda db: read_rows(db, of_jobs.SELECT_OWN_ACCOUNTS, (self.life,)))
        mine = {name for (name,) in rows}
        return [(kind, name) for kind, name in await JobStore.queues(self) if name is None or name in mine]

    async def next_due(self) -> float | None:
        """Return when the next waiting job is due that this node may do."""
        rows = await self._read(lambda db: read_rows(db, of_jobs.NEXT_DUE_OF_LIFE, (self.life,)))
        due = rows[0][0]
        return due if isinstance(due, int | float) else None  # else its row is spoilt

    async def ready(self, kind: str, account: str | None, limit: int) -> list[Job]:
        """Return the first ``limit`` jobs of this queue; call ``flush`` before, or some of them have begun already.

        Those for any account are claimed; jobs that another node has are left out, and those that this one has come
        beside the ``limit``.
        """
        if account is not None:
            return await JobStore.ready(self, kind, account, limit)
        values = {"kind": kind, "life": self.life, "limit": limit}
        if not (await self._read(lambda db: db.execute(of_jobs.HAS_READY, values).fetchone()))[0]:
            return []

        def work(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
            self._fence(db)
            db.execute(of_jobs.CLAIM, values)
            return read_rows(db, of_jobs.SELECT_CLAIMED, values)

        return await self._jobs_from(await self.link.transact(work))

    async def add(self, jobs: Iterable[NewJob]) -> range:
        """Add jobs; return their numbers when they are durable."""
        rows = new_rows(jobs, clock=self.node)

        def work(db: sqlite3.Connection) -> range:
            self._fence(db)
            return insert(db, rows)

        return await self.link.transact(work) if rows else range(0)

    async def aclose(self) -> None:
        """Close reader and link."""
        self.link.close()
        await JobStore.aclose(self)

    def _fence(self, db: sqlite3.Connection) -> None:
        """Raise ``LifeIsOver`` if the life is over; in a transaction, so that no death comes between."""
        if db.execute("SELECT 1 FROM nodes WHERE id = ? AND state <> 'dead'", (self.life,)).fetchone() is None:
            raise life_ended(self.path, self.life)

    def _rows_of(self, job: Job) -> list[tuple[Statement, Sequence[Any]]]:
        rows: list[tuple[Statement, Sequence[Any]]] = [(of_jobs.JOB_OF_LIFE, (*job_row(job), self.life, self.node))]
        if job.id in self._placed and job.state is not JobState.RUNNING:
            self._placed.discard(job.id)
            rows.append((of_jobs.FREE_PLACE, (job.id,)))
        return rows

    def _charge_of(self, job: Job, account: str, until: float, length: float) -> tuple[Statement, Sequence[Any]]:
        return of_jobs.CHARGE_OF_NODE, (job.id, until, job.kind, account, length, self.node)
