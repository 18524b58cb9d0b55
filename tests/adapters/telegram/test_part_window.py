"""Parts of a file on their way: how many, how large, and in which order they are taken."""

from collections.abc import Iterator

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.telegram.part_window import LARGEST, MOST_PARTS, SMALLEST, PartWindow, in_order

MEGABYTE = 1024 * 1024


@given(st.lists(st.floats(0, 100), max_size=200))
def test_every_part_is_one_that_telegram_gives(answers: list[float]) -> None:
    """However long answers take: a part divides 1 MiB and crosses no boundary of it; never more than four at once."""
    window, offset = PartWindow(), 0
    for took in answers:
        size = window.size_at(offset)
        assert MEGABYTE % size == 0
        assert SMALLEST <= size <= LARGEST
        assert offset // MEGABYTE == (offset + size - 1) // MEGABYTE
        offset += size
        window.answered(took)
        assert 1 <= window.parts <= MOST_PARTS


def test_a_slow_connection_is_left_to_others() -> None:
    """After slow answers one small part is on its way; quick ones open the window again."""
    window = PartWindow()
    for _ in range(10):
        window.answered(3.0)
    assert (window.parts, window.size) == (1, SMALLEST)
    for _ in range(10):
        window.answered(0.1)
    assert (window.parts, window.size) == (MOST_PARTS, LARGEST)


async def test_results_are_taken_in_order_and_few_are_on_their_way() -> None:
    """The last to be answered is not the last to be taken, and never are there more than the window has."""
    here, most, taken = 0, 0, []

    async def perform(item: int) -> int:
        nonlocal here, most
        here += 1
        most = max(most, here)
        for _ in range(20 - item):
            await anyio.lowlevel.checkpoint()
        here -= 1
        return item * item

    async def take(item: int, result: int) -> None:
        taken.append((item, result))

    await in_order(iter(range(20)), perform, take, PartWindow())
    assert taken == [(item, item * item) for item in range(20)]
    assert 1 < most <= MOST_PARTS


@pytest.mark.parametrize("where", ["perform", "take"])
async def test_a_failure_is_raised_alone_and_ends_the_others(where: str) -> None:
    """No group wraps it, what comes later is not taken, and no item is left running."""
    taken: list[int] = []
    ended: list[int] = []

    async def perform(item: int) -> int:
        try:
            if item == 3 and where == "perform":
                raise ValueError("three")
            await anyio.sleep(0 if item < 3 else 3600)
        finally:
            ended.append(item)
        return item

    async def take(item: int, _: int) -> None:
        taken.append(item)
        if item == 2 and where == "take":
            raise ValueError("two")

    def items() -> Iterator[int]:
        yield from range(100)

    with pytest.raises(ValueError, match="three" if where == "perform" else "two"):
        await in_order(items(), perform, take, PartWindow())
    assert taken == list(range(len(taken)))
    assert len(taken) <= 3
    assert sorted(ended) == list(range(len(ended)))
