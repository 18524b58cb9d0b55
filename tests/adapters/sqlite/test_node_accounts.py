"""The accounts of a config that changes while workers share a file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.storage.node_stores import SqliteNodes, WorkerUnderTest


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[WorkerUnderTest]:
    async with SqliteNodes(tmp_path / "engine.db").node("a") as it:
        yield it


async def give_up(worker: WorkerUnderTest) -> set[str]:
    """Have a worker give up what it is to, as it does after each beat that says so."""
    if not (await worker.beat()).has_moves:
        return set()
    owned = await worker.accounts.owned(worker.life)
    names = await worker.accounts.moving(worker.life)
    return set(await worker.accounts.release(worker.life, {name: owned[name] for name in names}))


async def test_a_removed_account_is_given_up_and_taken_by_nobody(worker: WorkerUnderTest) -> None:
    """Whoever has it, also with a config that has it still; once free it is gone, and a later config brings it back."""
    await worker.accounts.use_accounts({"x": "*", "y": "*", "free": "*"}, adds=True)
    await worker.claim(2)
    assert await give_up(worker) == set()
    await worker.accounts.use_accounts({"y": "*"}, adds=False)
    assert await worker.accounts.listed() == {"y": "*"}
    assert await give_up(worker) == {"x"}
    assert await worker.claim() == {}
    await worker.accounts.use_accounts({"x": "*", "y": "*"}, adds=True)
    assert set(await worker.claim()) == {"x"}


async def test_an_added_account_waits_until_it_may_begin(worker: WorkerUnderTest) -> None:
    """A worker that does not know it must not be given it; another pattern of hosts holds at once."""
    await worker.accounts.use_accounts({"x": "*"}, adds=True)
    await worker.accounts.use_accounts({"x": "b-*", "y": "*"}, adds=False)
    assert await worker.accounts.listed() == {"x": "b-*"}
    assert await worker.claim() == {}
    assert not (await worker.beat()).has_free
    await worker.accounts.use_accounts({"x": "b-*", "y": "*"}, adds=True)
    assert (await worker.beat()).has_free
    assert set(await worker.claim()) == {"y"}
