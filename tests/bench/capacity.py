"""How many accounts one process holds, and what each costs it: real clients, real TCP, the whole engine.

    python -m tests.bench.capacity [--accounts 1000] [--minutes 2] [--settle 65] [--rows …] [--stagger auto] [--json]

The sandbox is a process of its own, and so is each contender, one after the other. **engine** is everything that
``run`` puts together, with session files and the schedules and limits of a config that says nothing about them, but for
``fleet: {stagger: auto}``, as the documents advise from hundreds of accounts on;
**engine without table** is the same with log lines in place of the live table. **bareping** is bare Telethon with its
smallest session, every setting its default, each client pinging as often as the engine probes. The rows ending in
"without" have asyncio's loop in place of uvloop, or Telethon's next best cipher in place of cryptg.

Start is the time until all are healthy (bare: connected). Lag is how much later than asked for the loop calls a timer,
measured fifty times a second in the steady state; "own" is the part of it in which the process itself computed, which
another program on the machine cannot make longer. Memory is that of one account more: of so many instead of fifty.
"""

import argparse
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import define, field, frozen
from telethon.sessions import SQLiteSession

from adapters.sandbox import SandboxProcess
from adapters.system import raise_limit
from states.schedules import Health, ShuttingDown
from tests.bench.table import Table, Target, add_option, hand_over, number, ratio

ROOT = Path(__file__).resolve().parents[2]
SETTLE = Health().stable_after + 5
"""Seconds after the start from which the state is steady: each link has become stable, and said so."""
FEW = 50
"""So many accounts are there in any case: what the first ones cost is not counted in the memory of one more."""
FEW_SETTLE = 3.0
GIBIBYTE = 1 << 30
MANY = 10_000


@frozen
class Row:
    """A contender, and what it has to do without."""

    program: str
    without: Sequence[str] = ()


YARDSTICK: Final = "bareping"
BARE: Final = "bare Telethon that pings as often"
"""The yardstick in the words of the summary."""
ENGINE: Final = "engine"
ROWS: Final[Mapping[str, Row]] = {
    ENGINE: Row("engine"),
    "engine without table": Row("engine", without=("table",)),
    YARDSTICK: Row("bareping"),
    "engine without uvloop": Row("engine", without=("uvloop",)),
    "engine without cryptg": Row("engine", without=("cryptg",)),
    "engine without both": Row("engine", without=("uvloop", "cryptg")),
    "bareping without both": Row("bareping", without=("uvloop", "cryptg")),
}
USUAL: Final = (ENGINE, "engine without table", YARDSTICK)


@frozen
class Figures:
    """What one contender needed. Times are seconds, sizes bytes."""

    start: float
    start_cpu: float
    steady: float
    steady_cpu: float
    stop: float
    few: int
    """What its process holds with a few accounts."""
    held: int
    lags: Sequence[float]
    """Sorted."""
    own: Sequence[float]
    """Sorted."""
    sandbox_cpu: float
    """CPU seconds of the sandbox in the steady time."""
    lost: int
    """Accounts that were not as they should be at the end."""

    @property
    def core(self) -> float:
        """The part of one core in the steady state."""
        return self.steady_cpu / self.steady

    def per_account(self, accounts: int) -> float:
        """Return the bytes of one account more."""
        return (self.held - self.few) / (accounts - FEW)

    def with_accounts(self, accounts: int, many: int) -> float:
        """Return the bytes that so ``many`` accounts would hold, when ``accounts`` hold what was measured."""
        return self.held + self.per_account(accounts) * (many - accounts)


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which so large a part of the sorted values is."""
    return values[min(int(len(values) * part), len(values) - 1)] if values else 0.0


@define
class Reading:
    """The lines of one contender, and the sandbox's CPU at each."""

    lines: dict[str, dict[str, Any]] = field(factory=dict)
    sandbox: dict[str, float] = field(factory=dict)

    def figures(self, few: int) -> Figures:
        """Return what the lines say, beside what a few accounts hold. Raises KeyError if a line is missing."""
        lines = self.lines
        return Figures(
            start=lines["started"]["wall"],
            start_cpu=lines["started"]["cpu"],
            steady=lines["steady"]["wall"],
            steady_cpu=lines["steady"]["cpu"],
            stop=lines["stopped"]["wall"],
            few=few,
            held=lines["held"]["resident"],
            lags=sorted(lines["steady"]["lags"]),
            own=sorted(lines["steady"]["own"]),
            sandbox_cpu=self.sandbox["steady"] - self.sandbox["settled"],
            lost=lines["stopped"]["lost"],
        )


def table(accounts: int, found: Mapping[str, Figures]) -> Table:
    """Return the table; ratios are those to bareping of the same run."""
    bare = found.get(YARDSTICK)
    rows = [_cells(name, accounts, each, bare) for name, each in found.items()]
    head = [
        "",
        "start", "ratio", "CPU of it",
        "steady, of one core", "ratio", "CPU s per account-hour", "sandbox's",
        "lag p50 / p99 / max", "own",
        "memory per account", "ratio",
        "stop",
    ]  # fmt: skip
    targets, these = [], f"{accounts:,} accounts"
    if bare is not None and (ours := found.get(ENGINE)) is not None:
        targets = [
            Target(f"start of {these}", ratio(ours.start, bare.start), most=2, against=BARE, headline=True),
            Target(f"steady CPU of {these}", ratio(ours.core, bare.core), most=2, against=BARE, headline=True),
            Target(f"loop lag p99 with {these}", quantile(ours.lags, 0.99) * 1000, most=20, unit="ms", headline=True),
            Target(f"longest loop lag with {these}", quantile(ours.lags, 1) * 1000, most=200, unit="ms", headline=True),
            Target(
                f"memory of one of {these}", _memory_ratio(ours, bare, accounts), most=1, against=BARE, headline=True
            ),
            Target(f"memory of {MANY:,}, by that", ours.with_accounts(accounts, MANY) / GIBIBYTE, most=1, unit="GiB"),
            Target(f"stop of {these}", ours.stop, most=ShuttingDown().grace, unit="s"),
            Target(f"accounts lost of {these}", ours.lost, most=0, unit=""),
        ]
    return Table(f"{accounts:,} accounts in one process, the sandbox in another", head, rows, targets)


def _memory_ratio(ours: Figures, bare: Figures, accounts: int) -> float:
    return ratio(ours.per_account(accounts), bare.per_account(accounts))


def _cells(name: str, accounts: int, each: Figures, bare: Figures | None) -> list[str]:
    def to(value: float, of: float | None) -> str:
        return number(ratio(value, of)) if of is not None else ""

    def lag(values: Sequence[float]) -> str:
        return " / ".join(number(quantile(values, part) * 1000) for part in (0.5, 0.99, 1)) + " ms"

    hours = accounts * each.steady / 3600
    memory = each.per_account(accounts)
    return [
        name,
        f"{each.start:.1f} s", to(each.start, bare and bare.start), f"{each.start_cpu:.1f} s",
        f"{each.core:.1%}", to(each.core, bare and bare.core), f"{each.steady_cpu / hours:.2f}",
        f"{each.sandbox_cpu / hours:.2f}",
        lag(each.lags), lag(each.own),
        f"{memory / 1000:.1f} kB", to(memory, bare and bare.per_account(accounts)),
        f"{each.stop:.1f} s",
    ]  # fmt: skip


# --- measuring -------------------------------------------------------------------------------------------------------


@define(eq=False)
class Capacity:
    """A running sandbox with accounts, and a directory to work in."""

    directory: Path
    sandbox: SandboxProcess
    keys: Sequence[bytes]
    steady: float
    settle: float
    stagger: str

    @property
    def datacenter(self) -> dict[str, Any]:
        """The sandbox, for a contender."""
        at = self.sandbox
        return {"dc": at.dc_id, "host": "127.0.0.1", "port": at.port, "public_key": at.public_key}

    def config(self, accounts: int) -> Path:
        """Write a config and session files as Telethon writes them, logged in; return the path of the config."""
        sessions = self.directory / "sessions"
        shutil.rmtree(sessions, ignore_errors=True)
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        sessions.mkdir(mode=0o700)
        pattern = self.directory / "pattern.session"
        session = SQLiteSession(str(pattern))
        session.set_dc(self.sandbox.dc_id, "127.0.0.1", self.sandbox.port)
        session.save()
        session.close()
        for index, key in enumerate(self.keys[:accounts]):
            path = sessions / f"account{index:05}.session"
            shutil.copyfile(pattern, path)
            path.chmod(0o600)
            with closing(sqlite3.connect(path, isolation_level=None)) as database:
                database.execute("PRAGMA synchronous = OFF")  # nothing here has to survive the machine
                database.execute("UPDATE sessions SET auth_key = ?", (key,))
        (self.directory / "dc.pem").write_text(self.sandbox.public_key, "ascii")
        path = self.directory / "config.yaml"
        at = self.sandbox
        path.write_text(
            "telegram:\n"
            "  api_id: 12345\n"
            "  api_hash: 0123456789abcdef0123456789abcdef\n"
            f"  datacenter: {{id: {at.dc_id}, host: 127.0.0.1, port: {at.port}, public_key: dc.pem}}\n"
            "storage: {directory: data}\n"
            "accounts: [{session: sessions/*.session}]\n"
            f"fleet: {{stagger: {self.stagger}}}\n",
            "utf-8",
        )
        return path

    def measure(self, row: Row) -> Figures:
        """Run one contender: first with a few accounts, for its memory, then with all."""
        few = self.run(row, FEW, FEW_SETTLE, 0.0).lines["held"]["resident"]
        return self.run(row, len(self.keys), self.settle, self.steady).figures(few)

    def run(self, row: Row, accounts: int, settle: float, steady: float) -> Reading:
        """Run one contender in a process of its own, to its end."""
        given = {
            **self.datacenter,
            "settle": settle,
            "steady": steady,
            "table": "table" not in row.without,
            "config": str(self.config(accounts)) if row.program == "engine" else None,
            "keys": [key.hex() for key in self.keys[:accounts]] if row.program != "engine" else [],
        }
        command = [sys.executable, "-m", "tests.bench.capacity_process", row.program, *row.without]
        reading = Reading()
        errors = self.directory / "errors"
        with (
            errors.open("wb") as complaints,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True, cwd=ROOT
            ) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{json.dumps(given)}\n")
            process.stdin.flush()  # and left open: the contender ends when it closes, however this program ends
            for text in process.stdout:
                line = json.loads(text)
                reading.lines[line["what"]] = line
                reading.sandbox[line["what"]] = cpu_of(self.sandbox.pid)
        if "stopped" not in reading.lines:
            said = errors.read_text("utf-8", "replace")[-2000:]
            raise SystemExit(f"{row.program} did not get to its end (code {process.returncode}). It said last:\n{said}")
        return reading


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        values = file.read().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


async def measure(options: argparse.Namespace) -> dict[str, Figures]:
    """Measure the rows, one after the other."""
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="holdfast-capacity-") as name:
        async with SandboxProcess.start() as sandbox:
            keys = [await sandbox.authorize(phone(index)) for index in range(options.accounts)]
            capacity = Capacity(Path(name), sandbox, keys, options.minutes * 60, options.settle, options.stagger)
            for row in options.rows.split(","):
                print(f"{row} …", file=sys.stderr, flush=True)
                found[row] = await anyio.to_thread.run_sync(capacity.measure, ROWS[row])
    return found


def phone(index: int) -> str:
    """Return the test number of an account; ten thousand of each datacenter's digit exist."""
    return f"+99966{1 + index // 10_000}{index % 10_000:04}"


def allow_files(accounts: int) -> None:
    """Raise the limit of open files for this process and those that it starts, by a superuser's right if need be."""
    found = raise_limit(accounts)
    if not found.enough:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (found.needed * 2, found.needed * 2))
            return
        print(f"The hard limit is {found.hard:,} open files; up to {found.needed:,} are needed.", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long the steady state is measured")
    parser.add_argument("--settle", type=float, default=SETTLE, help="seconds between the start and the steady state")
    parser.add_argument("--stagger", default="auto", help="fleet.stagger: auto, or seconds")
    parser.add_argument("--rows", default=",".join(USUAL), help=f"any of: {', '.join(ROWS)}; or all")
    parser.add_argument("--json", action="store_true")
    add_option(parser)
    return parser


def main() -> int:
    """Print the table; return 0 if every target is met, 1 if not."""
    options = parser().parse_args()
    if options.accounts <= FEW:
        raise SystemExit(f"--accounts is above {FEW}: the memory of one account more is measured from there.")
    options.rows = ",".join(ROWS) if options.rows == "all" else options.rows
    allow_files(options.accounts)
    found = anyio.run(measure, options)
    result = table(options.accounts, found)
    hand_over(options.results, result.targets)
    if options.json:
        print(json.dumps({row: summary(options.accounts, each) for row, each in found.items()}, indent=2))
    else:
        print("\n".join(result.lines()))
    return 0 if all(target.kept for target in result.targets) else 1


def summary(accounts: int, each: Figures) -> dict[str, float]:
    """Return the figures that the table shows, as plain numbers."""
    return {
        "start": each.start,
        "start_cpu": each.start_cpu,
        "core": each.core,
        "cpu_per_account_hour": each.steady_cpu / (accounts * each.steady / 3600),
        "sandbox_core": each.sandbox_cpu / each.steady,
        "lag_p50": quantile(each.lags, 0.5),
        "lag_p99": quantile(each.lags, 0.99),
        "lag_max": quantile(each.lags, 1),
        "own_p99": quantile(each.own, 0.99),
        "own_max": quantile(each.own, 1),
        "bytes_per_account": each.per_account(accounts),
        "stop": each.stop,
        "lost": each.lost,
    }


if __name__ == "__main__":
    sys.exit(main())
