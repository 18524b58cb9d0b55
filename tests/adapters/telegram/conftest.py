"""What every test of the Telethon adapter has."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.adapters.telegram.harness import DatacenterHarness


@pytest.fixture
def harness(tmp_path: Path) -> DatacenterHarness:
    """Return a harness that is not open yet."""
    return DatacenterHarness(tmp_path)


@pytest.fixture(autouse=True)
async def nothing_left_over() -> AsyncIterator[None]:
    """Every test leaves the loop as it was: a link that was closed has no task left."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left over: {left}"
