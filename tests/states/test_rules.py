"""The table keeps the promises of the design; each is asked of the real ``step``."""

import random

import attrs
import pytest

from states import EVENTS, ROWS, Policy, Snapshot, State, Step, begin, step
from states.effects import (
    AlertExhausted,
    AlertParked,
    AlertUnusable,
    AskTurn,
    Close,
    HoldDatabase,
    HoldRequests,
    HoldWork,
    Open,
    Probe,
    ReleaseWork,
    Wait,
)
from states.events import (
    AccountBanned,
    AccountLimited,
    AuthKeyUnknown,
    AuthRejected,
    ClockJumped,
    Closed,
    ConfigRefused,
    Connected,
    CredentialsReplaced,
    DatabaseCorrupt,
    DatabaseLocked,
    Elapsed,
    Event,
    Failure,
    FloodWait,
    NetworkLost,
    NetworkRestored,
    OfLink,
    OfVisit,
    ProbeAnswered,
    ProbeDue,
    RetryRequested,
    ServerFault,
    SessionDuplicated,
    Started,
    StopRequested,
    TimedOut,
    TransportFlood,
    TurnGranted,
    Unexpected,
)
from states.guards import Moment
from states.machine import Cursor, LeanEvent, LeanMachine, LeanTransition, Row, RulesBroken, by_pair, check
from states.rules import RULES
from states.schedules import Backoff, BackoffSchedules
from states.snapshot import Action, Cause
from tests.states.life import NOW, PARKING, STEADY, Life


def effects(decision: Step) -> list[type]:
    """Return the classes of a decision's effects."""
    return [type(effect) for effect in decision.effects]


def in_state(state: State) -> Snapshot:
    """Return an account that is in this state, with a link where the state has one."""
    linked = state in (State.HEALTHY, State.TIMEOUT)
    return Snapshot(
        state=state,
        since=NOW,
        generation=5,
        life=1,
        link=3 if linked else 0,
        links=3,
        attempt=1,
        deadline=NOW + 10 if state is State.BACKOFF else None,
        cause=Cause(event="NetworkLost"),
    )


def sample(kind: type[Event], snapshot: Snapshot) -> Event:
    """Return a current event of this class."""
    if issubclass(kind, OfVisit):
        return kind(generation=snapshot.generation)
    if issubclass(kind, FloodWait):
        return kind(link=snapshot.link, seconds=30.0)
    return kind(link=snapshot.link) if issubclass(kind, OfLink) else kind()


# --- the table as a whole --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", EVENTS)
def test_every_pair_is_defined(state: State, kind: type[Event]) -> None:
    """Whatever happens in whatever state, exactly one rule answers, and it says why."""
    snapshot = in_state(state)
    decision = step(snapshot, sample(kind, snapshot), now=NOW, rng=random.Random(), policy=Policy())
    taken = [row for row in ROWS if row.name == decision.record.rule]
    assert len(taken) == 1
    assert taken[0].why


@pytest.mark.parametrize("state", State)
def test_a_stop_leads_out_of_every_state_at_once(state: State) -> None:
    """One step leads from anywhere to ``shutting_down``."""
    decision = step(in_state(state), StopRequested(), now=NOW, rng=random.Random(), policy=Policy())
    assert decision.snapshot.state is State.SHUTTING_DOWN


@pytest.mark.parametrize("kind", EVENTS)
def test_nothing_leaves_shutting_down(kind: type[Event]) -> None:
    """The final state is final."""
    snapshot = in_state(State.SHUTTING_DOWN)
    decision = step(snapshot, sample(kind, snapshot), now=NOW, rng=random.Random(), policy=Policy())
    assert decision.snapshot.state is State.SHUTTING_DOWN
    assert not set(effects(decision)) & {Open, AskTurn, Probe, Wait, ReleaseWork}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", [kind for kind in EVENTS if issubclass(kind, OfVisit)])
def test_what_a_left_visit_asked_for_changes_nothing(state: State, kind: type[OfVisit]) -> None:
    """A stale timer, turn or closing is dropped in every state."""
    snapshot = in_state(state)
    decision = step(snapshot, kind(generation=4), now=NOW, rng=random.Random(), policy=Policy())
    assert decision.snapshot == snapshot
    assert not decision.effects


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", [kind for kind in EVENTS if issubclass(kind, OfLink)])
def test_what_a_closed_link_still_says_changes_nothing(state: State, kind: type[OfLink]) -> None:
    """An event of a link that was given up is dropped in every state."""
    snapshot = in_state(state)
    event = attrs.evolve(sample(kind, snapshot), link=2)
    decision = step(snapshot, event, now=NOW, rng=random.Random(), policy=Policy())
    assert decision.snapshot == snapshot
    assert not decision.effects


@pytest.mark.parametrize("row", [row for row in ROWS if row.quiet], ids=lambda row: row.name)
def test_quiet_rules_move_only_what_no_rule_depends_on(row: Row) -> None:
    """What the journal leaves out can be left out of a replay."""
    snapshot = in_state(row.source)
    event = sample(row.event, snapshot)
    if row.guard == "stale":
        event = attrs.evolve(event, generation=1)
    if row.guard == "foreign":
        event = attrs.evolve(event, link=1)
    decision = step(snapshot, event, now=NOW + 7, rng=random.Random(), policy=Policy())
    assert decision.record.rule == row.name
    unmoved = {"last_success": None, "proved_at": None}
    assert attrs.evolve(decision.snapshot, **unmoved) == attrs.evolve(snapshot, **unmoved)


def _broken(case: str) -> list[Row]:
    rows = list(ROWS)
    last = next(row for row in rows if row.source is State.HEALTHY and row.event is Elapsed and row.when is None)
    match case:
        case "no rule":
            rows = [row for row in rows if (row.source, row.event) != (last.source, last.event)]
        case "must have no guard":
            rows[rows.index(last)] = attrs.evolve(last, when=lambda _: True)
        case "written twice":
            rows.append(last)
        case "are dead":
            rows.append(attrs.evolve(last, when=lambda _: True))
        case "unknown state or event":
            rows[rows.index(last)] = attrs.evolve(last, target="asleep")
        case "nothing leaves":
            final = next(row for row in rows if row.source is State.SHUTTING_DOWN and row.when is None)
            rows[rows.index(final)] = attrs.evolve(final, target=State.HEALTHY)
        case "never quiet":
            loud = next(row for row in rows if row.target is not None)
            rows[rows.index(loud)] = attrs.evolve(loud, quiet=True)
    return rows


@pytest.mark.parametrize(
    "case",
    [
        "no rule",
        "must have no guard",
        "written twice",
        "are dead",
        "unknown state or event",
        "nothing leaves",
        "never quiet",
    ],
)
def test_a_broken_table_is_refused(case: str) -> None:
    """Each mistake that the library would accept in silence is found at import."""
    with pytest.raises(RulesBroken, match=case):
        check(_broken(case))


def test_the_machine_takes_the_rule_that_a_reader_would_take() -> None:
    """A three-line interpreter of the written rules agrees with the machine, for every pair and guard outcome."""

    def reference(rows: list[Row], answers: tuple[bool, ...]) -> Row:
        return next(row for row, holds in zip(rows, (*answers, True), strict=True) if holds)

    checked = 0
    for (state, kind), rows in by_pair(ROWS).items():
        for outcome in range(2 ** (len(rows) - 1)):
            answers = tuple(bool(outcome >> bit & 1) for bit in range(len(rows) - 1))
            forced = [attrs.evolve(row, when=lambda _, a=a: a) for row, a in zip(rows, answers, strict=False)]
            # The library's own order of trying is what is under test, so it gets the same rows with fixed answers.
            machine = LeanMachine(model=None, states=[s.value for s in State], initial=None, auto_transitions=False)
            event = LeanEvent(kind.__name__, machine)
            for row in (*forced, rows[-1]):
                event.add_transition(LeanTransition(state.value, row.target, row=row))
            cursor = Cursor(state, Moment(Snapshot(state=state), sample(kind, Snapshot()), NOW))
            event.trigger(cursor)
            expected = reference(rows, answers)
            assert cursor.row is not None
            assert (cursor.row.why, cursor.row.target, cursor.row.guard is None) == (
                expected.why,
                expected.target,
                expected.guard is None,
            )
            assert cursor.state is (expected.target or state)
            checked += 1
    assert checked >= len(State) * len(EVENTS)


def test_every_written_rule_says_why() -> None:
    """No rule goes without its reason."""
    assert all(len(rule.why.split()) >= 3 for rule in RULES)


# --- connecting and reconnecting -------------------------------------------------------------------------------------


def test_patience_begins_with_the_turn() -> None:
    """A life asks for a turn first, and only the granted turn opens a link."""
    life = Life()
    assert effects(life.take(Started())) == [AskTurn]
    assert life.snapshot.waiting_for_turn
    opened = life.take(TurnGranted(generation=0)).effects[0]
    assert isinstance(opened, Open)
    assert (opened.patience, opened.attempt, opened.link) == (60.0, 1, 1)
    assert not life.snapshot.waiting_for_turn


def test_patience_grows_with_the_attempts() -> None:
    """Attempts get 60, 75, 90 and again 90 seconds."""
    life = Life()
    life.take(Started())
    seen = []
    for _ in range(4):
        opened = life.take(TurnGranted(generation=0)).effects[0]
        assert isinstance(opened, Open)
        seen.append(opened.patience)
        life.take(TimedOut(what="connect"))
        life.take(Elapsed(generation=0))
    assert seen == [60.0, 75.0, 90.0, 90.0]


def test_back_off_goes_as_the_guide_says() -> None:
    """Attempts that fail one after the other wait 10, 20, 40, 80, 120 and again 120 seconds."""
    life = Life()
    life.take(Started())
    waits = [life.fail(NetworkLost()).record.delay for _ in range(6)]
    assert waits == [10, 20, 40, 80, 120, 120]


def test_five_failures_raise_one_alert_and_trying_goes_on() -> None:
    """The alert comes with the fifth failure in a row, once, and the account keeps waiting for its next try."""
    life = Life()
    life.take(Started())
    alerts = [AlertExhausted in effects(life.fail(NetworkLost())) for _ in range(12)]
    assert alerts == [number == 4 for number in range(12)]
    assert life.snapshot.deadline is not None


def test_then_park_waits_for_a_person() -> None:
    """With ``then: park`` the last try ends in a wait without an end, and an action."""
    life = Life(PARKING)
    life.take(Started())
    for _ in range(2):
        life.fail(NetworkLost())
    assert AlertParked in effects(life.fail(NetworkLost()))
    assert life.snapshot.parked
    assert life.snapshot.action is Action.RETRY
    life.take(Elapsed(generation=0))
    assert life.snapshot.parked


def test_a_person_wakes_a_parked_account() -> None:
    """``retry`` leads from parked to an attempt, and counting starts anew."""
    life = Life(PARKING)
    life.take(Started())
    for _ in range(3):
        life.fail(NetworkLost())
    life.take(RetryRequested())
    assert (life.snapshot.state, life.snapshot.failures) == (State.RECONNECTING, 0)


def test_ten_unexpected_errors_in_a_row_park() -> None:
    """What nobody foresaw is bounded, whatever the schedule says."""
    life = Life()
    life.take(Started())
    for _ in range(9):
        life.fail(Unexpected())
        assert not life.snapshot.parked
    life.fail(Unexpected())
    assert life.snapshot.parked


def test_an_unknown_key_is_given_up_only_at_the_third_in_a_row() -> None:
    """−404 can be temporary: two wait 5 s each, the third needs a person."""
    life = Life()
    life.take(Started())
    for _ in range(2):
        assert life.fail(AuthKeyUnknown()).record.delay == 5
    assert AlertUnusable in effects(life.fail(AuthKeyUnknown()))
    assert life.snapshot.state is State.AUTH_FAILED


def test_another_failure_breaks_a_run_of_unknown_keys() -> None:
    """Three unknown keys count only when nothing else came between."""
    life = Life()
    life.take(Started())
    for event in (AuthKeyUnknown(), AuthKeyUnknown(), NetworkLost(), AuthKeyUnknown(), AuthKeyUnknown()):
        life.fail(event)
    assert life.snapshot.state is State.BACKOFF


@pytest.mark.parametrize(
    ("event", "action"),
    [
        (AuthRejected(), Action.LOG_IN),
        (SessionDuplicated(), Action.STOP_OTHER_COPY),
        (AccountBanned(), Action.APPEAL),
        (ConfigRefused(), Action.MEND_CONFIG),
        (DatabaseCorrupt(), Action.RESTORE_SESSION),
    ],
)
@pytest.mark.parametrize("healthy", [False, True])
def test_unusable_credentials_stop_the_account_and_say_what_to_do(
    event: Failure, action: Action, healthy: bool
) -> None:
    """Each kind of unusable credentials leads to ``auth_failed`` with an action of its own, from anywhere."""
    life = Life()
    life.take(Started())
    life.take(TurnGranted(generation=0))
    if healthy:
        life.take(Connected())
    decision = life.take(event)
    assert life.snapshot.state is State.AUTH_FAILED
    assert life.snapshot.action is action
    assert Close in effects(decision)


def test_a_flood_while_connecting_waits_as_long_as_the_server_said() -> None:
    """The server's number is a floor, with a second of slack."""
    life = Life()
    life.take(Started())
    decision = life.fail(FloodWait(seconds=300))
    assert (life.snapshot.state, decision.record.delay) == (State.BACKOFF, 301)


def test_a_person_cannot_cut_a_flood_wait_short() -> None:
    """``retry`` does not get past a flood wait."""
    life = Life()
    life.take(Started())
    life.fail(FloodWait(seconds=300))
    life.take(RetryRequested())
    assert life.snapshot.state is State.BACKOFF


def test_a_transport_flood_has_its_own_schedule() -> None:
    """−429 begins at 30 s even after many other failures, and doubles with each in a row."""
    life = Life(attrs.evolve(STEADY, backoff=BackoffSchedules(transport_flood=Backoff(first=30, cap=900, jitter=0))))
    life.take(Started())
    for _ in range(6):
        life.fail(NetworkLost())
    assert [life.fail(TransportFlood()).record.delay for _ in range(6)] == [30, 60, 120, 240, 480, 900]


# --- healthy and timeout ---------------------------------------------------------------------------------------------


def test_a_stable_link_that_is_lost_is_retried_at_once() -> None:
    """A link that held for a minute goes to ``reconnecting`` without a wait."""
    life = Life().connect().settle()
    decision = life.take(NetworkLost())
    assert life.snapshot.state is State.RECONNECTING
    assert effects(decision) == [HoldWork, Close, AskTurn]


def test_losing_unstable_links_slows_down() -> None:
    """A link that is accepted and lost again and again waits longer each time, like any failure."""
    life = Life()
    waits = [life.connect().take(NetworkLost()).record.delay for _ in range(6)]
    assert waits == [10, 20, 40, 80, 120, 120]


def test_only_a_stable_link_forgives() -> None:
    """Attempts and failures go back to zero when the link is stable, not when it is connected."""
    life = Life()
    life.take(Started())
    for _ in range(3):
        life.fail(NetworkLost())
    life.connect()
    assert (life.snapshot.failures, life.snapshot.attempt) == (3, 4)
    life.settle()
    assert (life.snapshot.failures, life.snapshot.attempt, life.snapshot.cause) == (0, 0, None)


def test_one_silence_is_a_suspicion_and_the_second_a_loss() -> None:
    """``healthy`` → ``timeout`` with 10 then 20 s of patience → ``reconnecting``."""
    life = Life().connect().settle()
    first = life.take(ProbeDue(generation=0)).effects[0]
    assert isinstance(first, Probe)
    assert first.patience == 10
    suspected = life.take(TimedOut())
    assert (life.snapshot.state, life.snapshot.failures) == (State.TIMEOUT, 1)
    assert suspected.effects[-1].patience == 20  # type: ignore[attr-defined]
    assert effects(life.take(TimedOut())) == [Close, AskTurn]
    assert life.snapshot.state is State.RECONNECTING


def test_an_answer_ends_the_suspicion() -> None:
    """``timeout`` goes back to ``healthy`` when the probe is answered, and work goes on."""
    life = Life().connect().settle()
    life.take(TimedOut())
    decision = life.take(ProbeAnswered())
    assert life.snapshot.state is State.HEALTHY
    assert ReleaseWork in effects(decision)


def test_a_silent_request_does_not_count_against_a_suspect_link() -> None:
    """In ``timeout`` only the probe decides."""
    life = Life().connect().settle()
    life.take(TimedOut())
    life.take(TimedOut(what="request"))
    assert (life.snapshot.state, life.snapshot.failures) == (State.TIMEOUT, 1)


def test_a_server_fault_makes_the_link_suspect() -> None:
    """A probe answered by an internal error is no sign of health, and no loss yet."""
    life = Life().connect().settle()
    life.take(ServerFault())
    assert life.snapshot.state is State.TIMEOUT


def test_a_proof_is_due_once_a_minute() -> None:
    """Probes are pings, until the last authorised RPC is a minute old."""
    life = Life().connect()
    kinds = []
    for _ in range(4):
        life.now += 19
        probe = life.take(ProbeDue(generation=0)).effects[0]
        assert isinstance(probe, Probe)
        kinds.append(probe.proof)
        life.take(ProbeAnswered(proof=probe.proof))
    assert kinds == [False, False, True, False]


def test_a_flood_holds_its_kind_of_request_and_nothing_else() -> None:
    """A flood wait of a request leaves the account ``healthy`` and is kept with its deadline."""
    life = Life().connect()
    decision = life.take(FloodWait(seconds=60, request="SendMessage"))
    assert life.snapshot.state is State.HEALTHY
    assert [(hold.request, hold.until) for hold in life.snapshot.holds] == [("SendMessage", life.now + 61)]
    assert effects(decision) == [HoldRequests]


def test_of_two_floods_of_one_kind_the_longer_stands() -> None:
    """A shorter wait does not shorten a longer one."""
    life = Life().connect()
    life.take(FloodWait(seconds=600, request="SendMessage"))
    until = life.snapshot.holds[0].until
    life.take(FloodWait(seconds=5, request="SendMessage"))
    assert life.snapshot.holds[0].until == until


def test_a_locked_database_does_not_cut_a_connection() -> None:
    """The account stays ``healthy``, and the file is tried again after 5 s."""
    life = Life().connect()
    decision = life.take(DatabaseLocked())
    assert life.snapshot.state is State.HEALTHY
    assert decision.effects == (HoldDatabase(delay=5.0),)


def test_a_limited_account_stays_connected_with_its_work_held() -> None:
    """The limit is kept over a reconnect, and work is not released by it."""
    life = Life().connect().settle()
    assert HoldWork in effects(life.take(AccountLimited()))
    life.take(NetworkLost())
    life.take(TurnGranted(generation=0))
    assert ReleaseWork not in effects(life.take(Connected()))
    assert (life.snapshot.state, life.snapshot.action) == (State.HEALTHY, Action.APPEAL)
    assert ReleaseWork in effects(life.take(RetryRequested()))


def test_a_clock_jump_probes_at_once() -> None:
    """A machine that slept asks its links for a sign of life as soon as it wakes."""
    life = Life().connect()
    assert effects(life.take(ClockJumped(seconds=3600))) == [Probe]


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_a_restored_network_cuts_the_wait_for_it_short() -> None:
    """A wait for the network ends when the network is seen; one for the server does not."""
    for event, state in ((NetworkLost(), State.RECONNECTING), (ServerFault(), State.BACKOFF)):
        life = Life()
        life.take(Started())
        life.fail(event)
        life.take(NetworkRestored())
        assert life.snapshot.state is state


def test_auth_failed_ignores_everything_but_a_person() -> None:
    """No time, no network and no late report gets dead credentials to be tried again."""
    dead = attrs.evolve(in_state(State.AUTH_FAILED), cause=Cause(event="AuthRejected"))
    for kind in EVENTS:
        if kind in (CredentialsReplaced, RetryRequested, StopRequested):
            continue
        decision = step(dead, sample(kind, dead), now=NOW, rng=random.Random(), policy=Policy())
        assert decision.snapshot.state is State.AUTH_FAILED
        assert not set(effects(decision)) & {Open, AskTurn, Probe}


@pytest.mark.parametrize("event", [CredentialsReplaced(), RetryRequested()])
def test_a_person_leads_out_of_auth_failed(event: Event) -> None:
    """New credentials, or a person's word, lead to a new first attempt."""
    life = Life(snapshot=in_state(State.AUTH_FAILED))
    assert effects(life.take(event)) == [AskTurn]
    assert life.snapshot.state is State.CONNECTING


# --- from life to life -----------------------------------------------------------------------------------------------


def stopped(life: Life) -> Snapshot:
    """Stop the account and return what is stored."""
    life.take(StopRequested())
    return life.snapshot


def test_dead_credentials_stay_dead_over_a_restart() -> None:
    """``auth_failed`` is sticky for the same key, after a clean stop as after a crash."""
    life = Life()
    life.take(Started(credentials="one"))
    life.fail(AuthRejected())
    for stored in (life.snapshot, stopped(life)):
        again = Life(snapshot=begin(stored, now=NOW + 100))
        again.take(Started(credentials="one"))
        assert again.snapshot.state is State.AUTH_FAILED


def test_other_credentials_are_tried_after_a_restart() -> None:
    """A login made while the engine was down is noticed at its start."""
    life = Life()
    life.take(Started(credentials="one"))
    life.fail(AuthRejected())
    again = Life(snapshot=begin(stopped(life), now=NOW + 100))
    assert effects(again.take(Started(credentials="two"))) == [AskTurn]
    assert again.snapshot.state is State.CONNECTING


def test_a_wait_goes_on_after_a_restart() -> None:
    """What is left of a flood wait is waited for, and no more."""
    life = Life()
    life.take(Started())
    life.fail(FloodWait(seconds=300))
    deadline = life.snapshot.deadline
    again = Life(snapshot=begin(stopped(life), now=NOW + 100))
    again.now = NOW + 100
    wait = again.take(Started()).effects[0]
    assert isinstance(wait, Wait)
    assert deadline is not None
    assert wait.delay == pytest.approx(deadline - again.now)


def test_a_wait_that_ended_meanwhile_fires_at_once() -> None:
    """A stale deadline is no reason to wait."""
    life = Life()
    life.take(Started())
    life.fail(NetworkLost())
    again = Life(snapshot=begin(life.snapshot, now=NOW + 10_000))
    again.now = NOW + 10_000
    wait = again.take(Started()).effects[0]
    assert isinstance(wait, Wait)
    assert wait.delay == 0


def test_holds_and_counters_survive_a_restart() -> None:
    """Floods that are not over, failures and reconnects are kept; a link is not."""
    life = Life().connect().settle()
    life.take(FloodWait(seconds=500, request="SendMessage"))
    life.take(NetworkLost())
    life.take(TurnGranted(generation=0))
    life.take(Connected())
    born = begin(stopped(life), now=life.now + 1)
    assert (born.state, born.link, born.reconnects, born.failures) == (State.CONNECTING, 0, 1, 1)
    assert [hold.request for hold in born.holds] == ["SendMessage"]


def test_the_life_ends_when_the_link_is_gone() -> None:
    """``Closed`` of the last visit finishes the life; one of an earlier visit does not."""
    life = Life().connect()
    life.take(StopRequested())
    stale = step(life.snapshot, Closed(generation=1), now=life.now, rng=life.rng, policy=life.policy)
    assert not stale.effects
    assert [type(effect).__name__ for effect in life.take(Closed(generation=0)).effects] == ["Finish"]
