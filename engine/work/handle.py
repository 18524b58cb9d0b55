"""``JobHandle``: a job, as the function that does it sees it."""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Generic

import anyio
from attrs import define, field
from typing_extensions import TypeVar

from engine.fleet.ports import Clock
from engine.work.kinds import JobKind
from engine.work.labels import WorkLabel
from engine.work.ports import JobStorage
from states.jobs import Job, JobEvent, Saved, decide

Data = TypeVar("Data", default=Any)
"""The class of what a job is given: ``JobHandle[Count]`` where the kind has ``data=Count``, else ``JobHandle``."""


class JobOver(Exception):
    """The job was taken from this run: nothing that it says is heard any more."""


def as_json(value: Any) -> Any:
    """Return a value as a later run will read it, sharing nothing with it.

    Raises ``TypeError`` or ``ValueError`` for what is not JSON.
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
    """One run of a job: from its begin with an account to the end of its task."""

    job: Job
    kind: JobKind
    account: str
    client: Any
    task: "asyncio.Task[None] | None" = field(default=None, init=False)
    inside: bool = field(default=False, init=False)
    """Whether the task is in the user's function, and not before or after it."""
    end: JobEvent | None = field(default=None, init=False)
    """What came of it, when its task has ended."""
    why: JobEvent | None = field(default=None, init=False)
    """Why it was taken away."""
    asked: int = field(default=0, init=False)
    """How often it was told to end; and when last, by the loop's clock."""
    asked_at: float = field(default=0.0, init=False)
    heard_at: float = field(factory=anyio.current_time, init=False)
    """When it began, or last said how far it is, by the loop's clock: one that is set makes no job silent."""
    unsaved: bool = field(default=False, init=False)
    """Whether it has said how far it is, and that is not stored yet."""

    @property
    def label(self) -> WorkLabel:
        """What log lines call it."""
        return WorkLabel(f"job {self.job.id} ({self.job.kind}) of {self.account}", self.account)


@define(eq=False)
class JobHandle(Generic[Data]):
    """A job, for the function that does it: what it was given, how far it was, and where it says how far it is."""

    data: Data
    """What the job was given: of the kind's class, or a dict."""
    _run: Run
    _store: JobStorage
    _clock: Clock
    _one: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    """Checkpoints of one job go one after the other: each counts the results of those before."""

    def __repr__(self) -> str:
        return f"<JobHandle {self._run.label}, attempt {self.attempt}>"

    @property
    def id(self) -> int:
        """The job's number."""
        return self._run.job.id

    @property
    def account(self) -> str:
        """The account that it is with."""
        return self._run.account

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1. Going on after a lost connection is the same one."""
        return self._run.job.attempt

    @property
    def began(self) -> float:
        """When the job first ran (Unix seconds)."""
        return self._run.job.began or 0.0

    @property
    def saved(self) -> dict[str, Any]:
        """The last checkpoint, also that of a run before; empty at first."""
        return dict(as_json(self._run.job.checkpoint or {}))

    async def checkpoint(
        self,
        mark: Mapping[str, Any],
        *,
        results: Sequence[Any] = (),
        messages: Sequence[Any] = (),
        done: float | None = None,
        total: float | None = None,
        stay: bool = False,
    ) -> None:
        """Store how far the job is, with what it has found since; durable when this returns, all of it or nothing.

        ``mark`` is what a later run finds in ``saved`` (JSON). ``results`` are kept with the job, ``messages`` in the
        table of that name. ``done`` of ``total`` is shown as progress. ``stay``: only this account may go on with it.
        Raises ``JobOver`` when the job was taken away, ``TypeError`` or ``ValueError`` for what is not JSON.
        """
        self._check()
        # A copy: what the function goes on to put into its mark is not to be stored before it says so.
        kept, results = as_json(dict(mark)), as_json(list(results))
        saved = Saved(checkpoint=kept, results=len(results), done=_amount(done), total=_amount(total), stay=stay)
        async with self._one:
            job = decide(self._run.job, saved, now=self._clock.now())
            await self._store.keep(job, messages, results)
            self._heard(job)  # only now: a cancelled write has queued nothing, and the job is where it was
        await self._store.flush()

    def progress(self, done: float, total: float | None = None) -> None:
        """Say how far the job is, for people to see; nothing that must last.

        Raises ``JobOver``, and ``TypeError`` or ``ValueError`` for what is no finite number.
        """
        self._check()
        saved = Saved(done=_amount(done), total=_amount(total))
        self._heard(decide(self._run.job, saved, now=self._clock.now()))
        self._run.unsaved = True

    def _heard(self, job: Job) -> None:
        self._run.job, self._run.heard_at = job, anyio.current_time()

    def _check(self) -> None:
        if self._run.end is not None or self._run.why is not None:
            raise JobOver(f"job {self.id} was taken from this run; let it end")
