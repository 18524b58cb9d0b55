"""The dead-man timer: ends this process at a deadline, whatever the process is doing, unless the deadline is moved.

On Linux the kernel does it, by a timer that sends SIGKILL (``timer_create(2)``). It ends a process that sleeps, that is
in C code and keeps Python's lock, that blocks all signals, and one that is stopped; no thread can do the last three.
The clock is ``CLOCK_BOOTTIME``, which goes on while the machine sleeps: a deadline that passed in the meantime ends the
process when the machine wakes up. Such a timer belongs to one process: the kernel gives it to no child of ``fork``, and
deletes it in ``execve``. Elsewhere a small process does it, see ``dead_man_process``.

The first process of a container (number 1) is ended by no signal from inside it, and so by neither of the two.
"""

import ctypes
import math
import os
import sys
import time
from collections.abc import Callable
from signal import SIGKILL
from typing import Any, Final, Self

from attrs import define, field

from adapters.system.dead_man_process import ProcessDeadMan
from adapters.system.errors import DeadManUnusable

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", 7)
_SIGEV_SIGNAL: Final = 0
_TIMER_ABSTIME: Final = 1
_LEAST_NS: Final = 1
"""A time of zero would disarm the timer."""


class _Sigevent(ctypes.Structure):
    """``struct sigevent``: 64 bytes on every Linux."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_byte * 48),
    )


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


@define(eq=False)
class KernelDeadMan:
    """A timer of the kernel. Times are those of ``ContinuousClock``."""

    _timer: ctypes.c_void_p
    _set_time: Callable[..., int]
    _delete: Callable[..., int]
    _process: int = field(factory=os.getpid)
    """Whose timer it is."""
    _open: bool = True

    @classmethod
    def create(cls) -> Self:
        """Make a timer, which is not armed. Raises ``OSError`` where the kernel or its C library has none."""
        create, set_time, delete = _functions()
        timer, event = ctypes.c_void_p(), _Sigevent(signo=SIGKILL, notify=_SIGEV_SIGNAL)
        if create(_CLOCK, ctypes.byref(event), ctypes.byref(timer)):
            raise _error()
        return cls(timer, set_time, delete)

    def arm(self, at: float) -> None:
        """End this process at ``at``, and no longer when it was to end before. A time that has passed ends it now.

        Raises ``DeadManUnusable``: then what was armed before still is.
        """
        fraction, seconds = math.modf(max(at, 0.0))
        self._set(int(seconds), max(int(fraction * 1e9), _LEAST_NS))

    def disarm(self) -> None:
        """Let this process live, until it is armed again. Raises ``DeadManUnusable``."""
        self._set(0, 0)

    def close(self) -> None:
        """Disarm and delete the timer. A second call does nothing."""
        if self._open and self._process == os.getpid():
            self._delete(self._timer)
        self._open = False

    def _set(self, seconds: int, nanoseconds: int) -> None:
        if not self._open or self._process != os.getpid():
            raise DeadManUnusable("the dead-man timer was closed, or is that of the process that forked this one")
        when = _Itimerspec(value=_Timespec(seconds, nanoseconds))
        if self._set_time(self._timer, _TIMER_ABSTIME, ctypes.byref(when), None):
            raise DeadManUnusable(f"the kernel does not set the dead-man timer: {_error()}")


DeadMan = KernelDeadMan | ProcessDeadMan


def open_dead_man() -> DeadMan:
    """Return a dead-man timer for this process, which is not armed. Blocks for a moment where the kernel has none.

    Raises ``DeadManUnusable`` if nothing could end this process.
    """
    if os.getpid() == 1:
        raise DeadManUnusable(
            "this process is the first one of its container, which no deadline can end; start the container with an "
            "init process (docker run --init, or 'init: true' in a compose file)"
        )
    if sys.platform == "linux":
        try:
            return KernelDeadMan.create()
        except (OSError, AttributeError):  # a kernel or a C library without it
            pass
    return ProcessDeadMan.start()


def _functions() -> tuple[Callable[..., int], Callable[..., int], Callable[..., int]]:
    """Return ``timer_create``, ``timer_settime`` and ``timer_delete``. Raises ``AttributeError`` or ``OSError``."""
    library: Any = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "timer_create"):
        library = ctypes.CDLL("librt.so.1", use_errno=True)  # glibc before 2.34
    pointer = ctypes.c_void_p
    library.timer_create.argtypes = (ctypes.c_int, pointer, pointer)
    library.timer_settime.argtypes = (pointer, ctypes.c_int, pointer, pointer)
    library.timer_delete.argtypes = (pointer,)
    return library.timer_create, library.timer_settime, library.timer_delete


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
