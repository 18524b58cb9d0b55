"""Durable jobs in PostgreSQL, shared by all nodes of a fleet: what ``adapters.sqlite.jobs`` is for one engine.

A job for one account is done by the node that owns the account. A job for any account is *claimed* when it is read: the
row notes the life that has it, and no other life gets it, until that one gives it back or is dead. Every write begins
with the fence of the life, so a node that is dead for the others changes nothing any more.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from attrs import define, field

from adapters.postgres import job_statements as of_jobs
from adapters.postgres.group_writer import Call, StoreWriter
from adapters.postgres.ledger_statements import FILL, ledger_row
from adapters.postgres.statements import RowStatement, clean
from adapters.redaction import redacted
from adapters.sqlite.errors import Undecodable
from adapters.sqlite.job_codec import encode_value, job_from, job_row
from adapters.sqlite.jobs import NewJob, ReadHistory
from adapters.sqlite.messages import Deletion, Stored
from states.job import Job, JobState
from states.ledger import LedgerRow

CLAIM_ROWS: Final = 32
"""Jobs for any account that a node claims at a time: what one node has in memory, no other can do."""
COMPACT_EVERY: Final = 10
"""Questions for the counts after which their rows are put together."""
Rows = list[tuple[RowStatement, Sequence[Any]]]


class JobLink(Protocol):
    """A connection to the store for one life of a node."""

    async def transact(self, calls: Sequence[Call]) -> list[list[tuple[Any, ...]]]:
        """Execute these in one transaction that begins with the fence of the life, and return the rows of each.

        Raises ``Fenced`` if the life has ended, and ``StoreUnusable``.
        """

    async def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a question. Raises ``StoreUnusable``."""


@define(eq=False, kw_only=True)
class PostgresJobs:
    """The jobs of a running node: what it writes goes through ``writer``, in order; what it claims does not."""

    writer: StoreWriter
    link: JobLink
    life: int
    """The row of ``nodes`` that this node has now."""
    node: str
    """Its name: the clock by which it computes when a wait ends."""
    claims: int = CLAIM_ROWS
    """How many jobs for any account to ask ``ready`` for."""
    _placed: set[int] = field(factory=set, init=False)
    """Jobs that have a place under a limit of the whole fleet."""
    _moves: int = field(default=0, init=False)
    _asked: int = field(default=0, init=False)

    async def recover(self, why: str) -> None:
        """Put the jobs back into their queues that dead lives had, this node's own earlier ones among them."""
        await self.link.transact([(of_jobs.RECOVER, (why,))])

    async def give_back(self, busy: Collection[int]) -> None:
        """Let other nodes have the jobs that were read and have not begun; ``busy`` are those that have."""
        begun = list(busy)
        self._placed.intersection_update(begun)
        await self.link.transact([(of_jobs.GIVE_BACK, (self.life, begun)), (of_jobs.FREE_PLACES, (self.life, begun))])

    async def save(self, job: Job) -> None:
        """Store the state of a job; durable a moment later, see ``flush``."""
        await self.writer.write_together(self._row_of(job))

    async def keep_trace(self, job: int, trace: str) -> None:
        """Store the traceback of a job's last failure, in the place of the one before."""
        await self.writer.write(of_jobs.TRACE, (job, redacted(trace)))

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
        first = job.results - len(results) + 1
        found: Rows = [
            *_rows_of(messages, job.id),
            *((of_jobs.RESULT, (job.id, number, encode_value(value))) for number, value in enumerate(results, first)),
        ]
        if history is not None:
            fill = (history.user, history.chat, f"job {job.id}", history.after, None, history.at, history.from_at)
            found.append((FILL, fill))
        await self.writer.write_together([*found, *self._row_of(job)])

    async def charge(self, job: Job, account: str, until: float, length: float) -> None:
        """Charge the budget of the job's kind and ``account`` until then, ``length`` s in all; the job has paid.

        Both are durable when this returns, or neither. An account has one owner, which alone counts its budgets; the
        next owner reads what was charged.
        """
        charge = (of_jobs.CHARGE, (job.id, until, job.kind, account, length))
        await self.writer.write_together([charge, *self._row_of(job)])
        await self.writer.flush()

    async def charges(self, now: float) -> list[tuple[str, str, float, float | None]]:
        """Return the charges that still count: kind, account, until when, how long; delete those that are over."""
        await self.writer.write(of_jobs.FORGIVE, (now,))
        rows = await self.link.query(of_jobs.SELECT_CHARGES, (now,))
        return [(kind, account, until, length) for kind, account, until, length in rows]

    async def take_place(self, job: Job, at_once: int) -> bool:
        """Take one of the ``at_once`` places of the job's kind in the whole fleet; return whether one was free.

        It is free again when the job is stored as one that does not run, or when this node is dead.
        """
        taken = await self.link.transact(
            [
                (of_jobs.PLACE_OF_KIND, (job.kind,)),
                (of_jobs.LOCK_KIND, (job.kind,)),
                (of_jobs.TAKE_PLACE, (job.id, job.kind, self.life, job.kind, job.id, at_once)),
            ]
        )
        if taken[-1]:
            self._placed.add(job.id)
        return bool(taken[-1])

    async def move_waits(self, shift: float, now: float) -> None:
        """Move the waits that this node computed with its clock, which was set by ``shift`` s.

        None of them, nor with a ``shift`` of 0 anyone's, lasts longer than its length from ``now``. Those whose end is
        a time that the operator chose stay.
        """
        self._moves += 1
        await self.writer.write(of_jobs.MOVE_WAITS, (self._moves, shift, now))
        await self.writer.flush()

    async def wake_due(self, now: float) -> None:
        """Make the jobs of this node's accounts, and of any, ready whose time has come."""
        await self.writer.write(of_jobs.DUE, (now,))

    async def held_by(self) -> set[str]:
        """Return the accounts of this node, and those of no config, with which jobs stay because of a limit."""
        return {name for (name,) in await self.link.query(of_jobs.SELECT_HELD, (self.life,))}

    async def waiting_held(self, now: float) -> list[Job]:
        """Return the jobs of the fleet that wait, with an account, for the end of its flood wait or limit."""
        found = []
        for row in await self.link.query(of_jobs.SELECT_WAITING_HELD, (now,)):
            with suppress(Undecodable):  # named when it is read to begin
                found.append(job_from(row))
        return found

    async def release_waiting(self, account: str, details: tuple[str, str]) -> None:
        """Make the jobs of an account ready that wait for what these details name."""
        await self.writer.write(of_jobs.RELEASE_WAITING, (account, *details))
        await self.writer.flush()

    async def release_held(self, account: str, now: float) -> None:
        """Let any account do the jobs that stay with this one because of a limit, and whose wait is over."""
        await self.writer.write(of_jobs.RELEASE_HELD, (account, now))

    async def flush(self) -> None:
        """Return when everything written before is durable, and so can be read."""
        await self.writer.flush()

    async def queues(self) -> list[tuple[str, str | None]]:
        """Return each (kind, account) that has ready jobs which this node may do."""
        return [(kind, name or None) for kind, name in await self.link.query(of_jobs.QUEUES, (self.life,))]

    async def next_due(self) -> float | None:
        """Return when the next waiting job is due that this node may do."""
        rows = await self.link.query(of_jobs.NEXT_DUE, (self.life,))
        return None if rows[0][0] is None else float(rows[0][0])

    async def ready(self, kind: str, account: str | None, limit: int) -> list[Job]:
        """Return the first ``limit`` jobs of this queue; call ``flush`` before, or some of them have begun already.

        Those for any account are claimed; jobs that another node has are left out, and those that this one has come
        beside the ``limit``.
        """
        if account is None:
            claim = (of_jobs.CLAIM, (kind, self.life, kind, limit, self.life))
            rows = (await self.link.transact([claim]))[0]
        else:
            rows = await self.link.query(of_jobs.SELECT_READY, (kind, account, limit))
        jobs = []
        for row in rows:
            try:
                jobs.append(job_from(row))
            except Undecodable as exc:
                # It would be read first each time, and keep all jobs behind it from beginning.
                await self.writer.write(of_jobs.UNREADABLE, (row[0], str(exc), time.time()))
        return sorted(jobs, key=lambda job: (-job.priority, job.id))

    async def ended(self, ids: Sequence[int]) -> set[int]:
        """Return which of these jobs the operator has cancelled."""
        return {number for (number,) in await self.link.query(of_jobs.SELECT_ENDED, (list(ids),))}

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many jobs there are, by kind and state."""
        if self._asked % COMPACT_EVERY == 0:
            await self.link.transact([(of_jobs.COMPACT_COUNTS, ())])
        self._asked += 1
        return counts_from(await self.link.query(of_jobs.COUNTS))

    async def oldest_ready(self) -> float | None:
        """Return when the oldest of the jobs that could begin was added; None if there is none among the first."""
        rows = await self.link.query(of_jobs.OLDEST_READY)
        return float(rows[0][0]) if rows else None

    async def add(self, jobs: Iterable[NewJob]) -> range:
        """Add jobs; return their numbers when they are durable."""
        rows = list(jobs)
        if not rows:
            return range(0)
        cells = new_rows(rows, time.time(), self.node)
        answers = await self.link.transact(adding(cells))
        return numbers_of(answers[0], len(rows))

    async def prune(self, before: float) -> int:
        """Delete the oldest jobs that were done or cancelled before ``before`` (Unix seconds), at most a few hundred.

        Returns how many, durably; 0 when there is nothing more to delete. The messages that they collected stay.
        """
        old = int((await self.link.query(of_jobs.COUNT_OLD, (before,)))[0][0])
        if old:
            await self.writer.write(of_jobs.PRUNE_JOBS, (before,))
            await self.writer.flush()
        return old

    async def is_waiting_for(self, job: NewJob) -> bool:
        """Return whether an equal job is queued or running."""
        values = (clean(job.kind), clean(job.account or ""), encode_value(job.data))
        return bool(await self.link.query(of_jobs.SELECT_EQUAL, values))

    async def job(self, number: int) -> Job | None:
        """Return a job as the store has it, None if there is none."""
        await self.writer.flush()
        rows = await self.link.query(f"{of_jobs.SELECT_JOB} WHERE id = %s", (number,))
        return job_from(rows[0]) if rows else None

    async def aclose(self) -> None:
        """Do nothing: the link is its owner's to close."""

    def _row_of(self, job: Job) -> Rows:
        rows: Rows = [(of_jobs.JOB, job_row(job))]
        if job.id in self._placed and job.state is not JobState.RUNNING:
            self._placed.discard(job.id)
            rows.append((of_jobs.FREE_PLACE, (job.id,)))
        return rows


def _rows_of(found: Iterable[Stored], job: int) -> Iterator[tuple[RowStatement, Sequence[Any]]]:
    """Yield the rows of what a job has read, each with its statement."""
    for each in found:
        if isinstance(each, LedgerRow):
            yield from ledger_row(each)
            continue
        if isinstance(each, Deletion):
            if not each.owner:
                yield of_jobs.BURY, (each.chat, each.id, each.at)
            yield of_jobs.DELETE, (each.owner, each.chat, each.id, each.at)
            continue
        values = (each.owner, each.chat, each.id, each.at, each.sender, each.text, job, each.edited, each.reply_to)
        media = (each.media, each.media_id, each.media_size, each.media_name)
        yield of_jobs.MESSAGE, (*values, *media, each.raw, each.version)


def counts_from(rows: Iterable[tuple[Any, ...]]) -> dict[str, dict[str, int]]:
    """Return how many jobs there are, by kind and state, from rows of ``COUNTS``."""
    counts: dict[str, dict[str, int]] = {}
    for kind, state, jobs in rows:
        counts.setdefault(kind, {})[state] = jobs
    return counts


def new_rows(jobs: Iterable[NewJob], now: float, clock: str | None) -> list[tuple[Any, ...]]:
    """Return the cells of jobs that are added ``now``.

    ``clock`` is the node by whose clock their waits were computed, None if it is no node's. Raises ``TypeError`` or
    ``ValueError`` for data that is not JSON.
    """
    return [
        (
            clean(new.kind), clean(new.account or ""), encode_value(new.data), new.priority,
            None if new.due is None else float(new.due), float(now),
            None if new.wait is None else float(new.wait), clock if new.wait is not None else None,
        )
        for new in jobs
    ]  # fmt: skip


def adding(rows: Sequence[tuple[Any, ...]]) -> list[Call]:
    """Return what adds jobs, in one transaction; the first statement returns the last of their numbers."""
    return [
        (of_jobs.NUMBERS, (len(rows),)),
        (of_jobs.ADD, [*map(list, zip(*rows, strict=True))]),
        (of_jobs.ADDED, ()),
    ]


def numbers_of(answer: Sequence[tuple[Any, ...]], count: int) -> range:
    """Return the numbers of jobs that were added, from what ``NUMBERS`` returned."""
    last = int(answer[0][0])
    return range(last - count + 1, last + 1)
