"""A process that can start no thread, or has no memory left: it says so, and blames no file and no network."""

import subprocess
import sys

import pytest

from adapters.session.failures import classify_write_error
from adapters.telegram.classify import classify
from engine.fleet.watchers import is_bug
from states.events import Unexpected
from states.exhaustion import NO_MEMORY, NO_THREADS
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

NO_THREAD = RuntimeError("can't start new thread")
FEW_THREADS = """
import runpy, threading
left, start = {left}, threading.Thread.start
def bounded(thread):
    global left
    if left == 0:
        raise RuntimeError("can't start new thread")
    left -= 1
    start(thread)
threading.Thread.start = bounded
runpy.run_module("engine", run_name="__main__")
"""


@pytest.mark.parametrize(("exc", "words"), [(NO_THREAD, NO_THREADS), (MemoryError(), NO_MEMORY)])
def test_what_a_process_lacks_is_neither_a_file_s_nor_the_network_s_fault(exc: Exception, words: str) -> None:
    """However deep it lies, the event and its sentence are about the process's own limit."""
    for shown in (exc, ExceptionGroup("tasks", [exc])):
        failure = classify(shown)
        assert isinstance(failure, Unexpected)
        assert failure.detail.startswith(words)
        assert classify_write_error(shown).detail.startswith(words)
        assert is_bug(shown) is False


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 2, *(pytest.param(left, marks=pytest.mark.slow) for left in (1, 4))])
def test_a_run_without_threads_ends_with_one_sentence(harness: EngineHarness, left: int) -> None:
    """Whatever part finds that it can have no thread, the exit code is that of a failure, without a traceback."""
    harness.config.write_text(
        "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}\n"
        "storage: {directory: data}\naccounts: [{name: a, session: a, phone: '+9996620001'}]\n"
    )
    command = [sys.executable, "-c", FEW_THREADS.format(left=left), "run", str(harness.config), "--for", "100ms"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=TIMEOUT, env=harness.environment
    )
    said = done.stderr
    assert "Traceback" not in said
    assert done.returncode in (0, 1), said
    assert done.returncode == 0 or NO_THREADS in said
    assert left > 1 or done.returncode == 1
