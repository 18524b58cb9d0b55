"""Which boxes are behind, and which channels are asked about: all cases of the arithmetic, without a datacenter."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.telegram.update_watch import (
    ACCOUNT,
    MAX_LISTED,
    SECRET,
    ChannelRounds,
    Lag,
    UpdateWatch,
    describe,
    listed,
)

CHANNEL = 5
NUMBERS = range(4)


def compared(due: int, before: int, mine: int) -> UpdateWatch:
    """Return a watch that has compared one box."""
    watch = UpdateWatch()
    watch.compare({ACCOUNT: due}, {ACCOUNT: before}, {ACCOUNT: mine}, now=100.0)
    return watch


@pytest.mark.parametrize(
    ("due", "before", "mine", "later"),
    [case for case in itertools.product(NUMBERS, repeat=4) if case[1] <= case[2] <= case[3]],
)
def test_only_what_is_behind_and_came_no_nearer_is_reported(due: int, before: int, mine: int, later: int) -> None:
    """Of every order of the four numbers: the datacenter's, and the client's before, with and after the answer."""
    watch = compared(due, before, mine)
    found = watch.look({ACCOUNT: later})
    behind = mine < due and later == mine
    ahead = min(before, mine) > due and later == mine
    assert [(lag.is_ahead, lag.due, lag.local, lag.since) for lag in found] == (
        [(ahead, due, mine, 100.0)] if behind or ahead else []
    )
    done = later >= due if mine < due else not (min(before, mine) > due)
    assert (not watch.lags) is done, "what is reached is forgotten, and the rest is looked at again"


def test_what_comes_nearer_is_no_stall_until_it_stands_still() -> None:
    """A long difference is fetched bit by bit; where it stops, the box is behind."""
    watch = compared(due=10, before=1, mine=1)
    assert [watch.look({ACCOUNT: number}) for number in (2, 3, 9)] == [[], [], []]
    assert watch.look({ACCOUNT: 9}) == [Lag(ACCOUNT, 10, 9, 100.0)]
    assert watch.look({ACCOUNT: 10}) == []
    assert not watch.lags


def test_later_numbers_do_not_move_what_was_to_be_reached() -> None:
    """With traffic the datacenter is always a bit ahead: the very number of the first look counts, and its time."""
    watch = compared(due=5, before=4, mine=4)
    watch.compare({ACCOUNT: 9}, {ACCOUNT: 4}, {ACCOUNT: 4}, now=160.0)
    assert watch.lags[ACCOUNT] == Lag(ACCOUNT, 5, 4, 100.0)
    watch.compare({ACCOUNT: 9}, {ACCOUNT: 4}, {ACCOUNT: 5}, now=220.0)
    assert watch.lags[ACCOUNT] == Lag(ACCOUNT, 9, 5, 220.0)


def test_a_box_without_a_number_is_not_compared() -> None:
    """A channel that Telethon does not count, or counts no more, is not behind."""
    watch = UpdateWatch()
    watch.compare({CHANNEL: 9}, {}, {}, now=1.0)
    assert not watch.lags
    watch.compare({CHANNEL: 9}, {CHANNEL: 1}, {CHANNEL: 1}, now=1.0)
    assert watch.look({}) == []
    assert not watch.lags


def test_a_box_of_which_nothing_is_said_stays_as_it_was() -> None:
    """The account's numbers come more often than those of its channels."""
    watch = UpdateWatch()
    watch.compare({CHANNEL: 9}, {CHANNEL: 1}, {CHANNEL: 1}, now=1.0)
    watch.compare({ACCOUNT: 3}, {ACCOUNT: 3}, {ACCOUNT: 3, CHANNEL: 1}, now=61.0)
    assert [lag.box for lag in watch.look({ACCOUNT: 3, CHANNEL: 1})] == [CHANNEL]


def test_an_excused_box_is_kept_and_not_reported() -> None:
    """What cannot come nearer because of a flood wait is looked at again when that is over."""
    watch = compared(due=5, before=1, mine=1)
    assert watch.look({ACCOUNT: 1}, excused=[ACCOUNT]) == []
    assert [lag.box for lag in watch.look({ACCOUNT: 1})] == [ACCOUNT]


@pytest.mark.parametrize(("agreed", "expected"), [(3, (3, True)), (None, (4, False))])
def test_a_number_that_is_too_high_is_set_back(agreed: int | None, expected: tuple[int, bool]) -> None:
    """To the last one on which both agreed; without one to the datacenter's, which leaves something out."""
    watch = UpdateWatch()
    if agreed is not None:
        watch.compare({CHANNEL: agreed}, {CHANNEL: agreed}, {CHANNEL: agreed}, now=1.0)
    watch.compare({CHANNEL: 4}, {CHANNEL: 1004}, {CHANNEL: 1004}, now=2.0)
    (lag,) = watch.look({CHANNEL: 1004})
    assert watch.set_back(lag) == expected
    assert watch.has_reached({CHANNEL: expected[0]}) is (expected[0] == 4)
    assert watch.has_reached({CHANNEL: 4})


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=40))
def test_traffic_without_a_stall_accuses_nobody(steps: list[tuple[int, int, bool]]) -> None:
    """Updates come in any rhythm, but all that was sent before a look has arrived by then."""
    watch, server, local = UpdateWatch(), 1, 1
    for sent, arrives, look in steps:
        before = local
        server += sent
        local = min(server, local + arrives)
        watch.compare({ACCOUNT: server}, {ACCOUNT: before}, {ACCOUNT: local}, now=1.0)
        if look:
            local = server
            assert watch.look({ACCOUNT: local}) == []


def test_a_sentence_names_the_worst_and_counts_the_rest() -> None:
    """Numbers only, which no channel's title can spoil."""
    lags = [
        Lag(ACCOUNT, 3, 1, 0.0),
        Lag(SECRET, 2, 1, 0.0),
        Lag(7, 1_234, 0, 0.0),
        Lag(8, 1, 1_001, 0.0),
        Lag(9, 2, 1, 0),
    ]
    assert describe(lags) == (
        "channel 7 (1,234 missing), channel 8 (1,000 too high), private chats and groups (2 missing), 2 more"
    )
    assert listed(lags) == (
        "secret chats: 1", "private chats and groups: 2", "channel 7: 1,234", "channel 8: 1,000 ahead", "channel 9: 1",
    )  # fmt: skip
    assert len(listed([Lag(box, 2, 1, 0.0) for box in range(100)])) == MAX_LISTED


# --- which channels are asked about ---


def test_few_channels_are_all_asked_about() -> None:
    """The one in which something happened last comes first."""
    rounds = ChannelRounds(limit=4)
    rounds.choose({1: 10, 2: 10, 3: 10}, now=0.0)
    assert rounds.choose({1: 10, 2: 11, 3: 10}, now=60.0)[0] == 2
    assert sorted(rounds.choose({1: 10, 2: 11, 3: 10}, now=120.0)) == [1, 2, 3]


def test_of_many_the_active_ones_are_asked_about_each_time_and_the_others_in_turn() -> None:
    """None is left out for ever."""
    rounds, numbers = ChannelRounds(limit=10), dict.fromkeys(range(1, 51), 1)
    rounds.choose(numbers, now=0.0)
    active, seen = {3, 17, 44}, set[int]()
    for minute in range(1, 12):
        numbers |= {each: numbers[each] + 1 for each in active}
        chosen = rounds.choose(numbers, now=minute * 60.0)
        assert len(chosen) == len({*chosen}) == 10
        assert active <= {*chosen}
        seen |= {*chosen}
    assert seen == numbers.keys()


@pytest.mark.parametrize("bad", [1, 37, 64])
def test_the_channel_that_spoils_a_request_is_found_by_halves(bad: int) -> None:
    """And is left out from then on; all others are asked about as before."""
    rounds, numbers = ChannelRounds(), dict.fromkeys(range(1, 65), 1)
    for minute in range(20):
        chosen = rounds.choose(numbers, now=minute * 60.0)
        if bad in chosen and rounds.refuse(chosen) == bad:
            break
    assert minute < 14
    while {*chosen} != numbers.keys() - {bad}:
        chosen = rounds.choose(numbers, now=0.0)
        assert bad not in chosen


def test_a_channel_that_comes_back_is_asked_about_again() -> None:
    """What was refused was so for as long as the account could not read it."""
    rounds = ChannelRounds()
    assert rounds.refuse(rounds.choose({7: 1}, now=0.0)) == 7
    assert rounds.choose({7: 1}, now=1.0) == ()
    rounds.choose({}, now=2.0)
    assert rounds.choose({7: 1}, now=3.0) == (7,)


def test_what_is_remembered_of_channels_is_bounded_by_their_number() -> None:
    """Channels that are gone are forgotten."""
    rounds, rng = ChannelRounds(limit=5), random.Random(1)
    for minute in range(100):
        rounds.choose({rng.randrange(10_000): minute for _ in range(20)}, now=minute * 60.0)
    assert max(map(len, (rounds._numbers, rounds._active, rounds._asked))) <= 20


def test_suspects_are_asked_about_first_and_leave_the_others_their_half() -> None:
    """Of more channels than fit, those that were behind are in every request; all others come in their turn."""
    rounds, numbers = ChannelRounds(limit=10), dict.fromkeys(range(1, 101), 7)
    seen = set[int]()
    for turn in range(20):
        chosen = rounds.choose(numbers, float(turn), {98, 99})
        assert {98, 99} <= {*chosen}
        assert len(chosen) == len({*chosen}) == 10
        seen |= {*chosen}
    assert seen == numbers.keys()


def test_many_suspects_leave_the_others_their_half() -> None:
    """However many are behind, none is left out for ever."""
    rounds, numbers = ChannelRounds(limit=10), dict.fromkeys(range(1, 101), 7)
    seen = set[int]()
    for turn in range(20):
        seen |= {*rounds.choose(numbers, float(turn), range(1, 51))}
    assert seen == numbers.keys()
