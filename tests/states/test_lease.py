"""The law of leases: a hold never lasts longer than a beat that was confirmed, and a watch never ends one too soon."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from states.lease import (
    AbortLinks,
    ArmDeadlines,
    AskLife,
    BeatConfirmed,
    BeatDue,
    BeatRefused,
    BeatSight,
    Claim,
    DeclareDead,
    DisarmDeath,
    DropAccounts,
    EndLife,
    HoldEffect,
    HoldEvent,
    HoldStanding,
    LeaseTimes,
    LeaveRequested,
    LifeGiven,
    LinksGone,
    NodeHold,
    NodeWatch,
    NoteSettled,
    SendBeat,
    StoreAnswered,
    StoreLost,
    begin_claim,
    claim_counts,
    decide_hold,
    decide_watch,
    next_look,
)

TIMES = LeaseTimes()
BEGINNING, HOLDING, CLOSING, LEFT = HoldStanding
ACCOUNTS = frozenset({"a", "b"})
AT = 1_000.0


# --- the times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"beat_every": 0.0},
        {"beat_every": 10.0},
        {"stop_after": 12.0},
        {"death_after": 15.0},
        {"lease": 11.0},
        {"lease": math.inf},
        {"lease": math.nan},
        {"beat_every": math.nan},
        {"stop_after": -1.0},
    ],
)
def test_times_that_are_not_safe_are_refused(wrong: dict[str, float]) -> None:
    """A beat comes before the stop, the stop before the process's end, and that before anybody declares it dead."""
    with pytest.raises(ValueError, match="the times of a lease must grow"):
        LeaseTimes(**wrong)


@pytest.mark.parametrize("wrong", [0.0, -1.0, 10.0, math.nan])
def test_an_answer_may_not_take_as_long_as_the_links_stand(wrong: float) -> None:
    """Otherwise one that hangs would keep a node from asking over another connection."""
    with pytest.raises(ValueError, match="answer_within must be less than stop_after"):
        LeaseTimes(answer_within=wrong)


@pytest.mark.parametrize(("nodes", "apart"), [(1, 1.0), (2, 1.0), (10, 1.0), (15, 1.5), (30, 3.0), (400, 3.0)])
def test_of_many_nodes_each_beats_less_often(nodes: int, apart: float) -> None:
    """About ten beats a second are enough to see the last one of each; but none is more than three seconds silent."""
    assert LeaseTimes().beats_apart(nodes) == pytest.approx(apart)
    assert LeaseTimes().beats_apart_at_most == 3.0


def test_the_defaults_tolerate_clocks_a_quarter_apart() -> None:
    """15 against 12 seconds."""
    assert LeaseTimes().tolerance == 1.25


@given(st.floats(0.01, 1e6))
def test_another_lease_has_times_in_proportion(lease: float) -> None:
    """Whatever the length, it tolerates the same clocks; beats are never further apart than 1 s, or waited for 3 s."""
    times = LeaseTimes.of(lease)
    assert times.lease == lease
    assert times.tolerance == pytest.approx(1.25)
    assert times.stop_after == pytest.approx(lease * 2 / 3)
    assert times.beat_every == pytest.approx(min(1.0, lease / 15))
    assert times.answer_within == pytest.approx(min(3.0, lease / 5))


@pytest.mark.parametrize("lease", [0.0, -1.0, math.inf, math.nan])
def test_what_is_no_length_is_no_lease(lease: float) -> None:
    """It is refused, like other times that are not safe."""
    with pytest.raises(ValueError, match="the times of a lease must grow"):
        LeaseTimes.of(lease)


# --- the hold: the table, pair by pair -------------------------------------------------------------------------------

HOLDS = {
    "beginning": NodeHold(),
    "beginning again": NodeHold(life=3),
    "holding": NodeHold(standing=HOLDING, life=4, confirmed=AT - 9.9),
    "late": NodeHold(standing=HOLDING, life=4, confirmed=AT - 10),
    "leaving": NodeHold(standing=HOLDING, life=4, confirmed=AT - 9.9, leaving=True),
    "closing": NodeHold(standing=CLOSING, life=4, confirmed=AT - 10),
    "closing to leave": NodeHold(standing=CLOSING, life=4, confirmed=AT - 10, leaving=True),
    "left": NodeHold(standing=LEFT, life=4, confirmed=AT - 10, leaving=True),
}
EVENTS: dict[str, HoldEvent] = {
    "due": BeatDue(),
    "life": LifeGiven(life=5, asked=AT - 9.5),
    "life, late": LifeGiven(life=5, asked=AT - 10),
    "beat": BeatConfirmed(life=4, asked=AT - 1),
    "beat, without some": BeatConfirmed(life=4, asked=AT - 1, unconfirmed=ACCOUNTS),
    "beat, older": BeatConfirmed(life=4, asked=AT - 9.95),
    "beat of another": BeatConfirmed(life=3, asked=AT - 1, unconfirmed=ACCOUNTS),
    "refused": BeatRefused(life=4),
    "refused to another": BeatRefused(life=3),
    "leave": LeaveRequested(),
    "gone": LinksGone(),
}
NOTHING: dict[str, Any] = {}
CLOSES: tuple[dict[str, Any], tuple[HoldEffect, ...]] = ({"standing": CLOSING}, (AbortLinks(),))
LEAVES: tuple[dict[str, Any], tuple[HoldEffect, ...]] = ({"standing": LEFT}, (DisarmDeath(), EndLife(4)))
BEGUN: dict[str, Any] = {"standing": HOLDING, "life": 5, "confirmed": AT - 9.5}
ANSWERS: dict[str, tuple[dict[str, Any], tuple[HoldEffect, ...]]] = {
    "due": (NOTHING, (SendBeat(4),)),
    "beat": ({"confirmed": AT - 1}, (ArmDeadlines(AT + 9, AT + 11),)),
    "beat, without some": ({"confirmed": AT - 1}, (DropAccounts(ACCOUNTS), ArmDeadlines(AT + 9, AT + 11))),
    "beat, older": (NOTHING, (ArmDeadlines(AT - 9.9 + 10, AT - 9.9 + 12),)),
    "refused": CLOSES,
}
DECISIONS: dict[str, dict[str, tuple[dict[str, Any], tuple[HoldEffect, ...]]]] = {
    "beginning": {
        "due": (NOTHING, (AskLife(0),)),
        "life": (BEGUN, (ArmDeadlines(AT + 0.5, AT + 2.5),)),
        "life, late": ({"life": 5}, (AskLife(5),)),
        "leave": ({"standing": LEFT, "leaving": True}, ()),
    },
    "beginning again": {
        "due": (NOTHING, (AskLife(3),)),
        "life": (BEGUN, (ArmDeadlines(AT + 0.5, AT + 2.5),)),
        "life, late": ({"life": 5}, (AskLife(5),)),
        "leave": ({"standing": LEFT, "leaving": True}, (EndLife(3),)),
    },
    "holding": {**ANSWERS, "leave": ({"leaving": True}, ())},
    "late": {**dict.fromkeys(EVENTS, CLOSES), "leave": ({"standing": CLOSING, "leaving": True}, (AbortLinks(),))},
    "leaving": {**ANSWERS, "gone": LEAVES},
    "closing": {
        "leave": ({"leaving": True}, ()),
        "gone": ({"standing": BEGINNING}, (DisarmDeath(), AskLife(4))),
    },
    "closing to leave": {"gone": LEAVES},
    "left": {"life": (NOTHING, (EndLife(5),)), "life, late": (NOTHING, (EndLife(5),))},
}
"""What changes, and what is done. A pair that is not here changes nothing and does nothing."""


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("hold", HOLDS)
def test_a_hold_decides_every_event_as_the_table_says(hold: str, event: str) -> None:
    """Every standing, in time and late, with every event in every form."""
    changes, effects = DECISIONS[hold].get(event, (NOTHING, ()))
    assert decide_hold(HOLDS[hold], EVENTS[event], AT, TIMES) == (evolve(HOLDS[hold], **changes), effects)


@pytest.mark.parametrize(("confirmed", "acts"), [(AT - 9.999, True), (AT - 10.0, False), (AT - 11.0, False)])
def test_a_node_acts_until_its_deadline_and_not_at_it(confirmed: float, acts: bool) -> None:
    """The deadline is the first instant at which it may not."""
    assert NodeHold(standing=HOLDING, life=1, confirmed=confirmed).may_act(AT, TIMES) is acts


@pytest.mark.parametrize("standing", [BEGINNING, CLOSING, LEFT])
def test_a_node_without_a_hold_never_acts(standing: HoldStanding) -> None:
    """However recent its last beat was."""
    assert not NodeHold(standing=standing, life=1, confirmed=AT).may_act(AT, TIMES)


# --- the hold: any history -------------------------------------------------------------------------------------------


@frozen
class Asked:
    """What the store might say of a statement that was asked for some seconds before the answer comes."""

    what: str
    ago: float
    other_life: bool = False


HAPPENINGS = st.one_of(
    st.sampled_from([BeatDue(), LeaveRequested(), LinksGone()]),
    st.builds(Asked, st.sampled_from(["life", "beat", "short beat", "refused"]), st.floats(0, 13), st.booleans()),
)
HISTORIES = st.lists(st.tuples(st.floats(0, 6), HAPPENINGS), max_size=40)


@given(HISTORIES)
def test_no_history_lets_a_hold_outlast_its_beat(history: list[tuple[float, Any]]) -> None:
    """Whatever comes in whatever order: what a node does is covered by a beat, and a life that is over stays over."""
    hold, now, given_lives = NodeHold(), AT, 0
    latest: dict[int, float] = {}  # life: when its last statement that the store took was asked for
    over: set[int] = set()
    armed = False
    for later, happening in history:
        now += later
        event: HoldEvent
        match happening:
            case Asked("life", ago):
                given_lives += 1
                event = LifeGiven(life=given_lives, asked=now - ago)
                latest[given_lives] = now - ago
            case Asked(what, ago, other):
                life = hold.life + other
                if what == "refused":
                    event = BeatRefused(life=life)
                else:
                    event = BeatConfirmed(
                        life=life, asked=now - ago, unconfirmed=ACCOUNTS if what == "short beat" else frozenset()
                    )
                    latest[life] = max(latest.get(life, -math.inf), now - ago)
            case _:
                event = happening
        before, (hold, effects) = hold, decide_hold(hold, event, now, TIMES)
        kinds = [type(effect) for effect in effects]
        if before.standing is HOLDING and hold.standing is not HOLDING:
            over.add(before.life)
        if before.standing is LEFT:
            assert hold == before, "left is final"
        if hold.may_act(now, TIMES):
            assert now < latest[hold.life] + TIMES.stop_after, "it acts longer than a beat of its life covers"
            assert hold.life not in over
            assert armed or ArmDeadlines in kinds, "it acts, and nothing will end it"
        for effect in effects:
            match effect:
                case SendBeat(life):
                    assert before.may_act(now, TIMES), "it beats after its deadline"
                    assert life not in over, "a life that is over beats again"
                case ArmDeadlines(stop, death):
                    armed = True
                    assert stop <= latest[hold.life] + TIMES.stop_after
                    assert death <= latest[hold.life] + TIMES.death_after
                case DisarmDeath():
                    armed = False
                    assert isinstance(event, LinksGone), "the kernel's timer is disarmed while links are open"
                case AskLife():
                    assert hold.standing is BEGINNING, "it asks for a life while links may be open"
                case AbortLinks():
                    assert hold.standing is CLOSING
        if DropAccounts in kinds and ArmDeadlines in kinds:
            assert kinds.index(DropAccounts) < kinds.index(ArmDeadlines), "it lives longer before it has dropped them"


# --- the watch -------------------------------------------------------------------------------------------------------


def test_a_beat_that_does_not_change_for_a_lease_is_a_death() -> None:
    """Counted from the first answer with it to the asking of the last one, on condition of that beat and server."""
    seen, nothing = decide_watch(NodeWatch(), answer(AT, {7: 3}, settled=True), AT + 1, TIMES)
    assert (nothing, seen.sights) == ((), {7: BeatSight(3, AT + 1)})
    seen, still = decide_watch(seen, answer(AT + 15.9, {7: 3}, settled=True), AT + 17, TIMES)
    assert still == ()
    _, dead = decide_watch(seen, answer(AT + 16, {7: 3}, settled=True), AT + 16.5, TIMES)
    assert dead == (DeclareDead(7, 3, "one"),)


@pytest.mark.parametrize("between", [{7: 4}, {}], ids=["another beat", "gone, and back"])
def test_a_life_that_gave_a_sign_is_watched_anew(between: dict[int, int]) -> None:
    """Even if the old beat comes back, as it does after a failover."""
    seen, _ = decide_watch(NodeWatch(), answer(AT, {7: 3}, settled=True), AT, TIMES)
    seen, _ = decide_watch(seen, answer(AT + 8, between, settled=True), AT + 8, TIMES)
    _, nothing = decide_watch(seen, answer(AT + 22, {7: 3}, settled=True), AT + 22, TIMES)
    assert nothing == ()


@pytest.mark.parametrize("how", ["reconnected", "another server"])
def test_observations_start_anew(how: str) -> None:
    """After any reconnect, and after a server's start or failover, nothing that was seen before counts."""
    seen, _ = decide_watch(NodeWatch(), answer(AT, {7: 3}), AT, TIMES)
    server = "two" if how == "another server" else "one"
    if how == "reconnected":
        seen, nothing = decide_watch(seen, StoreLost(), AT + 1, TIMES)
        assert (seen, nothing) == (NodeWatch(), ())
    seen, nothing = decide_watch(seen, answer(AT + 20, {7: 3}, server=server), AT + 21, TIMES)
    assert nothing == ()
    assert not seen.settled
    assert seen.sights == {7: BeatSight(3, AT + 21)}


def test_a_server_is_settled_when_somebody_has_watched_it_for_a_lease() -> None:
    """Whoever has is to note it in the store, and the others believe that."""
    seen, _ = decide_watch(NodeWatch(), answer(AT, {}), AT, TIMES)
    assert not seen.settled
    slow, nothing = decide_watch(seen, answer(AT + 14, {}), AT + 17, TIMES)
    assert (slow.settled, nothing) == (False, ())
    watched, note = decide_watch(seen, answer(AT + 15, {}), AT + 15, TIMES)
    assert (watched.settled, note) == (True, (NoteSettled("one"),))
    told, nothing = decide_watch(seen, answer(AT + 1, {}, settled=True), AT + 1, TIMES)
    assert (told.settled, nothing) == (True, ())


def answer(asked: float, beats: Mapping[int, int], *, server: str = "one", settled: bool = False) -> StoreAnswered:
    return StoreAnswered(asked=asked, server=server, beats=beats, settled=settled)


ANSWERED = st.tuples(
    st.floats(0, 9),  # since the event before
    st.floats(0, 4),  # from the asking to the answer
    st.sampled_from(["one", "one", "one", "one", "two", ""]),  # the server; "" is a lost connection
    st.dictionaries(st.sampled_from([7, 8]), st.integers(0, 1), min_size=1),
    st.booleans(),
)


@given(st.lists(ANSWERED, max_size=25))
def test_whom_a_watch_declares_dead(history: list[tuple[float, float, str, dict[int, int], bool]]) -> None:
    """Exactly the lives whose beat was the same in all answers for a lease, over one connection to one server."""
    watch, now = NodeWatch(), AT
    run: list[tuple[float, dict[int, int]]] = []  # what each answer since the last new beginning said, and when it came
    server, ever_settled = "", False
    for later, took, name, beats, noted in history:
        now += later + took
        if not name:
            watch, effects = decide_watch(watch, StoreLost(), now, TIMES)
            run, server, ever_settled = [], "", False
            assert effects == ()
            continue
        if name != server:
            run, server, ever_settled = [], name, False
        run.append((now, beats))
        watch, effects = decide_watch(watch, answer(now - took, beats, server=name, settled=noted), now, TIMES)
        assert {(each.life, each.beat) for each in effects if isinstance(each, DeclareDead)} == {
            (life, beat) for life, beat in beats.items() if now - took >= unchanged_since(run, life) + TIMES.lease
        }
        watched = now - took >= run[0][0] + TIMES.lease
        ever_settled = ever_settled or watched or noted
        assert watch.settled is ever_settled
        assert (NoteSettled(name) in effects) is (watched and not noted)
        assert {each.server for each in effects} <= {name}


def unchanged_since(run: list[tuple[float, dict[int, int]]], life: int) -> float:
    """Return when the first came of the latest answers that say the same of a life."""
    beat = run[-1][1][life]
    return list(itertools.takewhile(lambda each: each[1].get(life) == beat, reversed(run)))[-1][0]


def test_when_it_is_worth_to_look_again() -> None:
    """At the first instant at which a question brings a death, or settles a server, and not for what is past."""
    assert next_look(NodeWatch(), AT, TIMES) is None
    seen, _ = decide_watch(NodeWatch(), answer(AT, {7: 3}, settled=True), AT, TIMES)
    seen, _ = decide_watch(seen, answer(AT + 4, {7: 3, 8: 1}, settled=True), AT + 4, TIMES)
    assert next_look(seen, AT + 4, TIMES) == AT + 15
    _, dead = decide_watch(seen, answer(AT + 15, {7: 3, 8: 1}, settled=True), AT + 15, TIMES)
    assert dead == (DeclareDead(7, 3, "one"),)
    assert next_look(seen, AT + 15, TIMES) == AT + 19
    assert next_look(seen, AT + 19, TIMES) is None
    alone, _ = decide_watch(NodeWatch(), answer(AT, {}), AT, TIMES)
    assert next_look(alone, AT, TIMES) == AT + 15


# --- claims ----------------------------------------------------------------------------------------------------------

ABLE = NodeHold(standing=HOLDING, life=4, confirmed=AT - 1)
SETTLED = NodeWatch(server="one", since=AT - 1, settled=True)


def test_a_claim_names_its_life_and_the_settled_server() -> None:
    """Both are conditions of it."""
    assert begin_claim(ABLE, SETTLED, AT, TIMES) == Claim(life=4, server="one", asked=AT)


@pytest.mark.parametrize(
    ("hold", "watch"),
    [
        (NodeHold(), SETTLED),
        (evolve(ABLE, confirmed=AT - 10), SETTLED),
        (evolve(ABLE, leaving=True), SETTLED),
        (evolve(ABLE, standing=CLOSING), SETTLED),
        (ABLE, evolve(SETTLED, settled=False)),
        (ABLE, NodeWatch()),
    ],
)
def test_who_may_not_claim(hold: NodeHold, watch: NodeWatch) -> None:
    """Nobody without a hold, nobody who leaves, and nobody at a server that may have forgotten claims."""
    assert begin_claim(hold, watch, AT, TIMES) is None


@pytest.mark.parametrize(
    ("hold", "watch", "asked", "wanted"),
    [
        (ABLE, SETTLED, AT - 9.9, True),
        (ABLE, SETTLED, AT - 10, False),
        (evolve(ABLE, life=5), SETTLED, AT - 1, False),
        (evolve(ABLE, confirmed=AT - 10), SETTLED, AT - 1, False),
        (ABLE, evolve(SETTLED, server="two"), AT - 1, False),
        (ABLE, NodeWatch(), AT - 1, False),
    ],
    ids=["in time", "late", "another life", "no hold", "another server", "connection lost"],
)
def test_which_grants_count(hold: NodeHold, watch: NodeWatch, asked: float, wanted: bool) -> None:
    """A grant counts for the life that asked, in time, and at the server that it came from."""
    assert claim_counts(Claim(life=4, server="one", asked=asked), hold, watch, AT, TIMES) is wanted
