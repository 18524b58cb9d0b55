"""The law: what a connection does about each thing that can happen to it.

Theory. A connection is a Mealy machine: seven states, a finite set of typed events, and for every (state, event) pair
at least one rule. The rules of a pair are tried from the top; the first whose guard holds is taken. The last has no
guard, so exactly one rule is taken. A rule goes to a state or stays (``None``), writes something into the snapshot and
names effects. It performs nothing: ``states.step`` turns it into a new snapshot, effects and a record, and
``states.machine`` checks the table and dispatches by it. There are no other transitions.

Read the table by state, from the top. A rule for several states or events is a rule for each of them. ``quiet`` rules
are routine: they may change only ``last_success`` and ``proved_at``, and the journal leaves them out.

The diagrams print every ``why``.
"""

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from states import guards, notes
from states.effects import (
    AlertDatabase,
    AlertExhausted,
    AlertLimited,
    AlertParked,
    AlertStalled,
    AlertUnusable,
    ArmProbe,
    ArmStable,
    AskTurn,
    Close,
    Effect,
    FetchUpdates,
    Finish,
    HoldDatabase,
    HoldRequests,
    HoldWork,
    Open,
    Probe,
    Release,
    ReleaseRequests,
    ReleaseWork,
    Wait,
)
from states.events import (
    EVENTS,
    AccountBanned,
    AccountLimited,
    AuthKeyUnknown,
    AuthRejected,
    CaughtUp,
    ClockJumped,
    Closed,
    ConfigRefused,
    Connected,
    CredentialsReplaced,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseRecovered,
    DatabaseUnavailable,
    Elapsed,
    Event,
    FloodWait,
    LimitLifted,
    NetworkLost,
    NetworkRestored,
    OfLink,
    OfVisit,
    ProbeAnswered,
    ProbeDue,
    ProtocolBroken,
    RetryRequested,
    ServerFault,
    SessionDuplicated,
    Stable,
    Started,
    StopRequested,
    TimedOut,
    TransportFlood,
    TurnGranted,
    Unexpected,
    UpdatesConfirmed,
    UpdatesStalled,
)
from states.guards import Moment
from states.snapshot import State

CONNECTING, HEALTHY, TIMEOUT, BACKOFF, RECONNECTING, AUTH_FAILED, SHUTTING_DOWN = State

Guard = Callable[[Moment], bool]
Note = Callable[[Moment], notes.Changes]


def _listed(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


@frozen
class Rule:
    """In ``source``, when ``event`` comes and ``when`` holds: go to ``target`` (None: stay), note, do."""

    source: tuple[State, ...] = field(converter=_listed)
    event: tuple[type[Event], ...] = field(converter=_listed)
    target: State | None
    when: Guard | None = field(default=None, kw_only=True)
    note: Note | None = field(default=None, kw_only=True)
    does: tuple[type[Effect], ...] = field(default=(), kw_only=True)
    quiet: bool = field(default=False, kw_only=True)
    why: str = field(kw_only=True)


ALL = tuple(State)
ALIVE = (CONNECTING, HEALTHY, TIMEOUT, BACKOFF, RECONNECTING, AUTH_FAILED)
ATTEMPT = (CONNECTING, RECONNECTING)

OF_VISIT = tuple(event for event in EVENTS if issubclass(event, OfVisit))
OF_LINK = tuple(event for event in EVENTS if issubclass(event, OfLink))
UNUSABLE = (AuthRejected, SessionDuplicated, AccountBanned, ConfigRefused, DatabaseCorrupt)
"""Only the operator can remedy these: the credentials, or the file that holds them, cannot be used."""
LOSSES = (NetworkLost, ProtocolBroken, Unexpected)
"""The link is gone; the cause has a schedule of its own, or uses the network's."""
FAILED_ATTEMPT = (*LOSSES, TimedOut, ServerFault, DatabaseLocked, DatabaseUnavailable)

RULES: tuple[Rule, ...] = (
    # every state: a late event changes nothing
    Rule(ALL, OF_VISIT, None, when=guards.stale, quiet=True, why="it answers what an earlier visit of a state asked"),
    Rule(ALL, OF_LINK, None, when=guards.foreign, quiet=True, why="it speaks of a link that was given up already"),
    # every state: the trouble of the session's file is over
    Rule(ALL, DatabaseRecovered, None, note=notes.clear_trouble, why="what had to wait is written"),
    # every state but the last: a stop is a single step
    Rule(ALIVE, StopRequested, SHUTTING_DOWN, note=notes.prepare_next_life, does=(HoldWork, Close),
         why="a stop is never refused and never waits"),

    # connecting, reconnecting: an attempt; first a turn, then a link, then its proof
    Rule(CONNECTING, Started, None, note=notes.record_key, does=(AskTurn,), why="a life begins with asking for a turn"),
    Rule(RECONNECTING, Started, None, why="a life never begins here"),
    Rule(ATTEMPT, TurnGranted, None, when=guards.under_way, why="one attempt at a time"),
    Rule(ATTEMPT, TurnGranted, None, note=notes.count_attempt, does=(Open,),
         why="patience begins with the turn, not before"),
    Rule(ATTEMPT, Connected, HEALTHY, when=guards.limited, note=notes.record_connection, does=(ArmStable, ArmProbe),
         why="the link is proven, but the work of a limited account stays held"),
    Rule(ATTEMPT, Connected, HEALTHY, note=notes.record_connection, does=(ReleaseWork, ArmStable, ArmProbe),
         why="an RPC was answered on this very connection"),
    Rule(ATTEMPT, FAILED_ATTEMPT, BACKOFF, when=guards.out_of_tries, note=notes.count_alerted_failure,
         does=(Close, AlertParked), why="so many failures in a row are for a person to judge: parked"),
    Rule(ATTEMPT, FAILED_ATTEMPT, BACKOFF, when=guards.exhausted, note=notes.count_alerted_failure,
         does=(Close, Wait, AlertExhausted),
         why="the tries are used up: a person is told once, and the trying goes on at the cap"),
    Rule(ATTEMPT, FAILED_ATTEMPT, BACKOFF, note=notes.count_failure, does=(Close, Wait),
         why="a failed attempt waits as long as the schedule of its cause says"),
    Rule(ATTEMPT, TransportFlood, BACKOFF, when=guards.exhausted, note=notes.count_alerted_failure,
         does=(Close, Wait, AlertExhausted), why="refused again and again: a person is told once, and the waits grow"),
    Rule(ATTEMPT, (FloodWait, TransportFlood), BACKOFF, note=notes.count_failure, does=(Close, Wait),
         why="a flood wait while connecting holds the connecting; the server's number is a floor"),
    Rule(ATTEMPT, AuthKeyUnknown, BACKOFF, when=guards.exhausted, note=notes.count_alerted_failure,
         does=(Close, Release, Wait, AlertExhausted),
         why="unknown again and again: a person is told and can log in, and the trying goes on, ever more slowly"),
    Rule(ATTEMPT, AuthKeyUnknown, BACKOFF, when=guards.told, note=notes.count_failure, does=(Close, Release, Wait),
         why="no number of these errors proves anything: anybody on the path can send them"),
    Rule(ATTEMPT, AuthKeyUnknown, BACKOFF, note=notes.count_failure, does=(Close, Wait),
         why="an unknown key can be temporary"),
    Rule(ATTEMPT, UNUSABLE, AUTH_FAILED, note=notes.count_failure, does=(Close, Release, AlertUnusable),
         why="unusable credentials are never retried by themselves"),
    Rule(ATTEMPT, AccountLimited, None, when=guards.of_some_requests, note=notes.restrict, does=(HoldRequests,),
         why="what it may not do is held from the first moment on; the attempt goes on"),
    Rule(ATTEMPT, AccountLimited, None, when=guards.limited, why="it is known"),
    Rule(ATTEMPT, AccountLimited, None, note=notes.mark_limited, does=(AlertLimited,),
         why="a limited account may connect; the attempt goes on"),
    Rule(ATTEMPT, CredentialsReplaced, CONNECTING, note=notes.switch_key, does=(Close, AskTurn),
         why="the attempt under way speaks with the old credentials"),
    Rule(ATTEMPT, RetryRequested, None, why="an attempt is due or under way already"),
    Rule(ATTEMPT, NetworkRestored, None, why="an attempt is due or under way already"),
    Rule(ATTEMPT, ClockJumped, None, note=notes.move_times,
         why="times move with a clock that was set; the attempt's own patience ends it"),
    Rule(ATTEMPT, Closed, None, quiet=True, why="the link before is gone, as was asked"),
    Rule(ATTEMPT, (ProbeAnswered, CaughtUp, UpdatesConfirmed, UpdatesStalled, LimitLifted), None,
         why="no link is asked for anything before it is proven"),
    Rule(ATTEMPT, (ProbeDue, Stable, Elapsed), None, why="no timer runs in an attempt: its patience ends it"),

    # healthy: an RPC was answered on this very connection
    Rule(HEALTHY, ProbeDue, None, does=(Probe,), quiet=True, why="a link is healthy only as long as it answers"),
    Rule(HEALTHY, ProbeAnswered, None, note=notes.record_answer, does=(ArmProbe,), quiet=True,
         why="it answers; ask again in a while"),
    Rule(HEALTHY, Stable, None, note=notes.mark_stable, why="the link has held: attempts and failures start from zero"),
    Rule(HEALTHY, (TimedOut, ServerFault), TIMEOUT, note=notes.count_silence, does=(HoldWork, Probe),
         why="one silence is a suspicion, not yet a loss"),
    Rule(HEALTHY, LOSSES, RECONNECTING, when=guards.stable, note=notes.count_failure, does=(HoldWork, Close, AskTurn),
         why="a link that held deserves a retry at once"),
    Rule(HEALTHY, LOSSES, BACKOFF, when=guards.out_of_tries, note=notes.count_alerted_failure,
         does=(HoldWork, Close, AlertParked), why="so many failures in a row are for a person to judge: parked"),
    Rule(HEALTHY, LOSSES, BACKOFF, when=guards.exhausted, note=notes.count_alerted_failure,
         does=(HoldWork, Close, Wait, AlertExhausted),
         why="the tries are used up: a person is told once, and the trying goes on at the cap"),
    Rule(HEALTHY, LOSSES, BACKOFF, note=notes.count_failure, does=(HoldWork, Close, Wait),
         why="a link that never settled is a failed attempt"),
    Rule(HEALTHY, RetryRequested, None, when=guards.restricted, note=notes.clear_limit,
         does=(ReleaseRequests, ReleaseWork, Probe), why="a person says that the limit of some requests is over"),
    Rule(HEALTHY, RetryRequested, None, when=guards.limited, note=notes.clear_limit, does=(ReleaseWork, Probe),
         why="a person says that the limit is over"),
    Rule(HEALTHY, RetryRequested, RECONNECTING, when=guards.stalled, note=notes.count_client,
         does=(HoldWork, Close, AskTurn), why="a person asks for a fresh client, because updates are missing"),
    Rule(HEALTHY, RetryRequested, None, does=(Probe,), why="see at once whether the link still answers"),
    Rule(HEALTHY, UpdatesStalled, None, when=guards.clients_in_vain, note=notes.tell_stall, does=(AlertStalled,),
         why="a fresh client does not get the updates either: a person is told once"),
    Rule(HEALTHY, UpdatesStalled, RECONNECTING, when=guards.client_due, note=notes.count_client,
         does=(HoldWork, Close, AskTurn), why="updates that were asked for did not come: a fresh client may get them"),
    Rule(HEALTHY, UpdatesStalled, None, when=guards.asked_for, quiet=True,
         why="another fresh client has its time; until then the connection is of use"),
    Rule(HEALTHY, UpdatesStalled, None, when=guards.told_of_stall, does=(FetchUpdates,), quiet=True,
         why="a person knows, and the updates are asked for again"),
    Rule(HEALTHY, UpdatesStalled, None, note=notes.record_stall, does=(FetchUpdates,),
         why="updates that are missing are asked for before anything is cut"),
    Rule(HEALTHY, ClockJumped, None, note=notes.move_times, does=(Probe,),
         why="times move with a clock that was set; a machine that slept may have lost the link"),
    Rule(HEALTHY, Elapsed, None, why="this state has no deadline"),
    Rule(HEALTHY, NetworkRestored, None, why="this link did not lose the network"),

    # timeout: something went unanswered; the link is suspect and work is held
    Rule(TIMEOUT, ProbeAnswered, HEALTHY, when=guards.limited, note=notes.record_answer, does=(ArmStable, ArmProbe),
         why="it answers after all, but the work of a limited account stays held"),
    Rule(TIMEOUT, ProbeAnswered, HEALTHY, note=notes.record_answer, does=(ReleaseWork, ArmStable, ArmProbe),
         why="it answers after all"),
    Rule(TIMEOUT, TimedOut, None, when=guards.of_request, why="the link is suspect already; the probe decides"),
    Rule(TIMEOUT, (TimedOut, ServerFault), None, when=guards.patience_left, note=notes.count_silence, does=(Probe,),
         why="ask again, and wait longer"),
    Rule(TIMEOUT, (TimedOut, ServerFault), BACKOFF, when=guards.out_of_tries, note=notes.count_alerted_silence,
         does=(Close, AlertParked), why="so many failures in a row are for a person to judge: parked"),
    Rule(TIMEOUT, (TimedOut, ServerFault), RECONNECTING, when=guards.exhausted, note=notes.count_alerted_silence,
         does=(Close, AskTurn, AlertExhausted), why="a link that stays silent is lost, and a person is told once"),
    Rule(TIMEOUT, (TimedOut, ServerFault), RECONNECTING, note=notes.count_silence, does=(Close, AskTurn),
         why="a link that stays silent is lost; the waiting was done while it was suspect"),
    Rule(TIMEOUT, LOSSES, RECONNECTING, when=guards.stable, note=notes.count_failure, does=(Close, AskTurn),
         why="a link that held deserves a retry at once"),
    Rule(TIMEOUT, LOSSES, BACKOFF, when=guards.out_of_tries, note=notes.count_alerted_failure,
         does=(Close, AlertParked), why="so many failures in a row are for a person to judge: parked"),
    Rule(TIMEOUT, LOSSES, BACKOFF, when=guards.exhausted, note=notes.count_alerted_failure,
         does=(Close, Wait, AlertExhausted),
         why="the tries are used up: a person is told once, and the trying goes on at the cap"),
    Rule(TIMEOUT, LOSSES, BACKOFF, note=notes.count_failure, does=(Close, Wait),
         why="a link that never settled is a failed attempt"),
    Rule(TIMEOUT, RetryRequested, RECONNECTING, does=(Close, AskTurn), why="a person does not wait for the probe"),
    Rule(TIMEOUT, ClockJumped, None, note=notes.move_times, does=(Probe,),
         why="the probe that is out may have slept with the machine"),
    Rule(TIMEOUT, UpdatesStalled, None, why="the link is suspect already; the probe decides"),
    Rule(TIMEOUT, (ProbeDue, Stable), None, why="a probe is out already, and only it decides"),
    Rule(TIMEOUT, Elapsed, None, why="the probe's own patience is the deadline"),
    Rule(TIMEOUT, NetworkRestored, None, why="the probe that is out will tell"),

    # healthy and timeout: reports that a live link may make in either state
    Rule((HEALTHY, TIMEOUT), FloodWait, None, note=notes.hold_request, does=(HoldRequests,),
         why="a flood wait belongs to one kind of request; the connection has nothing to do with it"),
    Rule((HEALTHY, TIMEOUT), TransportFlood, BACKOFF, note=notes.count_failure, does=(HoldWork, Close, Wait),
         why="the datacenter refuses more connections for now; even a link that held must wait"),
    Rule((HEALTHY, TIMEOUT), AuthKeyUnknown, BACKOFF, when=guards.exhausted, note=notes.count_alerted_failure,
         does=(HoldWork, Close, Release, Wait, AlertExhausted),
         why="unknown again and again: a person is told and can log in, and the trying goes on, ever more slowly"),
    Rule((HEALTHY, TIMEOUT), AuthKeyUnknown, BACKOFF, note=notes.count_failure, does=(HoldWork, Close, Wait),
         why="an unknown key can be temporary"),
    Rule((HEALTHY, TIMEOUT), UNUSABLE, AUTH_FAILED, note=notes.count_failure,
         does=(HoldWork, Close, Release, AlertUnusable),
         why="unusable credentials are never retried by themselves"),
    Rule((HEALTHY, TIMEOUT), AccountLimited, None, when=guards.restricted_already, note=notes.restrict,
         does=(HoldRequests,), why="the limit lasts: what it concerns is held anew, and nobody is told again"),
    Rule((HEALTHY, TIMEOUT), AccountLimited, None, when=guards.of_some_requests, note=notes.restrict,
         does=(HoldRequests, AlertLimited),
         why="Telegram refuses only some requests: those are held, and no other work"),
    Rule((HEALTHY, TIMEOUT), AccountLimited, None, when=guards.limited, why="it is known"),
    Rule((HEALTHY, TIMEOUT), AccountLimited, None, note=notes.mark_limited, does=(HoldWork, AlertLimited),
         why="cutting the connection of a limited account helps nobody; its work is held"),
    Rule((HEALTHY, TIMEOUT), LimitLifted, None, when=guards.lifted, note=notes.lift_restriction,
         does=(ReleaseRequests,), why="a request went through that the limit would have refused"),
    Rule((HEALTHY, TIMEOUT), LimitLifted, None, why="no such limit is known"),
    Rule((HEALTHY, TIMEOUT), CredentialsReplaced, RECONNECTING, note=notes.switch_key, does=(HoldWork, Close, AskTurn),
         why="the link speaks with the old credentials"),
    Rule((HEALTHY, TIMEOUT), (DatabaseLocked, DatabaseUnavailable), None, when=guards.worth_telling,
         note=notes.record_alerted_trouble, does=(HoldDatabase, AlertDatabase),
         why="a session file that cannot be written does not cut a connection, but a person must know, once"),
    Rule((HEALTHY, TIMEOUT), (DatabaseLocked, DatabaseUnavailable), None, note=notes.record_trouble,
         does=(HoldDatabase,), why="a locked database does not cut a connection; what is to be written waits"),
    Rule((HEALTHY, TIMEOUT), CaughtUp, None, why="what was missed while the account was away is on record"),
    Rule((HEALTHY, TIMEOUT), UpdatesConfirmed, None, when=guards.stalled, note=notes.clear_stall,
         why="the updates that were missing are there"),
    Rule((HEALTHY, TIMEOUT), UpdatesConfirmed, None, quiet=True, why="no update was missing"),
    Rule((HEALTHY, TIMEOUT), (Started, TurnGranted, Connected), None, why="this link is open and proven already"),
    Rule((HEALTHY, TIMEOUT), Closed, None, quiet=True, why="the link before is gone, as was asked"),

    # backoff: not connected; waiting for the deadline that the cause's schedule gave
    Rule(BACKOFF, Started, None, when=guards.parked, note=notes.record_key, does=(AlertParked,),
         why="parked is parked, also after a restart"),
    Rule(BACKOFF, Started, None, note=notes.record_key, does=(Wait,), why="the wait goes on where the restart cut it"),
    Rule(BACKOFF, Elapsed, None, when=guards.parked, why="a parked account waits for a person"),
    Rule(BACKOFF, Elapsed, RECONNECTING, does=(AskTurn,), why="the wait is over"),
    Rule(BACKOFF, NetworkRestored, RECONNECTING, when=guards.waits_for_network, does=(AskTurn,),
         why="the network is back, so the wait for it has lost its reason"),
    Rule(BACKOFF, NetworkRestored, RECONNECTING, when=guards.doubts_key, does=(AskTurn,),
         why="others got through, so who said that the key is unknown may be gone"),
    Rule(BACKOFF, NetworkRestored, None, why="this wait is not for the network"),
    Rule(BACKOFF, RetryRequested, None, when=guards.flooded, why="a flood wait is a floor, also for a person"),
    Rule(BACKOFF, RetryRequested, RECONNECTING, note=notes.reset_counters, does=(AskTurn,), why="a person asks for it"),
    Rule(BACKOFF, ClockJumped, None, when=guards.parked, note=notes.move_times,
         why="a parked account waits for a person"),
    Rule(BACKOFF, ClockJumped, None, note=notes.move_times, does=(Wait,),
         why="the deadline is a time of day: it moves with a clock that was set, and comes nearer in a sleep"),
    Rule(BACKOFF, CredentialsReplaced, CONNECTING, when=guards.parked, note=notes.switch_key, does=(AskTurn,),
         why="a person acted"),
    Rule(BACKOFF, CredentialsReplaced, CONNECTING, when=guards.doubts_key, note=notes.switch_key, does=(AskTurn,),
         why="a person logged in, as was asked"),
    Rule(BACKOFF, CredentialsReplaced, None, note=notes.record_key, why="the next attempt reads them; the wait stands"),
    Rule(BACKOFF, UNUSABLE, AUTH_FAILED, note=notes.count_failure, does=(Release, AlertUnusable),
         why="the credentials are unusable, whoever found out"),
    Rule(BACKOFF, (FloodWait,), None, note=notes.hold_request, does=(HoldRequests,),
         why="a flood wait of a kind of request is kept, whenever it is heard of"),
    Rule(BACKOFF, AccountLimited, None, when=guards.of_some_requests, note=notes.restrict, does=(HoldRequests,),
         why="what it may not do is held from the next connection on"),
    Rule(BACKOFF, AccountLimited, None, when=guards.limited, why="it is known"),
    Rule(BACKOFF, AccountLimited, None, note=notes.mark_limited, does=(AlertLimited,), why="a person must know"),
    Rule(BACKOFF, (*FAILED_ATTEMPT, TransportFlood, AuthKeyUnknown), None,
         why="there is no link that could fail; the wait stands"),
    Rule(BACKOFF, (TurnGranted, Connected, CaughtUp, UpdatesConfirmed, UpdatesStalled, LimitLifted), None,
         why="there is no link"),
    Rule(BACKOFF, (ProbeAnswered, ProbeDue, Stable), None, why="there is no link that is asked"),
    Rule(BACKOFF, Closed, None, quiet=True, why="the link before is gone, as was asked"),

    # auth_failed: the credentials are unusable; nothing is sent until a person acts
    Rule(AUTH_FAILED, CredentialsReplaced, CONNECTING, note=notes.switch_key, does=(AskTurn,), why="a person acted"),
    Rule(AUTH_FAILED, RetryRequested, CONNECTING, note=notes.reset_counters, does=(AskTurn,),
         why="a person says that the credentials are good again"),
    Rule(AUTH_FAILED, Started, CONNECTING, when=guards.new_credentials, note=notes.switch_key, does=(AskTurn,),
         why="a person acted while the engine was down"),
    Rule(AUTH_FAILED, Started, None, does=(AlertUnusable,), why="a restart does not mend credentials"),
    Rule(AUTH_FAILED, OF_LINK, None, why="nothing that a link says matters until a person acts"),
    Rule(AUTH_FAILED, ClockJumped, None, note=notes.move_times, why="times move with a clock that was set"),
    Rule(AUTH_FAILED, (TurnGranted, ProbeDue, Stable, Elapsed, NetworkRestored), None,
         why="no time and no network mends credentials"),
    Rule(AUTH_FAILED, Closed, None, quiet=True, why="the link before is gone, as was asked"),

    # shutting_down: final; nothing leaves it
    Rule(SHUTTING_DOWN, Closed, None, does=(Finish,), why="the link is gone, so the life is over"),
    Rule(SHUTTING_DOWN, (StopRequested, Started, RetryRequested, CredentialsReplaced), None, why="it is stopping"),
    Rule(SHUTTING_DOWN, OF_LINK, None, why="whatever the link still says, it is being closed"),
    Rule(SHUTTING_DOWN, ClockJumped, None, note=notes.move_times,
         why="the wait that the next life continues moves with a clock that was set"),
    Rule(SHUTTING_DOWN, (TurnGranted, ProbeDue, Stable, Elapsed, NetworkRestored), None,
         why="nothing is begun any more"),
)  # fmt: skip
