"""``Stop``: the request to end an engine."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from attrs import define, field


@define(eq=False)
class Stop:
    """A request to stop, from a signal, from ``--for``, or from the program."""

    wanted: anyio.Event = field(factory=anyio.Event, init=False)
    _starting: anyio.CancelScope | None = field(default=None, init=False)

    def now(self) -> None:
        """Stop, and abandon a start that is under way."""
        self.wanted.set()
        if self._starting is not None:
            self._starting.cancel()

    @contextmanager
    def startup(self) -> Iterator[None]:
        """Start the parts in the block; a stop ends it."""
        with anyio.CancelScope() as self._starting:  # made here: an engine may be made before there is an event loop
            if self.wanted.is_set():
                self._starting.cancel()
            yield
