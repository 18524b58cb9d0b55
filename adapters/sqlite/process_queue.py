"""A fair queue of processes in front of one database.

SQLite's busy handler is not fair: of several processes that write without a pause, one does all the work and the others
wait for as long as it has work. So each writer draws a number and waits for the one before it:

    lock byte 0 ▶ draw n, lock byte n ▶ unlock byte 0 ▶ wait until byte n − 1 is free ▶ transaction ▶ unlock byte n

The numbers are in a file beside the database (never in the database: its locks die when any descriptor of it is
closed). The byte locks are the kernel's, and die with their holder. The queue is a courtesy, not the lock: a writer
that has seen it stand still for ``TURN_TIMEOUT`` (a neighbour was stopped) goes on without it, and SQLite decides.
Where no number can be drawn (a file system without such locks, a file that cannot be written, a neighbour that was
stopped while it drew) a writer goes without the queue for ``REST_SECONDS``, so that it pays for that once and not at
each turn.

A waiting writer polls instead of sleeping in the kernel, so that it can be told to stop. That costs no fairness, since
the order is drawn beforehand. How often it polls depends on how many writers are before it.
"""

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Final

from attrs import define, field

from adapters.files import open_file

TURN_TIMEOUT: Final = 2.0
"""Seconds that a writer waits while the queue stands still."""
REST_SECONDS: Final = 30.0
"""How long a writer goes without a queue that it could not use."""
_POLL_SECONDS: Final = 0.00003
"""Between two polls of the writer that is next in line."""
_TURN_SECONDS: Final = 0.00015
"""The least time that a turn takes: a writer polls later by this much for each one that is before it."""
_MAX_POLL_SECONDS: Final = 0.002
_NUMBERS: Final = struct.Struct("<qq")
"""In the file: the number that was drawn last, and the one that had its turn last."""
_DRAW_LOCK: Final = 0
"""The byte that is locked while a number is drawn."""
_MIN_NUMBER: Final = 2
"""The first number that is drawn; no number is before it."""
_MAX_NUMBER: Final = 2**62
"""No writer gets as far: a greater number is damage, and no byte to lock."""
_LOCKED: Final = (errno.EAGAIN, errno.EACCES)
"""How the kernel says that another process holds a lock; systems differ."""


@define(eq=False)
class ProcessQueue:
    """One writer's place in the queue of a database. For one thread; a process has one for each database."""

    database: Path
    _descriptor: int | None = field(default=None, init=False)
    _failed_at: float = field(default=-inf, init=False)
    """When the queue was last found unusable (monotonic)."""
    _closed: bool = field(default=False, init=False)

    @contextmanager
    def turn(self, stop_waiting: Callable[[], bool]) -> Iterator[None]:
        """Wait for a turn and keep it for the block; ``stop_waiting`` ends the wait, not the block."""
        number = self._draw(stop_waiting)
        try:
            if number is not None:
                with suppress(OSError):  # the locks are gone: SQLite decides
                    self._wait(number - 1, stop_waiting)
            yield
        finally:
            if number is not None:
                self._end_turn(number)

    def close(self) -> None:
        """Close the file; after that, each turn begins at once."""
        self._closed = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _draw(self, stop_waiting: Callable[[], bool]) -> int | None:
        """Return the next number, locked; None where the queue cannot be used."""
        if self._closed or time.monotonic() < self._failed_at + REST_SECONDS:
            return None
        with suppress(OSError):  # no directory for the file, no such locks here, a full disk
            self._open()
            if self._wait(_DRAW_LOCK, stop_waiting, keep=True):
                try:
                    return self._increment()
                finally:
                    self._unlock(_DRAW_LOCK)
        self._failed_at = time.monotonic()
        return None

    def _open(self) -> None:
        if self._descriptor is None:
            path = self.database.with_name(f"{self.database.name}.queue")
            self._descriptor = open_file(path, os.O_RDWR | os.O_CREAT)

    def _increment(self) -> int | None:
        """Store the next number and return it, locked; the draw lock must be held. None if it is locked already."""
        assert self._descriptor is not None
        drawn, served = self._numbers()
        number = drawn + 1 if _MIN_NUMBER <= drawn < _MAX_NUMBER else _MIN_NUMBER
        os.pwrite(self._descriptor, _NUMBERS.pack(number, served), 0)
        return number if self._try_lock(number) else None

    def _wait(self, number: int, stop_waiting: Callable[[], bool], *, keep: bool = False) -> bool:
        """Wait until a number is free, and lock it if ``keep``; return whether it became free.

        Raises ``OSError`` where there are no locks.
        """
        served, give_up = -1, inf
        while not self._try_lock(number):
            now, latest = time.monotonic(), self._read_served()
            if latest != served or give_up == inf:
                served, give_up = latest, now + TURN_TIMEOUT
            if now >= give_up or stop_waiting():
                return False
            before = number - served - 1 if number != _DRAW_LOCK else 0
            time.sleep(min(max(_POLL_SECONDS, before * _TURN_SECONDS), _MAX_POLL_SECONDS))
        if not keep:
            self._unlock(number)
        return True

    def _end_turn(self, number: int) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.pwrite(self._descriptor, _NUMBERS.pack(0, number)[8:], 8)
        self._unlock(number)

    def _numbers(self) -> tuple[int, int]:
        assert self._descriptor is not None
        found = os.pread(self._descriptor, _NUMBERS.size, 0)
        return _NUMBERS.unpack(found) if len(found) == _NUMBERS.size else (0, 0)

    def _read_served(self) -> int:
        """Return the number that had its turn last; 0 when the file does not say."""
        try:
            return self._numbers()[1]
        except OSError:
            return 0

    def _try_lock(self, number: int) -> bool:
        """Take a lock; return False if another process holds it. Raises ``OSError`` where there are no locks."""
        assert self._descriptor is not None
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError as exc:
            if exc.errno not in _LOCKED:
                raise
            return False
        return True

    def _unlock(self, number: int) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, number)
