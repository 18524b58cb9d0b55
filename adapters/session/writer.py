"""Write-behind: hundreds of session files, a few threads, and no transaction open between two commits.

    loop    change memory ──▶ dirty set ──▶ wake(file) ──▶ threads, by due time    BEGIN IMMEDIATE; rows; COMMIT
      ▲                                                      │
      └───────────────── futures, reports ◀──────────────────┘

A thread never waits for a lock: SQLite refuses at once, the file is queued to be visited again in a moment, and the
other files have their turn. Rows that could not be written stay in the dirty set, so none is lost or written twice.
"""

import atexit
import heapq
import itertools
import threading
import time
from typing import Any, Final, Protocol

from attrs import define, field

from adapters.log_events import event_logger
from adapters.system import forks

THREADS: Final = 2
IDLE_TIMEOUT: Final = 10.0
"""Seconds after which a thread without work ends."""
BUG_PAUSE_SECONDS: Final = 5.0
"""How long a file is left alone after a visit that raised because of a bug."""
EXIT_TIMEOUT: Final = 5.0
"""Seconds that the end of the process waits for unwritten changes."""

log = event_logger("holdfast.session")


class WrittenFile(Protocol):
    """A file that a thread visits when it is due, one thread at a time."""

    @property
    def name(self) -> str:
        """The name in log lines: the account's, or the file's."""

    def visit(self) -> float | None:
        """Write what is to be written now; return in how many seconds the next visit is due, None for no more."""

    @property
    def unsaved(self) -> bool:
        """Whether something still waits to be written."""


@define(eq=False)
class _QueuedFile:
    """A file in the queue, and when it is due."""

    file: WrittenFile
    due: float | None = None
    entry: int | None = None
    """The number of its entry in the heap that counts: older ones, for other times, stay there until they come up."""
    busy: bool = False


@define(eq=False)
class WriteBehind:
    """The queue of files and the threads that visit them. Use ``shared``: one for the process."""

    threads: int = THREADS
    _files: dict[int, _QueuedFile] = field(factory=dict, init=False)
    _queue: list[tuple[float, int, _QueuedFile]] = field(factory=list, init=False)
    _numbers: Any = field(factory=itertools.count, init=False)
    _changed: threading.Condition = field(factory=threading.Condition, init=False)
    _running: int = field(default=0, init=False)
    _idle: int = field(default=0, init=False)
    _draining: bool = field(default=False, init=False)

    def wake(self, file: WrittenFile, after: float = 0.0) -> None:
        """Have a file visited in ``after`` seconds, or earlier if it is due earlier already."""
        with self._changed:
            queued = self._files.setdefault(id(file), _QueuedFile(file))
            self._make_due(queued, time.monotonic() + after)
        if not self._running:  # a thread counts as soon as it is started: none could be
            self._visit_all_due()

    def drain(self, timeout: float) -> int:
        """Visit the files with unwritten changes for ``timeout`` seconds; return how many of them are left."""
        end = time.monotonic() + timeout
        with self._changed:
            self._draining = True
            for queued in list(self._files.values()):
                self._make_due(queued, time.monotonic())
            while (left := end - time.monotonic()) > 0 and any(self._unsaved()):
                if not self._running:
                    self._visit_all_due()
                self._changed.wait(min(left, 0.05))
                for queued in self._unsaved():  # a refused file is tried again soon, not in seconds
                    self._make_due(queued, time.monotonic() + 0.05)
            self._draining = False
            return len(self._unsaved())

    @property
    def unsaved(self) -> bool:
        """Whether a file waits to be written."""
        with self._changed:
            return bool(self._unsaved())

    def _unsaved(self) -> list[_QueuedFile]:
        return [queued for queued in self._files.values() if queued.busy or queued.file.unsaved]

    def _make_due(self, queued: _QueuedFile, due: float) -> None:
        if queued.due is not None and queued.due <= due:
            return
        queued.due = due
        if not queued.busy:
            self._push(queued, due)

    def _push(self, queued: _QueuedFile, due: float) -> None:
        queued.entry = next(self._numbers)
        heapq.heappush(self._queue, (due, queued.entry, queued))
        if not self._idle and self._running < self.threads:
            self._start()
        self._changed.notify()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"session writer {self._running + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # Since Python 3.12 a process that ends cannot start threads. Running ones do the work, or else the caller.
            return
        self._running += 1

    def _work(self) -> None:
        while (queued := self._wait_for_due()) is not None:
            self._visit(queued)

    def _visit_all_due(self) -> None:
        """Visit all files that are due now, in the caller's thread."""
        while True:
            with self._changed:
                queued = self._take()
            if queued is None:
                return
            self._visit(queued)

    def _visit(self, queued: _QueuedFile) -> None:
        try:
            again = queued.file.visit()
        except Exception:
            log.exception("session_writer_failed", account=queued.file.name)
            again = BUG_PAUSE_SECONDS
        self._finish_visit(queued, again)

    def _wait_for_due(self) -> _QueuedFile | None:
        """Wait for a file that is due; return None when there has been none for a while."""
        with self._changed:
            give_up = time.monotonic() + IDLE_TIMEOUT
            while True:
                if (queued := self._take()) is not None:
                    return queued
                now = time.monotonic()
                if not self._queue and now >= give_up:
                    self._running -= 1
                    return None
                until = self._queue[0][0] if self._queue else give_up
                self._idle += 1
                self._changed.wait(until - now)
                self._idle -= 1

    def _take(self) -> _QueuedFile | None:
        """Take the first file that is due out of the queue; return None if none is."""
        while self._queue and self._queue[0][2].entry != self._queue[0][1]:
            heapq.heappop(self._queue)  # the file became due earlier, and was visited then
        if not self._queue or self._queue[0][0] > time.monotonic():
            return None
        queued = heapq.heappop(self._queue)[2]
        queued.due, queued.entry, queued.busy = None, None, True
        return queued

    def _finish_visit(self, queued: _QueuedFile, again: float | None) -> None:
        with self._changed:
            queued.busy = False
            if again is not None and (queued.due is None or queued.due > time.monotonic() + again):
                queued.due = time.monotonic() + again
            if queued.due is not None:
                self._push(queued, queued.due)
            else:
                del self._files[id(queued.file)]
            if self._draining:
                self._changed.notify_all()


shared: Final = WriteBehind()
"""The queue and the threads of this process."""


def _in_child() -> None:
    """Forget the parent's files: they are written there, and its threads do not exist here."""
    shared.__init__(shared.threads)  # type: ignore[misc]  # all who imported it have this object


forks.do_in_child(_in_child)


@atexit.register
def _at_exit() -> None:
    """Write what is not written yet: daemon threads do not keep a process alive."""
    if files := shared.drain(EXIT_TIMEOUT):
        log.error("sessions_not_written", files=files)
