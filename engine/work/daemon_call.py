"""A call of somebody else's code in a thread that nothing waits for: neither the loop nor the end of the process."""

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import anyio
from attrs import define, field

T = TypeVar("T")


@define(eq=False)
class DaemonCall(Generic[T]):
    """A call that may never return."""

    work: Callable[[], T]
    _outcome: T | BaseException | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    async def within(self, timeout: float) -> T:
        """Return what the call returns, and raise what it raises; after ``timeout`` seconds raise ``TimeoutError``.

        The thread goes on then. What is no ``Exception``, which would end the loop, is raised as a ``RuntimeError``.
        """
        loop, done = asyncio.get_running_loop(), anyio.Event()

        def run() -> None:
            try:
                self._outcome = self.work()
            except BaseException as exc:
                self._outcome = exc
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(done.set)

        self._thread = threading.Thread(target=run, name="holdfast import", daemon=True)
        self._thread.start()
        with anyio.fail_after(timeout):
            await done.wait()
        match self._outcome:
            case Exception() as exc:
                raise exc
            case BaseException() as exc:
                raise RuntimeError(f"{type(exc).__name__} in the code") from exc
            case result:
                return result  # type: ignore[return-value]  # it is what the call has returned

    def place(self, folder: Path) -> str:
        """Return where in the files of a folder the call is now, as ``work.py, line 3``; empty if that is not known."""
        thread = self._thread
        frame = sys._current_frames().get(thread.ident or 0) if thread is not None else None
        for call, line in traceback.walk_stack(frame) if frame is not None else ():
            path = Path(call.f_code.co_filename)
            if path.is_relative_to(folder):
                return f"{path.name}, line {line}"
        return ""
