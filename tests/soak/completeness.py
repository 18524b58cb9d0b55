"""``python -m tests.soak.completeness [KILLS] [SEED]``: is the ledger true, and is it complete.

Two accounts hear what is written in private and in three channels, and note each message in a file, while the
datacenter hurts them and ``kill -9`` hits the engine. After each kill, and at the end, the ledger is compared with the
datacenter's record and with that file: whatever it claims was handled. At the end it claims all of it, without a hole,
and ``prove`` says so.
"""

import itertools
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
from attrs import define, field, frozen

from adapters.sandbox import Fault, FaultKind, Sandbox
from states.ledger import Interval, merge
from tests.engine.harness import FAST, STRICT, EngineHarness, all_are
from tests.soak.storage import Lost

PHONES = ("+9996610001", "+9996610002")
CHANNELS = ("news_one", "news_two", "news_three")
TIMEOUT_SECONDS = 120.0
"""How long the accounts may take to hear the last message, on a busy machine."""
MARK = 10**12

HANDLERS = """
import os
from telethon import events
from engine import on

LOG = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

@on(events.NewMessage())
async def note(event):
    me = (await event.client.get_me(input_peer=True)).user_id
    os.write(LOG, f"{{me}} {{event.chat_id}} new {{event.id}}\\n".encode())
"""
"""A program's own handlers: what one of them was called with outlives ``kill -9`` of its process."""


@frozen(kw_only=True)
class Posted:
    """What the datacenter has given a number in a box of a user."""

    user: int
    box: int
    pts: int
    line: str
    """What a handler writes of it."""


@define
class Record:
    """What was written while the engine lived and while it did not."""

    dc: Sandbox
    chance: random.Random
    posted: list[Posted] = field(factory=list)
    channels: dict[str, int] = field(factory=dict)
    count: int = 0

    async def furnish(self) -> None:
        """Make the channels."""
        for name in CHANNELS:
            self.channels[name] = await self.dc.create_channel(name, name, members=PHONES)

    async def write(self, channel_name: str | None = None) -> None:
        """Write one message, in this channel or anywhere."""
        self.count += 1
        if channel_name is None and self.chance.random() < 0.3:
            phone = self.chance.choice(PHONES)
            number = await self.dc.push(phone, f"Line {self.count}")
            pts = next(each.pts for each in self.dc.messages(phone) if each.id == number)
            user = int(phone.removeprefix("+"))
            sender = next(each.peer for each in self.dc.messages(phone) if each.id == number)
            self.posted.append(Posted(user=user, box=0, pts=pts, line=f"{user} {sender} new {number}"))
            return
        name = channel_name or self.chance.choice(CHANNELS)
        channel = self.channels[name]
        number = await self.dc.post(name, f"Line {self.count}")
        pts = next(each.pts for each in self.dc.channel_messages(name) if each.id == number)
        for phone in PHONES:
            user = int(phone.removeprefix("+"))
            line = f"{user} {-MARK - channel} new {number}"
            self.posted.append(Posted(user=user, box=channel, pts=pts, line=line))


def claims(file: Path) -> dict[tuple[int, int], list[Interval]]:
    """Return what the ledger claims of each box of a user."""
    found: dict[tuple[int, int], list[Interval]] = {}
    if not file.exists():
        return {}
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        for user, box, after, upto in db.execute("SELECT user, box, after, upto FROM ledger"):
            found.setdefault((user, box), []).append(Interval(after, upto))
    return {key: merge(intervals) for key, intervals in found.items()}


def false_claims(
    posted: list[Posted], claimed: dict[tuple[int, int], list[Interval]], heard: set[str]
) -> Iterator[str]:
    """Yield what the ledger claims and no handler has seen."""
    for each in posted:
        if each.line not in heard and any(i.after < each.pts <= i.upto for i in claimed.get((each.user, each.box), [])):
            yield f"pts {each.pts} of box {each.box}: {each.line}"


def heard_in(log: Path) -> list[str]:
    """Return what the handlers have noted."""
    return log.read_text().splitlines() if log.exists() else []


async def chaos(dc: Sandbox, chance: random.Random) -> None:
    """Hurt the connections, now and then, until cancelled."""
    kinds = (FaultKind.RESET, FaultKind.BLACKHOLE, FaultKind.RESET, FaultKind.LOST_UPDATE)
    while True:
        await anyio.sleep(chance.uniform(0.2, 1.0))
        kind = chance.choice(kinds)
        await dc.inject(Fault(kind, chance.choice(PHONES)))
        if kind is FaultKind.BLACKHOLE:
            await anyio.sleep(0.3)
            await dc.clear()


async def run(directory: Path, kills: int, seed: int, *, per_life: int = 60) -> str:
    """Do it, and return what came of it. Raises ``Lost`` with the first things that are wrong."""
    chance, harness, log = random.Random(seed), EngineHarness(directory), directory / "heard.txt"
    file = directory / "data" / "engine.db"
    (directory / "handlers.py").write_text(HANDLERS.format(log=str(log)))
    claimed_at_kills = 0
    async with Sandbox() as dc:
        record = Record(dc, chance)
        await record.furnish()
        harness.at(dc, *PHONES, rest=f"{FAST}work: {{modules: [handlers.py]}}\n")
        for life in range(kills + 1):
            async with harness.running() as engine, anyio.create_task_group() as tasks:
                await harness.until(lambda at, life=life: any(e.life == life + 1 for e in at.entries()[-9:]))
                if not life:
                    await _begin(harness, record, log)
                tasks.start_soon(chaos, dc, chance)
                for _ in range(per_life):
                    await record.write()
                    await anyio.sleep(chance.uniform(0, 0.05))
                tasks.cancel_scope.cancel()
                if life < kills:
                    engine.kill()
                    await engine.wait()
            await dc.clear()
            if life < kills:
                wrong = list(false_claims(record.posted, claims(file), set(heard_in(log))))
                if wrong:
                    raise Lost(f"claimed and not handled, after kill {life + 1}: {wrong[:5]}")
                claimed_at_kills += sum(len(parts) for parts in claims(file).values())
                for _ in range(chance.randrange(5)):
                    await record.write()
        async with harness.running() as engine:
            await harness.until(lambda at: any(each.life == kills + 2 for each in at.entries()[-9:]))
            await _all_claimed(record, file, harness)
            if code := await harness.finish(engine, 15):
                raise Lost(f"the last run ended with {code}:\n{harness.text[-3000:]}")
        heard = heard_in(log)
        if wrong := list(false_claims(record.posted, claims(file), set(heard))):
            raise Lost(f"claimed and not handled: {wrong[:5]}")
        if missed := {each.line for each in record.posted} - set(heard):
            raise Lost(f"not handled: {sorted(missed)[:5]}")
        for name in CHANNELS:
            await _proves(harness, f"@{name}")
    rows = sum(len(parts) for parts in claims(file).values())
    return (
        f"{record.count} events, {kills} kills, seed {seed}: false claims 0, missed 0, "
        f"{rows} intervals for {len(claims(file))} boxes, repeated {len(heard) - len(set(heard))}"
    )


async def _begin(harness: EngineHarness, record: Record, log: Path) -> None:
    """Wait until both accounts hear each channel: what came before their first links is nobody's to claim."""
    await harness.until(all_are("healthy", len(PHONES)))
    for name in CHANNELS:
        await record.write(name)
    wanted = {each.line for each in record.posted}
    with anyio.fail_after(TIMEOUT_SECONDS):
        while not wanted <= set(heard_in(log)):
            await anyio.sleep(0.05)


async def _all_claimed(record: Record, file: Path, harness: EngineHarness) -> None:
    """Wait until the ledger claims all that was written, in one interval for each box."""
    last: dict[tuple[int, int], int] = {}
    first: dict[tuple[int, int], int] = {}
    for each in record.posted:
        key = each.user, each.box
        last[key], first[key] = max(last.get(key, 0), each.pts), min(first.get(key, each.pts), each.pts)
    until = anyio.current_time() + TIMEOUT_SECONDS
    while True:
        found = claims(file)
        if all(any(part.after < first[key] and part.upto >= last[key] for part in found.get(key, [])) for key in last):
            return
        if anyio.current_time() > until:
            raise Lost(f"not complete: {first} to {last}, claimed {found}\n{harness.text[-3000:]}")
        await anyio.sleep(0.1)


async def _proves(harness: EngineHarness, chat: str) -> None:
    """Raise ``Lost`` unless ``prove`` says that a chat is complete."""
    command = [sys.executable, *STRICT, "-m", "engine", "prove", str(harness.config), "--chat", chat]
    done = await anyio.run_process(
        command, check=False, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, cwd=harness.directory, env=harness.environment
    )
    if done.returncode or b"complete from" not in done.stdout:
        raise Lost(f"prove {chat}: {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")


def main(kills: int = 10, seed: int | None = None) -> None:
    """Do it, and say what came of it; ends with an exception if anything is wrong."""
    seed = time.time_ns() % 2**32 if seed is None else seed
    print(f"{kills} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        print(anyio.run(lambda: run(Path(directory), kills, seed)))


if __name__ == "__main__":
    main(*map(int, itertools.islice(sys.argv, 1, 3)))
