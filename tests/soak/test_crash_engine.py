"""``kill -9`` of an engine. ``python -m tests.soak.crash`` does the same two hundred times."""

from pathlib import Path

from tests.soak import running

KILLS = 20
SEED = 11


async def test_an_engine_goes_on_after_kill_9(tmp_path: Path) -> None:
    """Killed while it connects, heals and hears, it begins its next life where it was, and every life replays."""
    assert await running.kill_again_and_again(tmp_path, KILLS, SEED) > 10 * KILLS
