"""Runs each story in a process of its own, which may hang or crash without harm to the others.

A run replaces the sources of chance and time of its whole process, so no process runs a second one.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import Final, Self

from attrs import define, field

from tests.simulation.evidence import Verdict
from tests.simulation.nursery import MAX_ERROR, ROOT, Crashed, NoAnswer, Nursery
from tests.simulation.outcome import Outcome
from tests.simulation.story import Story

CHILD: Sequence[str] | None = None
"""The command of each run; None forks it from a process that has imported everything."""
NO_ANSWER: Final = "an answer in time"
CRASHED: Final = "a run that ends well"


class Stopped(Exception):
    """The swarm is over: this run was ended, and its answer does not count."""


@define
class Children:
    """The processes that run now. ``patience`` is how many real seconds a run may take.

    With a ``command``, each run is a process of its own, started by it; else a fork of a process that has imported all.
    """

    patience: float = 300.0
    command: Sequence[str] | None = field(factory=lambda: CHILD)
    stopped: bool = False
    _idle: list[Nursery] = field(factory=list)
    _busy: set[Nursery] = field(factory=set)
    _running: set["subprocess.Popen[str]"] = field(factory=set)
    _lock: threading.Lock = field(factory=threading.Lock)

    def run(self, story: Story) -> Outcome:
        """Run a story in a child. One that hangs or crashes has an outcome, too: a verdict says so."""
        return self._run_forked(story) if self.command is None else self._run_alone(story, self.command)

    def _run_forked(self, story: Story) -> Outcome:
        with self._lock:
            if self.stopped:
                raise Stopped
            nursery = self._idle.pop() if self._idle else Nursery()
            self._busy.add(nursery)
        said = ""
        try:
            said = nursery.run(story.dump(), self.patience)
            return Outcome.load(said)
        except NoAnswer:
            failed = _failed(NO_ANSWER, f"no answer within {self.patience:g} s", "")
        except Crashed as exc:
            failed = _failed(CRASHED, f"the run ended with {exc}: {_last_line(exc.errors)}", exc.errors)
        except (ValueError, KeyError, TypeError) as error:
            failed = _failed(CRASHED, f"the run's answer cannot be read: {error}", said[-MAX_ERROR:])
        finally:
            with self._lock:
                self._busy.discard(nursery)
                if said and not self.stopped:
                    self._idle.append(nursery)
            if not said:
                nursery.end()
        if self.stopped:
            raise Stopped
        return failed

    def _run_alone(self, story: Story, command: Sequence[str]) -> Outcome:
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
        with self._lock:
            if self.stopped:
                raise Stopped
            child = subprocess.Popen(
                command,
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all runs, and begin no other."""
        with self._lock:
            self.stopped = True
            running = tuple(self._running)
            nurseries = (*self._idle, *self._busy)
            self._idle.clear()
        for child in running:
            _kill(child)
        for nursery in nurseries:
            nursery.end()


def _kill(child: "subprocess.Popen[str]") -> None:
    """End a child and whatever it started: they are a session of their own."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)


def _failed(judge: str, what: str, errors: str) -> Outcome:
    return Outcome(digest="", journal=errors[-MAX_ERROR:], verdicts=(Verdict(judge=judge, what=what),))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:400] if lines else "it said nothing"
