"""The law of alerts: which messages an incident makes for which channel, and when."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import product
from types import SimpleNamespace

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from states import alerts as law
from states.alerts import About, ChannelAlert, ChannelRule, MessageKind, SendNow, WaitUntil
from states.pace import Hours

MINUTE, HOUR = 60.0, 3600.0
START = 1_700_000_000.0
NIGHT = Hours(22 * 60, 7 * 60)
CLOSE, REPEAT, OPEN = MessageKind.CLOSED, MessageKind.REPEATED, MessageKind.OPENED


def local(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)


def clock(hour: int, minute: int = 0) -> float:
    """Return a time of day, in the zone of ``local``."""
    return datetime(2026, 3, 10, hour, minute, tzinfo=UTC).timestamp()


def about(number: int = 1, *, kind: str = "outage", since: float = START, **more: object) -> About:
    severity = "critical" if kind == "needs_person" else "warning"
    values = {"opened": since, "severity": severity, "accounts": ("A",), "accounts_total": 1} | more
    return About(id=number, kind=kind, since=since, **values)  # type: ignore[arg-type]


def rule(**more: object) -> ChannelRule:
    return ChannelRule(channel="c", **more)  # type: ignore[arg-type]


def one(alerts: Iterable[ChannelAlert]) -> ChannelAlert:
    (alert,) = alerts
    return alert


def decide(
    alerts: Iterable[ChannelAlert], to: ChannelRule, now: float, recent: Iterable[float] = ()
) -> SendNow | WaitUntil:
    return law.next_send(alerts, to, tuple(recent), now, local)


# --- one incident -----------------------------------------------------------------------------------------------------


def test_a_trouble_is_told_once_it_has_lasted() -> None:
    """The wait counts from the beginning of the trouble, not from the incident's."""
    alert = one(law.opened(about(opened=START + 90), [rule(after=120)], START + 90))
    assert (alert.message, alert.due) == (OPEN, START + 120)
    assert decide([alert], rule(), START + 119) == WaitUntil(START + 120)
    assert decide([alert], rule(), START + 120) == SendNow((alert,))


def test_an_old_trouble_is_told_at_once() -> None:
    """A channel that is new hears of what is open already, without another wait."""
    alert = one(law.opened(about(), [rule(after=120)], START + HOUR))
    assert decide([alert], rule(), START + HOUR) == SendNow((alert,))


def test_an_incident_that_ends_before_its_storage_was_heard_of_is_told() -> None:
    """It is due from its opening on, whenever the alert was made: the file may have been slow."""
    alert = one(law.opened(about(opened=START + 120), [rule(after=120)], START + 150))
    assert law.closed(alert, evolve(alert.about, closed=START + 130), START + 430).message is CLOSE


def test_what_needs_a_person_does_not_wait() -> None:
    """A dead login does not mend itself."""
    assert one(law.opened(about(kind="needs_person"), [rule(after=HOUR)], START)).due == START


def test_a_blip_is_told_to_nobody() -> None:
    """A trouble that ends before its message is due makes none at all."""
    alert = one(law.opened(about(), [rule(after=120)], START))
    alert = law.closed(alert, evolve(alert.about, closed=START + 60), START + 60)
    assert alert.over
    assert decide([alert], rule(), START + HOUR) == WaitUntil(None)


def test_a_trouble_that_ends_while_its_message_waits_is_told_in_one_message() -> None:
    """It was due, and could not be sent: the closing message says all of it."""
    alert = one(law.opened(about(), [rule(after=120)], START))
    alert = law.failed(alert, OPEN)
    alert = law.closed(alert, evolve(alert.about, closed=START + 600), START + 600)
    assert (alert.message, alert.due, alert.tries) == (CLOSE, START + 600, 0)
    assert law.sent(alert, CLOSE, rule(), START + 601).over


def test_an_incident_is_repeated_until_it_is_acknowledged() -> None:
    """Each repetition sets the next; the acknowledgement takes the next one back."""
    to = rule(repeat=HOUR)
    alert = one(law.opened(about(), [to], START + 120))
    for number in range(3):
        assert alert.message is (REPEAT if number else OPEN)
        alert = law.sent(alert, alert.message, to, START + number * HOUR)
        assert (alert.due, alert.messages) == (START + (number + 1) * HOUR, number + 1)
    alert = law.acked(alert, evolve(alert.about, acked=START + 2.5 * HOUR))
    assert alert.message is None
    assert not alert.over
    alert = law.closed(alert, evolve(alert.about, closed=START + 4 * HOUR), START + 4 * HOUR)
    assert alert.message is CLOSE


def test_an_incident_acknowledged_before_its_first_message_is_told_once() -> None:
    """Whoever acknowledged it knows; the others on the channel do not."""
    alert = one(law.opened(about(), [rule()], START))
    alert = law.acked(alert, evolve(alert.about, acked=START + 60))
    assert alert.message is OPEN
    assert law.sent(alert, OPEN, rule(), START + 120).message is None


def test_without_repeat_an_incident_is_told_once() -> None:
    """``repeat`` may be left empty."""
    alert = one(law.opened(about(), [rule(repeat=None)], START))
    assert law.sent(alert, OPEN, rule(repeat=None), START + 120).message is None


def test_an_end_that_is_noted_late_is_the_end_that_it_was() -> None:
    """A trouble that was over before its message was due is told to nobody, although the incident closes later."""
    alert = one(law.opened(about(), [rule(after=600)], START + 120))
    assert law.closed(alert, evolve(alert.about, closed=START + 590), START + 890).over
    assert law.closed(alert, evolve(alert.about, closed=START + 600), START + 900).message is CLOSE


def test_whoever_may_have_heard_of_a_trouble_hears_of_its_end() -> None:
    """Even if it was over before its message was due: that is on its way, or was tried and may have arrived."""
    alert = one(law.opened(about(), [rule(after=600)], START + 120))
    ended = evolve(alert.about, closed=START + 590)
    assert law.closed(alert, ended, START + 890, on_its_way=True).message is CLOSE
    assert law.closed(law.failed(alert, OPEN), ended, START + 890).message is CLOSE


@pytest.mark.parametrize("sent_as", [OPEN, REPEAT])
def test_what_happens_while_a_message_is_on_its_way_stays(sent_as: MessageKind) -> None:
    """An incident that ended meanwhile is still told of its end."""
    alert = one(law.opened(about(), [rule()], START + 120))
    if sent_as is REPEAT:
        alert = law.sent(alert, OPEN, rule(), START + 120)
    ended = law.closed(alert, evolve(alert.about, closed=START + 130), START + 130)
    told = law.sent(ended, sent_as, rule(), START + 131)
    assert (told.message, told.told) == (CLOSE, START + 131)
    assert law.failed(ended, sent_as) == ended


def test_more_accounts_are_no_message() -> None:
    """Fifty accounts behind one proxy are one incident, and one message."""
    alert = one(law.opened(about(), [rule()], START))
    more = evolve(alert.about, accounts=("A", "B"), accounts_total=2)
    assert law.joined(alert, more) == evolve(alert, about=more)


@pytest.mark.parametrize(
    ("kind", "cause", "kinds", "told"),
    [
        ("outage", "", {"outage"}, True),
        ("outage", "", {"storage"}, False),
        ("channel", "other", {"outage"}, True),
        ("channel", "c", {"outage", "channel"}, False),
    ],
)
def test_a_channel_is_told_what_it_wants_and_of_the_others(kind: str, cause: str, kinds: set[str], told: bool) -> None:
    """A channel that fails is told by the others, whatever they are for, and not to itself."""
    to = rule(kinds=frozenset(kinds))
    assert bool(law.opened(about(kind=kind, cause=cause), [to], START)) is told


def test_every_pair_of_message_and_happening_is_defined() -> None:
    """No order of happenings raises, sends a message of an incident that is over, or loses its end."""
    end = evolve(about(), closed=START + HOUR)
    for message, told, acked in product((*MessageKind, None), (None, START), (None, START)):
        known = about(acked=acked)
        due = None if message is None else START
        alert = ChannelAlert(channel="c", about=known, message=message, due=due, told=told)
        after = law.closed(alert, end, START + HOUR)
        assert (after.message is CLOSE) is (told is not None or due is not None)
        assert law.sent(after, CLOSE, rule(), START + HOUR).over
        assert law.acked(alert, evolve(known, acked=START)).message in (message, None)
        assert law.restored(alert, None, START).over
        assert law.given_up(after).over
        assert (after.message is None) is (after.due is None)


def test_a_message_is_no_news_a_week_after_the_end() -> None:
    """A channel that was dead for long does not tell old stories; an incident that is open is always news."""
    ended = evolve(about(), closed=START)
    alert = ChannelAlert(channel="c", about=ended, message=CLOSE, due=START)
    assert not law.is_stale(alert, START + law.GIVEN_UP_AFTER)
    assert law.is_stale(alert, START + law.GIVEN_UP_AFTER + 1)
    assert not law.is_stale(evolve(alert, about=about(), message=OPEN), START + 100 * law.GIVEN_UP_AFTER)


def test_a_clock_that_was_set_moves_what_waits() -> None:
    """What is left of a wait stays the same; a restart after a jump waits no longer than any wait."""
    to = rule(repeat=HOUR)
    alert = law.sent(one(law.opened(about(), [to], START)), OPEN, to, START)
    assert law.moved(alert, -1e6).due == START + HOUR - 1e6
    assert law.restored(alert, to, START - 1e6).due == START - 1e6 + HOUR


def test_another_rule_counts_from_a_restart_or_a_reload_on() -> None:
    """A first message waits as long as it says now, and so does the next one, or there is none."""
    alert = one(law.opened(about(), [rule(after=120)], START))
    assert law.restored(alert, rule(after=30), START + 10).due == START + 30
    assert law.restored(alert, rule(after=600), START + 10).due == START + 600
    told = law.sent(alert, OPEN, rule(repeat=HOUR), START + 120)
    assert law.restored(told, rule(repeat=2 * HOUR), START + 130).due == START + 120 + 2 * HOUR
    once = law.restored(told, rule(repeat=None), START + 130)
    assert (once.message, once.due, once.over) == (None, None, False)
    again = law.restored(once, rule(repeat=HOUR), START + 130)
    assert (again.message, again.due) == (REPEAT, START + 120 + HOUR)


def test_what_was_acknowledged_while_no_engine_ran_is_not_repeated() -> None:
    """A command has written it into the file, and nothing else tells of it."""
    alert = law.sent(one(law.opened(about(), [rule()], START)), OPEN, rule(), START)
    acked = law.restored(law.joined(alert, evolve(alert.about, acked=START + 60)), rule(), START + 90)
    assert acked.message is None
    assert not acked.over
    ended = law.closed(acked, evolve(acked.about, closed=START + HOUR), START + HOUR)
    assert law.restored(ended, rule(), START + 2 * HOUR) == ended


# --- quiet hours ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "free"),
    [
        (clock(21, 59), clock(21, 59)),
        (clock(22), clock(22) + 9 * HOUR),
        (clock(23, 30), clock(23, 30) + 7.5 * HOUR),
        (clock(6, 59), clock(7)),
        (clock(7), clock(7)),
        (clock(12), clock(12)),
    ],
)
def test_quiet_hours_hold_a_message_until_their_end(at: float, free: float) -> None:
    """They go over midnight; their first minute is quiet, and the one after the last is not."""
    to = rule(quiet=NIGHT, after=0)
    alert = one(law.opened(about(since=at), [to], at))
    assert law.free_at(alert, to, at, local) == free
    assert decide([alert], to, at) == (SendNow((alert,)) if free == at else WaitUntil(free))


@pytest.mark.parametrize("message", MessageKind)
@pytest.mark.parametrize("kind", law.KINDS)
def test_only_what_needs_a_person_passes_in_quiet_hours(kind: str, message: MessageKind) -> None:
    """Its end is good news, which waits for the morning like everything else."""
    alert = ChannelAlert(channel="c", about=about(kind=kind), message=message, due=clock(23))
    passes = kind == "needs_person" and message is not CLOSE
    assert isinstance(decide([alert], rule(quiet=NIGHT), clock(23)), SendNow) is passes


def test_what_is_not_critical_waits_even_if_it_needs_a_person() -> None:
    """The severity decides, too."""
    alert = ChannelAlert(channel="c", about=about(kind="needs_person", severity="warning"), message=OPEN, due=clock(23))
    assert isinstance(decide([alert], rule(quiet=NIGHT), clock(23)), WaitUntil)


# --- rates and digests ------------------------------------------------------------------------------------------------


def many(count: int, **more: object) -> list[ChannelAlert]:
    return [one(law.opened(about(number, **more), [rule()], START + 120)) for number in range(count)]  # type: ignore[arg-type]


def test_a_few_messages_are_sent_one_by_one() -> None:
    """As many as there is room for."""
    alerts = many(law.AT_MOST)
    assert decide(alerts, rule(), START + 120) == SendNow((alerts[0],))


def test_a_flood_is_one_digest() -> None:
    """What is more than there is room for becomes one message about all of it."""
    assert decide(many(30), rule(), START + 120) == SendNow(tuple(many(30)))


def test_a_digest_is_bounded() -> None:
    """The others are in the next one."""
    found = decide(many(3 * law.MOST_IN_DIGEST), rule(), START + 120)
    assert isinstance(found, SendNow)
    assert len(found.alerts) == law.MOST_IN_DIGEST


def test_a_channel_that_got_enough_waits() -> None:
    """Until the oldest of its messages is out of the window."""
    now = START + 120
    recent = [now - law.WINDOW + 10 * (number + 1) for number in range(law.AT_MOST)]
    assert decide(many(1), rule(), now, recent) == WaitUntil(now + 10)


def test_one_place_is_kept_for_what_is_urgent() -> None:
    """A person who is needed is told in the midst of a flood, once; with it goes all that waits."""
    now, recent = START + 120, [START + 120] * law.AT_MOST
    urgent = one(law.opened(about(99, kind="needs_person"), [rule()], START))
    assert decide([*many(2), urgent], rule(), now, recent) == SendNow((urgent, *many(2)))
    assert decide([urgent], rule(), now, [*recent, now]) == WaitUntil(now + law.WINDOW)


def test_a_message_that_failed_lets_the_others_go_first() -> None:
    """One that the service does not like stands in nobody's way."""
    first, second = many(2)
    assert decide([law.failed(first, OPEN), second], rule(), START + 120) == SendNow((second,))


def test_a_failing_channel_is_tried_ever_less_often() -> None:
    """The waits grow to a quarter of an hour and stay there."""
    waits = [law.pause_after(failures) for failures in range(1, 20)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (15, 900)


# --- what is stored ---------------------------------------------------------------------------------------------------


@given(
    st.builds(
        About,
        id=st.integers(1, 2**40),
        kind=st.sampled_from(law.KINDS),
        cause=st.text(),
        accounts=st.lists(st.text(), max_size=3).map(tuple),
        accounts_total=st.integers(0, 9),
        fleet=st.booleans(),
        since=st.floats(0, 1e10),
        opened=st.floats(0, 1e10),
        closed=st.none() | st.floats(0, 1e10),
        detail=st.text(),
        missed=st.text(),
    )
)
@settings(max_examples=40)
def test_what_is_written_of_an_incident_is_read_back(told: About) -> None:
    """Whatever a name or a message has in it."""
    assert law.about_from(told.written()) == told


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "3", '{"id": 1}', '{"id": "1", "kind": "outage", "since": 1, "opened": 1}',
     '{"id": true, "kind": "outage", "since": 1, "opened": 1}', '{"id": 1, "kind": 2, "since": 1, "opened": 1}',
     '{"id": 1, "kind": "outage", "since": null, "opened": 1}',
     '{"id": 1, "kind": "outage", "since": 1, "opened": 1, "accounts": [1]}'],
)  # fmt: skip
def test_what_was_spoilt_is_refused(text: str) -> None:
    """A row that something else has written is no alert."""
    with pytest.raises((ValueError, TypeError)):
        law.about_from(text)


def test_a_key_of_a_newer_version_is_left_out() -> None:
    """What another version adds does not make the row unreadable."""
    assert law.about_from(about().written().replace('"fleet"', '"new": 1, "fleet"')) == about()


def test_an_incident_names_some_accounts_and_counts_all() -> None:
    """Ten thousand names are in no message, and in no row."""
    names = tuple(f"Account {number}" for number in range(10_000))
    values = {"id": 7, "kind": "outage", "cause": "net", "accounts": names, "fleet": True, "severity": "critical"}
    times = {"since": 1.0, "opened": 2.0, "closed": None, "acked": None}
    words = {"detail": "d", "meaning": "m", "action": "a"}
    told = law.about(SimpleNamespace(**values, **times, **words), "missed")
    assert (len(told.accounts), told.accounts_total, told.missed) == (law.MOST_NAMES, 10_000, "missed")
    assert len(told.written()) < 4000


# --- any life of some incidents ---------------------------------------------------------------------------------------

KINDS = st.sampled_from(["outage", "needs_person", "storage"])
DO = st.sampled_from(["open", "close", "ack", "join", "fail", "minute", "hour", "restart"])


class World:
    """A channel, what it was told, and what happened to each incident: plays what the engine does, by the law."""

    def __init__(self, to: ChannelRule) -> None:
        self.rule, self.now = to, clock(20)
        self.alerts: dict[int, ChannelAlert] = {}
        self.incidents: dict[int, About] = {}
        self.due: dict[int, float] = {}
        self.sent: list[tuple[float, tuple[tuple[int, MessageKind, bool], ...]]] = []
        self.fails = 0

    def change(self, number: int, how: Callable[[ChannelAlert, About], ChannelAlert], **values: float) -> None:
        self.incidents[number] = evolve(self.incidents[number], **values)
        self.alerts[number] = how(self.alerts[number], self.incidents[number])

    def act(self, do: str, kind: str) -> None:
        number = len(self.incidents)
        open_ones = [each.id for each in self.incidents.values() if each.closed is None]
        match do:
            case "open":
                self.incidents[number] = about(number, kind=kind, since=self.now)
                self.alerts[number] = one(law.opened(self.incidents[number], [self.rule], self.now))
                self.due[number] = self.alerts[number].due or 0
            case "close" if open_ones:
                self.change(open_ones[0], lambda old, new: law.closed(old, new, self.now), closed=self.now)
            case "ack" if open_ones:
                self.change(open_ones[-1], law.acked, acked=self.now)
            case "join" if open_ones:
                self.change(open_ones[0], law.joined, accounts_total=2)
            case "fail":
                self.fails += 1
            case "minute":
                self.pass_time(60)
            case "hour":
                self.pass_time(HOUR)
            case "restart":
                self.alerts = {key: law.restored(each, self.rule, self.now) for key, each in self.alerts.items()}

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(10_000):
            found = decide(self.alerts.values(), self.rule, self.now, [at for at, _ in self.sent])
            if isinstance(found, SendNow):
                if self.fails:
                    self.fails -= 1
                    for each in found.alerts:
                        assert each.message
                        self.alerts[each.about.id] = law.failed(each, each.message)
                    self.now = min(end, self.now + 15)
                    continue
                told = []
                for each in found.alerts:
                    assert each.message
                    told.append((each.about.id, each.message, each.about.urgent))
                    self.alerts[each.about.id] = law.sent(each, each.message, self.rule, self.now)
                self.sent.append((self.now, tuple(told)))
                continue
            assert found.until is None or found.until > self.now, "it would spin"
            if found.until is None or found.until > end:
                self.now = end
                return
            self.now = found.until
        raise AssertionError("it does not come to rest")


@given(
    st.lists(st.tuples(DO, KINDS), max_size=40),
    st.sampled_from([None, NIGHT]),
    st.sampled_from([None, HOUR, 6 * HOUR]),
    st.sampled_from([0.0, 120.0, 1800.0]),
)
@settings(max_examples=150)
def test_any_life_keeps_the_promises(
    steps: list[tuple[str, str]], quiet: Hours | None, repeat: float | None, after: float
) -> None:
    """Each incident that lasted is told once and its end once, in order, within the rate, and not at night."""
    world = World(rule(kinds=frozenset(law.KINDS), quiet=quiet, repeat=repeat, after=after))
    for do, kind in steps:
        world.act(do, kind)
    for number, incident in list(world.incidents.items()):
        if incident.closed is None:
            world.change(number, lambda old, new: law.closed(old, new, world.now), closed=world.now)
    world.fails = 0
    world.pass_time(48 * HOUR)

    assert all(alert.over for alert in world.alerts.values())
    for number, incident in world.incidents.items():
        messages = [(at, message) for at, all_of in world.sent for key, message, _ in all_of if key == number]
        names = [message for _, message in messages]
        assert incident.closed is not None
        if incident.closed < world.due[number]:
            assert names == [], "a blip is told to nobody"
        else:
            assert names[-1] is CLOSE
            assert names.count(CLOSE) == 1
            assert names.count(OPEN) <= 1
            assert names[0] is OPEN or names == [CLOSE]
        for at, message in messages:
            assert at >= world.due[number]
            assert message is not REPEAT or incident.acked is None or at <= incident.acked
            assert message is CLOSE or at <= incident.closed
    times = [at for at, _ in world.sent]
    for at in times:
        assert sum(at - law.WINDOW < other <= at for other in times) <= law.AT_MOST + 1
    if quiet is not None:
        for at, all_of in world.sent:
            hour = local(at).hour
            loud = 7 <= hour < 22
            assert loud or all(urgent and message is not CLOSE for _, message, urgent in all_of)
