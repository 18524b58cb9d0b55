"""A fair queue of processes in front of one database.

SQLite's busy handler is not fair: of several processes that write without a pause, one does all the work and the others
wait for as long as it has work. So each writer draws a number and waits for the one before it:

    door (byte 0) ▶ draw number n, hold byte n ▶ wait until byte n − 1 is free ▶ transaction ▶ let go of byte n

The numbers are in a file beside the database (never in it: its locks die when any descriptor of it is closed), and the
bytes are locks of the kernel's, which die with their holder. The queue is a courtesy, not the lock: whoever saw it
stand still for ``TIMEOUT_SECONDS`` (a neighbour was stopped) goes on without, and SQLite decides. Where no number can
be drawn (no such locks here, a file that cannot be written, a neighbour that was stopped at the door) a writer does
without the queue for ``REST_SECONDS``, so that it pays for that once and not at each turn.

A waiting writer asks again and again instead of sleeping in the kernel, so that it can be told to stop; that costs no
fairness, since the order is drawn beforehand. How often it asks depends on how many are before it.
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

TIMEOUT_SECONDS: Final = 2.0
"""How long a writer waits while nobody has a turn."""
REST_SECONDS: Final = 30.0
"""How long a writer does without a queue that it could not use."""
_POLL_SECONDS: Final = 0.00003
"""Between two looks of the next in line."""
_TURN_SECONDS: Final = 0.00015
"""How long a turn takes at least: so much less often looks who has to wait for others, too."""
_MAX_SECONDS: Final = 0.002
_NUMBERS: Final = struct.Struct("<qq")
"""In the file: the number that was drawn last, and the one that had its turn last."""
_DOOR: Final = 0
_FIRST: Final = 2
"""The first number that is drawn; nobody is before it."""
_LAST: Final = 2**62
"""No writer gets as far: such a number is damage, and would be no place for a lock."""
_HELD: Final = (errno.EAGAIN, errno.EACCES)
"""How the kernel says that somebody else has a lock; systems differ."""


@define(eq=False)
class ProcessQueue:
    """One writer's place in the queue of a database. For one thread; a process has one for each database."""

    database: Path
    _descriptor: int | None = field(default=None, init=False)
    _failed_at: float = field(default=-inf, init=False)
    """When the queue could not be used."""
    _closed: bool = field(default=False, init=False)

    @contextmanager
    def turn(self, hurry: Callable[[], bool]) -> Iterator[None]:
        """Wait for a turn and keep it for the block; ``hurry`` ends the waiting, not the block."""
        number = self._draw(hurry)
        try:
            if number is not None:
                with suppress(OSError):  # the locks are gone: SQLite decides
                    self._wait(number - 1, hurry)
            yield
        finally:
            if number is not None:
                self._leave(number)

    def close(self) -> None:
        """Close the file; a turn is then had at once."""
        self._closed = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _draw(self, hurry: Callable[[], bool]) -> int | None:
        """Return the next number, held; None where there is no queue."""
        if self._closed or time.monotonic() < self._failed_at + REST_SECONDS:
            return None
        with suppress(OSError):  # no place for the file, no such locks here, a full disk
            self._open()
            if self._wait(_DOOR, hurry, keep=True):
                try:
                    return self._next()
                finally:
                    self._let_go(_DOOR)
        self._failed_at = time.monotonic()
        return None

    def _open(self) -> None:
        if self._descriptor is None:
            path = self.database.with_name(f"{self.database.name}.queue")
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _next(self) -> int | None:
        """Draw a number, at the door."""
        assert self._descriptor is not None
        drawn, served = self._numbers()
        number = drawn + 1 if _FIRST <= drawn < _LAST else _FIRST
        os.pwrite(self._descriptor, _NUMBERS.pack(number, served), 0)
        return number if self._hold(number) else None

    def _wait(self, number: int, hurry: Callable[[], bool], *, keep: bool = False) -> bool:
        """Wait until nobody holds a number; return whether it is so. Raises ``OSError`` where there are no locks."""
        served, give_up = -1, inf
        while not self._hold(number):
            now, latest = time.monotonic(), self._served()
            if latest != served or give_up == inf:
                served, give_up = latest, now + TIMEOUT_SECONDS
            if now >= give_up or hurry():
                return False
            before = number - served - 1 if number != _DOOR else 0
            time.sleep(min(max(_POLL_SECONDS, before * _TURN_SECONDS), _MAX_SECONDS))
        if not keep:
            self._let_go(number)
        return True

    def _leave(self, number: int) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.pwrite(self._descriptor, _NUMBERS.pack(0, number)[8:], 8)
        self._let_go(number)

    def _numbers(self) -> tuple[int, int]:
        assert self._descriptor is not None
        found = os.pread(self._descriptor, _NUMBERS.size, 0)
        return _NUMBERS.unpack(found) if len(found) == _NUMBERS.size else (0, 0)

    def _served(self) -> int:
        """Return the number that had its turn last; 0 when the file does not say."""
        try:
            return self._numbers()[1]
        except OSError:
            return 0

    def _hold(self, number: int) -> bool:
        """Take a lock unless somebody has it. Raises ``OSError`` where there are none."""
        assert self._descriptor is not None
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError as exc:
            if exc.errno not in _HELD:
                raise
            return False
        return True

    def _let_go(self, number: int) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, number)
