"""One "host" of a Patroni cluster, as a process: Patroni, its PostgreSQL, and the processes of both belong to it.

Patroni starts PostgreSQL so that it outlives Patroni. Here both end with this process, which adopts what loses its
parent (``PR_SET_CHILD_SUBREAPER``) and ends all of it when its standard input ends: when the tests are over, and also
when their process was killed. It takes one word per line, and says ``done`` after each: ``start``, ``kill`` (all at
once, as if the power failed), ``stop`` and ``continue`` (as if its network did).

It is run as a script, for it may have no right to read more than this file: ``patroni_host.py WORD…`` of Patroni.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Follow the words of standard input until it ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this process cannot adopt others")
    signal.signal(signal.SIGQUIT, _leave)
    try:
        for word in _words():
            match word:
                case "start":
                    subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)
                case "kill":
                    _end_all()
                case "stop":
                    _send_to_all(signal.SIGSTOP)
                case "continue":
                    _send_to_all(signal.SIGCONT)
            os.write(1, b"done\n")
    finally:
        _end_all()


def _leave(*_: object) -> None:
    """End all at once: the process that started this one is gone. It may come while all is being ended already."""
    _end_all()
    os._exit(0)


def _words() -> Iterator[str]:
    """Yield the lines of standard input, and take away what has ended meanwhile: nobody else is its parent."""
    read = b""
    while True:
        if not select.select([0], [], [], 0.05)[0]:
            _take_away_the_dead()
            continue
        if not (chunk := os.read(0, 4096)):
            return
        *lines, read = (read + chunk).split(b"\n")
        for line in lines:
            yield line.decode()


def _take_away_the_dead() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_all() -> None:
    """Kill every process below this one; some may be starting others at this moment."""
    while below := _below():
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _take_away_the_dead()
        time.sleep(0.005)


def _send_to_all(number: signal.Signals) -> None:
    for _ in range(2):  # the second time for what was started meanwhile
        for pid in _below():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _below() -> list[int]:
    """Return the processes below this one."""
    parents: dict[int, int] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(each.name)] = int((each / "stat").read_text().rpartition(")")[2].split()[1])
    found, ahead = [], [os.getpid()]
    while ahead:
        above = ahead.pop()
        children = [pid for pid, parent in parents.items() if parent == above]
        found += children
        ahead += children
    return found


if __name__ == "__main__":
    main()
