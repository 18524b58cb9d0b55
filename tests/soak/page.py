"""Compares what the page shows in a browser with the journal, at every sampled moment of a chaos.

``python -m tests.soak.page --accounts 30 --for 3m --kills 3`` runs an engine on a sandbox that does everything to it
that heals by itself, with the page open in a real Chromium all the while. It kills and restarts the engine so often,
and asks for each sample whether every account was, at the time of the picture, where the page showed it.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from socket import create_server
from typing import Any, Final

from attrs import define, field, frozen

from adapters.sqlite import JournalReader
from adapters.sqlite.incident_reader import IncidentReader
from engine.console.format import seconds as in_words
from states import Entry

ROOT: Final = Path(__file__).resolve().parents[2]
CHROMIUM: Final = "/usr/bin/chromium"
EVERY: Final = 1.0
"""Seconds between two samples."""
TOLERANCE: Final = 1.0
"""Seconds by which the moment of a picture may be off: drawing it takes a moment, in a thread of its own."""
START_SECONDS: Final = 60.0
"""Within which an engine serves its page."""
LOOK: Final = """() => ({
  at: Number(document.body.dataset.at || 0),
  live: (document.getElementById('link') || {}).className || '',
  rows: [...document.querySelectorAll('#order > [data-state]')].map(
    (row) => [row.querySelector('h3').textContent.trim(), row.dataset.state]),
  incidents: [...document.querySelectorAll('#incidents li.incident')].map((each) => Number(each.id.split('-')[1])),
})"""


@frozen(kw_only=True)
class Sample:
    """What the page showed at one look."""

    at: float
    """When it was true, as the page says (Unix seconds)."""
    states: dict[str, str]
    incidents: frozenset[int]


@define
class Found:
    """What came of a comparison."""

    samples: int = 0
    states: int = 0
    """Accounts that were compared, over all samples."""
    wrong: list[str] = field(factory=list)


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with closing(create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def write_config(directory: Path, accounts: int, duration: float, port: int, seed: int) -> Path:
    """Write the config of a chaos."""
    lines = [
        f'  - {{name: Account {number}, session: account{number}, phone: "+99966{20000 + number}"}}'
        for number in range(1, accounts + 1)
    ]
    path = directory / "config.yaml"
    path.write_text(
        "telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}\n"
        "storage: {directory: data}\naccounts:\n" + "\n".join(lines) + "\n"
        f"sandbox: {{scenario: chaos, seed: {seed}, for: {duration:g}s}}\n"
        f"incidents: {{after: 5s}}\nweb: {{listen: 127.0.0.1:{port}}}\n",
        encoding="utf-8",
    )
    return path


def start(config: Path) -> subprocess.Popen[bytes]:
    """Start an engine, whose log goes to its own files alone."""
    command = [sys.executable, "-W", "error", "-m", "engine", "run", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(  # its end is waited for by ``engine_of``
        command, cwd=config.parent, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


@contextmanager
def engines(config: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Yield a list for the engines of a block; the last one is stopped in order at its end."""
    running = [start(config)]
    try:
        yield running
    finally:
        running[-1].send_signal(signal.SIGTERM)
        try:
            running[-1].wait(60)
        except subprocess.TimeoutExpired:
            running[-1].kill()
            raise


def link(directory: Path, port: int) -> str:
    """Return the link to the page, once the engine has made its token."""
    token, deadline = directory / "data" / "web.token", time.monotonic() + START_SECONDS
    while not (token.exists() and token.read_text().strip()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{token}: the engine has made no token within {START_SECONDS:g} s")
        time.sleep(0.2)
    return f"http://127.0.0.1:{port}/?token={token.read_text().split()[0]}"


def watch(page: Any, seconds: float, kill_at: Sequence[float], config: Path, running: list[Any]) -> list[Sample]:
    """Look at the page once a second for so long, and kill the engine at the times that are given."""
    began, kills, samples = time.monotonic(), list(kill_at), list[Sample]()
    while (now := time.monotonic() - began) < seconds:
        if kills and now >= kills[0]:
            kills.pop(0)
            running[-1].kill()
            running[-1].wait()
            running.append(start(config))
        try:
            seen = page.evaluate(LOOK)
        except Exception:  # the page loads itself anew, because the engine is another one
            time.sleep(EVERY)
            continue
        if "live" in seen["live"] and seen["at"]:
            samples.append(Sample(at=seen["at"], states=dict(seen["rows"]), incidents=frozenset(seen["incidents"])))
        time.sleep(EVERY)
    return samples


def compare(samples: Sequence[Sample], database: Path) -> Found:
    """Return whether each sample is what the journal and the incidents were at its moment."""
    with JournalReader.open(database) as reader:
        courses = _courses(reader.entries())
    with IncidentReader.open(database) as incidents:
        opened = {each.id: (each.opened, each.closed) for each in incidents.incidents()}
    found = Found(samples=len(samples))
    for sample in samples:
        for account, shown in sample.states.items():
            found.states += 1
            if shown not in (real := _states_at(courses[account], sample.at)):
                found.wrong.append(f"{sample.at:.3f}: {account} is shown as {shown}, and was {', '.join(sorted(real))}")
        for number in sample.incidents:
            if sample.at < opened.get(number, (float("inf"), None))[0] - TOLERANCE:
                found.wrong.append(f"{sample.at:.3f}: incident {number} is shown before it was one")
        for number, (first, last) in opened.items():
            is_open = first < sample.at - TOLERANCE and (last is None or last > sample.at + TOLERANCE)
            if is_open and number not in sample.incidents:
                found.wrong.append(f"{sample.at:.3f}: incident {number} is open and is not shown")
    return found


def _courses(entries: Iterator[Entry] | Sequence[Entry]) -> dict[str, list[tuple[float, str]]]:
    """Return when each account came to which state."""
    courses: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for entry in entries:
        courses[entry.account].append((entry.at, str(entry.target)))
    return courses


def _states_at(course: Sequence[tuple[float, str]], at: float) -> set[str]:
    """Return the states in which an account was around a moment; *unknown* is one while nothing is known."""
    first = bisect_right(course, at - TOLERANCE, key=lambda each: each[0]) - 1
    last = bisect_right(course, at + TOLERANCE, key=lambda each: each[0])
    if first < 0:
        return {"unknown", "connecting", *(state for _, state in course[:last])}
    return {state for _, state in course[first:last]}


def main() -> None:
    """Run the chaos, and print what was found; exit code 1 if the page has ever shown what was not so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=30)
    parser.add_argument("--for", dest="seconds", type=float, default=180.0, help="seconds")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chance = random.Random(given.seed)
    kill_at = sorted(chance.uniform(0.2, 0.9) * given.seconds for _ in range(given.kills))
    with tempfile.TemporaryDirectory(prefix="holdfast-page-") as name, sync_playwright() as playwright:
        directory, port = Path(name), free_port()
        config = write_config(directory, given.accounts, given.seconds, port, given.seed)
        with engines(config) as running:
            browser = playwright.chromium.launch(executable_path=CHROMIUM)
            page, deadline = browser.new_page(), time.monotonic() + START_SECONDS
            while True:
                try:
                    page.goto(link(directory, port))
                    break
                except Exception:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.5)
            samples = watch(page, given.seconds, kill_at, config, running)
            browser.close()
        found = compare(samples, directory / "data" / "engine.db")
    print(f"{found.samples} samples of {given.accounts} accounts over {in_words(given.seconds)}, {given.kills} kills")
    print(f"{found.states:,} states compared, {len(found.wrong)} wrong")
    for line in found.wrong[:20]:
        print(f"  {line}")
    sys.exit(1 if found.wrong or not samples else 0)


if __name__ == "__main__":
    main()
