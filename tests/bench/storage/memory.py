"""Memory of a connected account that does nothing: the engine and all, and bare clients of Telethon's."""

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from telethon import TelegramClient
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession, StringSession

from adapters.sandbox import SandboxProcess
from adapters.system.free_memory import give_back_free_memory
from adapters.telegram import Datacenter
from engine.app.engine import Engine
from engine.config import AccountConfig, Config, DatacenterConfig, Fleet, Storage, Telegram
from states import State
from tests.bench.table import Table, Target, number, ratio

ROOT = Path(__file__).resolve().parents[3]
API = (12345, "0123456789abcdef0123456789abcdef")
FEW = 50
"""So many accounts are there in any case: what the first ones cost is not counted."""
AT_ONCE = 32
TIMEOUT = 120.0


def resident() -> int:
    """Return what this process holds, in bytes, without what is free in it.

    Reading Telethon's modules leaves 86 MB of free memory. The first few hundred accounts would fit into that, so that
    they would cost nothing, as far as their own parts are of the sizes that the C library gives.
    """
    gc.collect()
    give_back_free_memory()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def bare(directory: dict[str, Any], make: Callable[[Path], Any]) -> None:
    """Connect bare clients, and say what the process holds then."""
    clients = [TelegramClient(make(Path(path)), *API) for path in directory["sessions"]]
    turns = anyio.CapacityLimiter(AT_ONCE)

    async def connect(client: Any) -> None:
        async with turns:
            await client.connect()

    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(connect, client)
    await asyncio.sleep(2)
    print(resident(), flush=True)
    for client in clients:
        await client.disconnect()


async def with_string(directory: dict[str, Any]) -> None:
    """Telethon's smallest session."""

    def string(path: Path) -> Any:
        read = SQLiteSession(str(path))
        session = StringSession()
        session.set_dc(read.dc_id, read.server_address, read.port)
        session.auth_key = AuthKey(read.auth_key.key)
        read.close()
        return session

    await bare(directory, string)


async def with_file(directory: dict[str, Any]) -> None:
    """Telethon's session file."""
    await bare(directory, lambda path: SQLiteSession(str(path)))


async def engine(directory: dict[str, Any]) -> None:
    """The engine: journal, runners, sessions, links."""
    datacenter = DatacenterConfig(**directory["datacenter"])
    config = Config(
        telegram=Telegram(api_id=API[0], api_hash=API[1], datacenter=datacenter),
        accounts=tuple(AccountConfig(name=Path(path).stem, session=Path(path)) for path in directory["sessions"]),
        storage=Storage(directory=Path(directory["directory"])),
        fleet=Fleet(connects_at_once=AT_ONCE, stagger=0.0),
    )
    running = Engine(config)
    async with running:
        with anyio.fail_after(TIMEOUT):
            while any(at.state is not State.HEALTHY for at in running.fleet.snapshots.values()):
                await asyncio.sleep(0.05)
        await asyncio.sleep(2)
        print(resident(), flush=True)


CONTENDERS: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
    "Holdfast, engine and all": engine,
    "Telethon, StringSession": with_string,
    "Telethon, SQLiteSession": with_file,
}


async def prepare(directory: Path, sandbox: SandboxProcess, accounts: int) -> list[str]:
    """Make session files as Telethon writes them."""
    paths = []
    for index in range(accounts):
        path = directory / f"memory-{index}.session"
        session = SQLiteSession(str(path))
        session.set_dc(sandbox.dc_id, "127.0.0.1", sandbox.port)
        session.auth_key = AuthKey(await sandbox.authorize(f"+999661{index:04}"))
        session.close()
        paths.append(str(path))
    return paths


async def measure(directory: Path, accounts: int) -> dict[str, float]:
    """Return the bytes of one account more, for each contender."""
    found = {}
    async with SandboxProcess.start() as sandbox:
        paths = await prepare(directory, sandbox, accounts)
        datacenter = {
            "id": sandbox.dc_id, "host": "127.0.0.1", "port": sandbox.port, "public_key": sandbox.public_key,
        }  # fmt: skip
        for name in CONTENDERS:
            held = []
            for count in (FEW, accounts):
                directory = directory / f"data-{len(found)}-{count}"
                given = {"sessions": paths[:count], "datacenter": datacenter, "directory": str(directory)}
                held.append(await anyio.to_thread.run_sync(alone, name, given))
            found[name] = (held[1] - held[0]) / (accounts - FEW)
    return found


def alone(name: str, given: dict[str, Any]) -> int:
    """Run one contender in a process of its own; return what that held."""
    command = [sys.executable, "-m", "tests.bench.storage.memory", name]
    done = subprocess.run(
        command, input=json.dumps(given), stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True, timeout=TIMEOUT * 2
    )
    return int(done.stdout)


def run(directory: Path, *, accounts: int) -> Table:
    """Measure all and return the table."""
    found = anyio.run(measure, directory, accounts)
    mine, string, file = found.values()
    rows = [[name, f"{held / 1000:.1f} kB", number(ratio(held, string))] for name, held in found.items()]
    return Table(
        f"Memory of one connected account more, {accounts} instead of {FEW}",
        ["", "resident", "ratio"],
        rows,
        [
            Target("memory of a connected account", ratio(mine, string), most=1, against="Telethon, StringSession"),
            Target("memory of a connected account", ratio(mine, file), most=1 / 3, against="Telethon, SQLiteSession"),
        ],
    )


def main() -> None:
    """Be one of the processes."""
    given = json.loads(sys.stdin.read())
    datacenter = given["datacenter"]
    Datacenter(datacenter["id"], datacenter["host"], datacenter["port"], datacenter["public_key"]).trust()
    asyncio.run(CONTENDERS[sys.argv[1]](given))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
