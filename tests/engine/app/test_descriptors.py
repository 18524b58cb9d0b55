"""A process that may open few files: it raises its limit, says what it needs, and blames no file and no network."""

import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from adapters.sandbox import Sandbox
from adapters.session.failures import classify_write_error
from adapters.sqlite.errors import database_failure, unusable
from adapters.system import descriptors
from adapters.system.descriptors import Descriptors, raise_limit
from adapters.telegram.classify import classify
from engine.doctor import limits
from states.events import DatabaseUnavailable, Unexpected
from states.exhaustion import NO_DESCRIPTORS
from tests.engine.harness import FAST, EngineHarness
from tests.timeouts import TIMEOUT

FEW = 40
PHONES = tuple(f"+99966200{number:02}" for number in range(1, 13))
SOON = FAST.replace("  backoff:\n", "  backoff:\n    unexpected: {first: 100ms, cap: 300ms}\n")


@pytest.mark.slow
async def test_few_descriptors_are_said_and_end_nothing(harness: EngineHarness) -> None:
    """The log says before it hurts what is needed; accounts that find none say so, and go on when others are paused."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=SOON)
        # A line of its own sets the limit: the engine's process is the same one.
        code = f"import resource as r, runpy; r.setrlimit(r.RLIMIT_NOFILE, ({FEW}, {FEW}));"
        code += "runpy.run_module('engine', run_name='__main__')"
        command = [sys.executable, "-c", code, "run", str(harness.config)]
        async with await anyio.open_process(
            command, stdin=subprocess.DEVNULL, cwd=harness.directory, env=harness.environment
        ) as process:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(harness._read, process.stderr, harness.said)
                    tasks.start_soon(harness._read, process.stdout, harness.shown)
                    with anyio.fail_after(TIMEOUT):
                        while NO_DESCRIPTORS not in harness.text:
                            await anyio.sleep(0.02)
                    code_of_pause, printed = await harness.command("pause", str(harness.config), "Account [1-9]")
                    assert code_of_pause == 0, printed
                    await harness.until(lambda harness: harness.states().count("healthy") == 3)
                    process.send_signal(signal.SIGTERM)
                    with anyio.fail_after(TIMEOUT):
                        assert await process.wait() == 0
            finally:
                if process.returncode is None:
                    process.kill()
    said = harness.text
    assert re.search(
        rf"12 accounts need about 124 .* may open {FEW}: if they run out, .* (--nofile|ulimit -n)",
        said,
    )
    assert "see to the file" not in said
    assert "Network error" not in said
    assert "Traceback" not in said


def test_the_soft_limit_is_raised_to_what_is_needed() -> None:
    """What the system allows is taken without being asked, and no more is lost than there was."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, before[1]))
        found = raise_limit(100)
        assert found.soft >= found.needed == 564
        assert raise_limit(1).soft == found.soft
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("soft", "hard", "ok", "text"),
    [
        (64, 64, False, "need about 264 open files, and what is started here may open 64"),
        (64, 4096, True, "need about 264 open files; run raises its limit from 64"),
        (1024, 4096, True, "need about 264 open files, and 1,024 are allowed"),
    ],
)
def test_doctor_counts_before_it_hurts(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, ok: bool, text: str
) -> None:
    """It says what run will find, with the command that raises the limit."""

    class Forty:
        accounts = range(40)

    monkeypatch.setattr(limits, "descriptors_for", lambda _: Descriptors(264, soft, hard))
    (finding,) = limits.check(Forty())  # type: ignore[arg-type]  # only the accounts are counted
    assert finding.ok is ok
    assert text in finding.text
    assert ok or "512" in finding.remedy or "1024" in finding.remedy


def test_exhaustion_is_neither_a_file_s_nor_the_network_s_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However a library says it, the event and its sentence are about the process's own limit."""
    full = OSError(24, "Too many open files")
    wrapped = ConnectionError("Connection to Telegram failed 1 time(s)")
    wrapped.__cause__ = full
    for exc in (full, OSError(23, "Too many open files in system"), wrapped):
        failure = classify(exc)
        assert isinstance(failure, Unexpected)
        assert failure.detail.startswith(NO_DESCRIPTORS)
    assert classify_write_error(full).detail.startswith(NO_DESCRIPTORS)
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(tmp_path / "missing" / "file.db")
    plain = database_failure(caught.value)
    assert plain is not None
    assert not plain.detail.startswith(NO_DESCRIPTORS)
    monkeypatch.setattr("adapters.sqlite.errors.none_left", lambda: True)
    failure = database_failure(caught.value)
    assert isinstance(failure, DatabaseUnavailable)
    assert failure.detail.startswith(NO_DESCRIPTORS)
    said = str(unusable(tmp_path / "a.db", caught.value))
    assert "start it again after: " in said
    assert f"--pid {os.getpid()}" not in said  # that process is over when the sentence is read
    assert "permissions" not in said
    assert descriptors.none_left() is False
