"""What holds of incidents whatever happens, with events and times that chance makes up."""

from collections.abc import Sequence
from typing import TypeAlias

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from states.incident_book import CALM, FALLS
from states.incidents import (
    ACCOUNT_SLOTS,
    AccountGone,
    AccountSeen,
    AccountsRenamed,
    Acknowledged,
    Book,
    ClockMoved,
    Closed,
    Elapsed,
    IncidentEvent,
    IncidentKind,
    IncidentPolicy,
    IncidentReason,
    Opened,
    PartSeen,
    Sign,
    Slot,
    decide,
    restore,
)
from tests.states.incident_support import BEGIN, Told, check, replayed

ACCOUNTS = [f"Account {number}" for number in range(1, 7)]
WAYS = [("proxy 1", "the network"), ("proxy 2", "the network"), ("the network",), ()]
PARTS = [(Slot.JOURNAL, "engine.db"), (Slot.JOBS, "send"), (Slot.CHANNEL, "mail")]
AFTER = 120.0
Story: TypeAlias = Sequence[tuple[float, IncidentEvent]]
"""Events, each with the seconds since the one before."""

signs = st.sampled_from(list(Sign))
outages = st.builds(
    IncidentReason,
    kind=st.just(IncidentKind.OUTAGE),
    cause=st.sampled_from(["NetworkLost", "TimedOut", "FloodWait"]),
    shared=st.sampled_from([None, None, None, "the process"]),
    scoped=st.booleans(),
    since=st.none() | st.floats(BEGIN - 1000, BEGIN + 1000),
)
people = st.builds(
    IncidentReason,
    kind=st.just(IncidentKind.NEEDS_PERSON),
    cause=st.just("mend_config"),
    shared=st.sampled_from([None, "mend_config"]),
    at_once=st.just(True),
) | st.builds(
    IncidentReason,
    kind=st.just(IncidentKind.NEEDS_PERSON),
    cause=st.sampled_from(["log_in", "retry"]),
    at_once=st.just(True),
)
files = st.builds(
    IncidentReason,
    kind=st.just(IncidentKind.STORAGE),
    cause=st.sampled_from(["DatabaseLocked", "DatabaseUnavailable"]),
    shared=st.sampled_from([None, "/data"]),
)
limits = st.builds(
    IncidentReason, kind=st.just(IncidentKind.LIMITED), cause=st.just("AccountLimited"), at_once=st.just(True)
)
accounts = st.sampled_from(ACCOUNTS)
sights = st.builds(
    AccountSeen,
    account=accounts,
    connection=signs | outages | outages,
    person=signs | signs | people,
    file=signs | signs | files,
    limit=signs | signs | limits,
    scopes=st.sampled_from(WAYS),
)


@st.composite
def parts(draw: st.DrawFn) -> PartSeen:
    """Return the sight of a part of the engine."""
    slot, name = draw(st.sampled_from(PARTS))
    kinds = {Slot.JOURNAL: IncidentKind.STORAGE, Slot.JOBS: IncidentKind.JOB_FAILED, Slot.CHANNEL: IncidentKind.CHANNEL}
    reason = IncidentReason(
        kind=kinds[slot],
        cause=name,
        shared=draw(st.sampled_from([None, "/data"])) if slot is Slot.JOURNAL else None,
        at_once=slot is Slot.JOBS,
    )
    return PartSeen(slot=slot, name=name, found=draw(signs | st.just(reason)))


events: st.SearchStrategy[IncidentEvent] = st.one_of(
    sights,
    sights,
    sights,
    parts(),
    st.builds(AccountGone, accounts),
    st.builds(Acknowledged, st.integers(-1, 12)),
    st.just(Elapsed()),
)
waits = st.sampled_from([0.0, 0.0, 0.1, 1.0, 30.0, 90.0, AFTER, 250.0, CALM, 1000.0]) | st.floats(0, 400)
stories = st.lists(st.tuples(waits, events), max_size=40)
moves = st.builds(
    ClockMoved,
    st.sampled_from([0.0, -3600.0, 3600.0, -1e6, float("nan")]),
    st.sampled_from([0.0, 30_000.0, -5.0]),
)
renames = st.builds(AccountsRenamed, st.dictionaries(accounts, accounts, max_size=3))
anything = st.lists(st.tuples(st.floats(-5000, 5000) | st.just(float("inf")), events | moves | renames), max_size=40)


def told(story: Story, book: Book | None = None, now: float = BEGIN) -> Told:
    """Return a law to which a story was told; it checks each book, and ``Elapsed`` comes when it is due."""
    law = Told(book=book or Book(), now=now)
    for wait, event in story:
        law.wait(wait)
        law.tell(event)
    return law


@given(anything)
@settings(max_examples=120)
def test_every_event_is_defined_in_every_book(story: Story) -> None:
    """Nothing raises, what holds in a book holds in all, and time goes back only when the clock is said to be set."""
    book, now = Book(), BEGIN
    for step, event in story:
        now += step
        before = book
        book, changes, due = decide(before, event, now, IncidentPolicy())
        check(book)
        assert due == book.due
        assert book.now >= before.now or isinstance(event, ClockMoved)
        for change in changes:
            closed = change.incident.closed
            assert closed is None or change.incident.opened <= closed <= book.now
        if not book.now < float("inf"):
            break


@given(stories)
@settings(max_examples=120)
def test_everything_closes_when_all_are_well(story: Story) -> None:
    """When all are well for a calm, no incident is open, and the book has forgotten all troubles."""
    law = told(story)
    for name in ACCOUNTS:
        law.tell(AccountSeen(account=name, connection=Sign.WELL))
    for slot, name in PARTS:
        law.tell(PartSeen(slot=slot, name=name, found=Sign.WELL))
    law.wait(CALM)
    assert (law.open, dict(law.book.tracks), dict(law.book.shared), law.book.due) == ([], {}, {}, None)
    opened, closed = [each.id for each in law.opened], [each.id for each in law.closed]
    assert sorted(opened) == sorted(closed) == sorted(set(opened))


@given(stories)
@settings(max_examples=60)
def test_everything_closes_at_once_when_all_are_gone(story: Story) -> None:
    """When every account is paused or removed, and nobody asks for a part any more, nothing is open."""
    law = told(story)
    law.tell(*map(AccountGone, ACCOUNTS))
    law.tell(*(PartSeen(slot=slot, name=name, found=Sign.LEFT) for slot, name in PARTS))
    assert law.open == []
    assert law.book.scopes == {}


@given(stories, stories)
@settings(max_examples=60)
def test_the_next_life_has_each_incident_once(first: Story, second: Story) -> None:
    """What a store was told is enough to go on: each incident that was open closes once, and none is opened again."""
    law = told(first)
    incidents, inside = replayed(law.changes)
    assert {number: each for number, each in incidents.items() if each.is_open} == dict(law.book.open)
    members = [(number, each) for number, of in inside.items() for each in sorted(of)]
    assert {(track.incident, each) for each, track in law.book.tracks.items() if track.incident} == set(members)
    numbers = [each.id for each in law.opened]
    book = restore(incidents.values(), members, max(numbers, default=0) + 1, law.now)
    assert dict(book.open) == dict(law.book.open)
    later = told([(0.0, Elapsed()), *second], book, law.now)
    for name in ACCOUNTS:
        later.tell(AccountSeen(account=name, connection=Sign.WELL))
    for slot, name in PARTS:
        later.tell(PartSeen(slot=slot, name=name, found=Sign.WELL))
    later.wait(CALM)
    assert later.open == []
    assert not {each.id for each in later.opened} & set(numbers)
    closed = [each.id for each in (*law.closed, *later.closed)]
    assert sorted(closed) == sorted({*numbers, *(each.id for each in later.opened)})


@given(stories)
@settings(max_examples=60)
def test_a_clock_that_ticks_changes_nothing(story: Story) -> None:
    """Told every seven seconds that time has passed, it says what it says when it is told only what is due."""
    law, ticking = told(story), Told()
    for wait, event in story:
        end = ticking.now + wait
        while ticking.now + 7 < end:
            ticking.wait(7)
            assert ticking.tell(Elapsed()) == []
        ticking.wait(max(0.0, end - ticking.now))
        ticking.now = end
        ticking.tell(event)
    assert [attrs.evolve(each.incident, opened=0.0) for each in ticking.changes] == [
        attrs.evolve(each.incident, opened=0.0) for each in law.changes
    ]


@given(st.lists(st.tuples(st.floats(0.1, AFTER - 0.1), st.floats(0.1, 2 * CALM)), max_size=30))
@settings(max_examples=120)
def test_blips_open_none_and_flapping_opens_one(losses: list[tuple[float, float]]) -> None:
    """Losses shorter than ``after``: without ``FALLS`` of them in one trouble there is no incident, else one for it."""
    law = Told()
    troubles = [0]
    for down, up in losses:
        troubles[-1] += 1
        law.tell(AccountSeen(account="A", connection=IncidentReason(kind=IncidentKind.OUTAGE, cause="NetworkLost")))
        law.wait(down)
        law.tell(AccountSeen(account="A", connection=Sign.WELL))
        law.wait(up)
        if law.book.tracks == {}:
            troubles.append(0)
    if all(falls < FALLS for falls in troubles):
        assert law.changes == []
    assert len(law.opened) <= sum(falls >= FALLS for falls in troubles)
    assert {each.kind for each in law.opened} <= {IncidentKind.FLAPPING}


@given(
    st.lists(st.tuples(st.floats(0, 50), st.sampled_from(range(30))), max_size=60), st.sampled_from([0.0, 5.0, AFTER])
)
@settings(max_examples=40)
def test_a_way_has_one_incident(falls: list[tuple[float, int]], after: float) -> None:
    """However the accounts of a lost way notice it one by one, in the end there is one incident with all of them."""
    law = Told(policy=IncidentPolicy(after=after))
    names = [f"Account {number:02}" for number in range(30)]
    law.tell(*(AccountSeen(account=name, connection=Sign.WELL, scopes=("proxy", "the network")) for name in names))
    reason = IncidentReason(kind=IncidentKind.OUTAGE, cause="NetworkLost", scoped=True)
    order = dict.fromkeys([number for _, number in falls] + list(range(30)))
    pauses = [wait for wait, _ in falls] + [0.0] * 30
    spent = 0.0
    for number, wait in zip(order, pauses, strict=False):
        spent += wait
        law.wait(wait if spent < CALM else 0.0)
        law.tell(AccountSeen(account=names[number], connection=reason, scopes=("proxy", "the network")))
    law.wait(after)
    (found,) = law.open
    assert (found.fleet, found.cause, found.accounts) == (True, "proxy", tuple(names))


@given(stories)
@settings(max_examples=40)
def test_the_book_is_bounded(story: Story) -> None:
    """What is kept is bounded by the accounts and the parts, however long it goes on."""
    law = told([*story, *story, *story])
    most = len(ACCOUNTS) * len(ACCOUNT_SLOTS) + len(PARTS)
    assert len(law.book.tracks) <= most
    assert len(law.book.open) <= most
    assert law.book.scopes.keys() <= set(ACCOUNTS)


@given(stories)
@settings(max_examples=40)
def test_who_goes_on_elsewhere_is_told_once(story: Story) -> None:
    """An incident that goes on in another one was opened before, and the other one is open then."""
    law = told(story)
    opened: set[int] = set()
    for change in law.changes:
        if isinstance(change, Opened):
            opened.add(change.incident.id)
        if isinstance(change, Closed):
            opened.remove(change.incident.id)
            assert change.into is None or change.into in opened
