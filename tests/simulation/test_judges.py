"""Each judge accepts evidence of a run in which every promise was kept, and condemns what breaks its own."""

import random
from collections.abc import Callable

import attrs
import pytest

from states import Entry, Policy
from states.events import Started
from tests.simulation import test_commands, test_incident_judge
from tests.simulation.evidence import (
    CommandSeen,
    Complaint,
    ConnectionSeen,
    DeadKey,
    Delivery,
    Ending,
    Evidence,
    FaultSeen,
    FloodDemand,
    Following,
    Hearing,
    Inspection,
    JobAttempt,
    LogLine,
    ResourceCount,
    ResourceMoment,
    Standing,
    Standstill,
)
from tests.simulation.good_evidence import ONE, TWO, clean, connection, journal
from tests.simulation.judges import JUDGES, healing_bound, judge
from tests.states.harness import AccountDriver

Change = Callable[[Evidence], None]


def test_a_clean_run_is_accepted() -> None:
    """No judge condemns anything, and nothing is condemned where nothing was seen."""
    assert clean().seconds > 2000 + healing_bound(clean())
    assert [str(each) for each in judge(clean())] == []
    assert list(judge(Evidence())) == []


def _two_links(seen: Evidence) -> None:
    seen.connections[0].closed = 500.2


def _two_lives_one_key(seen: Evidence) -> None:
    seen.lives[0].ended = 1020.0
    seen.connections[2].closed = 1015.0


def _dead_key(seen: Evidence) -> None:
    seen.dead_keys.append(DeadKey(key=f"key of {ONE}", account=ONE, at=200.0, why="SESSION_REVOKED", told=200.1))


def _dead_account(seen: Evidence) -> None:
    seen.standings += [Standing(at=at, account=ONE, state="auth_failed") for at in (490.0, 520.0)]


def _lost_job(seen: Evidence) -> None:
    seen.inspections[1] = attrs.evolve(seen.inspections[1], found={("checkpoint", "2"): '{"done": 2}'})


def _old_checkpoint(seen: Evidence) -> None:
    seen.writes[2].acknowledged = 999.95
    found = {**seen.inspections[0].found, ("checkpoint", "2"): '{"done": 1}'}
    seen.inspections[0] = attrs.evolve(seen.inspections[0], found=found)


def _began_again(seen: Evidence) -> None:
    seen.attempts[1].checkpoint = ""


def _lost_record(seen: Evidence) -> None:
    seen.followings.append(Following(at=5000.0, life=2, reader="follower", seq=5, account=ONE))


def _sent_twice(seen: Evidence) -> None:
    seen.deliveries.append(Delivery(at=1020.0, account=ONE, text="text 1"))


def _not_sent(seen: Evidence) -> None:
    seen.deliveries.clear()


def _sent_by_another(seen: Evidence) -> None:
    seen.deliveries[0].account = TWO


def _sent_by_nobody(seen: Evidence) -> None:
    seen.deliveries.append(Delivery(at=1020.0, account=ONE, text="nobody asked for it"))


def _endless_job(seen: Evidence) -> None:
    seen.jobs[1].state = "running"


def _hasty_job(seen: Evidence) -> None:
    seen.attempts[0] = attrs.evolve(seen.attempts[0], failed=True, ended=30.0)
    seen.attempts.insert(
        1, JobAttempt(number=2, life=1, account=ONE, began=31.0, checkpoint='{"done": 1}', ended=1000.0)
    )


def _done_by_nobody(seen: Evidence) -> None:
    seen.attempts[1].returned = False


def _heard_twice(seen: Evidence) -> None:
    seen.hearings.insert(1, Hearing(at=102.0, life=1, account=ONE, mark="update 100", ended=102.1))


def _heard_again_long_after(seen: Evidence) -> None:
    seen.hearings.append(Hearing(at=1013.0, life=2, account=ONE, mark="update 100", ended=1013.1))


def _heard_again_after_a_stop(seen: Evidence) -> None:
    seen.lives[0].ending, seen.lives[0].asked_to_stop = Ending.STOPPED, 999.9
    seen.hearings[2].ended = 999.8


def _not_heard(seen: Evidence) -> None:
    seen.hearings.pop()


def _cut_off(seen: Evidence) -> None:
    seen.hearings[-1].ended = None


def _noticed_late(seen: Evidence) -> None:
    seen.hearings[-1].at, seen.hearings[-1].ended = 3600.0, 3600.1
    seen.faults.append(FaultSeen(at=2990.0, kind="datacenter.lost_update", account=ONE, ended=3590.0))
    seen.standings += [Standing(at=at, account=ONE, state="healthy") for at in range(2910, 3630, 30)]


def _claimed_and_not_handled(seen: Evidence) -> None:
    seen.updates[-1].position = 9
    seen.inspections.append(Inspection(at=1500.0, life=1, found={}, kinds=frozenset(), claims={ONE: [(1, 5), (8, 9)]}))


def _claimed_when_it_was_handled(seen: Evidence) -> None:
    _claimed_and_not_handled(seen)
    seen.inspections[-1].life = 2


def _late_for_another_reason(seen: Evidence) -> None:
    _noticed_late(seen)
    seen.faults.append(FaultSeen(at=3010.0, kind="network.slow", account=ONE, ended=3020.0))


def _late_after_a_loss(seen: Evidence) -> None:
    _noticed_late(seen)
    seen.standings.append(Standing(at=3031.0, account=ONE, state="reconnecting"))


def _followed_twice(seen: Evidence) -> None:
    seen.followings.insert(2, seen.followings[1])


def _not_followed(seen: Evidence) -> None:
    seen.followings.pop(2)


def _followed_not_to_the_end(seen: Evidence) -> None:
    seen.followings.pop()


def _too_fast(seen: Evidence) -> None:
    for number in range(40):
        seen.connections.append(connection(100 + number, f"Account {100 + number}", 50.0 + 0.01 * number, 900.0))


def _too_many_at_once(seen: Evidence) -> None:
    for number in range(40):
        one = connection(100 + number, f"Account {100 + number}", 50.0 + 0.1 * number, 900.0)
        one.first_request = one.answered = 60.0
        seen.connections.append(one)


def _descriptors_left(seen: Evidence) -> None:
    seen.resources[0] = attrs.evolve(seen.resources[0], counts={"descriptors": 0})
    seen.resources[1] = attrs.evolve(seen.resources[1], counts={"descriptors": 7})


def _no_backoff(seen: Evidence) -> None:
    seen.connections[0].closed = 20.0
    seen.connections.append(connection(7, ONE, 21.0, 500.0))


def _given_up_before_its_patience_ended(seen: Evidence) -> None:
    _no_backoff(seen)
    first = seen.connections[0]
    first.given_up, first.closed = True, first.began + 5.0
    seen.connections[-1].began = first.closed + 1.0


def _storm(seen: Evidence) -> None:
    for number in range(60):
        begin = 600.0 + number
        seen.connections.append(ConnectionSeen(number=100 + number, life=1, began=begin, account=ONE, closed=begin))


def _flood_cut_short(seen: Evidence) -> None:
    seen.floods.append(
        FloodDemand(at=480.0, account=ONE, method="users.getUsers", seconds=60.0, connection=1, delivered=480.1)
    )


def _restless(seen: Evidence) -> None:
    seen.standings[-1] = Standing(at=9000.0, account=TWO, state="backoff", cause="NetworkLost")


def _nameless(seen: Evidence) -> None:
    seen.standings[-1] = Standing(at=9000.0, account=TWO, state="backoff", parked=True, action="retry")


def _groundless(seen: Evidence) -> None:
    seen.standings[-1] = Standing(at=9000.0, account=TWO, state="auth_failed", cause="AuthRejected", action="log_in")


def _paused_by_nobody(seen: Evidence) -> None:
    seen.standings[-1] = Standing(at=9000.0, account=TWO, state="paused")


def _slow_stop(seen: Evidence) -> None:
    seen.lives[1].ended = 9030.0


def _no_stop(seen: Evidence) -> None:
    seen.lives[1].ended, seen.lives[1].ending, seen.seconds = None, Ending.RUNNING, 9100.0


def _ended_by_itself(seen: Evidence) -> None:
    seen.lives[0].ending = Ending.FAILED


def _left_tasks(seen: Evidence) -> None:
    seen.resources[1] = attrs.evolve(seen.resources[1], counts={"tasks": 4})


def _left_objects(seen: Evidence) -> None:
    seen.resources[1] = attrs.evolve(seen.resources[1], counts={"objects": 200_000})


def _rests(seen: Evidence, kind: str, *numbers: int) -> None:
    seen.resources += [
        ResourceCount(at=2000.0 + 300 * at, life=2, moment=ResourceMoment.RUNNING, counts={kind: number})
        for at, number in enumerate(numbers)
    ]


def _grown_tasks(seen: Evidence) -> None:
    _rests(seen, "tasks", 7, 9, 8, 9, 12, 10, 11, 10)


def _grown_objects(seen: Evidence) -> None:
    _rests(seen, "objects", 2000, 2901)


def _stands_still(seen: Evidence) -> None:
    seen.standstills.append(Standstill(at=5.0, life=1, detail="a lock is never given back"))


def _other_delay(seen: Evidence) -> None:
    entries = seen.journals[0].entries
    entries[3] = attrs.evolve(entries[3], delay=1.0)


def _unreadable(seen: Evidence) -> None:
    seen.journals[0].unreadable.append("entry 3 cannot be read")


def _unlawful(seen: Evidence) -> None:
    seen.journals[0] = journal()
    driver = AccountDriver(Policy(), seen.journals[0].stored[ONE][0])
    driver.now = seen.journals[0].entries[-1].at
    made = driver.take(Started())
    record = attrs.asdict(made.record, recurse=False)
    seen.journals[0].entries.append(Entry(seq=5, account=ONE, life=1, **record))
    seen.journals[0].stored[ONE] = made.snapshot, 5
    seen.followings.append(Following(at=5000.0, life=2, reader="follower", seq=5, account=ONE))


def _error(seen: Evidence) -> None:
    seen.logs.append(LogLine(at=501.0, life=1, level="error", event="journal_waits", text="the journal waits"))


def _late_error(seen: Evidence) -> None:
    seen.logs.append(LogLine(at=8000.0, life=2, level="error", event="alert_exhausted", account=ONE))


def _bug(seen: Evidence) -> None:
    seen.logs.append(LogLine(at=501.0, life=1, level="warning", event="x", text="Traceback (most recent call last):\n"))


def _never_retrieved(seen: Evidence) -> None:
    seen.complaints.append(Complaint(at=6.0, life=1, text="Task exception was never retrieved"))


BROKEN: dict[Change, str] = {
    _two_links: "one link for each key",
    _two_lives_one_key: "one link for each key",
    _dead_key: "a dead key is not used",
    _dead_account: "a dead key is not used",
    _lost_job: "nothing acknowledged is lost",
    _old_checkpoint: "nothing acknowledged is lost",
    _began_again: "nothing acknowledged is lost",
    _lost_record: "nothing acknowledged is lost",
    _sent_twice: "each message is sent once",
    _not_sent: "each message is sent once",
    _sent_by_another: "each message is sent once",
    _sent_by_nobody: "each message is sent once",
    _endless_job: "jobs come to their end",
    _hasty_job: "jobs come to their end",
    _done_by_nobody: "each job is done once",
    _heard_twice: "each message is heard once",
    _heard_again_long_after: "each message is heard once",
    _heard_again_after_a_stop: "each message is heard once",
    _not_heard: "each message is heard once",
    _cut_off: "each message is heard once",
    _noticed_late: "missing updates are noticed",
    _claimed_and_not_handled: "the ledger is true",
    _followed_twice: "each record is followed once",
    _not_followed: "each record is followed once",
    _followed_not_to_the_end: "each record is followed once",
    _too_fast: "attempts of the fleet",
    _too_many_at_once: "attempts of the fleet",
    _descriptors_left: "nothing is left behind",
    _no_backoff: "back-off is a floor",
    _given_up_before_its_patience_ended: "back-off is a floor",
    _storm: "no storm of connections",
    _flood_cut_short: "a flood wait is a floor",
    _restless: "every account comes to rest",
    _nameless: "every account comes to rest",
    _groundless: "every account comes to rest",
    _paused_by_nobody: "every account comes to rest",
    _slow_stop: "a stop ends in time",
    _no_stop: "a stop ends in time",
    _ended_by_itself: "an engine ends only when it is told to",
    _left_tasks: "nothing is left behind",
    _left_objects: "nothing is left behind",
    _grown_tasks: "nothing is left behind",
    _grown_objects: "nothing is left behind",
    _stands_still: "something can go on",
    _other_delay: "the journal replays",
    _unreadable: "the journal replays",
    _unlawful: "the law allows each record",
    _error: "the log is clean",
    _late_error: "the log is clean",
    _bug: "the log is clean",
    _never_retrieved: "the log is clean",
    **test_commands.BROKEN,
    **test_incident_judge.BROKEN,
}
"""What breaks a promise, and the judge that condemns it."""


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change.__name__.strip("_"))
def test_what_breaks_a_promise_is_condemned(change: Change) -> None:
    """Its judge condemns it in one sentence, and no other judge does."""
    seen = clean()
    change(seen)
    verdicts = list(judge(seen))
    assert {each.judge for each in verdicts} == {BROKEN[change]}, [str(each) for each in verdicts]
    assert all("\n" not in str(each) for each in verdicts)


def test_each_judge_condemns_something() -> None:
    """There is broken evidence for every judge."""
    for each in JUDGES:
        condemned = 0
        for change in BROKEN:
            seen = clean()
            change(seen)
            condemned += any(True for _ in each(seen))
        assert condemned, each.__name__


def _asked(seen: Evidence) -> None:
    _dead_key(seen)
    seen.commands.append(CommandSeen(at=200.15, what="retry", account=ONE))


def _person_asked(seen: Evidence) -> None:
    _no_backoff(seen)
    seen.commands.append(CommandSeen(at=20.5, what="retry", account=ONE))


def _probe_answered(seen: Evidence) -> None:
    _no_backoff(seen)
    seen.connections.append(
        ConnectionSeen(number=8, life=1, began=20.3, account=ONE, route=ONE, accepted=20.4, closed=20.6)
    )


def _descriptors_under_a_lock(seen: Evidence) -> None:
    _descriptors_left(seen)
    seen.faults.append(FaultSeen(at=8990.0, kind="disk.locked", ended=9002.0))


def _silence_waited_for(seen: Evidence) -> None:
    _no_backoff(seen)
    seen.connections[0].given_up = True


def _on_its_way(seen: Evidence) -> None:
    _flood_cut_short(seen)
    _dead_key(seen)
    for each in seen.requests:
        each.sent = min(each.at, 200.0)


def _job_of_a_parked_account(seen: Evidence) -> None:
    _parked_for_a_reason(seen)
    seen.jobs[1].account, seen.jobs[1].state = TWO, "queued"
    seen.attempts[0].account = TWO


def _busy_now_and_then(seen: Evidence) -> None:
    _rests(seen, "tasks", 7, 9, 8, 9, 12, 9, 11, 10)


def _floor_kept(seen: Evidence) -> None:
    seen.floods.append(FloodDemand(at=480.0, account=ONE, method="users.getUsers", seconds=10.0, connection=1))


def _killed_before_it_was_stored(seen: Evidence) -> None:
    seen.floods.append(
        FloodDemand(at=999.5, account=ONE, method="users.getUsers", seconds=60.0, connection=3, delivered=999.6)
    )


def _parked_for_a_reason(seen: Evidence) -> None:
    seen.faults.append(FaultSeen(at=600.0, kind="credentials.revoke", account=TWO, ended=700.0, parks=True))
    seen.standings[-1] = Standing(at=9000.0, account=TWO, state="auth_failed", cause="AuthRejected", action="log_in")


def _paused(seen: Evidence) -> None:
    seen.commands.append(CommandSeen(at=1500.0, what="pause", account=TWO))
    seen.standings[-1] = Standing(at=9000.0, account=TWO, state="paused")


def _handler_fails_on_purpose(seen: Evidence) -> None:
    text = "Traceback (most recent call last):\n  HandlerFailed: this call was drawn to fail"
    seen.logs.append(LogLine(at=700.0, life=1, level="error", event="handler_failed", text=text))


def _words_of_telethon(seen: Evidence) -> None:
    one = LogLine(at=8000.0, life=2, level="error", event="x", logger="holdfast.telethon.a", text="Traceback (most re")
    seen.logs.append(one)


def _forgotten_by_the_datacenter(seen: Evidence) -> None:
    seen.hearings.pop()
    seen.faults.append(FaultSeen(at=1500.0, kind="datacenter.too_long", account=ONE, ended=1600.0))


def _unseen_end(seen: Evidence) -> None:
    seen.hearings.pop()
    seen.seconds = seen.lives[1].ended = 2100.0
    seen.lives[1].asked_to_stop = 2100.0


@pytest.mark.parametrize(
    "change",
    [
        _asked, _person_asked, _probe_answered, _silence_waited_for, _descriptors_under_a_lock, _floor_kept,
        _killed_before_it_was_stored, _on_its_way, _busy_now_and_then, _job_of_a_parked_account,
        _parked_for_a_reason, _paused, _handler_fails_on_purpose, _words_of_telethon,
        _forgotten_by_the_datacenter, _unseen_end, _late_for_another_reason, _late_after_a_loss,
        _claimed_when_it_was_handled,
    ],
    ids=lambda change: change.__name__.strip("_"),
)  # fmt: skip
def test_what_has_its_reason_is_accepted(change: Change) -> None:
    """What looks like a broken promise and is none is not condemned."""
    seen = clean()
    change(seen)
    assert [str(each) for each in judge(seen)] == []


def test_the_order_of_the_evidence_decides_nothing() -> None:
    """Judges that ask for an order make it themselves, where evidence has none."""
    seen = clean()
    random.Random(1).shuffle(seen.connections)
    random.Random(1).shuffle(seen.standings)
    assert [str(each) for each in judge(seen)] == []
