"""How many rows a second ``storage copy`` moves, there and back, and what memory it needs.

    python -m tests.bench.storage_copy [--rows 400000] [--quick]

Records of the journal as engines write them, jobs, results, and messages, in an ``engine.db``; then the real command in
a process of its own, to a PostgreSQL with ``fsync`` and back to another file. Each row is read, checked, written, read
back and compared, which is counted once. The memory is the greatest of the command's process; with ten times fewer rows
it has to be nearly the same.
"""

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from attrs import frozen

from adapters.sqlite.codec import encode_body, encode_policy, encode_snapshot
from adapters.sqlite.connect import open_database
from adapters.sqlite.schema import migrate
from states import Policy, begin
from states.events import NetworkLost
from tests.bench.table import Table, Target, add_option, hand_over, number
from tests.states.harness import AccountDriver

ROOT = Path(__file__).resolve().parents[2]
ACCOUNTS = 200
NOW = 1_800_000_000.0
HEAD = "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\naccounts: [{name: A, session: a}]\n"
BE = "import sys; from tests.bench.storage_copy import be; be(sys.argv[1:])"


def fill(path: Path, rows: int) -> None:
    """Write an ``engine.db`` of so many rows: half of them records, a quarter messages, the rest jobs and results."""
    driver = AccountDriver(Policy()).connect()
    made = driver.take(NetworkLost(detail="connection reset", chain=("ConnectionResetError: [Errno 104] reset",)))
    record, body = made.record, encode_body(made.record)
    names = [f"Account {each}" for each in range(ACCOUNTS)] + [record.source, record.event, record.target, record.rule]
    source, event, target, rule = range(ACCOUNTS + 1, ACCOUNTS + 5)
    with closing(open_database(path)) as file:
        migrate(file, path)
        file.execute("BEGIN")
        file.executemany("INSERT INTO names (name) VALUES (?)", [(name,) for name in names])
        file.execute("INSERT INTO policies (policy) VALUES (?)", (encode_policy(Policy()),))
        first, last = encode_snapshot(begin(None, now=NOW)), encode_snapshot(made.snapshot)
        file.executemany("INSERT INTO lives (account, life, at, policy, snapshot) VALUES (?, 1, ?, 1, ?)",
                         [(each + 1, NOW, first) for each in range(ACCOUNTS)])  # fmt: skip
        file.executemany(
            """INSERT INTO journal (at, account, life, source, event, target, rule, attempt, failures, delay, draw,
            deadline, dwell, body) VALUES (?, ?, 1, ?, ?, ?, ?, 1, 1, 0.5, 0.25, ?, 1.5, ?)""",
            ((NOW + each, each % ACCOUNTS + 1, source, event, target, rule, NOW + each, body)
             for each in range(rows // 2)),
        )  # fmt: skip
        file.execute("INSERT INTO snapshots SELECT account, max(seq), max(at), ? FROM journal GROUP BY 1", (last,))
        file.executemany(
            "INSERT INTO messages (owner, chat, id, at, sender, text, job, raw) VALUES ('', -5, ?, ?, 7, ?, 1, ?)",
            ((each, NOW, f"message {each} " * 5, '{"_": "Message", "more": "' + "x" * 300 + '"}')
             for each in range(rows // 4)),
        )  # fmt: skip
        file.executemany("INSERT INTO jobs (kind, data, state, added, ended) VALUES ('send', ?, 'done', ?, ?)",
                         ((f'{{"to":"me","text":"{each}"}}', NOW, NOW) for each in range(rows // 8)))  # fmt: skip
        file.executemany("INSERT INTO job_results (job, number, value) VALUES (?, 1, ?)",
                         ((each + 1, f'{{"id":{each}}}') for each in range(rows // 8)))  # fmt: skip
        file.execute("COMMIT")


@frozen
class Way:
    """What one way took."""

    rows: int
    seconds: float
    megabytes: float
    processor: float
    """Seconds of the command's processor, the server's not among them."""


def be(words: list[str]) -> None:
    """Be the command, and print what it took."""
    from engine.cli import app

    began, printed = time.monotonic(), sys.stdout
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = nowhere
        try:
            app(["storage", "copy", *words], result_action="return_value")
        finally:
            sys.stdout = printed
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([time.monotonic() - began, _most_memory(), used.ru_utime + used.ru_stime]))


def _most_memory() -> float:
    """Return the most MB that this process has had; what ``getrusage`` says begins, on Linux, with its parent's."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path("/proc/self/status").read_text("ascii").split("VmHWM:")[1].split()[0]) / 1000
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def copy(source: Path, target: Path, rows: int) -> Way:
    """Run the command in a process of its own."""
    command = [sys.executable, "-c", BE, str(source), str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000, check=True)
    return Way(rows, *json.loads(done.stdout))


def measure(rows: int) -> tuple[Way, Way]:
    """Copy a fleet of so many rows there and back; what comes back is what was there."""
    from tests.postgres.server import private_server

    settings = {"shared_buffers": "128MB", "max_wal_size": "2GB"}
    with private_server(durable=True, settings=settings) as server, tempfile.TemporaryDirectory() as name:
        files, nodes, back = (Path(name, each, "config.yaml") for each in ("files", "nodes", "back"))
        for config in (files, nodes, back):
            config.parent.mkdir()
            database = f"storage: {{database: '{server.url(server.clone('template0'))}'}}\n" if config is nodes else ""
            config.write_text(HEAD + database, "utf-8")
        fill(files.parent / "data/engine.db", rows)
        ways = copy(files, nodes, rows), copy(nodes, back, rows)
        assert _counts(files) == _counts(back), "something was lost"
    return ways


def _counts(config: Path) -> list[int]:
    with closing(sqlite3.connect(config.parent / "data/engine.db")) as file:
        tables = ("journal", "messages", "jobs", "job_results", "snapshots", "lives")
        return [file.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]


def _line(name: str, way: Way) -> list[str]:
    processor = f"{way.processor / way.rows * 1e6:.0f} µs"
    return [name, number(way.rows), number(way.rows / way.seconds), f"{way.megabytes:.0f} MB", processor]


def table(few: tuple[Way, Way], many: tuple[Way, Way]) -> Table:
    """Return what was measured, and the target of memory."""
    ways = ("into PostgreSQL", "into a file")
    rows = [_line(name, way) for each in (few, many) for name, way in zip(ways, each, strict=True)]
    more = "memory of ten times as many rows"
    targets = [
        Target(f"{more}, {name}", most.megabytes / less.megabytes, most=1.3, against="a tenth")
        for name, less, most in zip(ways, few, many, strict=True)
    ]
    targets += [Target("rows a second, " + row[0], way.rows / way.seconds, unit="/s")
                for row, way in zip(rows[2:], many, strict=True)]  # fmt: skip
    return Table(
        "Rows that storage copy moves", ["way", "rows", "rows/s", "memory", "processor of a row"], rows, targets
    )


def main() -> None:
    """Print the table, and leave with 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.storage_copy", description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--quick", action="store_true", help="to try the benchmark: its figures mean nothing")
    add_option(parser)
    wanted = parser.parse_args()
    rows = 4_000 if wanted.quick else wanted.rows
    made = table(measure(rows // 10), measure(rows))
    print("\n".join(made.lines()), flush=True)
    hand_over(wanted.results, made.targets)
    raise SystemExit(not (wanted.quick or all(target.kept for target in made.targets)))


if __name__ == "__main__":
    main()
