"""A process that has imported everything once, and forks a child for each story: imports cost more than a calm day.

Its standard input has a story on each line. For each it writes one line: the outcome, or how the child ended.
"""

import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from attrs import define, field

ROOT: Final = Path(__file__).resolve().parents[2]
MAX_ERROR: Final = 2_000
"""Characters of what a crashed run wrote last that are kept."""
NICE: Final = 5


class NoAnswer(Exception):
    """The run took too long."""


class Crashed(Exception):
    """The run, or the nursery, ended without an answer; ``errors`` is what it said last."""

    def __init__(self, how: str, errors: str) -> None:
        super().__init__(how)
        self.errors = errors


def serve() -> None:
    """Fork a child for each story, until the input ends. Never returns."""
    from tests.simulation import one

    clock = one.prepare()
    os.nice(NICE)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints, prints beside the answers
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+b") as errors:
            if (child := os.fork()) == 0:
                os.dup2(errors.fileno(), 1)
                os.dup2(errors.fileno(), 2)
                answers.write(one.run_text(json.loads(line), clock).dump() + "\n")
                answers.flush()
                sys.stderr.flush()
                os._exit(0)  # what a dead engine left must not be cleaned up by an interpreter that goes
            if not _await(child):
                os._exit(1)
            _, status = os.waitpid(child, 0)
            if status:
                errors.seek(0)
                said = errors.read().decode(errors="replace")[-MAX_ERROR:]
                answers.write(json.dumps({"crashed": os.waitstatus_to_exitcode(status), "errors": said}) + "\n")
                answers.flush()
    os._exit(0)


def _await(child: int) -> bool:
    """Wait for the end of a child; return False, the child being killed, if the swarm is gone before."""
    if not hasattr(os, "pidfd_open"):
        return True
    ended, poller = os.pidfd_open(child), select.poll()
    try:
        poller.register(ended, select.POLLIN)
        poller.register(0, 0)  # its end is told without being asked for
        if any(number == ended for number, _ in poller.poll()):
            return True
        os.kill(child, signal.SIGKILL)
        return False
    finally:
        os.close(ended)


@define(eq=False)
class Nursery:
    """Such a process, seen from the swarm. One story at a time."""

    process: "subprocess.Popen[bytes]" = field(init=False)
    _rest: bytes = b""

    def __attrs_post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.simulation", "--nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)},
            start_new_session=True,  # Ctrl+C is for the swarm, which still has to say what it found
        )

    def run(self, story: str, patience: float) -> str:
        """Return the outcome of a story as JSON. Raises ``NoAnswer`` or ``Crashed``; after both it is of no use."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(story).encode() + b"\n")
            self.process.stdin.flush()
            line = self._line(time.monotonic() + patience)
        except OSError as exc:
            raise Crashed(f"the nursery has ended: {exc}", "") from exc
        if line.startswith('{"crashed"'):
            told: dict[str, Any] = json.loads(line)
            code = told["crashed"]
            raise Crashed(f"signal {-code}" if code < 0 else f"exit code {code}", told["errors"])
        return line

    def _line(self, until: float) -> str:
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise NoAnswer
            chunk = os.read(self.process.stdout.fileno(), 1 << 20)
            if not chunk:
                raise Crashed(f"exit code {self.process.wait()}", "")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def end(self) -> None:
        """End it and the run that it may have."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
