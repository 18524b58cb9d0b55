"""What a process may run out of: file descriptors, of which it counts the need, threads, and memory."""

import errno
import os
import resource
import sys
from contextlib import suppress
from typing import Final

from attrs import frozen

from states.exhaustion import NO_DESCRIPTORS, NO_MEMORY, NO_THREADS

PER_ACCOUNT: Final = 2 if sys.platform == "linux" else 3
"""Of a connected account: its socket, and the lock on its session file, or two lock files."""
PER_WRITTEN: Final = 3
"""Of a session file that is read or written: the file, and two files of SQLite's beside it."""
MOST_WRITTEN: Final = 110
"""Session files that are open at the same time, at the most: written lately, or being read."""
BESIDE: Final = 64
"""Of the engine itself: the database, logs, the socket for commands, lock files."""
ROOM: Final = 3
"""What is asked for beyond the need, for each account: what its jobs open, and a new link beside one that closes."""
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE)
NO_NEW_THREAD: Final = "can't start new thread"
"""What Python says when the system has no room for another thread."""
EXHAUSTION_DEPTH: Final = 8
"""How far back in what led to an error the cause is looked for."""


@frozen
class Descriptors:
    """What so many accounts need, and what the process may open: now (``soft``), and after raising it (``hard``)."""

    needed: int
    soft: int
    hard: int

    @property
    def enough(self) -> bool:
        """Whether the accounts fit, once the limit is raised as far as the process may raise it itself."""
        return max(self.soft, self.hard) >= self.needed

    @property
    def remedy(self) -> str:
        """The command that raises the limit of the shell in which the engine is started next."""
        return raise_command(self.needed)


def descriptors_for(accounts: int) -> Descriptors:
    """Return what so many accounts need, and what this process may have; an unlimited number is very large."""
    soft, hard = map(_finite, resource.getrlimit(resource.RLIMIT_NOFILE))
    return Descriptors(BESIDE + PER_ACCOUNT * accounts + PER_WRITTEN * min(accounts, MOST_WRITTEN), soft, hard)


def raise_limit(accounts: int) -> Descriptors:
    """Raise the process's own limit to what so many accounts need with some room, as far as that is allowed."""
    needed = descriptors_for(accounts).needed
    raise_to(needed + ROOM * accounts + 256, at_least=needed)
    return descriptors_for(accounts)


def raise_to(number: int, *, at_least: int) -> None:
    """Let this process open so many files, or ``at_least`` so many, as far as its hard limit allows; never fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (number, at_least):  # some systems refuse what their own hard limit allows
        limit = min(wanted, _finite(hard))
        if limit <= _finite(soft):
            return
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            return


def none_left() -> bool:
    """Return whether the process or the system has no descriptor left: libraries do not always say why they fail."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as exc:
        return exc.errno in EXHAUSTED
    return False


def is_exhaustion(exc: BaseException | None) -> bool:
    """Return whether an error, or one that led to it, says that no descriptor, thread or memory is left."""
    return _what_lacks(exc) is not None


def _what_lacks(exc: BaseException | None) -> str | None:
    seen = 0
    while exc is not None and seen < EXHAUSTION_DEPTH:
        if isinstance(exc, OSError) and exc.errno in EXHAUSTED:
            return NO_DESCRIPTORS
        if isinstance(exc, RuntimeError) and str(exc) == NO_NEW_THREAD:
            return NO_THREADS
        if isinstance(exc, MemoryError) or (isinstance(exc, OSError) and exc.errno == errno.ENOMEM):
            return NO_MEMORY
        if isinstance(exc, BaseExceptionGroup):
            exc, seen = exc.exceptions[0], seen + 1
        else:
            exc, seen = exc.__cause__ or exc.__context__, seen + 1
    return None


def exhaustion(exc: BaseException, *, ends: bool = False) -> str:
    """Return the sentence for the operator of a process that lacks what ``exc`` says; a descriptor if it says nothing.

    One that goes on can be helped while it runs; one that ``ends`` for it is to be started anew with a higher limit.
    """
    lacks = _what_lacks(exc)
    if lacks == NO_THREADS:
        return (
            f"{NO_THREADS}; raise its user's limit (ulimit -u), its service's (TasksMax) or its memory, and restart it"
        )
    if lacks == NO_MEMORY:
        return (
            f"{NO_MEMORY}; raise its limit (ulimit -v, its service's MemoryMax) or run fewer accounts, and restart it"
        )
    soft = _finite(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    more = max(1024, 4 * soft)
    how = (
        f"start it again after: {raise_command(more)}"
        if ends
        else f"this lets it open more: sudo prlimit --pid {os.getpid()} --nofile={more}:{more}"
        if sys.platform == "linux"
        else f"restart it after: ulimit -n {more}"
    )
    return f"{NO_DESCRIPTORS} (it may open {soft:,} files); {how}"


def raise_command(number: int) -> str:
    """Return the command that lets what a shell starts open so many files."""
    number = max(1024, 1 << (number - 1).bit_length())
    if sys.platform != "linux" or os.geteuid() == 0:
        return f"ulimit -n {number}"
    return f"sudo prlimit --pid $$ --nofile={number}:{number}"


def _finite(limit: int) -> int:
    return 1 << 30 if limit == resource.RLIM_INFINITY else limit
