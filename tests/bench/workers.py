"""What workers cost and bring: one process without a parent against several, the same accounts, one after the other.

    python -m tests.bench.workers [--accounts 200] [--workers 2] [--seconds 30] [--store file|postgres]

Real clients over real TCP to one sandbox, which is a process of its own and whose CPU is printed, too: where it and the
engine share the cores, requests per second cannot grow with the workers, but the CPU that one costs shows whether they
would with more cores.

**steady** is the schedule of a config that says nothing about it. **busy** is one request after another by each
account. CPU is that of all processes of the engine, the parent included. **takeover** is the time from the kill of a
worker to the moment at which other workers own its accounts, as the store has it; it is looked at every 5 ms.
"""

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import psycopg
from attrs import define, frozen
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.postgres.nodes import SERVER
from adapters.sandbox import SandboxProcess
from tests.bench.table import Table, Target, add_option, hand_over, number, ratio

ROOT: Final = Path(__file__).resolve().parents[2]
TICKS: Final = os.sysconf("SC_CLK_TCK")
START_SECONDS: Final = 180.0
SETTLE_SECONDS: Final = 10.0
FREED_SECONDS: Final = 1.0
"""Within which others are to own the accounts of a worker whose death its parent saw."""
BUSY: Final = """
import os
import time
from pathlib import Path
from engine import while_healthy
from telethon.tl.functions.updates import GetStateRequest

COUNT = Path(__file__).with_name(f"count.{os.getpid()}")
done, told = 0, 0.0

@while_healthy
async def busy(client):
    global done, told
    while True:
        await client(GetStateRequest())
        done += 1
        if time.monotonic() - told > 0.2:
            told = time.monotonic()
            COUNT.write_text(str(done))
"""


@frozen
class Spent:
    """CPU seconds, and requests done, at one moment."""

    at: float
    engine: float
    sandbox: float
    requests: int


@define
class Run:
    """One engine that runs."""

    directory: Path
    process: subprocess.Popen[bytes]
    sandbox: int
    url: str | None

    def pids(self) -> list[int]:
        """Return the processes of the engine."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text("ascii").split()
        return [self.process.pid, *map(int, children)]

    def spent(self) -> Spent:
        """Return what was used so far."""
        requests = sum(int(each.read_text() or 0) for each in self.directory.glob("count.*"))
        return Spent(time.perf_counter(), sum(map(cpu_of, self.pids())), cpu_of(self.sandbox), requests)

    def memory(self) -> int:
        """Return the bytes that all processes hold."""
        pages = (int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) for pid in self.pids())
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def owners(self) -> dict[str, int]:
        """Return how many accounts each worker has, by its name."""
        tables = ("accounts", "nodes") if self.url else ("node_accounts", "nodes")
        question = (
            f"SELECT n.name, count(*) FROM {tables[0]} a JOIN {tables[1]} n ON n.id = a.owner "
            "WHERE n.state <> 'dead' GROUP BY 1"
        )
        if self.url is not None:
            with psycopg.connect(self.url, autocommit=True) as connection:
                return dict(connection.execute(question.encode()).fetchall())
        with closing(sqlite3.connect(f"file:{self.directory}/data/engine.db?mode=ro", uri=True)) as file:
            return dict(file.execute(question).fetchall())


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process, 0 of one that is gone."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0


async def until(holds: Callable[[], bool], every: float) -> float:
    """Wait until something is so; return the seconds that it took."""
    began = time.perf_counter()
    with anyio.fail_after(START_SECONDS):
        while not await anyio.to_thread.run_sync(holds):
            await anyio.sleep(every)
    return time.perf_counter() - began


@asynccontextmanager
async def running(
    directory: Path, dc: SandboxProcess, keys: list[bytes], workers: int, *, busy: bool, url: str | None
) -> AsyncIterator[Run]:
    """Run an engine on fresh data for the block, from the moment on at which all accounts are healthy."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    (directory / "dc.pem").write_text(dc.public_key)
    (directory / "busy.py").write_text(BUSY)
    accounts = []
    for place, key in enumerate(keys):
        session = SQLiteSession(str(directory / f"a{place}.session"))
        session.set_dc(dc.dc_id, "127.0.0.9", 443)
        session.auth_key = AuthKey(key)
        session.save()
        session.close()
        accounts.append(f"  - {{name: A{place}, session: a{place}}}\n")
    where = f"{{id: {dc.dc_id}, host: 127.0.0.1, port: {dc.port}, public_key: dc.pem}}"
    (directory / "config.yaml").write_text(
        "telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: " + where + "}\n"
        f"fleet: {{stagger: 5ms}}\nnode: {{name: bench, workers: {workers}}}\naccounts:\n{''.join(accounts)}"
        + (f"storage: {{database: '{url}'}}\n" if url else "")
        + ("work: {modules: [busy.py]}\n" if busy else "")
    )
    command = [sys.executable, "-m", "engine"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if url is not None:
        subprocess.run([*command, "session", "bring"], cwd=directory, env=environment, check=True, capture_output=True)  # noqa: ASYNC221 - nothing else runs
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"INSERT INTO settled_servers (server) SELECT {SERVER}".encode())
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([*command, "run"], cwd=directory, env=environment, stdout=log, stderr=log)  # noqa: ASYNC220 - as above

    def healthy() -> bool:
        done = subprocess.run(
            [*command, "status", "--json"], cwd=directory, env=environment, check=False, capture_output=True
        )
        with suppress(ValueError, KeyError):
            return sum(each["state"] == "healthy" for each in json.loads(done.stdout)["accounts"]) == len(keys)
        return False

    try:
        await until(healthy, 1.0)
        await anyio.sleep(SETTLE_SECONDS)
        yield Run(directory, process, dc.pid, url)
    finally:
        process.terminate()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(process.wait)


async def measured(run: Run, seconds: float) -> dict[str, float]:
    """Return what the engine and the sandbox used in a time."""
    before = run.spent()
    await anyio.sleep(seconds)
    after = run.spent()
    took = after.at - before.at
    return {
        "cores": (after.engine - before.engine) / took,
        "sandbox": (after.sandbox - before.sandbox) / took,
        "requests": (after.requests - before.requests) / took,
    }


async def takeover(run: Run) -> float:
    """Return the seconds from the kill of a worker to the moment at which others own its accounts."""
    owners = run.owners()

    def are_elsewhere() -> bool:
        now = run.owners()
        return len(now) < len(owners) and sum(now.values()) == sum(owners.values())

    os.kill(run.pids()[-1], signal.SIGKILL)
    return await until(are_elsewhere, 0.005)


async def measure(accounts: int, workers: int, seconds: float, store: str) -> dict[int, dict[str, Any]]:
    """Return the figures of one process, and of so many workers."""
    found: dict[int, dict[str, Any]] = {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-workers-")))
        server = None
        if store == "postgres":
            from tests.postgres.server import private_server

            server = stack.enter_context(private_server())
        async with SandboxProcess.start() as dc:
            for count in (1, workers):
                figures = found[count] = {}
                for busy in (False, True):
                    url = None if server is None else server.url(server.clone("template0"))
                    keys = [await dc.authorize(f"+999662{number:04d}") for number in range(1, accounts + 1)]
                    async with running(directory / "d", dc, keys, count, busy=busy, url=url) as run:
                        at = await measured(run, seconds)
                        if busy:
                            figures |= {"busy": at}
                        else:
                            figures |= {"steady": at, "memory": run.memory()}
                            if count > 1:
                                figures["takeover"] = await takeover(run)
    return found


def table(accounts: int, workers: int, found: dict[int, dict[str, Any]]) -> Table:
    """Return the table, with the targets."""
    rows, costs = [], {}
    for count, at in found.items():
        steady, busy = at["steady"], at["busy"]
        request = ratio(busy["cores"], busy["requests"])
        cost = costs[count] = (steady["cores"] / accounts, at["memory"] / accounts, request)
        rows.append(
            (
                f"{count}{' (no parent)' if count == 1 else ''}",
                f"{cost[0] * 1e3:.3f} ms/s",
                number(ratio(1, cost[0])),
                f"{cost[1] / 1024:,.0f} kB",
                f"{busy['requests']:,.0f}",
                f"{cost[2] * 1e6:,.0f} µs",
                f"{steady['sandbox']:.2f} and {busy['sandbox']:.2f} cores",
            )
        )
    heads = ("workers", "steady: CPU per account", "accounts per core", "memory per account", "busy: requests/s")
    ratios = ("steady: CPU per account", "memory per account", "busy: CPU per request")
    requests = [found[count]["busy"]["requests"] for count in (workers, 1)]
    return Table(
        f"{accounts} accounts, {os.cpu_count()} cores",
        (*heads, "CPU per request", "sandbox's CPU, steady and busy"),
        rows,
        [
            *(
                Target(what, ratio(many, one), against="one process")
                for what, many, one in zip(ratios, costs[workers], costs[1], strict=True)
            ),
            Target("busy: requests per second", ratio(*requests), against="one process"),
            Target("accounts of a killed worker are others'", found[workers]["takeover"], most=FREED_SECONDS, unit="s"),
        ],
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--store", choices=("file", "postgres"), default="file")
    add_option(parser)
    options = parser.parse_args()
    found = anyio.run(measure, options.accounts, options.workers, options.seconds, options.store)
    shown = table(options.accounts, options.workers, found)
    hand_over(options.results, shown.targets)
    print("\n".join(shown.lines()))
    return 0 if all(target.kept for target in shown.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
