"""What a journal tells of the past, also one with holes, spoilt rows, cut lives and a clock that was set."""

from collections.abc import Sequence

import attrs
import pytest
from attrs import evolve

from engine.app.journal_events import decode_event
from engine.whatif.happenings import (
    AttemptFailed,
    AttemptSucceeded,
    LifeBegan,
    LifeEnded,
    LinkLost,
    NewsHeard,
    SilenceEnded,
)
from engine.whatif.past import PastBuilder
from engine.whatif.world import closures_of
from states import Entry, Event, Policy, Record, begin
from states.events import (
    ClockJumped,
    Closed,
    Connected,
    Elapsed,
    NetworkLost,
    NetworkRestored,
    ProbeAnswered,
    Stable,
    Started,
    StopRequested,
    TimedOut,
    TurnGranted,
)
from tests.engine.whatif.worlds import TrueLife
from tests.states.harness import NOW, AccountDriver

UP: list[Event] = [Started(), TurnGranted(generation=0), Connected(), Stable(generation=0)]
OUTAGE: list[Event] = [
    NetworkLost(), TurnGranted(generation=0), NetworkLost(), Elapsed(generation=0), TurnGranted(generation=0),
    Connected(), Stable(generation=0),
]  # fmt: skip
DOWN: list[Event] = [StopRequested(), Closed(generation=0)]


def written(driver: AccountDriver, events: Sequence[Event], *, account: str = "a", first: int = 1) -> list[Entry]:
    """Return the entries of a life that takes these events, one each second."""
    names = [field.name for field in attrs.fields(Record)]
    found = []
    for event in events:
        made = driver.take(event)
        if not made.record.quiet:
            values = {name: getattr(made.record, name) for name in names}
            found.append(Entry(seq=first + len(found), account=account, life=made.snapshot.life, **values))
    return found


def built(*entries: Entry, lives: Sequence[TrueLife] = (), ends: float | None = None) -> PastBuilder:
    """Return what these entries tell of account ``a``."""
    default = TrueLife(at=NOW, policy=Policy(), snapshot=begin(None, now=NOW))
    past = PastBuilder({("a", life.life): life for life in (lives or (default,))}, decode_event)
    for entry in entries:
        past.take(entry)
    past.finish({} if ends is None else {"a": ends})
    return past


def kinds(past: PastBuilder) -> list[str]:
    """Return what happened to account ``a``."""
    return [type(each).__name__ for each in past.accounts["a"].happenings]


def test_an_outage_is_a_loss_its_failures_and_a_success() -> None:
    """The way opened again between the last failure and the attempt that succeeded."""
    past = built(*written(AccountDriver(), [*UP, *OUTAGE, *DOWN]))
    assert kinds(past) == [
        "LifeBegan", "AttemptSucceeded", "LinkLost", "AttemptFailed", "AttemptSucceeded", "LifeEnded",
    ]  # fmt: skip
    (closure,) = closures_of(past.accounts["a"].happenings, 1.0)
    assert (closure.began, closure.least, closure.most) == (NOW + 5, NOW + 7, NOW + 9)
    meter = past.accounts["a"].meter
    assert (meter.outages, meter.seconds, meter.attempts) == (1, 5, 3)


def test_news_that_the_network_is_back_bound_the_outage() -> None:
    """It was back when the probe had an answer, however late the attempt was."""
    events: list[Event] = [NetworkLost(), TurnGranted(generation=0), NetworkLost(), NetworkRestored()]
    rest: list[Event] = [TurnGranted(generation=0), Connected()]
    past = built(*written(AccountDriver(), [*UP, *events, *rest]))
    (closure,) = closures_of(past.accounts["a"].happenings, 1.0)
    assert (closure.least, closure.most) == (NOW + 7, NOW + 8)
    assert [(news.at, news.accounts) for news in past.outages.news] == [(NOW + 8, ["a"])]
    assert any(isinstance(each, NewsHeard) for each in past.accounts["a"].happenings)


def test_a_silent_link_was_silent_since_its_probe_was_sent() -> None:
    """The patience of then says when that was; it cannot have been before the link was proven."""
    quick = evolve(Policy(), timeout=evolve(Policy().timeout, patience=(0.5, 1.0)))
    lives = [TrueLife(at=NOW, policy=quick, snapshot=begin(None, now=NOW))]
    past = built(*written(AccountDriver(quick), [*UP, TimedOut(what="probe"), ProbeAnswered()]), lives=lives)
    loss = next(each for each in past.accounts["a"].happenings if isinstance(each, LinkLost))
    assert (loss.at, loss.since, loss.silent) == (NOW + 5, NOW + 4.5, True)
    assert isinstance(past.accounts["a"].happenings[-2], SilenceEnded)
    assert past.accounts["a"].meter.seconds == 1.5


@pytest.mark.parametrize("hole", range(1, 12))
def test_a_missing_record_costs_its_outage_and_nothing_else(hole: int) -> None:
    """Whatever is missing, the second outage is found."""
    entries = written(AccountDriver(), [*UP, *OUTAGE, *OUTAGE])
    left = [entry for entry in entries if entry.seq != hole]
    past = built(*left)
    assert past.records == len(entries) - 1
    closures = closures_of(past.accounts["a"].happenings, 1.0)
    assert NOW + 12 in [closure.began for closure in closures]
    assert past.accounts["a"].meter.seconds <= 10


def test_a_record_of_another_version_is_counted() -> None:
    """An event that this version does not know ends what is known of the account, until it is healthy again."""
    entries = written(AccountDriver(), [*UP, *OUTAGE, *OUTAGE])
    entries[6] = evolve(entries[6], event="Abducted")
    past = built(*entries)
    assert past.doubts.unreadable == 1
    assert len(closures_of(past.accounts["a"].happenings, 1.0)) == 2


def test_records_that_begin_in_an_outage_leave_it_out() -> None:
    """Retention took its beginning; it is counted, and the next one is found."""
    entries = written(AccountDriver(), [*UP, *OUTAGE, *OUTAGE])
    lives = [TrueLife(at=NOW, policy=Policy(), snapshot=begin(None, now=NOW), pruned_to=6)]
    past = built(*entries[6:], lives=lives)
    assert past.doubts.began_before == 1
    assert [closure.began for closure in closures_of(past.accounts["a"].happenings, 1.0)] == [NOW + 12]


def test_an_engine_that_was_killed_in_an_outage_counts_until_its_last_sign() -> None:
    """What comes until the next life is not downtime, and the outage goes on in it."""
    driver = AccountDriver()
    entries = written(driver, [*UP, *OUTAGE[:3]])
    after = AccountDriver(driver.policy, begin(driver.snapshot, now=driver.now + 1000))
    start, at = after.snapshot, driver.now + 1000
    after.now = at
    rest: list[Event] = [Started(), Elapsed(generation=0), TurnGranted(generation=0), Connected()]
    lives = [
        TrueLife(at=NOW, policy=Policy(), snapshot=begin(None, now=NOW)),
        TrueLife(life=2, at=at, policy=Policy(), snapshot=start),
    ]
    past = built(*entries, *written(after, rest, first=20), lives=lives)
    assert past.doubts.cut_off == 1
    assert past.accounts["a"].meter.seconds == 2 + 4
    (closure,) = closures_of(past.accounts["a"].happenings, 1.0)
    assert (closure.least, closure.most) == (NOW + 7, at + 3)


@pytest.mark.parametrize("shift", [7200.0, -7200.0])
def test_a_clock_that_was_set_makes_no_outage_longer(shift: float) -> None:
    """Neither one that is on record as set, nor one that only shows in the times."""
    driver = AccountDriver()
    entries = written(driver, [*UP, *OUTAGE[:2]])
    driver.now += shift
    entries += written(driver, [ClockJumped(seconds=shift, slept=0.0), *OUTAGE[2:]], first=20)
    past = built(*entries)
    assert past.accounts["a"].meter.seconds == 6
    assert past.doubts.clock_set == 1


def test_a_clock_that_went_back_without_a_word_is_counted() -> None:
    """Times that run backwards are taken to go on."""
    driver = AccountDriver()
    entries = written(driver, [*UP, *OUTAGE[:2]])
    driver.now -= 5000
    entries += written(driver, OUTAGE[2:], first=20)
    past = built(*entries)
    assert past.doubts.clock_set == 1
    assert 0 <= past.accounts["a"].meter.seconds <= 6


def test_lives_follow_each_other() -> None:
    """A stop ends a life, and what comes after is where it began."""
    past = built(*written(AccountDriver(), [*UP, *DOWN]), ends=NOW + 50)
    began, _, ended = past.accounts["a"].happenings
    assert isinstance(began, LifeBegan)
    assert isinstance(ended, LifeEnded)
    assert (began.at, ended.at) == (NOW, NOW + 5)


def test_attempts_have_their_length() -> None:
    """From the turn to the outcome."""
    past = built(*written(AccountDriver(), [*UP, *OUTAGE]))
    lengths = [
        each.at - each.begun
        for each in past.accounts["a"].happenings
        if isinstance(each, AttemptFailed | AttemptSucceeded)
    ]
    assert lengths == [1, 1, 1]


@pytest.mark.parametrize("at", [-1.8e9, 1.8e9, 9e10])
@pytest.mark.parametrize("seq", range(1, 12))
def test_one_spoilt_time_is_no_outage_of_decades(seq: int, at: float) -> None:
    """The clock is taken to have been set, and to have been set back with the next record."""
    entries = written(AccountDriver(), [*UP, *OUTAGE, *OUTAGE])
    past = built(*(evolve(entry, at=at) if entry.seq == seq else entry for entry in entries), ends=NOW + 60)
    assert past.accounts["a"].meter.seconds <= 10
    assert past.last - NOW < 100


def test_a_spoilt_time_at_the_end_does_not_make_the_life_decades_long() -> None:
    """The last sign of life counts only if it is near the last record."""
    entries = written(AccountDriver(), [*UP, *OUTAGE[:3]])
    past = built(*entries[:-1], evolve(entries[-1], at=-1.8e9), ends=NOW + 60)
    assert past.accounts["a"].meter.seconds <= 10
