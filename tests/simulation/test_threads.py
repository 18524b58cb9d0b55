"""Threads as greenlets: what holds of real ones holds of them, exactly, and in the same order for the same seed."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.timeouts import TIMEOUT

ROOT = Path(__file__).resolve().parents[2]


@cache
def told(program: str, seeds: str = "0:20") -> list[dict[str, Any]]:
    """Run a program under seeds in a process of its own; return what it told of each."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.thread_programs", program, "--seeds", seeds],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def seen(program: str, seeds: str = "0:20") -> list[Any]:
    """Return what a program saw under each seed; all must have gone well."""
    errors = [each["error"] for each in told(program, seeds) if "error" in each]
    assert not errors, errors[0]
    return [each["saw"] for each in told(program, seeds)]


def test_a_lock_excludes_and_threads_take_turns() -> None:
    """No two threads are inside at once, in many different orders."""
    assert len(set(seen("exclusion"))) > 5


def test_a_race_is_found_by_some_seeds() -> None:
    """An addition without a lock is lost in some orders, and in others it is not."""
    assert set(seen("race", "0:60")) == {1, 2}


def test_timeouts_are_exact() -> None:
    """Without a seed there are no delays: a wait ends at its timeout, a join when the thread has slept."""
    assert seen("waits", "none") == [
        {
            "event": [False, 2.5],
            "condition": [False, 4.0],
            "join": [True, 5.0],
            "joined": [False, 7.0],
            "lock": [False, False, 7.5],
        }
    ]


@pytest.mark.parametrize("seeds", ["none", "0:200"])
def test_no_notification_is_lost(seeds: str) -> None:
    """What is put into a list under a condition is taken once, whoever is woken first."""
    assert all(sorted(taken) == list(range(6)) for taken in seen("notified", seeds))


def test_a_deadlock_is_found_and_named() -> None:
    """Some orders of two locks taken in opposite orders end in a deadlock, which says who waits for what, and where."""
    errors = [each["error"] for each in told("deadlock", "0:60") if "error" in each]
    assert 0 < len(errors) < 60
    assert "Deadlock: no thread can go on:" in errors[0]
    assert "upwards waits for a lock of downwards" in errors[0]
    assert "downwards waits for a lock of upwards" in errors[0]
    assert "with one, two:" in errors[0]


def test_an_exception_in_a_thread_reaches_the_run() -> None:
    """With the name of the thread, after its ``finally`` blocks."""
    assert seen("failed", "0:3") == [["finally", "unlucky: LookupError('lost')"]] * 3


def test_what_is_local_to_a_thread_is_its_own() -> None:
    """Locals, contexts, names and idents do not mix between threads that take turns."""
    assert all(each == {name: [name] * 3 for name in "ab"} for each in seen("local"))


def test_the_threads_of_a_killed_process_never_go_on() -> None:
    """No ``finally`` block runs; their locks are free, who joins them goes on, and nobody counts them."""
    assert all(each == [["victim"], [], 1] for each in seen("killed"))


def test_workers_are_those_of_reality() -> None:
    """Workers run at once, without a loop; cancelling abandons one if that is allowed, and waits for it if not."""
    results, *times = seen("workers", "none")[0]
    assert results == [[seconds, False] for seconds in (3, 2, 1)] * 2
    assert times == [True, 3, 1, 5]


@pytest.mark.parametrize("program", ["exclusion", "workers", pytest.param("journal_writer", marks=pytest.mark.slow)])
def test_a_seed_stands_for_one_order(program: str) -> None:
    """The same seed runs the same threads at the same times, in another process; another seed runs them otherwise."""
    first = told(program, "0:5")
    told.cache_clear()
    assert told(program, "0:5") == first
    assert len({each["order"] for each in first}) == 5


@pytest.mark.slow
def test_the_journal_writer_loses_nothing_in_any_order() -> None:
    """The real writer, its thread and SQLite: rows once and in order, durable after a flush, all saved at the end."""
    assert len(seen("journal_writer", "0:200")) == 200


@pytest.mark.slow
@pytest.mark.parametrize("program", ["write_behind", "session_writer"])
def test_sessions_are_written_in_any_order(program: str) -> None:
    """The threads that write sessions: each change is written, once it is asked for, and none of them stays behind."""
    assert len(seen(program, "0:60")) == 60


def test_threads_that_go_on_without_end_are_found() -> None:
    """Threads that never let time pass are named, with what they do."""
    (only,) = told("livelock", "none")
    assert "100000 turns, and no time has passed" in only["error"]
    assert "scheduler_now().give_way()" in only["error"]


@pytest.mark.slow
@pytest.mark.parametrize("program", ["log_lines", "stalls"])
def test_log_and_watch_keep_their_promises_in_any_order(program: str) -> None:
    """Each line is handed over once or counted; a job that blocks the loop is reported, and thrown out in time."""
    assert len(seen(program, "0:60")) == 60
