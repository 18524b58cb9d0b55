"""An engine that is killed while it sends alerts: each message goes, and at most once more for each kill."""

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.adapters.alerts.servers import Hooks, web_server
from tests.engine.config.texts import HEAD, ONE
from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

COUNT = 4
"""Incidents: fewer than a channel gets one by one, so that none is in a digest."""


@contextmanager
def started(config: Path, how: str) -> "Iterator[subprocess.Popen[str]]":
    """Run the victim for the length of the block, and kill it at its end."""
    words = [sys.executable, "-m", "tests.engine.alerts.victim", str(config), how, str(COUNT)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def told(hooks: Hooks) -> Counter[int]:
    """Return how often each incident was told."""
    found = [re.findall(r"ncident (\d+)", json.loads(content)["message"]) for _, content in hooks.got]
    return Counter(int(number) for numbers in found for number in numbers)


@pytest.mark.slow
@pytest.mark.parametrize("delays", [(None, 0.0, 0.01, 0.03), (0.0, 0.0, 0.0, 0.0), (0.005, 0.02, None, 0.05)])
def test_kill_9_forgets_no_message_and_repeats_one_at_most(tmp_path: Path, delays: tuple[float | None, ...]) -> None:
    """However far a message was: on its way without an answer (None), or so many seconds after it arrived."""
    with web_server() as hooks:
        config = tmp_path / "config.yaml"
        config.write_text(f'{HEAD}{ONE}alerts: [{{to: "{hooks.address}", on: needs_person}}]', "utf-8")
        for number, delay in enumerate(delays):
            if delay is None:
                hooks.answers.clear()
            with started(config, "again" if number else "new") as process:
                assert process.stdout is not None
                assert process.stdout.readline().startswith("stored")
                if len(told(hooks)) < COUNT:
                    hooks.arrived.acquire(timeout=TIMEOUT)
                time.sleep(delay or 0.0)
            hooks.answers.set()
        with started(config, "again"):
            until = time.monotonic() + TIMEOUT
            while time.monotonic() < until and not all_marked(tmp_path / "engine.db"):
                time.sleep(0.05)
        counts = told(hooks)
        assert set(counts) == set(range(1, COUNT + 1))
        assert sum(counts.values()) - COUNT <= len(delays)


def all_marked(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as db:
        return bool(db.execute("SELECT count(*) = ? FROM alerts WHERE messages = 1", (COUNT,)).fetchone()[0])
