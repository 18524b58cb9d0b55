"""One contender of the capacity benchmark, in a process of its own: many accounts, held until it is told to end.

It reads what to do as a line of JSON from stdin, which stays open for as long as it is to live, and writes a line of
JSON for each thing that was measured. Nothing is measured before its imports are over: they cost each contender the
same once, however many accounts there are.
"""

import sys

if "cryptg" in sys.argv[2:]:  # without it; Telethon decides at its import
    sys.modules["cryptg"] = None  # type: ignore[assignment]

import asyncio
import gc
import io
import json
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO
from unittest.mock import patch

import anyio
from attrs import define, field
from rich.console import Console
from telethon import TelegramClient
from telethon.crypto import AuthKey
from telethon.sessions import StringSession
from telethon.tl.functions import PingRequest

import engine.app.run as engine_run
from adapters.system.free_memory import give_back_free_memory
from adapters.telegram import Datacenter
from engine.app.engine import Engine
from engine.config import load
from states import State
from states.schedules import Health

API = (12345, "0123456789abcdef0123456789abcdef")
AT_ONCE = 32
"""As many as the engine lets connect at once by default."""
PING_EVERY = Health().probe_every
TICK = 0.02
LOOK_EVERY = 0.05
TERMINAL = (120, 40)
"""Columns and lines of the terminal that the live table is drawn on."""


def resident() -> int:
    """Return what this process holds, in bytes, without garbage and without what is free in it."""
    gc.collect()
    give_back_free_memory()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@define(eq=False)
class LagMeter:
    """How much later than asked for the loop calls: what every timer and every packet waits, too.

    ``own`` has of each lag only what this process has computed meanwhile; the rest was other processes' on the machine.
    """

    lags: list[float] = field(factory=list)
    own: list[float] = field(factory=list)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            began, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(TICK)
            lag = max(time.perf_counter() - began - TICK, 0.0)
            self.lags.append(lag)
            self.own.append(min(lag, time.process_time() - used))

    def taken(self) -> dict[str, Any]:
        """Return what was measured since the last call, and forget it."""
        found = {"lags": self.lags, "own": self.own}
        self.lags, self.own = [], []
        return found


@define(eq=False)
class Report:
    """Writes what was measured since the last line, as another line."""

    meter: LagMeter = field(factory=LagMeter)
    _file: TextIO = field(factory=lambda: sys.stdout)
    """Kept, for the live table puts itself in the place of standard output."""
    _wall: float = field(factory=time.perf_counter)
    _cpu: float = field(factory=time.process_time)

    def begin(self) -> None:
        """Measure from now on."""
        self.meter.taken()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def write(self, what: str, **more: Any) -> None:
        """Write the line; the next one is measured from here."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        line = {"what": what, "wall": wall, "cpu": cpu, **self.meter.taken(), **more}
        print(json.dumps(line), file=self._file, flush=True)
        self.begin()


async def hold(report: Report, given: dict[str, Any]) -> None:
    """Let all settle, measure the steady state, and say what the process holds."""
    await asyncio.sleep(given["settle"])
    report.write("settled")
    await asyncio.sleep(given["steady"])
    report.write("steady")
    report.write("held", resident=resident())


async def bareping(report: Report, given: dict[str, Any]) -> None:
    """Bare Telethon with its smallest session, and a ping for each client as often as the engine probes."""
    clients = []
    turns = anyio.CapacityLimiter(AT_ONCE)
    report.begin()
    for key in given["keys"]:
        session = StringSession()
        session.set_dc(given["dc"], given["host"], given["port"])
        session.auth_key = AuthKey(bytes.fromhex(key))
        clients.append(TelegramClient(session, *API))

    async def connect(client: Any) -> None:
        async with turns:
            await client.connect()

    async def ping(client: Any) -> None:
        number = 0
        while True:
            await asyncio.sleep(PING_EVERY)
            number += 1
            with suppress(ConnectionError):
                await client(PingRequest(number))

    async def disconnect(client: Any) -> None:
        await client.disconnect()

    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(connect, client)
    report.write("started")
    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(ping, client)
        await hold(report, given)
        report.begin()
        tasks.cancel_scope.cancel()
    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(disconnect, client)
    report.write("stopped", lost=sum(1 for client in clients if client.is_connected()))


class Nowhere(io.StringIO):
    """A terminal that nobody reads."""

    def write(self, text: str, /) -> int:
        """Forget it."""
        return len(text)


async def engine(report: Report, given: dict[str, Any]) -> None:
    """The engine as ``run`` puts it together, until SIGTERM; without a table its log lines go to stderr."""
    engines: list[Engine] = []

    def made(*arguments: Any, **options: Any) -> Engine:
        engines.append(Engine(*arguments, **options))
        return engines[0]

    async def watch() -> None:
        waiting: list[str] = []
        while True:
            await asyncio.sleep(LOOK_EVERY)
            runners = engines[0].fleet.runners if engines else {}
            if not waiting and runners:
                waiting = list(runners)
            while waiting and runners[waiting[-1]].snapshot.state is State.HEALTHY:
                waiting.pop()
            if runners and not waiting:
                break
        report.write("started")
        await hold(report, given)
        report.begin()
        os.kill(os.getpid(), signal.SIGTERM)

    with patch.object(engine_run, "Engine", made):
        console = Console(file=Nowhere(), force_terminal=given["table"], width=TERMINAL[0], height=TERMINAL[1])
        async with anyio.create_task_group() as tasks:
            report.begin()
            tasks.start_soon(watch)
            await engine_run.run(load(Path(given["config"])), duration=None, console=console)
            tasks.cancel_scope.cancel()
    report.write("stopped", lost=sum(not status.healthy for status in engines[0].fleet.at_stop.values()))


CONTENDERS: dict[str, Callable[[Report, dict[str, Any]], Awaitable[None]]] = {"engine": engine, "bareping": bareping}


async def run(name: str, given: dict[str, Any]) -> None:
    """Be a contender."""
    report = Report()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(report.meter.run)
        await CONTENDERS[name](report, given)
        tasks.cancel_scope.cancel()


def end_with_parent() -> None:
    """End this process when its stdin closes, as it does when the parent ends, also by ``kill -9``.

    A thread waits for that, and nothing is tidied up: whoever measured is not there any more.
    """

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, name="end with parent", daemon=True).start()


def main(name: str, without: Sequence[str]) -> None:
    """Be the contender of this name, ``without`` what could make it faster."""
    given = json.loads(sys.stdin.readline())
    end_with_parent()
    Datacenter(given["dc"], given["host"], given["port"], given["public_key"]).trust()
    anyio.run(run, name, given, backend_options={"use_uvloop": "uvloop" not in without})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
