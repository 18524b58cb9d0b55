"""What is proven of a chat: complete where intervals touch, a hole with its cause where they do not, and no more."""

from hypothesis import given
from hypothesis import strategies as st

from states.completeness import Hole, ReadLater, assess, chains
from states.ledger import HoleCause, Interval, LedgerRow


def row(after: int, upto: int, since: float, until: float, **more: object) -> LedgerRow:
    """Return a row of the ledger."""
    return LedgerRow(
        user=1,
        login="x",
        box=5,
        interval=Interval(after, upto),
        since=since,
        until=until,
        **more,  # type: ignore[arg-type]
    )


def test_rows_that_touch_prove_that_nothing_is_missing() -> None:
    """Also an empty one, which only says until when nothing came."""
    proven = assess([row(4, 9, 20.0, 30.0), row(1, 4, 10.0, 20.0), row(9, 9, 31.0, 90.0)])
    assert (proven.since, proven.until, proven.holes, proven.complete_since) == (10.0, 90.0, (), 10.0)


def test_a_gap_is_a_hole_between_what_is_known() -> None:
    """Its numbers, times and messages are those that the rows on both sides leave open."""
    rows = [row(1, 4, 10.0, 20.0, first_id=1, last_id=3), row(9, 12, 50.0, 60.0, first_id=8, last_id=9)]
    proven = assess(rows)
    hole = Hole(interval=Interval(4, 9), cause=HoleCause.NOT_RUNNING, since=20.0, until=50.0, after_id=3, before_id=8)
    assert proven.holes == (hole,)
    assert proven.complete_since == 50.0


def test_a_hole_has_the_cause_that_was_noted_for_its_numbers() -> None:
    """Where causes change the hole is cut; numbers without one are those of a time in which nothing was noted."""
    rows = [
        row(1, 4, 10.0, 20.0),
        row(4, 7, 21.0, 22.0, cause=HoleCause.NO_HANDLER),
        row(7, 9, 30.0, 30.0, cause=HoleCause.TOO_LONG),
        row(12, 15, 50.0, 60.0),
    ]
    assert [(hole.interval, hole.cause) for hole in assess(rows).holes] == [
        (Interval(4, 7), HoleCause.NO_HANDLER),
        (Interval(7, 9), HoleCause.TOO_LONG),
        (Interval(9, 12), HoleCause.NOT_RUNNING),
    ]


def test_an_account_without_handlers_misses_nothing_while_nothing_comes() -> None:
    """Another account has handled all; that this one has none is no loss by itself, when a difference was empty."""
    rows = [row(1, 4, 10.0, 20.0), row(1, 4, 10.0, 21.0, cause=HoleCause.NO_HANDLER)]
    assert assess([*rows, row(4, 4, 25.0, 25.0, cause=HoleCause.NO_HANDLER)]).open == ()


def test_a_chat_that_was_left_is_a_hole_without_an_end() -> None:
    """Until something is seen again; then it has numbers, and the same cause."""
    rows = [row(1, 4, 10.0, 20.0), row(4, 4, 25.0, 25.0, cause=HoleCause.NOT_SUBSCRIBED)]
    (hole,) = assess(rows).holes
    assert (hole.interval, hole.cause, hole.until) == (None, HoleCause.NOT_SUBSCRIBED, None)
    assert assess(rows).complete_since is None
    (hole,) = assess([*rows, row(8, 9, 40.0, 50.0)]).holes
    assert (hole.interval, hole.cause, hole.until) == (Interval(4, 8), HoleCause.NOT_SUBSCRIBED, 40.0)


def test_the_time_before_the_first_row_is_unknown() -> None:
    """Only if it is asked for; a hole that was over before then does not count."""
    rows = [row(1, 4, 10.0, 20.0), row(9, 12, 50.0, 60.0)]
    (hole,) = assess(rows, since=5.0).holes[:1]
    assert (hole.interval, hole.since, hole.until) == (None, 5.0, 10.0)
    assert assess(rows, since=55.0).holes == ()
    assert assess(rows, since=55.0).since == 55.0
    assert [hole.interval for hole in assess(rows, since=30.0).holes] == [Interval(4, 9)]


def test_nothing_is_known_without_a_row() -> None:
    """Which is neither complete nor a hole."""
    proven = assess([])
    assert (proven.since, proven.until, proven.holes, proven.complete_since) == (None, None, (), None)


def test_a_hole_is_filled_by_who_read_all_of_it_after_its_end() -> None:
    """From the message before it or earlier, and after it was over; a job that began too late does not count."""
    rows = [row(1, 4, 10.0, 20.0, first_id=1, last_id=3), row(9, 12, 50.0, 60.0, first_id=8, last_id=9)]

    def filled(after_id: int, at: float, upto_id: int | None = None) -> str | None:
        fill = ReadLater(source="job 1", after_id=after_id, upto_id=upto_id, at=at)
        return assess(rows, [fill]).holes[0].filled

    assert filled(3, 50.0) == filled(0, 99.0) == filled(2, 1.0, 7) == "job 1"
    assert filled(4, 99.0) is filled(3, 49.0) is filled(3, 99.0, 6) is None
    proven = assess(rows, [ReadLater(source="job 1", after_id=0, upto_id=None, at=99.0)])
    assert (proven.open, proven.complete_since) == ((), 10.0)


ROWS = st.builds(
    lambda after, length, at, lost: row(
        after, after + length, float(at), float(at + length), cause=HoleCause.TOO_LONG if lost else None
    ),
    st.integers(0, 30), st.integers(0, 9), st.integers(0, 99), st.booleans(),
)  # fmt: skip


@given(st.lists(ROWS, max_size=12), st.randoms())
def test_handled_numbers_and_holes_are_all_there_is(rows: list[LedgerRow], chance: object) -> None:
    """In any order: what was handled is in no hole, and no hole is left out between the first and the last number."""
    handled = {n for each in rows if each.cause is None for n in range(each.interval.after + 1, each.interval.upto + 1)}
    proven = assess(rows)
    missing = [
        n for hole in proven.holes if hole.interval for n in range(hole.interval.after + 1, hole.interval.upto + 1)
    ]
    assert len(missing) == len(set(missing))
    assert not handled & set(missing)
    if rows:
        low, high = min(each.interval.after for each in rows), max(each.interval.upto for each in rows)
        assert handled | set(missing) == set(range(low + 1, high + 1))
    shuffled = [*rows, *rows]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert chains(shuffled) == chains(rows)
    assert [hole.interval for hole in assess(shuffled).holes] == [hole.interval for hole in proven.holes]
