"""What one account that is flooded with updates costs the others in its process.

    python -m tests.bench.isolation [--accounts N] [--rate N] [--seconds S]

Calm accounts each get a few messages a second, and a handler notes how old each is when it arrives. Beside them one
account is flooded: with handlers that keep up, and with a handler that hangs until the flood is over. Everything runs
in one process and one run; the datacenter is another process, which has all messages of the flood before it begins, and
sends them as fast as it can and is told to. Afterwards every message must have reached its handler, once.
"""

import argparse
import asyncio
import logging
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import define, field
from telethon import events
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.sandbox import Sandbox
from adapters.sandbox.store.database import SERVICE_ID
from adapters.telegram import Datacenter, TelegramConnector, TelegramLink
from states.events import Connected
from tests.bench.table import Table, Target, add_option, hand_over, ratio
from tests.soak.busy_week import resident_bytes

BEAT: Final = 0.002
"""Seconds between two beats of the loop."""
CALM_EVERY: Final = 0.1
"""Seconds between two messages to a calm account."""
SLICE: Final = 0.01
"""Seconds between two handfuls of the flood."""
TIMES: Final = 4
"""How many times as late others may be beside a flood as without one, where they are late anyway."""
ANSWER_SECONDS: Final = 120.0
CATCH_UP_SECONDS: Final = 600.0
FLOODED: Final = "+9996620000"


def phone(number: int) -> str:
    """Return the number of a calm account."""
    return f"+999662{number + 1:04}"


# --- the datacenter's process ----------------------------------------------------------------------------------------


async def _serve(pipe: Any) -> None:
    """Be a datacenter, and do what the other process asks for."""
    async with Sandbox() as dc, anyio.create_task_group() as tasks:
        pipe.send((dc.dc_id, dc.port, dc.public_key))
        waiting: list[Any] = []
        while True:
            what, *rest = await anyio.to_thread.run_sync(pipe.recv)
            if what == "authorize":
                pipe.send(dc.authorize(rest[0]))
            elif what == "prepare":
                store = dc._hub.store
                receiver = store.account(FLOODED).id
                first = rest[1]
                waiting = [store.send(SERVICE_ID, receiver, str(first + each), None).copies for each in range(rest[0])]
                pipe.send(len(waiting))
            elif what == "flood":
                tasks.start_soon(_flood, dc, waiting, rest[0], pipe)
            elif what == "calm":
                tasks.start_soon(_calm, dc, rest[0])
            else:
                tasks.cancel_scope.cancel()
                return


async def _flood(dc: Sandbox, waiting: list[Any], rate: float, pipe: Any) -> None:
    began, sent = time.perf_counter(), 0
    while sent < len(waiting):
        due = min(len(waiting), int((time.perf_counter() - began + SLICE) * rate))
        for copies in waiting[sent:due]:
            dc._hub.deliver(copies)
        sent = due
        await anyio.sleep(SLICE)
    pipe.send(time.perf_counter() - began)


async def _calm(dc: Sandbox, accounts: int) -> None:
    while True:
        for number in range(accounts):
            await dc.push(phone(number), repr(time.time()))
        await anyio.sleep(CALM_EVERY)


def _datacenter(pipe: Any) -> None:
    logging.disable(logging.CRITICAL)
    anyio.run(_serve, pipe)


# --- the accounts ----------------------------------------------------------------------------------------------------


@define
class FloodPhase:
    """What was measured while something happened. All times are seconds."""

    name: str
    lags: list[float] = field(factory=list)
    ages: list[float] = field(factory=list)
    """How old messages to calm accounts were."""
    rate: float = 0.0
    lost: int = 0
    doubled: int = 0
    left: int = 0
    grown: int = 0
    caught_up: float = 0.0

    def row(self) -> list[str]:
        """Return the row of the table."""
        lags = [f"{at(self.lags, part) * 1000:.1f} ms" for part in (0.5, 0.99)]
        ages = [f"{at(self.ages, part) * 1000:.1f} ms" for part in (0.5, 0.99)]
        if not self.rate:
            return [self.name, "", *lags, *ages, "", "", "", ""]
        flood = [f"{self.left:,}", f"{self.caught_up:.1f} s", f"{self.lost} / {self.doubled}"]
        return [self.name, f"{self.rate:,.0f}/s", *lags, *ages, f"{self.grown / 1e6:+.1f} MB", *flood]


def at(values: list[float], part: float) -> float:
    """Return a quantile."""
    ordered = sorted(values) or [0.0]
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


@define
class Fleet:
    """The accounts, and the phase that is measured."""

    pipe: Any
    phase: FloodPhase
    heard: list[str] = field(factory=list)
    go_on: anyio.Event = field(factory=anyio.Event)

    async def ask(self, *what: Any, answers: bool = True) -> Any:
        """Have the datacenter do something."""
        self.pipe.send(what)
        return await self.answer() if answers else None

    async def answer(self) -> Any:
        """Return what the datacenter answers."""
        with anyio.fail_after(ANSWER_SECONDS):
            while not self.pipe.poll():
                await anyio.sleep(0.005)
        return self.pipe.recv()

    async def beat(self) -> None:
        """Measure how late the loop is."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(BEAT)
            self.phase.lags.append(time.perf_counter() - began - BEAT)

    async def hear_calm(self, event: Any) -> None:
        """Be the handler of a calm account."""
        self.phase.ages.append(time.time() - float(event.raw_text))

    async def hear_flood(self, event: Any) -> None:
        """Be the handler of the account that is flooded."""
        await self.go_on.wait()
        self.heard.append(event.raw_text)

    async def flood(self, link: TelegramLink, first: int, count: int, rate: float, *, hang: bool) -> None:
        """Measure a flood, and then what has become of it."""
        await self.ask("prepare", count, first)
        self.heard.clear()
        self.go_on = anyio.Event()
        if not hang:
            self.go_on.set()
        self.phase.lags.clear()
        self.phase.ages.clear()
        before, most = resident_bytes(), 0
        self.pipe.send(("flood", rate))
        while not self.pipe.poll():
            most = max(most, resident_bytes() - before)
            await anyio.sleep(0.05)
        self.phase.rate = count / self.pipe.recv()
        self.phase.grown, self.phase.left = most, link.client._updates_queue.left
        phase, self.phase = self.phase, FloodPhase("catching up")
        self.go_on.set()
        began = time.perf_counter()
        with anyio.move_on_after(CATCH_UP_SECONDS):
            while len(set(self.heard)) < count:
                await anyio.sleep(0.02)
        phase.caught_up = time.perf_counter() - began
        phase.lost, phase.doubled = count - len(set(self.heard)), len(self.heard) - len(set(self.heard))


async def _connector(fleet: Fleet, place: tuple[int, int, str], path: Path, number: str) -> TelegramConnector:
    dc_id, port, public_key = place
    session = SQLiteSession(str(path))
    session.set_dc(dc_id, "127.0.0.1", port)
    session.auth_key = AuthKey(await fleet.ask("authorize", number))
    session.save()
    session.close()
    datacenter = Datacenter(dc_id, "127.0.0.1", port, public_key)
    datacenter.trust()
    return TelegramConnector(path, 1, "0" * 32, datacenter)


async def run(accounts: int, rate: float, seconds: float) -> list[FloodPhase]:
    """Measure three phases: no flood, one that is handled, and one whose handler hangs."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_datacenter, args=(theirs,), daemon=True)
    process.start()
    fleet = Fleet(ours, FloodPhase("before"))
    try:
        with tempfile.TemporaryDirectory(prefix="holdfast-isolation-") as name:
            place, directory = await fleet.answer(), Path(name)
            flooded = await _connector(fleet, place, directory / "flooded.session", FLOODED)
            calm = [
                await _connector(fleet, place, directory / f"{number}.session", phone(number))
                for number in range(accounts)
            ]
            return await _measure(fleet, flooded, calm, rate, seconds)
    finally:
        fleet.pipe.send(("end",))
        process.join(10)
        process.kill()


async def _measure(
    fleet: Fleet, flooded: TelegramConnector, calm: list[TelegramConnector], rate: float, seconds: float
) -> list[FloodPhase]:
    found = [
        FloodPhase("no flood"),
        FloodPhase("a flood that is handled"),
        FloodPhase("a flood, and a handler that hangs"),
    ]
    flooded.on(fleet.hear_flood, events.NewMessage())
    for connector in calm:
        connector.on(fleet.hear_calm, events.NewMessage())
    links: list[TelegramLink] = []
    async with anyio.create_task_group() as tasks:
        for connector in (flooded, *calm):
            connector.deliver(tasks.start_soon)
            link = connector.link(1)
            assert isinstance((await link.open(timeout=60))[-1], Connected)
            link.watch(lambda _: None)
            links.append(link)
        await fleet.ask("calm", len(calm), answers=False)
        await anyio.sleep(1.0)
        tasks.start_soon(fleet.beat)
        fleet.phase = found[0]
        await anyio.sleep(seconds)
        count = int(rate * seconds)
        for number, phase in enumerate(found[1:]):
            fleet.phase = phase
            await fleet.flood(links[0], number * count, count, rate, hang=number == 1)
        tasks.cancel_scope.cancel()
    for connector, link in zip((flooded, *calm), links, strict=True):
        connector.deliver(None)
        await link.close(timeout=10)
        await connector.settle()
    return found


def table(found: list[FloodPhase], accounts: int) -> Table:
    """Return the phases beside each other."""
    none, handled, hanging = found
    head = [
        "",
        "updates",
        "lag p50",
        "p99",
        "age of a message p50",
        "p99",
        "memory",
        "left",
        "all after",
        "lost / doubled",
    ]
    title = f"What one account that is flooded costs {accounts} others in its process"
    slower = ratio(at(handled.ages, 0.5), at(none.ages, 0.5))
    lag, lag_before = max(at(each.lags, 0.99) for each in (handled, hanging)), at(none.lags, 0.99)
    age, age_before = max(at(each.ages, 0.99) for each in (handled, hanging)), at(none.ages, 0.99)
    targets = [
        Target("lost or doubled", sum(each.lost + each.doubled for each in found), most=0, unit="updates"),
        Target("memory beside a handler that hangs", hanging.grown / 1e6, most=64, unit="MB"),
        _late("loop lag p99 beside a flood", lag, lag_before, 0.05),
        _late("age of a calm account's messages beside a flood, p99", age, age_before, 0.25),
        Target("the same, p50", slower, against="no flood"),
    ]
    return Table(title, head, [each.row() for each in found], targets)


def _late(what: str, found: float, before: float, most: float) -> Target:
    """Judge a time by a bound, or on a busy machine by what it is without a flood."""
    why = f"≤ {most * 1000:.0f} ms, or {TIMES} × without a flood"
    return Target(what, found * 1000, unit="ms", why=why, verdict=found <= max(most, TIMES * before))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=10)
    parser.add_argument("--rate", type=float, default=10_000.0, help="updates a second, as far as the datacenter can")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each phase")
    add_option(parser)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    result = table(anyio.run(run, options.accounts, options.rate, options.seconds), options.accounts)
    print("\n".join(result.lines()))
    hand_over(options.results, result.targets)
    return 0 if all(target.kept for target in result.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
