"""Protocols of the outside world that work needs. Adapters match them without importing them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import Context
from typing import Any, Protocol

from states.jobs import Flooded, Job, Lost, Raised

JobErrorClassifier = Callable[[BaseException, Any], Lost | Flooded | Raised]
"""Decides what an exception of a job with this client means: a lost connection, a flood wait, or a failure."""
ClientOf = Callable[[str], Any]
"""Returns the client of an account that work may use now, or None."""


ContextsOf = Callable[[Any], Iterable[Context]]
"""Returns the contexts of the callers whose requests wait in place, with this client, for a flood wait to end."""


class JobStorage(Protocol):
    """Stores jobs, in order and durable after a moment; ``flush`` waits for that."""

    @property
    def claims(self) -> int | None:
        """How many jobs for any account are read at a time because other engines read them, too; None: none does."""

    async def recover(self, why: str) -> None:
        """Put the jobs that were running when the last engine ended back into their queues."""

    async def save(self, job: Job) -> None:
        """Store the state of a job."""

    async def keep_trace(self, job: int, trace: str) -> None:
        """Store the traceback of a job's last failure."""

    async def keep(
        self, job: Job, messages: Sequence[Any] = (), results: Sequence[Any] = (), history: Any = None
    ) -> None:
        """Store the state of a job with its new results, in one transaction; a cancelled call has stored nothing."""

    async def charge(self, job: Job, account: str, until: float, length: float) -> None:
        """Take a place in a budget until ``until``, for ``length`` s in all, and store that; durable on return."""

    async def charges(self, now: float) -> list[tuple[str, str, float, float | None]]:
        """Return the places that are taken, each as kind, account, until when (Unix seconds), and how long in all."""

    async def move_waits(self, shift: float, now: float) -> None:
        """Move all waits with a clock that was set by ``shift`` s; none lasts longer than its length from ``now``."""

    async def wake_due(self, now: float) -> None:
        """Make the jobs ready that are due."""

    async def held_by(self) -> set[str]:
        """Return the accounts with which jobs stay because of a limit."""

    async def waiting_held(self, now: float) -> list[Job]:
        """Return the jobs of an account that wait for the end of a flood wait or a limit."""

    async def release_waiting(self, account: str, details: tuple[str, str]) -> None:
        """Make the jobs of an account ready that wait for what these details name."""

    async def release_held(self, account: str, now: float) -> None:
        """Let any account do the jobs that stay with this one because of a limit, and whose wait is over."""

    async def flush(self) -> None:
        """Return when everything written so far is durable, and so can be read."""

    async def queues(self) -> list[tuple[str, str | None]]:
        """Return each (kind, account) that has ready jobs."""

    async def next_due(self) -> float | None:
        """Return when the next waiting job is due."""

    async def ready(self, kind: str, account: str | None, limit: int) -> list[Job]:
        """Return the first jobs of this queue, ``limit`` at most.

        Where ``claims`` is not None, those for any account that this engine has claimed already come beside them.
        """

    async def give_back(self, busy: Collection[int]) -> None:
        """Let other engines have the jobs for any account that were read; ``busy`` are those that have begun."""

    async def take_place(self, job: Job, at_once: int) -> bool:
        """Take one of the ``at_once`` places of the job's kind among all engines; return whether one was free."""

    async def ended(self, ids: Sequence[int]) -> set[int]:
        """Return which of these jobs the operator has ended."""

    async def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many jobs there are, by kind and state."""


class WorkStorage(JobStorage, Protocol):
    """All that an engine asks of the store of its jobs: what its programs, its page and its retention ask, too."""

    async def add(self, jobs: Iterable[Any]) -> range:
        """Add jobs; return their numbers when they are durable."""

    async def job(self, number: int) -> Job | None:
        """Return a job as the store has it, None if there is none."""

    async def is_waiting_for(self, job: Any) -> bool:
        """Return whether an equal job is queued or running."""

    async def oldest_ready(self) -> float | None:
        """Return when the oldest of the jobs that could begin was added; None if there is none among the first."""

    async def prune(self, before: float) -> int:
        """Delete some of the oldest jobs that were over before ``before``; return how many, 0 when none is left."""

    async def aclose(self) -> None:
        """Let go of the store."""
