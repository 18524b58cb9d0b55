"""What work asks of the outside world; adapters fit these without knowing them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from states.jobs import Flooded, Job, Lost, Raised

JobErrorClassifier = Callable[[BaseException, Any], Lost | Flooded | Raised]
"""Says whose trouble an exception of a job with this client is: the connection's, the server's, or the job's own."""
ClientOf = Callable[[str], Any]
"""Returns the client that work may use with an account now, or None."""


class JobStorage(Protocol):
    """Where jobs are written down. What is written is ordered and durable a moment later; ``flush`` waits for it."""

    async def recover(self, why: str) -> None:
        """Put what ran when the last engine ended back into the queue."""

    async def save(self, job: Job) -> None:
        """Store where a job is."""

    async def keep(self, job: Job, messages: Sequence[Any] = (), results: Sequence[Any] = ()) -> None:
        """Store where a job is with what it found, in one transaction; who is cancelled here has stored nothing."""

    async def charge(self, job: Job, account: str, until: float) -> None:
        """Take a place in a budget until then, and store that the job has it; durable when this returns."""

    async def charges(self, now: float) -> list[tuple[str, str, float]]:
        """Return the places that are taken: kind, account, until when."""

    async def wake_due(self, now: float) -> None:
        """Make those jobs ready whose time has come."""

    async def flush(self) -> None:
        """Return when all that was written before is durable, and so can be read."""

    async def queues(self) -> list[tuple[str, str | None]]:
        """Return each (kind, account) that has jobs which are ready."""

    async def next_due(self) -> float | None:
        """Return when the next waiting job is due."""

    async def ready(self, kind: str, account: str | None, limit: int) -> list[Job]:
        """Return the jobs of this queue that go first."""

    async def ended(self, ids: Sequence[int]) -> set[int]:
        """Return which of these jobs a person has ended."""

    async def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many jobs there are, by kind and state."""
