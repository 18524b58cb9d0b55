"""``Run`` and ``JobHandle``: a job that is running, as the dispatcher and as the job's function see it."""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Generic

import anyio
from attrs import define, field
from typing_extensions import TypeVar

from engine.fleet.ports import Clock
from engine.work.kinds import JobKind
from engine.work.labels import WorkLabel
from engine.work.owned_task import OwnedTask
from engine.work.ports import JobStorage
from states.jobs import Job, JobEvent, Saved, decide

Data = TypeVar("Data", default=Any)
"""The class of what a job is given: ``JobHandle[Count]`` where the kind has ``data=Count``, else ``JobHandle``."""
CURRENT_JOB: ContextVar[int] = ContextVar("CURRENT_JOB")
"""The number of the job in whose task, or in a task that it started, the code runs."""
MAX_CANCELLATIONS = 3
"""How often a job that was taken away is cancelled before it is given up."""


class JobOver(Exception):
    """The job was taken away from this run, which can no longer store anything."""


def as_json(value: Any) -> Any:
    """Return a value as a later run will read it, as a copy that shares nothing with it.

    Raises ``TypeError`` or ``ValueError`` for a value that is not JSON.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    return json.loads(json.dumps(value, allow_nan=False))


def _amount(value: float | None) -> float | None:
    """Return an amount that can be stored; raise ``TypeError`` or ``ValueError`` for any other."""
    if value is None:
        return None
    if not math.isfinite(value):
        raise ValueError(f"an amount must be a finite number, not {value}")
    return float(value)


@define(eq=False)
class Run:
    """One run of a job, from its begin with an account to the end of its task."""

    job: Job
    kind: JobKind
    account: str
    client: Any
    owned: OwnedTask = field(init=False)
    end: JobEvent | None = field(default=None, init=False)
    """How it ended, once its task has."""
    why: JobEvent | None = field(default=None, init=False)
    """Why it was taken away; None if it was not."""
    active_at: float = field(factory=anyio.current_time, init=False)
    """When it began or last reported progress, by the loop's clock: a change of the time of day makes no job silent."""
    storing: int = field(default=0, init=False)
    """How many of its checkpoints wait for the disk; meanwhile the disk is silent, and not the job."""
    unsaved: bool = field(default=False, init=False)
    """Whether its latest progress is not stored yet."""

    @owned.default
    def _own_task(self) -> OwnedTask:
        return OwnedTask(
            WorkLabel(f"job {self.job.id} ({self.job.kind}) of {self.account}", self.account), MAX_CANCELLATIONS
        )

    @property
    def label(self) -> WorkLabel:
        """What log lines call it."""
        return self.owned.label


@define(eq=False)
class JobHandle(Generic[Data]):
    """A job for the function that does it: its data, its last checkpoint, and the ways to report progress."""

    data: Data
    """The job's data: an instance of the kind's class, or a dict."""
    _run: Run
    _store: JobStorage
    _clock: Clock
    _checkpointing: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    """Checkpoints of a job are stored one after the other, because each counts the results of those before."""

    def __repr__(self) -> str:
        return f"<JobHandle {self._run.label}, attempt {self.attempt}>"

    @property
    def id(self) -> int:
        """The job's number."""
        return self._run.job.id

    @property
    def account(self) -> str:
        """The account that it runs with."""
        return self._run.account

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1. A run after a lost connection belongs to the same attempt."""
        return self._run.job.attempt

    @property
    def began(self) -> float:
        """When the job first ran (Unix seconds)."""
        return self._run.job.began or 0.0

    @property
    def saved(self) -> dict[str, Any]:
        """The last checkpoint, of this run or an earlier one; empty at first."""
        return dict(as_json(self._run.job.checkpoint or {}))

    async def checkpoint(
        self,
        mark: Mapping[str, Any],
        *,
        results: Sequence[Any] = (),
        messages: Sequence[Any] = (),
        history: Any = None,
        done: float | None = None,
        total: float | None = None,
        stay: bool = False,
        settled: bool = False,
    ) -> None:
        """Store how far the job is, together with its new results, in one transaction; durable when this returns.

        A later run finds ``mark`` (JSON) in ``saved``. ``results`` are kept with the job, ``messages`` (and deletions
        of them) in the table of that name; ``history`` says what ``collect`` has read of a chat to its end. ``done`` of
        ``total`` is shown as progress. With ``stay`` only this account may continue the job. ``settled`` says that it
        is past what failed: its failures count from zero again.
        Raises ``JobOver`` when the job was taken away, ``TypeError`` or ``ValueError`` for a value that is not JSON.
        """
        self._check()
        # A copy: later changes to the function's own mapping must not be stored before the next checkpoint.
        kept, results = as_json(dict(mark)), as_json(list(results))
        saved = Saved(
            checkpoint=kept, results=len(results), done=_amount(done), total=_amount(total), stay=stay, settled=settled
        )
        self._run.storing += 1
        try:
            async with self._checkpointing:
                job = decide(self._run.job, saved, now=self._clock.now())
                await self._store.keep(job, messages, results, history)
                self._moved_on(job)  # only now: a cancelled write has stored nothing, and the job is where it was
            await self._store.flush()
        finally:
            self._run.storing -= 1
            self._run.active_at = anyio.current_time()

    def alive(self) -> None:
        """Say that the job works, with nothing new to report: it is not silent. Raises ``JobOver`` as ``progress``."""
        self._check()
        self._run.active_at = anyio.current_time()

    def progress(self, done: float, total: float | None = None) -> None:
        """Report how far the job is, for display only: it need not survive a crash.

        Raises ``JobOver`` when the job was taken away, ``TypeError`` or ``ValueError`` for anything but finite numbers.
        """
        self._check()
        saved = Saved(done=_amount(done), total=_amount(total))
        self._moved_on(decide(self._run.job, saved, now=self._clock.now()))
        self._run.unsaved = True

    def _moved_on(self, job: Job) -> None:
        self._run.job, self._run.active_at = job, anyio.current_time()

    def _check(self) -> None:
        if self._run.end is not None or self._run.why is not None:
            raise JobOver(f"job {self.id} was taken from this run; let it end")
