"""Intervals of handled numbers: in any order and however often they come, they say neither more nor less than that."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from states.ledger import Interval, holes, merge

NUMBERS = st.integers(0, 60)
INTERVALS = st.builds(Interval, NUMBERS, NUMBERS)


def numbers(intervals: list[Interval]) -> set[int]:
    """Return the numbers in some intervals, one by one."""
    return {number for each in intervals for number in range(each.after + 1, each.upto + 1)}


@given(st.lists(INTERVALS), st.randoms())
def test_a_merge_says_what_was_added_in_any_order(added: list[Interval], chance: object) -> None:
    """Neither more nor less numbers, whatever the order, and a repeat changes nothing."""
    merged = merge(added)
    assert numbers(merged) == numbers(added)
    shuffled = [*added, *added]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merge(shuffled) == merged
    assert merge(merged) == merged


@given(st.lists(INTERVALS))
def test_merged_intervals_are_apart(added: list[Interval]) -> None:
    """No two of them touch, so contiguous ones are always one row."""
    merged = merge(added)
    assert all(not each.is_empty for each in merged)
    assert all(one.upto < other.after for one, other in itertools.pairwise(merged))


@given(st.lists(INTERVALS))
def test_holes_are_what_is_missing_in_between(added: list[Interval]) -> None:
    """From the first to the last number, each one is in an interval or in a hole, and in one of them only."""
    covered, missing = numbers(added), numbers(list(holes(added)))
    assert not covered & missing
    assert covered | missing == (set(range(min(covered), max(covered) + 1)) if covered else set())


@given(INTERVALS, INTERVALS)
def test_an_interval_covers_what_has_no_other_numbers(one: Interval, other: Interval) -> None:
    """``covers`` is the question whether the numbers of the other are a part."""
    assert one.covers(other) == (numbers([other]) <= numbers([one]))
