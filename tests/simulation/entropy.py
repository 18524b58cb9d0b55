"""Seeded sources of everything that differs from run to run: random numbers, clocks, names, the order of sets.

``install`` replaces them in the whole process, so a simulation has a process of its own, and calls it before anything
of Holdfast or Telethon is imported: modules bind such functions when they are imported.
"""

import ctypes
import os
import random
import secrets
import sys
import time
import uuid
import weakref
from collections.abc import Callable
from typing import Any, Final

from attrs import define

from tests.simulation.threads import Scheduler

EPOCH: Final = 1_767_225_600.0
"""When each simulation begins, in Unix seconds: 2026-01-01, 00:00 UTC."""
_NO_RANDOM_ADDRESSES: Final = 0x0040000
"""ADDR_NO_RANDOMIZE of personality(2)."""
_ASK: Final = 0xFFFFFFFF
_BOOTTIME: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@define
class VirtualClock:
    """All clocks of a simulation, in seconds. Only waiting takes time, code takes none."""

    threads: Scheduler
    """Whose time is that which cannot be set, and stands still while the machine sleeps."""
    slept: float = 0.0
    """How long the machine has slept."""
    stepped: float = 0.0
    """How far somebody has set the machine's clock forward."""
    is_elsewhere: Callable[[], bool] = lambda: False
    """Whether the code that asks runs on another machine, whose clock is right."""

    @property
    def now(self) -> float:
        """Virtual seconds."""
        return self.threads.now

    def wall(self) -> float:
        """Return the time of day of the machine whose code asks."""
        true = EPOCH + self.now + self.slept
        return true if self.is_elsewhere() else true + self.stepped

    def boot(self) -> float:
        """Return the time that goes on while the machine sleeps."""
        return self.now + self.slept


def fix_hashes() -> None:
    """Start this program again, once, if hashes of strings or addresses of objects differ from run to run.

    Where the system forbids to fix addresses, the program goes on as it is: no order should depend on them.
    """
    personality = ctypes.CDLL(None).personality
    now = personality(_ASK)
    if os.environ.get("PYTHONHASHSEED") == "0" and (now == -1 or now & _NO_RANDOM_ADDRESSES):
        return
    fixed = now != -1 and personality(now | _NO_RANDOM_ADDRESSES) != -1
    if not fixed and os.environ.get("PYTHONHASHSEED") == "0":
        return
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


_source: Final = random.Random()  # it has to be repeatable
_unseeded: Final[list["weakref.ref[random.Random]"]] = []
"""Generators that nobody gave a seed, in the order in which they were made."""


class SeededRandom(random.Random):
    """A generator that begins the same way in each run, also when nobody gives it a seed."""

    def __init__(self, x: Any = None) -> None:
        super().__init__(_source.getrandbits(64) if x is None else x)
        if x is None:
            _unseeded.append(weakref.ref(self))


def install(clock: VirtualClock) -> None:
    """Replace the sources of this process for good; ``seed`` says then how they go on."""
    random.Random = SeededRandom  # type: ignore[misc]
    os.urandom = _source.randbytes
    random._urandom = _source.randbytes  # type: ignore[attr-defined]  # SystemRandom's, and so that of ``secrets``
    secrets.token_bytes = lambda nbytes=None: _source.randbytes(32 if nbytes is None else nbytes)
    uuid.uuid4 = lambda: uuid.UUID(bytes=_source.randbytes(16), version=4)
    _install_clocks(clock)
    seed(0)


def seed(number: int) -> None:
    """Let all sources begin anew, also those that modules have made."""
    _source.seed(f"entropy of {number}")
    random.seed(_source.getrandbits(64))
    for reference in _unseeded:
        if (generator := reference()) is not None:
            generator.seed(_source.getrandbits(64))


def _install_clocks(clock: VirtualClock) -> None:
    time.time = clock.wall
    time.time_ns = lambda: int(clock.wall() * 1e9)
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(time, name, lambda: clock.now)
        setattr(time, f"{name}_ns", lambda: int(clock.now * 1e9))
    real = time.clock_gettime

    def clock_gettime(which: int) -> float:
        if which == _BOOTTIME:
            return clock.boot()
        if which == time.CLOCK_MONOTONIC:
            return clock.now
        return clock.wall() if which == time.CLOCK_REALTIME else real(which)

    time.clock_gettime = clock_gettime
