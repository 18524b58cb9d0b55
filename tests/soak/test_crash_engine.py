"""``kill -9`` of an engine. ``python -m tests.soak.crash`` does the same two hundred times."""

from pathlib import Path

import pytest

from tests.soak import running

SEED = 11


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
async def test_an_engine_goes_on_after_kill_9(tmp_path: Path, kills: int) -> None:
    """Killed while it connects, heals and hears, it begins its next life where it was, and every life replays."""
    assert await running.kill_again_and_again(tmp_path, kills, SEED) > kills  # and what was durable is there
