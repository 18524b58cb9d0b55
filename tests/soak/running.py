"""Kills a running engine, again and again, and looks whether it goes on where it was with all that it had written."""

import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from adapters.sandbox import Fault, FaultKind, Sandbox
from states import Entry
from tests.engine.harness import EngineHarness
from tests.soak.storage import Lost, ask

PHONES = ("+9996620001", "+9996620002", "+9996620003")
LONGEST = 0.6
"""Seconds that an engine may run after its accounts have begun to connect, at the most."""
LOAD_EVERY = 0.01


@asynccontextmanager
async def load(dc: Sandbox, chance: random.Random) -> AsyncIterator[None]:
    """Send messages to all accounts, and reset connections now and then, for the length of the block."""

    async def work() -> None:
        while True:
            await dc.push(chance.choice(PHONES), "hello", sender=f"+99966{chance.randint(10000, 39999)}")
            if chance.random() < 0.05:
                await dc.inject(Fault(FaultKind.RESET, chance.choice(PHONES)))
            await anyio.sleep(LOAD_EVERY)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        yield
        tasks.cancel_scope.cancel()


def files_of(harness: EngineHarness) -> list[Path]:
    """Return the session files of the accounts."""
    return [harness.directory / f"account{number}.session" for number in range(1, len(PHONES) + 1)]


def check(harness: EngineHarness, before: list[Entry], keys: list[object]) -> None:
    """Raise ``Lost`` if a file is damaged, a record that could be read is not there, or a key is another one."""
    for path in [*files_of(harness), harness.directory / "data" / "engine.db"]:
        if (found := ask(path, "pragma integrity_check")) != [("ok",)]:
            raise Lost(f"{path.name} is damaged: {found}")
    if harness.entries()[: len(before)] != before:
        raise Lost("records that could be read before are not there")
    if [ask(path, "select auth_key from sessions") for path in files_of(harness)] != keys:
        raise Lost("a key is another one")


def all_healthy(harness: EngineHarness, life: int) -> bool:
    """Say whether all accounts have become healthy in this life; in the file they may be so from the one before."""
    begun = {entry.account for entry in harness.entries() if entry.life == life}
    return len(begun) == len(PHONES) and harness.states() == ["healthy"] * len(PHONES)


async def kill_again_and_again(directory: Path, kills: int, seed: int) -> int:
    """Run, hurt, kill and check, as often as this; return how many records there are then. Raises ``Lost``."""
    chance, harness = random.Random(seed), EngineHarness(directory)
    async with Sandbox() as dc, load(dc, chance):
        harness.at(dc, *PHONES)
        keys = [ask(path, "select auth_key from sessions") for path in files_of(harness)]
        for life in range(1, kills + 1):
            async with harness.running() as engine:
                await harness.until(lambda at, life=life: any(entry.life == life for entry in at.entries()[-9:]))
                await anyio.sleep(chance.uniform(0, LONGEST))
                before = harness.entries()
                engine.kill()
                await engine.wait()
            check(harness, before, keys)
        async with harness.running() as engine:
            await harness.until(lambda at: all_healthy(at, kills + 1))
            if code := await harness.finish(engine, signal.SIGTERM):
                raise Lost(f"the last run ended with {code}:\n{harness.text}")
        code, said = await harness.command("log", "replay", "config.yaml")
        if code != 0:
            raise Lost(f"the journal does not replay: {said}")
        check(harness, harness.entries(), keys)
        lives = {entry.life for entry in harness.entries()}
        if lives != set(range(1, kills + 2)):
            raise Lost(f"lives are missing: {lives}")
    return len(harness.entries())
