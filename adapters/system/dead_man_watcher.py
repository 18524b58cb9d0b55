"""The small process of ``dead_man_process``: it is told deadlines, and ends its parent at the last one.

A program of its own that imports nothing of this project, so that it starts in a moment and needs little memory.
"""

import os
import select
import signal
import socket
import struct
import time
from typing import Final

FORMAT: Final = "=d"
"""Of a deadline: seconds of the clock below."""
NEVER: Final = float("inf")
"""The deadline of a parent that may live."""
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_LOOK_EVERY: Final = 5.0
"""Seconds between two looks whether the parent is there: a child of it may keep the socket open."""


def main() -> None:
    """Keep the deadlines that arrive on standard input, until the parent has gone or one of them has passed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # its end is the parent's
    parent, deadline, size = os.getppid(), NEVER, struct.calcsize(FORMAT)
    with socket.socket(fileno=0) as told:
        told.sendall(b"\0")
        while os.getppid() == parent:
            rest = deadline - time.clock_gettime(_CLOCK)
            if select.select([told], [], [], min(max(rest, 0.0), _LOOK_EVERY))[0]:  # first: it may have been moved
                found = told.recv(size, socket.MSG_WAITALL)
                if len(found) < size:
                    return
                (deadline,) = struct.unpack(FORMAT, found)
                told.sendall(b"\0")
            elif rest <= 0:
                os.kill(parent, signal.SIGKILL)
                return


if __name__ == "__main__":
    main()
