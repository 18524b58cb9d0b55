"""Runs each story in a process of its own, which may hang or crash without harm to the others.

A run replaces the sources of chance and time of its whole process, so no process runs a second one.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import define, field

from tests.simulation.evidence import Verdict
from tests.simulation.outcome import Outcome
from tests.simulation.story import Story

ROOT: Final = Path(__file__).resolve().parents[2]
CHILD: Final = (sys.executable, "-m", "tests.simulation", "--child")
NO_ANSWER: Final = "an answer in time"
CRASHED: Final = "a run that ends well"
MAX_ERROR: Final = 2_000
"""Characters of what a crashed run wrote last that are kept."""


class Stopped(Exception):
    """The swarm is over: this run was ended, and its answer does not count."""


@define
class Children:
    """The processes that run now. ``patience`` is how many real seconds a run may take."""

    patience: float = 300.0
    command: Sequence[str] = field(factory=lambda: CHILD)
    stopped: bool = False
    _running: set["subprocess.Popen[str]"] = field(factory=set)
    _lock: threading.Lock = field(factory=threading.Lock)

    def run(self, story: Story) -> Outcome:
        """Run a story in a child. One that hangs or crashes has an outcome, too: a verdict says so."""
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
        with self._lock:
            if self.stopped:
                raise Stopped
            child = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="backslashreplace",
                cwd=ROOT,
                env=environment,
                start_new_session=True,  # Ctrl+C is for the swarm, which still has to say what it found
            )
            self._running.add(child)
        try:
            said, errors = child.communicate(story.dump(), timeout=self.patience)
        except subprocess.TimeoutExpired:
            _kill(child)
            _, errors = child.communicate()
            return _failed(NO_ANSWER, f"no answer within {self.patience:g} s", errors)
        finally:
            with self._lock:
                self._running.discard(child)
        if self.stopped:
            raise Stopped
        if child.returncode != 0:
            how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
            return _failed(CRASHED, f"the run ended with {how}: {_last_line(errors)}", errors)
        try:
            return Outcome.load(said)
        except (ValueError, KeyError, TypeError) as error:
            return _failed(CRASHED, f"the run's answer cannot be read: {error}", said[-MAX_ERROR:] + errors)

    def stop(self) -> None:
        """End all runs, and begin no other."""
        with self._lock:
            self.stopped = True
            running = tuple(self._running)
        for child in running:
            _kill(child)


def _kill(child: "subprocess.Popen[str]") -> None:
    """End a child and whatever it started: they are a session of their own."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)


def _failed(judge: str, what: str, errors: str) -> Outcome:
    return Outcome(digest="", journal=errors[-MAX_ERROR:], verdicts=(Verdict(judge=judge, what=what),))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:400] if lines else "it said nothing"
