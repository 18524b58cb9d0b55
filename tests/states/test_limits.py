"""Limits by their meaning: what Telegram refuses is held, and nothing else."""

import attrs
import pytest

from states import Action, Event, Hold, Snapshot, State, begin
from states.effects import AlertLimited, HoldRequests, HoldWork, Probe, ReleaseRequests, ReleaseWork
from states.events import (
    AccountLimited,
    Connected,
    CredentialsReplaced,
    FloodWait,
    LimitLifted,
    NetworkLost,
    RetryRequested,
    Started,
    TimedOut,
    TurnGranted,
)
from states.incident import IncidentKind
from states.incident_book import AccountSeen, IncidentReason
from states.incident_signs import account_seen
from states.limits import LIMIT_SECONDS, STRANGERS, WRITES, advice_for, is_appeal
from states.snapshot import Restriction, advice_of
from tests.states.harness import AccountDriver, effects, in_state

APPEAL = "https://t.me/spambot?start=frozen"
DELETION = 1_800_000_000.0
FROZEN = AccountLimited(limit=WRITES, detail="FROZEN_METHOD_INVALID (420)", deletion=DELETION, appeal=APPEAL)
PEER_FLOOD = AccountLimited(limit=STRANGERS, detail="PEER_FLOOD (400)")


def held(driver: AccountDriver) -> set[str]:
    """Return the kinds that are held."""
    return {hold.request for hold in driver.snapshot.holds}


def limited(event: Event = PEER_FLOOD, *, suspect: bool = False) -> AccountDriver:
    """Return an account with a link, that is limited; with ``suspect`` the link is."""
    driver = AccountDriver().connect().settle()
    if suspect:
        driver.take(TimedOut())
    driver.take(event)
    return driver


@pytest.mark.parametrize("suspect", [False, True])
@pytest.mark.parametrize(("event", "kind"), [(PEER_FLOOD, STRANGERS), (FROZEN, WRITES)])
def test_a_limit_of_some_requests_holds_those_and_no_other_work(
    event: AccountLimited, kind: str, suspect: bool
) -> None:
    """The account stays where it is, a person is told once, and the requests are held for a day."""
    driver = AccountDriver().connect().settle()
    if suspect:
        driver.take(TimedOut())
    before = driver.snapshot.state
    decision = driver.take(event)
    assert effects(decision) == [HoldRequests, AlertLimited]
    assert (driver.snapshot.state, driver.snapshot.limited, driver.snapshot.action) == (before, None, Action.APPEAL)
    (hold,) = driver.snapshot.holds
    assert (hold.request, hold.length) == (kind, LIMIT_SECONDS)
    assert effects(driver.take(event)) == [HoldRequests]
    assert driver.snapshot.state is before


def test_a_limit_of_some_requests_is_no_limit_of_all() -> None:
    """After it an error that means all work still holds all work, and is told."""
    driver = limited()
    assert effects(driver.take(AccountLimited())) == [HoldWork, AlertLimited]


def test_a_frozen_account_is_told_also_where_it_may_write_to_nobody_already() -> None:
    """The wider limit takes the place of the narrower one, and not the other way round."""
    driver = limited()
    assert AlertLimited in effects(driver.take(FROZEN))
    assert driver.snapshot.is_limit(WRITES)
    assert effects(driver.take(PEER_FLOOD)) == [HoldRequests]
    assert driver.snapshot.restricted == Restriction(
        limit=WRITES, detail=FROZEN.detail, deletion=DELETION, appeal=APPEAL
    )


def test_what_is_known_of_a_frozen_account_stays_known() -> None:
    """A later refusal that brings neither date nor address takes none away."""
    driver = limited(FROZEN)
    driver.take(AccountLimited(limit=WRITES))
    restricted = driver.snapshot.restricted
    assert restricted is not None
    assert (restricted.deletion, restricted.appeal) == (DELETION, APPEAL)


def test_a_limit_outlives_link_and_life_and_work_goes_on() -> None:
    """After a reconnect and a restart the requests are held, work is released, and nobody is told again."""
    driver = limited()
    driver.take(NetworkLost())
    driver.take(TurnGranted(generation=0))
    assert ReleaseWork in effects(driver.take(Connected()))
    again = begin(driver.snapshot, now=driver.now + 2 * LIMIT_SECONDS)
    assert again.is_held(STRANGERS)
    assert again.is_limit(STRANGERS)


def test_only_the_hold_of_a_limit_is_kept_once_it_is_over() -> None:
    """A flood wait that is over is forgotten at the next one; a limit is over when something proves it."""
    driver = limited()
    driver.take(FloodWait(seconds=5, request="A"))
    driver.now += 2 * LIMIT_SECONDS
    driver.take(FloodWait(seconds=5, request="B"))
    assert held(driver) == {STRANGERS, "B"}


@pytest.mark.parametrize("suspect", [False, True])
def test_a_request_that_went_through_ends_the_limit(suspect: bool) -> None:
    """What was held is released; the end of another limit ends nothing."""
    driver = limited(suspect=suspect)
    before = driver.snapshot
    assert effects(driver.take(LimitLifted(limit=WRITES))) == []
    assert driver.snapshot == before
    assert effects(driver.take(LimitLifted(limit=STRANGERS))) == [ReleaseRequests]
    assert (driver.snapshot.restricted, driver.snapshot.holds, driver.snapshot.action) == (None, (), None)
    assert driver.snapshot.state is before.state


def test_a_retry_of_a_healthy_account_ends_its_limits() -> None:
    """A person knows better: what was held is released, whether some requests were, all work, or both."""
    driver = limited()
    assert effects(driver.take(RetryRequested())) == [ReleaseRequests, ReleaseWork, Probe]
    assert driver.snapshot.restricted is None
    driver = limited()
    driver.take(AccountLimited())
    driver.take(RetryRequested())
    assert (driver.snapshot.restricted, driver.snapshot.limited, driver.snapshot.holds) == (None, None, ())
    assert driver.snapshot.state is State.HEALTHY


@pytest.mark.parametrize("state", [State.CONNECTING, State.RECONNECTING, State.BACKOFF])
def test_a_limit_that_is_heard_of_without_a_link_is_kept(state: State) -> None:
    """An attempt goes on and a wait stands, and what it may not do is held; an end proves nothing there."""
    driver = AccountDriver(snapshot=in_state(state))
    assert effects(driver.take(PEER_FLOOD)) == [HoldRequests]
    assert (driver.snapshot.state, driver.snapshot.is_limit(STRANGERS)) == (state, True)
    assert effects(driver.take(LimitLifted(limit=STRANGERS))) == []
    assert (driver.snapshot.state, driver.snapshot.is_limit(STRANGERS)) == (state, True)


def test_another_login_forgets_the_limit_of_the_one_before() -> None:
    """As with a limit of all work."""
    driver = limited()
    driver.take(CredentialsReplaced())
    assert (driver.snapshot.restricted, driver.snapshot.holds) == (None, ())


def test_a_new_link_is_told_of_a_limit_whose_day_is_over() -> None:
    """Otherwise nothing could prove its end: the link reports that only for a limit that it knows."""
    driver = limited()
    driver.now += 2 * LIMIT_SECONDS
    driver.take(NetworkLost())
    opened = driver.take(TurnGranted(generation=0)).effects[0]
    assert [hold.request for hold in getattr(opened, "holds", ())] == [STRANGERS]


def test_a_person_reads_what_to_do_about_each() -> None:
    """Whom to ask, where to appeal and until when; an address that is not Telegram's own is not shown."""
    frozen = Snapshot(state=State.HEALTHY, restricted=Restriction(limit=WRITES, deletion=DELETION, appeal=APPEAL))
    assert advice_of(frozen).startswith(f"appeal at {APPEAL} before 2027-01-15, when it will be deleted")
    hostile = attrs.evolve(frozen, restricted=Restriction(limit=WRITES, appeal="https://evil.example/t.me/"))
    assert "evil" not in advice_of(hostile)
    assert "@SpamBot" in (advice_for(STRANGERS) or "")
    assert advice_of(Snapshot(state=State.HEALTHY)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "http://t.me/x",
        "https://t.me.evil.example/x",
        "https://t.me/a b",
        "https://t.me/\x1b",
        "https://t.me/" + "a" * 300,
    ],
)
def test_no_other_address_is_one_for_an_appeal(text: str) -> None:
    """Only a short one at https://t.me/."""
    assert not is_appeal(text)


@pytest.mark.parametrize(("limit", "cause"), [(STRANGERS, "PeerFlood"), (WRITES, "AccountFrozen")])
def test_each_limit_is_an_incident_of_its_own_cause(limit: str, cause: str) -> None:
    """At once, of the kind ``limited``; and no account that needs a person besides."""
    holds = (Hold(request=limit, until=9.0),)
    seen = account_seen("A", Snapshot(state=State.HEALTHY, restricted=Restriction(limit=limit), holds=holds))
    assert isinstance(seen, AccountSeen)
    assert isinstance(seen.limit, IncidentReason)
    assert (seen.limit.kind, seen.limit.cause, seen.limit.at_once) == (IncidentKind.LIMITED, cause, True)
    assert not isinstance(seen.person, IncidentReason)


def test_journals_of_earlier_versions_mean_all_work() -> None:
    """An event without the field is what it was."""
    driver = AccountDriver()
    driver.take(Started())
    driver.take(TurnGranted(generation=0))
    driver.take(Connected())
    assert HoldWork in effects(driver.take(AccountLimited(detail="PEER_FLOOD")))
