"""The benchmark of reconnects measures what it says. Nothing here judges by a clock."""

from pathlib import Path

import pytest

from tests.bench import reconnect


@pytest.mark.slow
@pytest.mark.parametrize("name", reconnect.CONTENDERS)
async def test_each_account_has_a_new_connection_after_each_round(name: str, tmp_path: Path) -> None:
    """A round ends with as many new connections as there are accounts, and has used the processor."""
    async with reconnect.subject(tmp_path / "x", name, 3) as subject:
        before = (await subject.sandbox.stats())["accepted"]
        assert min([await subject.round() for _ in range(2)]) > 0
        assert (await subject.sandbox.stats())["accepted"] >= before + 2 * 3


def test_a_reconnect_is_judged_by_medians_of_the_same_run() -> None:
    """Twice bare Telethon's is within the target, one round that was disturbed does not count, and more is missed."""
    bare = [0.0004, 0.0005, 0.0004]
    within = reconnect.table(100, {"Holdfast": [0.0008, 0.0008, 0.09], "bare Telethon": bare})
    beyond = reconnect.table(100, {"Holdfast": [0.0009, 0.0009, 0.0001], "bare Telethon": bare})
    assert [target.kept for target in (*within.targets, *beyond.targets)] == [True, False]
    assert within.rows[0] == ["Holdfast", "0.80 ms", "0.80 ms–90.00 ms", "2"]
