"""Write-behind: hundreds of session files, a few threads, and no transaction open between two commits.

    loop    change memory, mark it ──▶ wake(file) ──▶ threads, by due time    BEGIN IMMEDIATE; rows; COMMIT
      ▲                                                 │
      └────────────── futures, reports ◀────────────────┘

A thread never waits for a lock: SQLite refuses at once, the file is put back to be visited again in a moment, and the
other files have their turn. What could not be written stays marked in memory, so nothing is lost or written twice.
"""

import atexit
import heapq
import itertools
import threading
import time
from typing import Any, Final, Protocol

from attrs import define, field

from adapters.log_events import event_logger

THREADS: Final = 2
IDLE_SECONDS: Final = 10.0
"""How long a thread stays without work."""
MISTAKE_SECONDS: Final = 5.0
"""How long a file rests after a visit that ended by a mistake of ours."""
EXIT_SECONDS: Final = 5.0
"""How long the end of the process waits for what is not written yet."""

log = event_logger("holdfast.session")


class Visited(Protocol):
    """A file that is visited by a thread when it is due, by one at a time."""

    @property
    def name(self) -> str:
        """What log lines call it: the account's name, or the file's."""

    def visit(self) -> float | None:
        """Do what is to be done now; return in how many seconds the next visit is due, None for no more."""

    @property
    def unsaved(self) -> bool:
        """Whether something still waits to be written."""


@define(eq=False)
class _Place:
    """Where a file stands in the queue."""

    file: Visited
    due: float | None = None
    busy: bool = False


@define(eq=False)
class WriteBehind:
    """The threads. Use ``shared``: one for the process."""

    threads: int = THREADS
    _places: dict[int, _Place] = field(factory=dict, init=False)
    _queue: list[tuple[float, int, _Place]] = field(factory=list, init=False)
    _numbers: Any = field(factory=itertools.count, init=False)
    _changed: threading.Condition = field(factory=threading.Condition, init=False)
    _running: int = field(default=0, init=False)
    _idle: int = field(default=0, init=False)
    _draining: bool = field(default=False, init=False)

    def wake(self, file: Visited, after: float = 0.0) -> None:
        """Have a file visited in ``after`` seconds, or earlier if it is due earlier already."""
        with self._changed:
            place = self._places.setdefault(id(file), _Place(file))
            self._put(place, time.monotonic() + after)
        if not self._running:  # a thread that is started counts at once: none could be
            self._work_off()

    def drain(self, timeout: float) -> int:
        """Visit what still has something to write, for ``timeout`` seconds; return how many files still have."""
        end = time.monotonic() + timeout
        with self._changed:
            self._draining = True
            for place in list(self._places.values()):
                self._put(place, time.monotonic())
            while (left := end - time.monotonic()) > 0 and any(self._unsaved()):
                if not self._running:
                    self._work_off()
                self._changed.wait(min(left, 0.05))
                for place in self._unsaved():  # what was refused is tried again soon, not in seconds
                    self._put(place, time.monotonic() + 0.05)
            self._draining = False
            return len(self._unsaved())

    def _unsaved(self) -> list[_Place]:
        return [place for place in self._places.values() if place.busy or place.file.unsaved]

    def _put(self, place: _Place, due: float) -> None:
        if place.due is not None and place.due <= due:
            return
        place.due = due
        if not place.busy:
            self._push(place, due)

    def _push(self, place: _Place, due: float) -> None:
        heapq.heappush(self._queue, (due, next(self._numbers), place))
        if not self._idle and self._running < self.threads:
            self._start()
        self._changed.notify()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"session writer {self._running + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # Since Python 3.12 a process that ends starts no thread. Those that run do the work, or else the caller.
            return
        self._running += 1

    def _work(self) -> None:
        while (place := self._next()) is not None:
            self._visit(place)

    def _work_off(self) -> None:
        """Visit all that is due now, in the caller's thread."""
        while True:
            with self._changed:
                place = self._take()
            if place is None:
                return
            self._visit(place)

    def _visit(self, place: _Place) -> None:
        try:
            again = place.file.visit()
        except Exception:
            log.exception("session_writer_failed", account=place.file.name)
            again = MISTAKE_SECONDS
        self._visited(place, again)

    def _next(self) -> _Place | None:
        """Wait for a file that is due; return None when there has been none for a while."""
        with self._changed:
            give_up = time.monotonic() + IDLE_SECONDS
            while True:
                if (place := self._take()) is not None:
                    return place
                now = time.monotonic()
                if not self._queue and now >= give_up:
                    self._running -= 1
                    return None
                until = self._queue[0][0] if self._queue else give_up
                self._idle += 1
                self._changed.wait(until - now)
                self._idle -= 1

    def _take(self) -> _Place | None:
        """Take the first file that is due out of the queue, if one is."""
        while self._queue and self._queue[0][2].due != self._queue[0][0]:
            heapq.heappop(self._queue)  # it became due earlier, and was visited then
        if not self._queue or self._queue[0][0] > time.monotonic():
            return None
        place = heapq.heappop(self._queue)[2]
        place.due, place.busy = None, True
        return place

    def _visited(self, place: _Place, again: float | None) -> None:
        with self._changed:
            place.busy = False
            if again is not None and (place.due is None or place.due > time.monotonic() + again):
                place.due = time.monotonic() + again
            if place.due is not None:
                self._push(place, place.due)
            else:
                del self._places[id(place.file)]
            if self._draining:
                self._changed.notify_all()


shared: Final = WriteBehind()
"""The threads of this process."""


@atexit.register
def _at_exit() -> None:
    """Write what is not written yet: threads that are daemons do not keep a process alive."""
    if files := shared.drain(EXIT_SECONDS):
        log.error("sessions_not_written", files=files)
