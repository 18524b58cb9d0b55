"""``RunningJobs``: the tasks in which jobs run, how jobs are taken away, and how their runs end."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

import attrs
import structlog
from attrs import define, field

from engine.fleet.ports import Clock
from engine.work.handle import CURRENT_JOB, JobHandle, Run, as_json
from engine.work.job_log import fields_of
from engine.work.job_trace import trace_of
from engine.work.kinds import BadJob
from engine.work.labels import WorkLabel
from engine.work.owned_task import CANCELLED_BY_OTHERS
from engine.work.ports import JobErrorClassifier, JobStorage
from states.jobs import JobEvent, Lost, Raised, Returned

log = structlog.get_logger("holdfast.jobs")


@define(eq=False, kw_only=True)
class RunningJobs:
    """Runs jobs, each in a task of its own, until they end, are taken away, or are given up."""

    store: JobStorage
    clock: Clock
    classify_error: JobErrorClassifier
    on_end: Callable[[], None]
    """Called when another run is in ``ended``."""
    on_stuck: Callable[[Run], None]
    """Called with a run that is given up."""
    ended: deque[Run] = field(factory=deque, init=False)
    """Runs whose end is still to be stored, oldest first."""
    stuck: dict[int, Run] = field(factory=dict, init=False)
    """Jobs whose function does not end although it was cancelled, by number."""
    _by_task: dict["asyncio.Task[None]", Run] = field(factory=dict, init=False)

    def start(self, run: Run) -> None:
        """Start the task of a run."""
        self._by_task[run.owned.start(self._work(run), partial(self._ended, run))] = run

    def label_of(self, task: "asyncio.Task[None]") -> WorkLabel | None:
        """Return what log lines call the job whose function is running in a task; None if there is none."""
        run = self._by_task.get(task)
        return run.label if run is not None and run.owned.inside else None

    def take_away(self, run: Run, why: JobEvent) -> None:
        """Cancel a run, which then ends with ``why``."""
        if run.why is None and run.end is None:
            run.why = why
            self.cancel(run)

    def cancel(self, run: Run) -> None:
        """Cancel the task of a run once more; give it up if it has been cancelled often enough."""
        if not run.owned.cancel():
            self.give_up(run)

    def give_up(self, run: Run) -> None:
        """Leave a run alone that does not end."""
        if run.job.id in self.stuck:
            return
        self.stuck[run.job.id] = run
        self.on_stuck(run)
        log.error("job_stuck", **fields_of(run), cancellations=run.owned.cancellations)

    async def _work(self, run: Run) -> None:
        """Do the job; every exception of its function becomes the run's end."""
        CURRENT_JOB.set(run.job.id)
        try:
            handle = JobHandle(run.kind.read(run.job.data), run, self.store, self.clock)
            run.end = Returned(as_json(await run.owned.call(run.kind.function, handle, run.client)))
        except asyncio.CancelledError:
            run.end = run.why or Raised(CANCELLED_BY_OTHERS)
        except BadJob as exc:
            run.end = Raised(str(exc))
        except BaseException as exc:
            run.end = run.why or self._failure(exc, run)

    def _failure(self, exc: BaseException, run: Run) -> JobEvent:
        """Return what an exception means, with its traceback if it is the job's own failure."""
        end = self.classify_error(exc, run.client)
        return attrs.evolve(end, trace=trace_of(exc)) if isinstance(end, Raised) else end

    def _ended(self, run: Run, task: "asyncio.Task[None]") -> None:
        del self._by_task[task]
        if run.end is None:  # cancelled before its first step, or its exception cannot even be described
            cut_off = task.cancelled() or (exc := task.exception()) is None
            run.end = run.why or (Lost("it was cancelled before it began") if cut_off else Raised(type(exc).__name__))
        self.ended.append(run)
        self.on_end()
