"""What could not be written at the end of a run is said, however short the time that is left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.timeouts import TIMEOUT

PROGRAM = """
from adapters.session import writer
from engine.app import process
from engine.console import streams


class Stuck:
    name = "Account 1"
    unsaved = True

    def visit(self):
        return 0.05


streams.prepare()
process._MAX_EXIT, writer.EXIT_TIMEOUT = 1.0, 1.1
writer.shared.wake(Stuck())
process._end_within(0)
"""
"""The end of a run with a session whose disk is full; the last try lasts longer than a process has for its end."""


@pytest.mark.slow
def test_a_session_that_is_not_written_at_the_end_is_said() -> None:
    """The deadline for the process does not come before the sentence."""
    root = str(Path(__file__).parents[3])
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        check=False,
        text=True,
        timeout=TIMEOUT,
    )
    assert "1 session files could not be written in time" in ended.stderr
    assert ended.returncode == 0
