"""How long an event loop stands still while another process holds the write lock of a session file."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession
from telethon.tl.types import User
from telethon.utils import maybe_async

from adapters.session import HoldfastSession
from tests.bench.table import Table, Target, number, ratio

TICK = 0.001
UPDATES_EVERY = 0.05
KEEPALIVE_EVERY = 1.0
LOCK = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("begin immediate")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
database.execute("rollback")
"""
CONTENDERS: dict[str, Callable[[str], Any]] = {"HoldfastSession": HoldfastSession, "SQLiteSession": SQLiteSession}


@frozen
class Lag:
    """How late ticks came, in milliseconds, and how often the session raised."""

    p99: float
    most: float
    errors: int


async def measure(make: Callable[[str], Any], path: Path, seconds: float) -> Lag:
    """Use a session as a client does while its file is locked, and see how late a ticking loop is."""
    session = make(str(path))
    session.auth_key = AuthKey(b"k" * 256)
    await maybe_async(session.save())
    late: list[float] = []
    errors, number = 0, 0

    async def tick() -> None:
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            late.append((time.perf_counter() - due) * 1000)

    async def use() -> None:
        nonlocal errors, number
        saved = time.perf_counter()
        while True:
            await asyncio.sleep(UPDATES_EVERY)
            number += 1
            try:
                await maybe_async(session.process_entities([User(id=number, access_hash=1, first_name="A")]))
                if time.perf_counter() - saved > KEEPALIVE_EVERY:
                    saved = time.perf_counter()
                    await maybe_async(session.save())
            except sqlite3.OperationalError:
                errors += 1

    ready = asyncio.get_running_loop().run_in_executor
    command = [sys.executable, "-c", LOCK, path, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:  # noqa: ASYNC220  # nothing is measured yet
        assert other.stdout is not None
        await ready(None, other.stdout.readline)
        tasks = [asyncio.ensure_future(tick()), asyncio.ensure_future(use())]
        await ready(None, other.wait)
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    await maybe_async(session.close())
    late.sort()
    return Lag(late[len(late) * 99 // 100], late[-1], errors)


def run(directory: Path, *, seconds: float) -> Table:
    """Measure both and return the table."""
    found = {
        name: asyncio.run(measure(make, directory / f"lag-{name}.session", seconds))
        for name, make in CONTENDERS.items()
    }
    rows = [[name, f"{lag.p99:.1f} ms", f"{number(lag.most)} ms", f"{lag.errors}"] for name, lag in found.items()]
    mine, theirs = found.values()
    return Table(
        f"An event loop while another process holds the session's write lock for {seconds:g} s",
        ["", "lag p99", "lag at most", "errors raised"],
        rows,
        [
            Target(
                "longest lag while a session file is locked, times shorter",
                ratio(theirs.most, mine.most),
                least=100,
                against="Telethon's session",
                headline=True,
            )
        ],
    )
