"""The law of incidents, situation by situation, as its table has them."""

import math

import pytest

from states.incident_book import CALM, FALLS
from states.incidents import (
    AccountGone,
    AccountSeen,
    AccountsRenamed,
    Acked,
    Acknowledged,
    ClockMoved,
    Closed,
    Elapsed,
    IncidentKind,
    IncidentPolicy,
    IncidentReason,
    Joined,
    Left,
    PartSeen,
    Severity,
    Sign,
    Slot,
    enough,
    restore,
)
from tests.states.incident_support import (
    BEGIN,
    OTHER,
    PROXY,
    Told,
    down,
    full,
    journal,
    lost,
    names,
    needs,
    person,
    replayed,
    well,
)


def test_a_blip_opens_none() -> None:
    """A trouble that is over before ``after`` is no incident."""
    law = Told()
    law.tell(well("A"), down("A"))
    law.wait(119.9)
    law.tell(well("A"))
    law.wait(10_000)
    assert law.changes == []
    assert law.book.tracks == {}


def test_a_trouble_that_lasts_is_one() -> None:
    """After ``after`` without a break a trouble is an incident, which began with the trouble."""
    law = Told()
    law.tell(well("A"), down("A"))
    law.wait(120)
    (found,) = law.open
    assert (found.kind, found.cause, found.accounts, found.fleet) == (IncidentKind.OUTAGE, "NetworkLost", ("A",), False)
    assert (found.since, found.opened, found.closed) == (BEGIN, BEGIN + 120, None)
    assert found.severity is Severity.WARNING
    assert found.detail == "connection reset"


def test_it_closes_after_calm_and_ends_with_the_recovery() -> None:
    """It is closed when health has lasted, and its end is when health began."""
    law = Told()
    law.tell(down("A"))
    law.wait(200)
    law.tell(well("A"))
    assert law.wait(CALM - 0.1) == []
    (closed,) = law.wait(0.1)
    assert isinstance(closed, Closed)
    assert (closed.incident.closed, closed.into) == (BEGIN + 200, None)
    assert closed.incident.lasted(law.now) == 200
    assert law.book.due is None


def test_a_fall_within_calm_goes_on() -> None:
    """An account that is lost again before the calm is over is in the same incident."""
    law = Told()
    law.tell(down("A"))
    law.wait(120)
    for _ in range(10):
        law.tell(well("A"))
        law.wait(CALM - 1)
        law.tell(down("A"))
        law.wait(500)
    assert len(law.opened) == 1
    assert law.closed == []


def test_a_flapping_account_is_one_incident() -> None:
    """Losses that are short each, and never far apart, are one incident of their own kind."""
    law = Told()
    for _ in range(40):
        law.tell(down("A"))
        law.wait(5)
        law.tell(well("A"))
        law.wait(100)
    (found,) = law.opened
    assert found.kind is IncidentKind.FLAPPING
    assert found.since == BEGIN
    assert found.opened == BEGIN + (FALLS - 1) * 105
    law.wait(CALM)
    assert [each.id for each in law.closed] == [found.id]


def test_losses_far_apart_are_blips() -> None:
    """Losses with more than ``calm`` of health between them do not add up."""
    law = Told()
    for _ in range(20):
        law.tell(down("A"))
        law.wait(100)
        law.tell(well("A"))
        law.wait(CALM)
    assert law.changes == []


def test_an_outage_has_many_errors() -> None:
    """Another error while the account is without a connection is the same outage."""
    law = Told()
    for cause in ("NetworkLost", "TimedOut", "ServerFault", "FloodWait") * 5:
        law.tell(down("A", lost(cause)))
        law.wait(60)
    assert len(law.opened) == 1


def test_a_person_is_needed_at_once() -> None:
    """What waits for a person is an incident without a wait, and the outage before it is over."""
    law = Told()
    law.tell(down("A"))
    law.wait(150)
    over, opened = law.tell(needs("A"))
    assert isinstance(over, Closed)
    assert (over.incident.kind, over.incident.closed) == (IncidentKind.OUTAGE, law.now)
    assert opened.incident.kind is IncidentKind.NEEDS_PERSON
    assert opened.incident.severity is Severity.CRITICAL
    assert opened.incident.action == "log in again"


def test_another_action_is_another_incident() -> None:
    """What a person must do is what it is about: if that changes, the old one is over."""
    law = Told()
    law.tell(needs("A"))
    over, opened = law.tell(needs("A", person("stop_other_copy")))
    assert (over.incident.id, opened.incident.cause) == (1, "stop_other_copy")
    assert law.tell(needs("A", person("stop_other_copy"))) == []


def test_it_stays_open_while_nobody_knows() -> None:
    """An account that connects after a login is neither well nor in trouble, however long that takes."""
    law = Told()
    law.tell(needs("A"))
    trying = AccountSeen(account="A", connection=Sign.UNSETTLED, person=Sign.UNSETTLED, scopes=PROXY)
    law.tell(trying)
    assert law.wait(100_000) == []
    law.tell(well("A"))
    assert len(law.wait(CALM)) == 1


@pytest.mark.parametrize("after", [120.0, 10.0, 0.0])
def test_fifty_behind_one_proxy_are_one(after: float) -> None:
    """Fifty accounts behind one proxy are one incident, also if they notice the loss one by one."""
    law = Told(policy=IncidentPolicy(after=after))
    law.tell(*(well(each) for each in names(50)), *(well(f"B {each}", OTHER) for each in names(50)))
    for each in names(50):
        law.tell(down(each))
        law.wait(1)
    law.wait(after)
    (found,) = law.open
    assert (found.fleet, found.cause, found.accounts) == (True, PROXY[0], tuple(names(50)))
    assert found.since == BEGIN
    assert found.severity is Severity.CRITICAL
    goes_on = [each for each in law.changes if isinstance(each, Closed)]
    assert all(each.into == found.id for each in goes_on)
    for each in names(50):
        law.tell(well(each))
    law.wait(CALM)
    assert law.open == []


def test_a_flapping_proxy_is_one() -> None:
    """Fifty accounts behind a proxy that comes and goes are one incident."""
    law = Told()
    law.tell(*map(well, names(50)))
    for _ in range(12):
        for each in names(50):
            law.tell(down(each))
            law.wait(0.02)
        law.wait(20)
        law.tell(*map(well, names(50)))
        law.wait(60)
    (found,) = law.opened
    assert (found.kind, found.cause, len(found.accounts)) == (IncidentKind.FLAPPING, PROXY[0], 50)


def test_the_whole_network_is_one() -> None:
    """Accounts on several ways that are lost together have one incident, that of the network."""
    law = Told()
    ways = [(f"the proxy {number}", "the network") for number in range(5)]
    accounts = [(name, ways[number % 5]) for number, name in enumerate(names(50))]
    law.tell(*(well(name, way) for name, way in accounts), *(down(name, scopes=way) for name, way in accounts))
    law.wait(1000)
    (found,) = law.open
    assert (found.cause, len(found.accounts)) == ("the network", 50)


def test_one_of_many_is_alone() -> None:
    """An account that is lost while the others on its way are well has an incident of its own."""
    law = Told()
    law.tell(*map(well, names(50)), down("Account 07"))
    law.wait(1000)
    (found,) = law.open
    assert (found.fleet, found.accounts) == (False, ("Account 07",))


def test_errors_of_its_own_are_no_ones_way() -> None:
    """Errors that no way can cause are incidents of each account."""
    law = Told()
    law.tell(*(down(each, lost("FloodWait", scoped=False)) for each in names(5)))
    law.wait(1000)
    assert [each.fleet for each in law.open] == [False] * 5


def test_who_comes_later_joins() -> None:
    """An account that is lost for long while its way has an incident joins that."""
    law = Told()
    law.tell(*map(well, names(20)), *map(down, names(10)))
    law.wait(120)
    law.tell(down("Account 15"))
    law.wait(120)
    (found,) = law.open
    assert found.accounts == (*names(10), "Account 15")


def test_the_last_one_left_is_alone() -> None:
    """When all others on a way are well again, the way is not the trouble of the one that is left."""
    law = Told()
    law.tell(*map(down, names(20)))
    law.wait(120)
    law.tell(*map(well, names(19)))
    law.wait(CALM)
    (rest,) = law.open
    (over,) = law.closed
    assert (rest.fleet, rest.accounts, rest.since) == (False, ("Account 20",), BEGIN)
    assert (over.fleet, over.closed) == (True, BEGIN + 120)
    assert len([each for each in law.changes if isinstance(each, Left)]) == 18


def test_a_refused_api_id_is_one() -> None:
    """What all accounts certainly share is one incident from the first of them on."""
    law = Told()
    law.tell(*(needs(each, person("mend_config", shared="mend_config")) for each in names(30)))
    (found,) = law.open
    assert (found.fleet, found.accounts, found.cause) == (True, tuple(names(30)), "mend_config")
    assert found.action.startswith("mend the config")
    law.tell(*(AccountGone(each) for each in names(30)))
    assert law.open == []


def test_its_accounts_are_in_the_order_in_which_people_count() -> None:
    """Account 10 comes after account 2, who may join later."""
    law = Told()
    law.tell(*(needs(f"A {number}", person("api_id", shared="12345")) for number in (10, 1)))
    law.tell(needs("A 2", person("api_id", shared="12345")))
    (found,) = law.open
    assert found.accounts == ("A 1", "A 2", "A 10")


def test_a_full_disk_is_one() -> None:
    """The journal and the session files on one disk are one incident; a file that is locked is its own."""
    law = Told()
    law.tell(journal(full()))
    for each in names(10):
        law.tell(AccountSeen(account=each, connection=Sign.WELL, file=full(), scopes=PROXY))
    locked = IncidentReason(kind=IncidentKind.STORAGE, cause="DatabaseLocked")
    law.tell(AccountSeen(account="B", connection=Sign.WELL, file=locked, scopes=PROXY))
    law.wait(130)
    disk, own = law.open
    assert (disk.cause, disk.accounts, disk.fleet) == ("/data", tuple(names(10)), True)
    assert (own.cause, own.accounts, own.fleet) == ("DatabaseLocked", ("B",), False)
    law.tell(journal(Sign.WELL), *map(well, names(10)), well("B"))
    law.wait(CALM)
    assert law.open == []


def test_the_journal_alone_has_no_account() -> None:
    """The journal's file is an incident without accounts."""
    law = Told()
    law.tell(journal(full()))
    law.wait(120)
    (found,) = law.open
    assert (found.accounts, found.cause) == ((), "/data")
    law.tell(journal(Sign.WELL))
    assert [each.incident.closed for each in law.wait(CALM)] == [BEGIN + 120]


def test_paused_and_removed_close_at_once() -> None:
    """An account that is paused or removed leaves everything at once."""
    law = Told()
    law.tell(down("A"), needs("B"))
    law.wait(130)
    law.tell(AccountGone("A"), AccountGone("B"), AccountGone("nobody"))
    assert law.open == []
    assert {each.closed for each in law.closed} == {BEGIN + 130}
    assert law.book.scopes == {}


def test_jobs_that_fail_are_one_for_their_kind() -> None:
    """Failed jobs of a kind are one incident, until jobs of that kind have gone well for a while."""
    law = Told()

    def jobs(found: IncidentReason | Sign) -> PartSeen:
        return PartSeen(slot=Slot.JOBS, name="send", found=found)

    failed = IncidentReason(kind=IncidentKind.JOB_FAILED, cause="send", detail="job 7: no such chat", at_once=True)
    law.tell(jobs(Sign.WELL), jobs(failed), jobs(failed), jobs(Sign.WELL))
    law.wait(100)
    law.tell(jobs(failed), jobs(Sign.WELL))
    assert len(law.opened) == 1
    law.wait(CALM)
    assert law.open == []


def test_it_is_acknowledged_once() -> None:
    """An open incident is acknowledged once; another number is none."""
    law = Told()
    law.tell(needs("A"))
    (acked,) = law.tell(Acknowledged(1))
    assert isinstance(acked, Acked)
    assert acked.incident.acked == BEGIN
    law.wait(10)
    assert law.tell(Acknowledged(1), Acknowledged(2), Acknowledged(-1)) == []


def test_time_stands_still_while_the_clock_is_back() -> None:
    """A clock that goes back unnoticed moves nothing back, and what is no time counts as the last one."""
    law = Told()
    law.tell(down("A"))
    law.now = BEGIN - 3600
    law.tell(Elapsed())
    law.now = math.nan
    law.tell(Elapsed())
    assert law.book.now == BEGIN
    law.now = BEGIN + 120
    assert len(law.tell(Elapsed())) == 1


@pytest.mark.parametrize("shift", [-1e6, -3600.0, 0.0, 3600.0, 1e9])
def test_a_clock_that_is_set_moves_all_times(shift: float) -> None:
    """What is left of each wait, and how long a trouble lasts, stays as it is."""
    law = Told()
    law.tell(needs("B"), down("A"))
    law.wait(50)
    law.now += shift
    law.tell(ClockMoved(shift=shift))
    law.wait(70)
    by_account = {each.accounts[0]: each for each in law.open}
    assert by_account["A"].opened - by_account["A"].since == pytest.approx(120)
    assert law.now - by_account["B"].since == pytest.approx(120)


def test_a_sleep_counts_neither_way() -> None:
    """While the machine slept, nobody was in trouble and nobody was well."""
    law = Told()
    law.tell(down("A"), needs("B"), well("B"))
    law.wait(100)
    law.now += 30_000
    law.tell(ClockMoved(slept=30_000), Elapsed())
    assert [each.accounts for each in law.open] == [("B",)]
    law.wait(19)
    assert len(law.open) == 1
    law.wait(1)
    assert len(law.open) == 2


def test_what_began_while_the_clock_was_looked_at_is_not_in_the_future() -> None:
    """A trouble that was told between a sleep and the word of it is due as any other."""
    law = Told()
    law.now += 30_000
    law.tell(down("A"), ClockMoved(slept=30_000))
    law.wait(120)
    assert len(law.open) == 1


def test_a_trouble_from_before_the_start_goes_on() -> None:
    """At the first sight of an account, a trouble that is younger than ``after`` counts from its beginning."""
    law = Told()
    law.tell(well("C"), down("A", lost(since=BEGIN - 100)), down("B", lost(since=BEGIN - 5000), OTHER))
    law.wait(20)
    assert [(each.accounts, each.since) for each in law.open] == [(("A",), BEGIN - 100)]
    law.wait(100)
    assert [each.since for each in law.open] == [BEGIN - 100, BEGIN]


def test_the_next_life_goes_on() -> None:
    """What an earlier life left open goes on: nothing is opened twice, and what is well closes."""
    law = Told()
    law.tell(*map(down, names(10)), needs("P"), journal(full()))
    law.wait(130)
    law.tell(well("Account 03"))
    law.wait(CALM)
    incidents, inside = replayed(law.changes)
    members = [(number, each) for number, of in inside.items() for each in of]
    next_one = Told(book=restore(incidents.values(), members, 1, law.now), now=law.now)
    next_one.tell(Elapsed(), *map(down, names(10)), needs("P"), journal(Sign.WELL))
    next_one.wait(119)
    assert next_one.opened == []
    next_one.tell(*map(well, [*names(10), "P"]))
    next_one.wait(CALM)
    assert next_one.open == []
    assert {each.id for each in next_one.closed} == {1, 2, 3}
    next_one.tell(needs("P"))
    assert next_one.opened[0].id == 4


def test_an_incident_whose_members_were_lost_closes() -> None:
    """An open incident of which nobody is known to be in it is over after a calm."""
    law = Told()
    law.tell(needs("A"))
    later = Told(book=restore(law.open, [], 2, law.now), now=law.now)
    later.tell(Elapsed())
    later.wait(CALM)
    assert later.open == []


@pytest.mark.parametrize(
    ("in_use", "least"), [(1, 2), (2, 2), (3, 3), (10, 3), (30, 3), (50, 5), (100, 10), (10_000, 10)]
)
def test_how_many_are_many(in_use: int, least: int) -> None:
    """A tenth of a way's accounts, three at least, ten at most; two of two."""
    assert next(number for number in range(1, 100) if enough(number, in_use)) == least


def test_calm_is_no_shorter_than_after() -> None:
    """A long ``after`` has a calm that is as long."""
    assert IncidentPolicy(after=900).calm == 900
    assert IncidentPolicy(after=1).calm == CALM
    with pytest.raises(ValueError, match="after must not be negative"):
        IncidentPolicy(after=-1)


def test_an_account_that_is_called_otherwise_goes_on() -> None:
    """Swapped and new names take everything along, at once; nothing closes, and the end has the whole length."""
    law = Told()
    law.tell(*map(well, ("A", "B", "C", "D")))
    law.tell(needs("A"), down("B"))
    law.wait(130)
    before = {each.id: each for each in law.open}
    said = law.tell(AccountsRenamed({"A": "B", "B": "E"}))
    assert [type(each) for each in said] == [Joined, Joined]
    assert {each.id: each.accounts for each in law.open} == {1: ("B",), 2: ("E",)}
    assert {each.id: each.since for each in law.open} == {number: each.since for number, each in before.items()}
    law.tell(well("B"), well("E"))
    law.wait(CALM)
    assert {each.id: each.accounts for each in law.closed} == {1: ("B",), 2: ("E",)}


def test_a_name_that_somebody_had_is_free() -> None:
    """Whoever had the new name and is not renamed is gone; names that would be two accounts' change nothing."""
    law = Told()
    law.tell(well("A"), needs("B"), needs("C"))
    law.tell(AccountsRenamed({"C": "B"}))
    assert [(each.id, each.accounts) for each in law.closed] == [(1, ("B",))]
    assert {each.id: each.accounts for each in law.open} == {2: ("B",)}
    assert law.tell(AccountsRenamed({"A": "Z", "B": "Z"}), AccountsRenamed({"B": "B"}), AccountsRenamed({})) == []
    assert {each.id: each.accounts for each in law.open} == {2: ("B",)}
