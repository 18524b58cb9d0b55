"""``kill -9`` of an engine. ``python -m tests.soak.crash`` does the same two hundred times."""

from pathlib import Path

import pytest

from tests.soak import running

SEED, KILLS = 11, 20


@pytest.mark.slow
async def test_an_engine_goes_on_after_kill_9(tmp_path: Path) -> None:
    """Killed while it connects, heals and hears, it begins its next life where it was, and every life replays."""
    assert await running.kill_again_and_again(tmp_path, KILLS, SEED) > KILLS  # and what was durable is there
