"""What became of an account: folded from its records as they come, against a replay second by second."""

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite import JournalReader
from engine.journal.stats import AccountHistory, measure
from engine.web.page.buckets import last_day, last_days
from engine.web.page.history import (
    DAYS,
    HALF_HOUR,
    KINDS,
    MAX_SPANS,
    History,
    Kind,
    Past,
    Span,
    by_day,
    by_half_hour,
    day_of,
    midnight,
)
from states import Policy, Snapshot, State

S = State
T0 = 1_700_000_000.0
"""A time of day like any other."""


@frozen(kw_only=True)
class Life:
    """A life of an account, for the statistics too."""

    life: int = 1
    at: float = T0
    account: str = "a"
    state: State = S.CONNECTING
    answered: float | None = None
    pruned_to: int = 0
    start: Snapshot | None = None
    policy: Policy = field(factory=Policy)

    @property
    def since(self) -> float:
        return self.at

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(state=self.state, since=self.at, last_success=self.answered)


@frozen(kw_only=True)
class AccountMove:
    """A record."""

    seq: int
    at: float
    source: State
    target: State
    event: str = "NetworkLost"
    life: int = 1
    dwell: float = 0.0
    account: str = "a"
    shift: float = 0.0


@frozen
class Journal:
    """A journal in memory."""

    lives: Sequence[Life]
    records: Sequence[AccountMove]
    renames: int = 0

    def last_seq(self) -> int:
        return self.records[-1].seq if self.records else 0

    def first_since(self, since: float) -> int:
        return next((each.seq for each in self.records if each.at >= since), self.last_seq() + 1)

    def last_moves(self, before: int) -> dict[str, AccountMove]:
        return {each.account: each for each in self.records if each.seq < before}

    def beginnings(self, after: int, since: float) -> list[tuple[int, Life]]:
        numbered = enumerate(self.lives, 1)
        return [(number, life) for number, life in numbered if number > after and life.at >= since]

    def moves_after(self, after_seq: int, first: int) -> Iterator[AccountMove]:
        return (each for each in self.records if each.seq >= max(first, after_seq + 1))

    @property
    def is_gapless(self) -> bool:
        return True

    def read_transaction(self) -> nullcontext[None]:
        return nullcontext()

    def former_names(self) -> list[object]:
        return [None] * self.renames


def told(journal: Journal, now: float) -> Past:
    """Return what became of account ``a``."""
    history = History()
    history.read(journal, now)
    assert history.complete
    return history.past()["a"]


def story(
    *targets: tuple[float, State, str], lives: Sequence[Life] = (Life(),), start: State = S.CONNECTING
) -> Journal:
    """Return the journal of account ``a`` in one life, with the seconds from its beginning."""
    records, source = [], start
    for seq, (after, target, event) in enumerate(targets, 1):
        records.append(AccountMove(seq=seq, at=T0 + after, source=source, target=target, event=event))
        source = target
    return Journal(lives, records)


def test_an_outage_is_one_span_through_all_its_states() -> None:
    """From leaving healthy to healthy again it is one trouble, with the event that began it."""
    journal = story(
        (10, S.HEALTHY, "Connected"), (110, S.TIMEOUT, "TimedOut"), (120, S.BACKOFF, "NetworkLost"),
        (140, S.RECONNECTING, "Elapsed"), (150, S.HEALTHY, "Connected"),
    )  # fmt: skip
    past = told(journal, T0 + 1000)
    assert past.spans == (
        Span(T0, T0 + 10, Kind.STARTING, ""), Span(T0 + 110, T0 + 150, Kind.TROUBLE, "TimedOut"),
    )  # fmt: skip
    assert past.open is None
    assert last_day(past, T0 + 1000).lost == 50
    assert last_day(past, T0 + 1000).outages == 1


def test_what_lasts_counts_until_now() -> None:
    """An account that is still in trouble loses more with each second."""
    past = told(story((10, S.HEALTHY, "Connected"), (20, S.AUTH_FAILED, "AuthRejected")), T0 + 100)
    assert past.open == Span(T0 + 20, None, Kind.PERSON, "AuthRejected")
    assert last_day(past, T0 + 100).lost == 90
    assert last_days(past, T0 + 200).lost == 190


def test_the_time_without_an_engine_is_no_trouble() -> None:
    """A killed engine's account was healthy until its last sign of life, and after it nobody ran it."""
    lives = (Life(), Life(life=2, at=T0 + 1000, answered=T0 + 300))
    records = [
        AccountMove(seq=1, at=T0 + 10, source=S.CONNECTING, target=S.HEALTHY, event="Connected"),
        AccountMove(seq=2, at=T0 + 1010, source=S.CONNECTING, target=S.HEALTHY, event="Connected", life=2),
    ]
    past = told(Journal(lives, records), T0 + 2000)
    assert Span(T0 + 300, T0 + 1000, Kind.STOPPED) in past.spans
    shown = last_day(past, T0 + 2000)
    assert shown.lost == 20
    assert shown.availability == pytest.approx(1 - 20 / (2000 - 700))


def test_before_anything_is_known_nothing_is_claimed() -> None:
    """A new account has no availability of days in which it did not exist."""
    shown = last_days(told(story((0, S.HEALTHY, "Connected")), T0 + 100), T0 + 100)
    assert (shown.availability, shown.lost, len(shown.buckets)) == (1.0, 0, DAYS)
    assert all(bucket.lived == 0 for bucket in shown.buckets[:-1])
    assert last_days(None, T0).availability is None


def test_many_outages_take_bounded_memory() -> None:
    """A flapping account keeps its newest spans; its sums have all of them."""
    steps = [(10.0 * n, S.HEALTHY if n % 2 == 0 else S.TIMEOUT, "x") for n in range(1, 3 * MAX_SPANS)]
    past = told(story(*steps), T0 + 40 * MAX_SPANS)
    assert len(past.spans) == MAX_SPANS
    assert sum(tally.outages for tally in past.days.values()) == len(steps) // 2 + 1


def test_only_what_is_new_is_read_again() -> None:
    """The past of an account of which nothing was written stays the same object."""
    history = History()
    first = story((10, S.HEALTHY, "Connected"))
    other = AccountMove(seq=2, at=T0 + 50, source=S.HEALTHY, target=S.TIMEOUT, account="b")
    history.read(first, T0 + 20)
    before = history.past()["a"]
    history.read(Journal(first.lives, [*first.records, other]), T0 + 60)
    assert history.past()["a"] is before
    assert history.past()["b"].open is not None


def test_a_long_journal_is_read_in_parts() -> None:
    """With no time at all, each call takes a page of records, and the last call knows that it is the end."""
    steps = [(10.0 * n, S.HEALTHY if n % 2 == 0 else S.TIMEOUT, "x") for n in range(1, 1000)]
    history, journal, calls = History(), story(*steps), 0
    while not history.complete:
        history.read(journal, T0 + 10_000, seconds=0)
        calls += 1
    assert calls == 4
    assert history.past()["a"] == told(journal, T0 + 10_000)


def test_a_rename_begins_anew() -> None:
    """What was stored under one name is another account's past now."""
    history, journal = History(), story((10, S.HEALTHY, "Connected"))
    history.read(journal, T0 + 20)
    renamed = [AccountMove(seq=1, at=T0 + 10, source=S.CONNECTING, target=S.HEALTHY, account="b")]
    history.read(Journal([Life(account="b")], renamed, renames=1), T0 + 20)
    assert set(history.past()) == {"b"}


# --- any story -------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.integers(1, 4000), st.sampled_from([S.HEALTHY, S.TIMEOUT, S.BACKOFF, S.RECONNECTING, S.AUTH_FAILED])),
    max_size=25,
)
"""Nothing leads back to the first attempt of a life."""
LIVES = st.lists(st.tuples(STEPS, st.sampled_from(["stopped", "killed"]), st.integers(1, 5000)), min_size=1, max_size=4)


def written(lives: Sequence[tuple[Sequence[tuple[int, State]], str, int]]) -> tuple[Journal, float]:
    """Return the journal of lives with their steps, their ends and the seconds after them; and the time of its end."""
    made, records, at, heard, begins = list[Life](), list[AccountMove](), T0, None, S.CONNECTING
    for number, (steps, end, pause) in enumerate(lives, 1):
        made.append(Life(life=number, at=at, answered=heard, state=begins))
        state, since = begins, at
        for wait, target in steps:
            at += wait
            records.append(AccountMove(
                seq=len(records) + 1, at=at, source=state, target=target, life=number, dwell=at - since, event="E",
            ))  # fmt: skip
            since, state = at if target is not state else since, target
        if end == "stopped" and number < len(lives):
            for source, event in ((state, "StopRequested"), (S.SHUTTING_DOWN, "Closed")):
                at += 1
                records.append(AccountMove(
                    seq=len(records) + 1, at=at, source=source, target=S.SHUTTING_DOWN, life=number, event=event,
                ))  # fmt: skip
        elif steps:
            at = heard = at + pause // 2
        begins = state if state in (S.BACKOFF, S.AUTH_FAILED) else S.CONNECTING
        at += pause if number < len(lives) else 0
    return Journal(made, records), at + 100


def by_brute_force(journal: Journal, now: float) -> list[Kind | None]:
    """Return the kind of each second, found by looking at each second for itself."""
    seconds = []
    for second in range(math.ceil(now - T0)):
        at = T0 + second + 0.5
        life = max((each for each in journal.lives if each.at <= at), key=lambda each: each.life)
        mine = [each for each in journal.records if each.life == life.life]
        following = next((each for each in journal.lives if each.life == life.life + 1), None)
        last = mine[-1].at if mine else life.at
        if following is not None and mine and mine[-1].event == "Closed":
            ends = mine[-1].at
        elif following is not None:
            heard = following.answered if following.answered != life.answered else None
            ends = max(last, min(following.at, heard if heard is not None else last))
        else:
            ends = math.inf
        before = [each for each in mine if each.at <= at]
        state = before[-1].target if before else life.state
        seconds.append(Kind.STOPPED if at > ends else KINDS[state])
    return seconds


@given(LIVES)
@settings(max_examples=40, deadline=None)
def test_any_story_is_what_each_of_its_seconds_was(
    lives: Sequence[tuple[Sequence[tuple[int, State]], str, int]],
) -> None:
    """Spans and sums agree with a replay that looks at each second for itself."""
    lives = [([(1 + wait % 40, to) for wait, to in steps], end, 1 + pause % 60) for steps, end, pause in lives]
    journal, now = written(lives)
    past = told(journal, now)
    seconds = by_brute_force(journal, now)
    spans = [*past.spans, *([past.open] if past.open else [])]
    for second, kind in enumerate(seconds):
        at = T0 + second + 0.5
        found = [span.kind for span in spans if span.begin <= at < (span.end or math.inf)]
        assert found == ([] if kind is None else [kind])
    shown = last_day(past, now)
    assert shown.lost == sum(kind not in (None, Kind.STOPPED) for kind in seconds)
    assert last_days(past, now).lost == shown.lost


@given(LIVES)
@settings(max_examples=60, deadline=None)
def test_any_story_agrees_with_the_statistics(
    lives: Sequence[tuple[Sequence[tuple[int, State]], str, int]],
) -> None:
    """Availability and number of outages are those of ``log stats``."""
    journal, now = written(lives)
    history = AccountHistory(lives=journal.lives, last=None, ends=now)
    wanted = measure({"a": history}, journal.records, since=None, until=now).accounts["a"]
    found = last_days(told(journal, now), now)
    assert found.outages == wanted.outages
    if wanted.lived:
        assert found.availability == pytest.approx(wanted.availability)


@given(LIVES, st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_it_does_not_matter_when_it_was_read(
    lives: Sequence[tuple[Sequence[tuple[int, State]], str, int]], cut: int
) -> None:
    """Reading a part first, and the rest later, gives the same."""
    journal, now = written(lives)
    part = journal.records[:cut]
    seen = part[-1].at if part else T0
    history = History()
    history.read(Journal([life for life in journal.lives if life.at <= seen], part), seen)
    history.read(journal, now)
    assert history.past()["a"] == told(journal, now)


@given(st.floats(0, 2e9), st.floats(0, 4e5))
def test_pieces_of_a_time_are_all_of_it(begin: float, length: float) -> None:
    """Days and half hours share a time among them without a rest."""
    for pieces in (by_day(begin, begin + length), by_half_hour(begin, begin + length)):
        assert sum(spent for _, spent in pieces) == pytest.approx(length, abs=1e-3)


def test_days_are_those_of_the_clock_on_the_wall() -> None:
    """A time belongs to the local date between its midnights."""
    day = day_of(T0)
    assert midnight(day) <= T0 < midnight(day + 1)
    assert HALF_HOUR * (T0 // HALF_HOUR) <= T0


async def test_the_journal_of_an_engine_can_be_read(path: Path) -> None:
    """What the real writer has written is told: two lives of one account, and two that did not get far."""
    with JournalReader.open(path) as reader:
        last = reader.entry(reader.last_seq())
        assert last is not None
        history = History()
        history.read(reader, last.at + 60)
    past = history.past()
    assert set(past) == {"News 1", "News 2", "Jobs"}
    assert past["Jobs"].open is not None
    assert past["Jobs"].open.kind is Kind.PERSON
    assert past["News 2"].open is not None
    assert past["News 2"].open.kind is Kind.TROUBLE
    assert any(span.kind is Kind.STOPPED for span in past["News 1"].spans)
