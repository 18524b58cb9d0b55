"""How quick the journal's questions are when it is long, against a short one; and what a row costs to write.

    python -m tests.bench.journal_rows [--rows 1000000] [--json]

Writes two journals of one fleet, 10,000 rows (one day) and ``--rows`` (as many days as that takes at the same rate), by
SQL, from one real sequence of steps repeated. Then asks both the same and prints the times: medians, in milliseconds.
``--rows 10000000`` needs about 2 GB below the temporary directory.
"""

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import attrs

from adapters.sqlite import JournalReader, JournalWriter
from engine.journal.stats import AccountHistory, measure
from states import Policy, State, begin
from states.events import Connected, Elapsed, Event, NetworkLost, Stable, Started, TurnGranted
from tests.bench.table import Table, Target, add_option, hand_over
from tests.states.harness import AccountDriver

SHORT_ROWS = 10_000
ACCOUNTS = 100
DAY = 86_400.0
NOW = 1_800_000_000.0
REPEATS = 15


async def _seed(path: Path) -> int:
    """Write one round of every account through the real writer; return the rows of it."""
    rounds: tuple[Event, ...] = (
        TurnGranted(generation=0),
        Connected(),
        Stable(generation=0),
        NetworkLost(detail="connection reset", chain=("ConnectionResetError: [Errno 104] Connection reset by peer",)),
    )
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None)
    rows = 0
    for number in range(ACCOUNTS):
        driver = AccountDriver(Policy(), begin(None, now=0.0))
        await journal.begin_life(f"Account {number}", 0.0, Policy(), driver.snapshot)
        for event in (Started(), *rounds, *rounds):
            made = driver.take(Elapsed(generation=0) if driver.snapshot.state is State.BACKOFF else event)
            await journal.write(f"Account {number}", made.record, made.snapshot)
            rows += 1
    await journal.aclose(10)
    return rows


def fill(path: Path, rows: int) -> float:
    """Make a journal of ``rows`` rows that ends at ``NOW``; return the seconds it took."""
    began = time.perf_counter()
    seeded = anyio.run(_seed, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -512000")
        columns = [name for _, name, *_ in db.execute("PRAGMA table_info(journal)") if name not in ("seq", "at")]
        names = ", ".join(columns)
        db.execute("BEGIN IMMEDIATE")
        # Account by account in turn, as a fleet writes, each with its own records over and over.
        db.execute(
            f"CREATE TEMP TABLE seed AS SELECT row_number() OVER (ORDER BY nth, account) - 1 AS place, {names} "
            "FROM (SELECT *, row_number() OVER (PARTITION BY account ORDER BY seq) AS nth FROM journal)"
        )
        db.execute("CREATE UNIQUE INDEX seed_place ON seed (place)")
        db.execute("DELETE FROM journal")
        step = DAY / SHORT_ROWS
        db.execute(
            f"""WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
            INSERT INTO journal (seq, at, {names})
            SELECT i + 1, ? - (? - i) * ?, {names} FROM n JOIN seed ON place = i % ?""",
            (rows, NOW, rows, step, seeded),
        )
        db.execute("UPDATE lives SET at = ?", (NOW - rows * step,))
        db.execute("UPDATE snapshots SET at = ?, seq = ?", (NOW, rows))
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return time.perf_counter() - began


def _day(reader: JournalReader) -> None:
    first = reader.first_since(NOW - DAY)
    before = reader.last_moves(first)
    histories = {
        name: AccountHistory(lives=reader.lives(name, from_life=before[name].life if name in before else 0),
                   last=before.get(name), ends=sign)
        for name, sign in reader.last_seen().items()
    }  # fmt: skip
    found = measure(histories, reader.moves(first), since=NOW - DAY, until=NOW)
    assert found.fleet.lived > 0.9 * DAY * ACCOUNTS


QUESTIONS: dict[str, Callable[[JournalReader], object]] = {
    "last 20 of one account": lambda reader: list(reader.entries(accounts=["Account 7"], limit=20)),
    "last 20 of all": lambda reader: list(reader.entries(limit=20)),
    "tail after a seq": lambda reader: list(reader.entries(after_seq=reader.last_seq() - 20)),
    "log --since 1h": lambda reader: list(reader.entries(since=NOW - 3600)),
    "stats --since 24h": _day,
}


def ask(path: Path) -> dict[str, float]:
    """Return the median milliseconds of each question, the file opened anew each time."""
    times: dict[str, float] = {}
    for name, question in QUESTIONS.items():
        taken = []
        for _ in range(REPEATS + 1):
            began = time.perf_counter()
            with JournalReader.open(path) as reader:
                question(reader)
            taken.append((time.perf_counter() - began) * 1000)
        times[name] = statistics.median(taken[1:])
    return times


async def _write_rate(path: Path, rows: int = 20_000) -> float:
    """Return rows per second through the real writer, durable, into the journal at ``path``."""
    driver = AccountDriver(Policy()).connect()
    made = driver.take(NetworkLost(detail="connection reset"))
    record = attrs.evolve(made.record, at=NOW)
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None)
    began = time.perf_counter()
    for number in range(rows):
        await journal.write(f"Account {number % ACCOUNTS}", record, made.snapshot)
    await journal.flush()
    rate = rows / (time.perf_counter() - began)
    await journal.aclose(10)
    return rate


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the long journal (default 1000000)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_option(parser)
    wanted = parser.parse_args()
    results: dict[str, Any] = {"rows": [SHORT_ROWS, wanted.rows], "milliseconds": {}, "bytes_per_row": 0.0}
    with tempfile.TemporaryDirectory(prefix="journal-rows-") as name:
        asked, rates = [], []
        for rows in (SHORT_ROWS, wanted.rows):
            path = Path(name) / f"{rows}.db"
            print(f"{rows} rows written in {fill(path, rows):.1f} s", file=sys.stderr)
            results["bytes_per_row"] = path.stat().st_size / rows
            asked.append(ask(path))
            rates.append(anyio.run(_write_rate, path))
    for question in QUESTIONS:
        short, long = asked[0][question], asked[1][question]
        results["milliseconds"][question] = {"short": short, "long": long, "ratio": long / short}
    results["rows_per_second_written"] = {"short": rates[0], "long": rates[1]}
    targets = [
        Target(f"{question}, {wanted.rows:,} rows", found["ratio"], against=f"{SHORT_ROWS:,} rows")
        for question, found in results["milliseconds"].items()
    ]
    hand_over(wanted.results, targets)
    if wanted.json:
        print(json.dumps(results, indent=2))
        return
    rows = [
        [question, f"{found['short']:.2f} ms", f"{found['long']:.2f} ms", f"{found['ratio']:.2f}"]
        for question, found in results["milliseconds"].items()
    ]
    rows.append(["written, durable", *(f"{rate:,.0f} rows/s" for rate in rates), f"{rates[1] / rates[0]:.2f}"])
    title = f"A journal with {results['bytes_per_row']:.0f} bytes a row"
    head = ["question", f"{SHORT_ROWS:,} rows", f"{wanted.rows:,} rows", "ratio"]
    print("\n".join(Table(title, head, rows).lines()))


if __name__ == "__main__":
    main()
