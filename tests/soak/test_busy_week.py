"""A busy week in small: memory stays as it is. ``python -m tests.soak.busy_week`` does all of it."""

import gc
import tracemalloc
from pathlib import Path

import pytest

from adapters.session import contents
from adapters.session import file as files
from adapters.telegram import recalling
from tests.soak.busy_week import MemoryLook, WeekFigures, WeekPlan, live

MAX_BYTES_PER_UPDATE = 40.0
"""What the allocator and a log may differ by; an update that stayed, or its sender, would be some hundred bytes."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few entities stay in memory."""
    for place in (contents, files):
        monkeypatch.setattr(place, "MAX_ENTITIES", 200)
    monkeypatch.setattr(contents, "_SLACK", 20)
    monkeypatch.setattr(recalling, "MAX_KNOWN", 300)


@pytest.mark.usefixtures("small")
async def test_what_an_account_has_stays_within_its_bounds(tmp_path: Path) -> None:
    """Of a thousand users in two thousand updates over four links, a fifth is in memory, and each is found."""
    figures = await live(WeekPlan(updates=2000, users=1000, channels=20, links=4), tmp_path)
    assert (figures.handled, figures.asked) == (2000, 100)
    assert figures.found == figures.asked
    assert max(look.use["cached"] for look in figures.looks) <= 300
    assert figures.looks[-1].use["entities"] <= 220
    assert [look.use["waiting"] + look.use["queued"] for look in figures.looks][-1] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("small")
async def test_an_update_leaves_nothing_in_memory(tmp_path: Path) -> None:
    """Twelve thousand updates of four thousand users: the second half of them leaves hardly a byte."""
    traced: dict[int, int] = {}

    def measure(look: MemoryLook) -> None:
        if look.updates == 3000:
            tracemalloc.start()
        elif look.updates in (6000, 12_000):
            gc.collect()
            traced.setdefault(look.updates, tracemalloc.get_traced_memory()[0])

    try:
        await live(WeekPlan(updates=12_000, users=4000, channels=50, links=6), tmp_path, show=measure)
    finally:
        tracemalloc.stop()
    assert (traced[12_000] - traced[6000]) / 6000 < MAX_BYTES_PER_UPDATE


def test_growth_is_told() -> None:
    """A process that grows by a kilobyte with each update is not flat; one that has come to its size is."""

    def figures(*megabytes: float) -> WeekFigures:
        looks = [
            MemoryLook(updates, 0.0, int(size * 1e6), {})
            for updates, size in zip((50_000, 100_000, 500_000, 1_000_000), megabytes, strict=True)
        ]
        return WeekFigures(looks, 1_000_000, 1, 1)

    assert figures(100, 150, 152, 153).flat
    assert not figures(100, 150, 600, 1100).flat
