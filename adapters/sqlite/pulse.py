"""``WriterPulse``: whether a writer's thread still works, and how far it is behind, as the loop sees it."""

import time
from collections.abc import Callable

from attrs import define, field

from states.events import Failure

BatchObserver = Callable[[int, float], None]
"""Called on the loop with each batch that became durable: how many writes, and the seconds that they took."""


@define(eq=False)
class WriterPulse:
    """What is known on the loop of a writer's thread. It costs nothing for a row, and little for a batch."""

    on_batch: BatchObserver | None = field(default=None, init=False)
    """Whoever counts batches; nobody does unless there are metrics."""
    trouble: Failure | None = field(default=None, init=False)
    """What keeps rows from being saved now."""
    failures: int = field(default=0, init=False)
    """How many tries to save rows have failed."""
    _stored_at: float | None = field(default=None, init=False)
    """When rows were last saved or began to wait (monotonic seconds); None while none wait."""
    _heard_at: float = field(default=0.0, init=False)
    """When the thread was last heard of, or rows began to wait (monotonic seconds)."""

    @property
    def behind(self) -> float:
        """For how many seconds rows have waited and none was saved; 0 if none wait."""
        return 0.0 if self._stored_at is None else max(0.0, time.monotonic() - self._stored_at)

    @property
    def silent(self) -> float:
        """For how many seconds rows have waited and the thread has neither saved any nor said why not."""
        return 0.0 if self._stored_at is None else max(0.0, time.monotonic() - self._heard_at)

    def begin(self) -> None:
        """Note that rows begin to wait: there were none before."""
        self._stored_at = self._heard_at = time.monotonic()

    def store(self, count: int, *, more: bool, recovered: bool) -> None:
        """Note that a batch is durable, whether ``more`` rows wait, and whether that ends a trouble."""
        now = time.monotonic()
        if self.on_batch is not None:
            self.on_batch(count, now - (now if self._stored_at is None else self._stored_at))
        self._stored_at, self._heard_at = now if more else None, now
        if recovered:
            self.trouble = None

    def fail(self, failure: Failure) -> None:
        """Note that a try has failed."""
        self.trouble, self.failures, self._heard_at = failure, self.failures + 1, time.monotonic()
