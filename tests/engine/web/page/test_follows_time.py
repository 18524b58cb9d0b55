"""What a page says follows the time, and where the accounts are, although nothing new is in the journal."""

import attrs
import pytest

from engine.console.account_status import AccountStatus
from engine.console.status import worst_first
from engine.web.page import views
from engine.web.page.fleet import told_until_now
from engine.web.page.history import Kind, Past, Span, Tally, day_of
from engine.web.page.source import PageName, View, element_id
from engine.web.page.words import incident_words
from states import Cause, Snapshot, State
from states.incident import Incident, IncidentKind, Severity
from states.names import name_key
from tests.engine.web.page.fake import NOW, OPERATOR, FakeSource, at
from tests.engine.web.page.parsed import parse

VIEW = View(PageName.FLEET)


def new_source(state: State = State.HEALTHY) -> FakeSource:
    """Return an engine whose only account came to a state just now, after two tenths of a second of its first life."""
    start = NOW - 0.2
    tally = Tally(lost=0.2)
    past = Past(start, half_hours={int(start // 1800): tally}, days={day_of(start): tally})
    return FakeSource(statuses={"A": at(state, NOW)}, pasts={"A": past})


def share(source: FakeSource, after: float) -> str:
    """Return the share of the last day that stands in the account's row after so many seconds."""
    found = views.fragments(source, OPERATOR, NOW + after, VIEW)
    return next(parse(found.html[element_id("A")]).all("span", "share")).text


def test_the_share_of_an_account_that_stays_healthy_follows_the_time() -> None:
    """At first too little is known, and then it is nearly all, although its status does not change."""
    source = new_source()
    assert [share(source, after) for after in (0, 10, 60, 300)] == ["–", "–", "99.7 %", "99.9 %"]


def test_the_share_is_drawn_again_each_minute_of_a_long_life() -> None:
    """An account that lost an hour has lost a smaller share of its life as the day goes on."""
    source, begin = new_source(), NOW - 7200
    tally = {int(begin // 1800): Tally(lost=1800.0), int(begin // 1800) + 1: Tally(lost=1800.0)}
    source.pasts["A"] = Past(begin, half_hours=tally, days={day_of(NOW): Tally(lost=3600.0)})
    assert [share(source, after) for after in (0, 70)] == ["50.0 %", "50.5 %"]


def test_nothing_is_sent_for_bars_that_look_the_same() -> None:
    """What is drawn again and is the same is the same row, or a thousand of them would be sent each minute."""
    source = new_source()
    source.pasts["A"] = Past(NOW - 86_400 * 40)
    first = views.fragments(source, OPERATOR, NOW + 1, VIEW)
    assert views.fragments(source, OPERATOR, NOW + 301, VIEW).html[element_id("A")] == first.html[element_id("A")]


def test_the_timeline_has_an_account_that_is_in_trouble_before_the_journal_was_read() -> None:
    """Rows and timeline never contradict each other: the timeline says nobody was in trouble only if nobody is."""
    source = new_source()
    assert "No account lost its connection" in views.fragments(source, OPERATOR, NOW + 1, VIEW).html["timeline"]
    source.statuses["A"] = at(State.BACKOFF, NOW + 2, cause=Cause(event="NetworkLost", detail="connection reset"))
    told = views.fragments(source, OPERATOR, NOW + 3, VIEW).html["timeline"]
    assert "No account lost its connection" not in told
    assert "NetworkLost" in told


def test_the_outages_of_each_day_are_kept_up_to_date() -> None:
    """An open page counts the outages that came after it was fetched."""
    source = new_source()
    assert "0.0 outages a day" in views.fragments(source, OPERATOR, NOW, VIEW).html["trend"]
    source.pasts["A"] = attrs.evolve(source.pasts["A"], days={day_of(NOW): Tally(lost=9.0, outages=12)})
    assert "12.0 outages a day" in views.fragments(source, OPERATOR, NOW + 61, VIEW).html["trend"]


TROUBLE, STARTING = Span(100.0, None, Kind.TROUBLE, "TimedOut"), Span(100.0, None, Kind.STARTING)
LOST = Cause(event="NetworkLost", detail="reset")


@pytest.mark.parametrize(
    ("open_", "state", "told"),
    [
        (None, State.HEALTHY, None),
        (None, State.BACKOFF, Span(200.0, None, Kind.TROUBLE, "NetworkLost")),
        (TROUBLE, State.RECONNECTING, TROUBLE),
        (TROUBLE, State.HEALTHY, attrs.evolve(TROUBLE, end=200.0)),
        (TROUBLE, State.AUTH_FAILED, attrs.evolve(TROUBLE, kind=Kind.PERSON)),
        (STARTING, State.BACKOFF, attrs.evolve(STARTING, kind=Kind.TROUBLE)),
        (Span(100.0, None, Kind.STOPPED), State.HEALTHY, Span(100.0, None, Kind.STOPPED)),
    ],
)
def test_a_past_goes_on_to_where_the_account_is(open_: Span | None, state: State, told: Span | None) -> None:
    """What lasts is what the account's status says, and lasts no longer than it says."""
    found = told_until_now(Past(0.0, open=open_), AccountStatus(Snapshot(state=state, since=200.0, cause=LOST)))
    assert found is not None
    assert found.open == told


def test_an_account_without_a_past_that_is_healthy_has_none() -> None:
    """Nothing is made up for an account that the journal does not know."""
    assert told_until_now(None, at(State.HEALTHY)) is None


def test_accounts_that_are_equally_bad_are_in_the_order_in_which_people_count() -> None:
    """Account 2 comes before Account 10, in ``status``, in the live table and on the page."""
    names = ["Account 10", "account 2", "Account 1", "B", "Account 01b", "7" * 30]
    statuses = {name: at(State.HEALTHY) for name in names}
    found = [name for name, _ in worst_first(statuses)]
    assert found == ["7" * 30, "Account 1", "Account 01b", "account 2", "Account 10", "B"]
    assert sorted(names, key=name_key) == found


def test_the_accounts_of_an_incident_are_in_that_order_too() -> None:
    """Of many accounts the first ones are named, and they are the first of every list."""
    names = tuple(sorted(f"Account {number}" for number in range(1, 31)))
    found = incident_words(
        Incident(
            id=1, cause="", accounts=names, kind=IncidentKind.OUTAGE, severity=Severity.CRITICAL, since=NOW, opened=NOW
        )
    )
    assert [name for name, _ in found.accounts] == [f"Account {number}" for number in range(1, 13)]
