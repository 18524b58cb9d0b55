"""``Stop``: the request to end an engine."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from attrs import define, field


def heeded(*numbers: signal.Signals) -> list[signal.Signals]:
    """Return those of these signals that a program may listen to: not a SIGHUP that ``nohup`` has it ignore."""
    return [each for each in numbers if each != signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN]


def has_terminal() -> bool:
    """Return whether this process belongs to a terminal, whose end sends SIGHUP; a service belongs to none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


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

    async def after(self, duration: float | None) -> None:
        """Stop after so many seconds; never, for None."""
        if duration is None:
            return
        import structlog  # noqa: PLC0415 - commands that only listen for signals have no log

        await anyio.sleep(duration)
        if not self.wanted.is_set():
            structlog.get_logger("holdfast.engine").info("duration_over", duration=duration)
            self.now()

    @contextmanager
    def startup(self) -> Iterator[None]:
        """Start the parts in the block; a stop ends it."""
        with anyio.CancelScope() as self._starting:  # made here: an engine may be made before there is an event loop
            if self.wanted.is_set():
                self._starting.cancel()
            yield
