"""What an idle connected account holds, counted: what it needs no more than once for all accounts, it does not have."""

import gc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from adapters.sandbox import SandboxProcess
from engine import Engine
from engine.config import AccountConfig, Config, DatacenterConfig, Fleet, Storage, Telegram
from states import State
from tests.bench.storage.memory import API, prepare
from tests.timeouts import TIMEOUT

FEW, MANY = 2, 12
AT_MOST = {
    "_asyncio.Task": 1,
    "_asyncio.Future": 6,
    "anyio._core._tasks.TaskHandle": 1,
    "anyio._backends._asyncio.TaskGroup": 1,
    "anyio._backends._asyncio.CancelScope": 3,  # of its task, of its life, and by which it is removed
    "anyio._backends._asyncio.Event": 1,
    "asyncio.locks.Event": 1,
    "asyncio.locks.Lock": 2,
    "asyncio.locks.Condition": 0,
    "asyncio.queues.Queue": 0,
    "anyio._backends._asyncio.Lock": 0,
    "collections.deque": 1,
    "builtins.coroutine": 6,
    "builtins.async_generator": 0,
    "asyncio.events.TimerHandle": 8,
    "telethon.network.mtprotosender.MTProtoSender": 0,
}
"""Of each type, how many an account may have. Its one task is that of its life, which reads its mailbox."""


def counted() -> Counter[str]:
    """Return how many objects of each type there are."""
    gc.collect()
    return Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())


def too_many(few: Counter[str], many: Counter[str]) -> dict[str, int]:
    """Return of which types an account has more than it may, and how many."""
    # Rounded, since the engine itself has one more or less of this and that.
    found = {kind: round((many[kind] - few[kind]) / (MANY - FEW)) for kind in AT_MOST}
    return {kind: each for kind, each in found.items() if each > AT_MOST[kind]}


@asynccontextmanager
async def with_accounts(paths: list[str], sandbox: SandboxProcess, directory: Path) -> AsyncIterator[None]:
    """Run an engine with these accounts, all of them healthy."""
    where = DatacenterConfig(id=sandbox.dc_id, host="127.0.0.1", port=sandbox.port, public_key=sandbox.public_key)
    engine = Engine(
        Config(
            telegram=Telegram(api_id=API[0], api_hash=API[1], datacenter=where),
            accounts=tuple(AccountConfig(name=Path(path).stem, session=Path(path)) for path in paths),
            storage=Storage(directory=directory),
            fleet=Fleet(stagger=0.0),
        )
    )
    async with engine:
        while any(at.state is not State.HEALTHY for at in engine.fleet.snapshots.values()):
            await anyio.sleep(0.05)
        yield


@pytest.mark.slow
async def test_an_idle_account_has_one_task_and_few_parts(tmp_path: Path) -> None:
    """Ten accounts more have ten tasks more, and no queue, lock or event that only work needs."""
    surplus: dict[str, int] = {}
    gc.collect()
    gc.freeze()  # what earlier tests of this process have left is not counted, and takes no time to be counted
    try:
        async with SandboxProcess.start() as sandbox:
            paths = await prepare(tmp_path, sandbox, MANY)
            async with with_accounts(paths[:FEW], sandbox, tmp_path / "few"):
                few = counted()
            async with with_accounts(paths, sandbox, tmp_path / "many"):
                with anyio.move_on_after(TIMEOUT):
                    while surplus := too_many(few, counted()):  # until what the start has left to do is done
                        await anyio.sleep(0.5)
    finally:
        gc.unfreeze()
    assert surplus == {}
