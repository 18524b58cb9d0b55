"""What a command costs: processor time of its whole process, the interpreter's start included.

    python -m tests.bench.commands [--accounts 3 5000] [--rounds 5] [--json]

Each command runs as a process of its own on a journal that an engine has left: every account has a snapshot, and there
are jobs. Its output goes nowhere. Modules are compiled beforehand, as they are after the first run of an installation.
The least of the rounds counts: what else the machine does can only add to it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import anyio
from attrs import asdict, frozen

from adapters.sqlite import JournalWriter
from adapters.sqlite.jobs import NewJob, add
from states.events import Connected, NetworkLost, Started, TurnGranted
from tests.bench.table import Table, Target, add_option, hand_over
from tests.states.harness import AccountDriver

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    ("--version",),
    ("status", "CONFIG"),
    ("status", "CONFIG", "--json"),
    ("log", "CONFIG", "-n", "20"),
    ("log", "CONFIG", "-n", "20", "--json"),
    ("jobs", "list", "CONFIG", "-n", "20"),
    ("jobs", "list", "CONFIG", "-n", "20", "--json"),
    ("pause", "CONFIG", "Account 1"),
    ("status", "--help"),
    ("--help",),
)
NO_TARGET = ("--version", "--help")
"""Pages are not held to the target: their cost is the library's that lays them out."""
HEADLINES = ("status",)
"""Commands that the README shows."""
FEW = 100
"""Up to so many accounts, a command may take ``TARGET_FEW`` ms; beyond it, ``TARGET_MANY``."""
TARGET_FEW = 100.0
TARGET_MANY = 200.0
CONFIG_HEAD = """
telegram:
  api_id: 12345
  api_hash: 0123456789abcdef0123456789abcdef
accounts:
"""


@frozen
class Cost:
    """What one command took, in ms of processor time; ``target`` is None for a page."""

    command: str
    accounts: int
    milliseconds: float
    target: float | None


async def write_data(directory: Path, accounts: int) -> Path:
    """Write a config, a journal with a life of each account, and jobs; return the config's path."""
    directory.mkdir()
    config = directory / "config.yaml"
    names = [f"Account {number}" for number in range(1, accounts + 1)]
    lines = (f"  - {{name: {name}, session: sessions/{number}}}\n" for number, name in enumerate(names))
    config.write_text(CONFIG_HEAD + "".join(lines), "utf-8")
    database = directory / "data" / "engine.db"
    journal = await JournalWriter.open(database, on_trouble=lambda *_: None, engine="bench")
    events = (Started(), TurnGranted(generation=0), Connected(), NetworkLost(detail="reset by peer"))
    for name in names:
        driver = AccountDriver()
        await journal.begin_life(name, driver.now, driver.policy, driver.snapshot)
        for event in events:
            made = driver.take(event)
            await journal.write(name, made.record, made.snapshot)
    await journal.aclose(60)
    add(database, [NewJob(kind="send", data={"to": "@news", "text": f"message {number}"}) for number in range(100)])
    return config


def environment(compiled: Path) -> dict[str, str]:
    """Return the environment of a command, whose compiled modules are in a directory of their own."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(compiled), "COLUMNS": "120"}


def take(words: Sequence[str], environ: dict[str, str]) -> float:
    """Run a command; return the processor time of its process (ms)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environ, check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure(accounts: Sequence[int], rounds: int, directory: Path) -> list[Cost]:
    """Return the cost of each command for each number of accounts, and of the bare interpreter."""
    environ = environment(directory / "compiled")
    costs = []
    for code in ("pass", "import cyclopts"):
        take(["-c", code], environ)
        costs.append(Cost(f"python -c '{code}'", 0, min(take(["-c", code], environ) for _ in range(rounds)), None))
    for number in accounts:
        config = anyio.run(write_data, directory / str(number), number)
        for command in COMMANDS:
            words = ["-m", "engine", *(str(config) if word == "CONFIG" else word for word in command)]
            take(words, environ)
            target = None if set(command) & set(NO_TARGET) else TARGET_FEW if number <= FEW else TARGET_MANY
            least = min(take(words, environ) for _ in range(rounds))
            costs.append(Cost(" ".join(word for word in command if word != "CONFIG"), number, least, target))
    return costs


def as_table(costs: Sequence[Cost]) -> Table:
    """Return the costs with their targets."""
    rows = [
        [f"`{cost.command}`", f"{cost.accounts:,}" if cost.accounts else "", f"{cost.milliseconds:.0f} ms"]
        for cost in costs
    ]
    targets = [
        Target(f"CPU of `{cost.command}`, {cost.accounts:,} accounts", cost.milliseconds, most=cost.target, unit="ms",
               headline=cost.command in HEADLINES)
        for cost in costs
        if cost.target is not None
    ]  # fmt: skip
    return Table("Processor time of one command", ["command", "accounts", "CPU"], rows, targets)


def main() -> int:
    """Measure, and print a table; return 0 if every target is met, 1 if not."""
    parser = argparse.ArgumentParser(description="Measure what a command costs.")
    parser.add_argument("--accounts", type=int, nargs="+", default=[3, 5000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_option(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        costs = measure(given.accounts, given.rounds, Path(directory))
    table = as_table(costs)
    hand_over(given.results, table.targets)
    if given.json:
        print(json.dumps([asdict(cost) for cost in costs], indent=2))
    else:
        print("\n".join(table.lines()))
    return 0 if all(target.kept for target in table.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
