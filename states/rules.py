"""The law: what a connection does about each thing that can happen to it.

Theory. A connection is a Mealy machine: seven states, a finite set of typed events, and for every (state, event) pair
at least one rule. The rules of a pair are tried from the top; the first whose guard holds is taken, and the last has
no guard, so exactly one is. A rule goes to a state or stays (``None``), notes something in the snapshot and names
effects. It performs nothing: ``states.step`` turns it into a new snapshot, effects and a record, and
``states.machine`` checks the table and dispatches by it. There are no other transitions than these.

Read it by state, from the top. A row for several states or events is a row for each of them. ``quiet`` rows are
routine: they may move only ``last_success`` and ``proved_at``, and the journal leaves them out.
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
    AlertUnusable,
    ArmProbe,
    ArmStable,
    AskTurn,
    Close,
    Effect,
    Finish,
    HoldDatabase,
    HoldRequests,
    HoldWork,
    Open,
    Probe,
    Release,
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
    """In ``source``, when ``event`` comes and ``when`` holds: go to ``target`` (None: stay), note, do; and why."""

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
"""Nobody but a person can mend these: the credentials, or the file that holds them, cannot be used."""
LOSSES = (NetworkLost, ProtocolBroken, Unexpected)
"""The link is gone, and its cause has a schedule of its own or the network's."""
FAILED_ATTEMPT = (*LOSSES, TimedOut, ServerFault, DatabaseLocked, DatabaseUnavailable)

RULES: tuple[Rule, ...] = (
    # every state: what is late changes nothing
    Rule(ALL, OF_VISIT, None, when=guards.stale, quiet=True, why="it answers what an earlier visit of a state asked"),
    Rule(ALL, OF_LINK, None, when=guards.foreign, quiet=True, why="it speaks of a link that was given up already"),
    # every state: the session's file is nobody's trouble any more
    Rule(ALL, DatabaseRecovered, None, note=notes.unhindered, why="what had to wait is written"),
    # every state but the last: one step leads out
    Rule(ALIVE, StopRequested, SHUTTING_DOWN, note=notes.stopping, does=(HoldWork, Close),
         why="a stop is never refused and never waits"),

    # connecting, reconnecting: an attempt; first a turn, then a link, then its proof
    Rule(CONNECTING, Started, None, note=notes.named, does=(AskTurn,), why="a life begins with asking for a turn"),
    Rule(RECONNECTING, Started, None, why="a life never begins here"),
    Rule(ATTEMPT, TurnGranted, None, when=guards.under_way, why="one attempt at a time"),
    Rule(ATTEMPT, TurnGranted, None, note=notes.opened, does=(Open,), why="patience begins with the turn, not before"),
    Rule(ATTEMPT, Connected, HEALTHY, when=guards.limited, note=notes.connected, does=(ArmStable, ArmProbe),
         why="the link is proven, but the work of a limited account stays held"),
    Rule(ATTEMPT, Connected, HEALTHY, note=notes.connected, does=(ReleaseWork, ArmStable, ArmProbe),
         why="an RPC was answered on this very connection"),
    Rule(ATTEMPT, FAILED_ATTEMPT, BACKOFF, when=guards.out_of_tries, note=notes.failed_and_told,
         does=(Close, AlertParked), why="so many failures in a row are for a person to judge: parked"),
    Rule(ATTEMPT, FAILED_ATTEMPT, BACKOFF, when=guards.exhausted, note=notes.failed_and_told,
         does=(Close, Wait, AlertExhausted),
         why="the tries are used up: a person is told once, and the trying goes on at the cap"),
    Rule(ATTEMPT, FAILED_ATTEMPT, BACKOFF, note=notes.failed, does=(Close, Wait),
         why="a failed attempt waits as long as the schedule of its cause says"),
    Rule(ATTEMPT, TransportFlood, BACKOFF, when=guards.exhausted, note=notes.failed_and_told,
         does=(Close, Wait, AlertExhausted), why="refused again and again: a person is told once, and the waits grow"),
    Rule(ATTEMPT, (FloodWait, TransportFlood), BACKOFF, note=notes.failed, does=(Close, Wait),
         why="a flood wait while connecting holds the connecting; the server's number is a floor"),
    Rule(ATTEMPT, AuthKeyUnknown, AUTH_FAILED, when=guards.third_in_a_row, note=notes.failed,
         does=(Close, Release, AlertUnusable), why="an unknown key can be temporary, but not three times in a row"),
    Rule(ATTEMPT, AuthKeyUnknown, BACKOFF, note=notes.failed, does=(Close, Wait),
         why="an unknown key can be temporary"),
    Rule(ATTEMPT, UNUSABLE, AUTH_FAILED, note=notes.failed, does=(Close, Release, AlertUnusable),
         why="unusable credentials are never retried by themselves"),
    Rule(ATTEMPT, AccountLimited, None, when=guards.limited, why="it is known"),
    Rule(ATTEMPT, AccountLimited, None, note=notes.marked_limited, does=(AlertLimited,),
         why="a limited account may connect; the attempt goes on"),
    Rule(ATTEMPT, CredentialsReplaced, CONNECTING, note=notes.renewed, does=(Close, AskTurn),
         why="the attempt under way speaks with the old credentials"),
    Rule(ATTEMPT, RetryRequested, None, why="an attempt is due or under way already"),
    Rule(ATTEMPT, NetworkRestored, None, why="an attempt is due or under way already"),
    Rule(ATTEMPT, ClockJumped, None, why="the attempt's own patience ends it"),
    Rule(ATTEMPT, Closed, None, quiet=True, why="the link before is gone, as was asked"),
    Rule(ATTEMPT, (ProbeAnswered, CaughtUp), None, why="no link is asked for anything before it is proven"),
    Rule(ATTEMPT, (ProbeDue, Stable, Elapsed), None, why="no timer runs in an attempt: its patience ends it"),

    # healthy: an RPC was answered on this very connection
    Rule(HEALTHY, ProbeDue, None, does=(Probe,), quiet=True, why="a link is healthy only as long as it answers"),
    Rule(HEALTHY, ProbeAnswered, None, note=notes.answered, does=(ArmProbe,), quiet=True,
         why="it answers; ask again in a while"),
    Rule(HEALTHY, Stable, None, note=notes.settled, why="the link has held: attempts and failures start from zero"),
    Rule(HEALTHY, (TimedOut, ServerFault), TIMEOUT, note=notes.silent, does=(HoldWork, Probe),
         why="one silence is a suspicion, not yet a loss"),
    Rule(HEALTHY, LOSSES, RECONNECTING, when=guards.stable, note=notes.failed, does=(HoldWork, Close, AskTurn),
         why="a link that held deserves a retry at once"),
    Rule(HEALTHY, LOSSES, BACKOFF, when=guards.out_of_tries, note=notes.failed_and_told,
         does=(HoldWork, Close, AlertParked), why="so many failures in a row are for a person to judge: parked"),
    Rule(HEALTHY, LOSSES, BACKOFF, when=guards.exhausted, note=notes.failed_and_told,
         does=(HoldWork, Close, Wait, AlertExhausted),
         why="the tries are used up: a person is told once, and the trying goes on at the cap"),
    Rule(HEALTHY, LOSSES, BACKOFF, note=notes.failed, does=(HoldWork, Close, Wait),
         why="a link that never settled is a failed attempt"),
    Rule(HEALTHY, RetryRequested, None, when=guards.limited, note=notes.unlimited, does=(ReleaseWork, Probe),
         why="a person says that the limit is over"),
    Rule(HEALTHY, (RetryRequested, ClockJumped), None, does=(Probe,), why="see at once whether the link still answers"),
    Rule(HEALTHY, Elapsed, None, why="this state has no deadline"),
    Rule(HEALTHY, NetworkRestored, None, why="this link did not lose the network"),

    # timeout: something went unanswered; the link is suspect and work is held
    Rule(TIMEOUT, ProbeAnswered, HEALTHY, when=guards.limited, note=notes.answered, does=(ArmStable, ArmProbe),
         why="it answers after all, but the work of a limited account stays held"),
    Rule(TIMEOUT, ProbeAnswered, HEALTHY, note=notes.answered, does=(ReleaseWork, ArmStable, ArmProbe),
         why="it answers after all"),
    Rule(TIMEOUT, TimedOut, None, when=guards.of_request, why="the link is suspect already; the probe decides"),
    Rule(TIMEOUT, (TimedOut, ServerFault), None, when=guards.patience_left, note=notes.silent, does=(Probe,),
         why="ask again, and wait longer"),
    Rule(TIMEOUT, (TimedOut, ServerFault), BACKOFF, when=guards.out_of_tries, note=notes.silent_and_told,
         does=(Close, AlertParked), why="so many failures in a row are for a person to judge: parked"),
    Rule(TIMEOUT, (TimedOut, ServerFault), RECONNECTING, when=guards.exhausted, note=notes.silent_and_told,
         does=(Close, AskTurn, AlertExhausted), why="a link that stays silent is lost, and a person is told once"),
    Rule(TIMEOUT, (TimedOut, ServerFault), RECONNECTING, note=notes.silent, does=(Close, AskTurn),
         why="a link that stays silent is lost; the waiting was done while it was suspect"),
    Rule(TIMEOUT, LOSSES, RECONNECTING, when=guards.stable, note=notes.failed, does=(Close, AskTurn),
         why="a link that held deserves a retry at once"),
    Rule(TIMEOUT, LOSSES, BACKOFF, when=guards.out_of_tries, note=notes.failed_and_told, does=(Close, AlertParked),
         why="so many failures in a row are for a person to judge: parked"),
    Rule(TIMEOUT, LOSSES, BACKOFF, when=guards.exhausted, note=notes.failed_and_told,
         does=(Close, Wait, AlertExhausted),
         why="the tries are used up: a person is told once, and the trying goes on at the cap"),
    Rule(TIMEOUT, LOSSES, BACKOFF, note=notes.failed, does=(Close, Wait),
         why="a link that never settled is a failed attempt"),
    Rule(TIMEOUT, RetryRequested, RECONNECTING, does=(Close, AskTurn), why="a person does not wait for the probe"),
    Rule(TIMEOUT, ClockJumped, None, does=(Probe,), why="the probe that is out may have slept with the machine"),
    Rule(TIMEOUT, (ProbeDue, Stable), None, why="a probe is out already, and only it decides"),
    Rule(TIMEOUT, Elapsed, None, why="the probe's own patience is the deadline"),
    Rule(TIMEOUT, NetworkRestored, None, why="the probe that is out will tell"),

    # healthy and timeout: what a live link may report in either
    Rule((HEALTHY, TIMEOUT), FloodWait, None, note=notes.flooded_request, does=(HoldRequests,),
         why="a flood wait belongs to one kind of request; the connection has nothing to do with it"),
    Rule((HEALTHY, TIMEOUT), TransportFlood, BACKOFF, note=notes.failed, does=(HoldWork, Close, Wait),
         why="the datacenter refuses more connections for now; even a link that held must wait"),
    Rule(HEALTHY, AuthKeyUnknown, AUTH_FAILED, when=guards.third_in_a_row, note=notes.failed,
         does=(HoldWork, Close, Release, AlertUnusable),
         why="an unknown key can be temporary, but not three times in a row"),
    Rule((HEALTHY, TIMEOUT), AuthKeyUnknown, BACKOFF, note=notes.failed, does=(HoldWork, Close, Wait),
         why="an unknown key can be temporary"),
    Rule((HEALTHY, TIMEOUT), UNUSABLE, AUTH_FAILED, note=notes.failed, does=(HoldWork, Close, Release, AlertUnusable),
         why="unusable credentials are never retried by themselves"),
    Rule((HEALTHY, TIMEOUT), AccountLimited, None, when=guards.limited, why="it is known"),
    Rule((HEALTHY, TIMEOUT), AccountLimited, None, note=notes.marked_limited, does=(HoldWork, AlertLimited),
         why="cutting the connection of a limited account helps nobody; its work is held"),
    Rule((HEALTHY, TIMEOUT), CredentialsReplaced, RECONNECTING, note=notes.renewed, does=(HoldWork, Close, AskTurn),
         why="the link speaks with the old credentials"),
    Rule((HEALTHY, TIMEOUT), (DatabaseLocked, DatabaseUnavailable), None, when=guards.worth_telling,
         note=notes.hindered_and_told, does=(HoldDatabase, AlertDatabase),
         why="a session file that cannot be written does not cut a connection, but a person must know, once"),
    Rule((HEALTHY, TIMEOUT), (DatabaseLocked, DatabaseUnavailable), None, note=notes.hindered, does=(HoldDatabase,),
         why="a locked database does not cut a connection; what is to be written waits"),
    Rule((HEALTHY, TIMEOUT), CaughtUp, None, why="what was missed while the account was away is on record"),
    Rule((HEALTHY, TIMEOUT), (Started, TurnGranted, Connected), None, why="this link is open and proven already"),
    Rule((HEALTHY, TIMEOUT), Closed, None, quiet=True, why="the link before is gone, as was asked"),

    # backoff: no socket; waiting for the deadline that the cause's schedule gave
    Rule(BACKOFF, Started, None, when=guards.parked, note=notes.named, does=(AlertParked,),
         why="parked is parked, also after a restart"),
    Rule(BACKOFF, Started, None, note=notes.named, does=(Wait,), why="the wait goes on where the restart cut it"),
    Rule(BACKOFF, Elapsed, None, when=guards.parked, why="a parked account waits for a person"),
    Rule(BACKOFF, Elapsed, RECONNECTING, does=(AskTurn,), why="the wait is over"),
    Rule(BACKOFF, NetworkRestored, RECONNECTING, when=guards.waits_for_network, does=(AskTurn,),
         why="the network is back, so the wait for it has lost its reason"),
    Rule(BACKOFF, NetworkRestored, None, why="this wait is not for the network"),
    Rule(BACKOFF, RetryRequested, None, when=guards.flooded, why="a flood wait is a floor, also for a person"),
    Rule(BACKOFF, RetryRequested, RECONNECTING, note=notes.forgiven, does=(AskTurn,), why="a person asks for it"),
    Rule(BACKOFF, ClockJumped, None, when=guards.parked, why="a parked account waits for a person"),
    Rule(BACKOFF, ClockJumped, None, does=(Wait,), why="look at the deadline again: it is a time of day"),
    Rule(BACKOFF, CredentialsReplaced, CONNECTING, when=guards.parked, note=notes.renewed, does=(AskTurn,),
         why="a person acted"),
    Rule(BACKOFF, CredentialsReplaced, None, note=notes.named, why="the next attempt reads them; the wait stands"),
    Rule(BACKOFF, UNUSABLE, AUTH_FAILED, note=notes.failed, does=(Release, AlertUnusable),
         why="the credentials are unusable, whoever found out"),
    Rule(BACKOFF, (FloodWait,), None, note=notes.flooded_request, does=(HoldRequests,),
         why="a flood wait of a kind of request is kept, whenever it is heard of"),
    Rule(BACKOFF, AccountLimited, None, when=guards.limited, why="it is known"),
    Rule(BACKOFF, AccountLimited, None, note=notes.marked_limited, does=(AlertLimited,), why="a person must know"),
    Rule(BACKOFF, (*FAILED_ATTEMPT, TransportFlood, AuthKeyUnknown), None,
         why="there is no link that could fail; the wait stands"),
    Rule(BACKOFF, (TurnGranted, Connected, CaughtUp, ProbeAnswered, ProbeDue, Stable), None, why="there is no link"),
    Rule(BACKOFF, Closed, None, quiet=True, why="the link before is gone, as was asked"),

    # auth_failed: the credentials are unusable; nothing is sent until a person acts
    Rule(AUTH_FAILED, CredentialsReplaced, CONNECTING, note=notes.renewed, does=(AskTurn,), why="a person acted"),
    Rule(AUTH_FAILED, RetryRequested, CONNECTING, note=notes.forgiven, does=(AskTurn,),
         why="a person says that the credentials are good again"),
    Rule(AUTH_FAILED, Started, CONNECTING, when=guards.new_credentials, note=notes.renewed, does=(AskTurn,),
         why="a person acted while the engine was down"),
    Rule(AUTH_FAILED, Started, None, does=(AlertUnusable,), why="a restart does not mend credentials"),
    Rule(AUTH_FAILED, OF_LINK, None, why="nothing that a link says matters until a person acts"),
    Rule(AUTH_FAILED, (TurnGranted, ProbeDue, Stable, Elapsed, NetworkRestored, ClockJumped), None,
         why="no time and no network mends credentials"),
    Rule(AUTH_FAILED, Closed, None, quiet=True, why="the link before is gone, as was asked"),

    # shutting_down: final; nothing leaves it
    Rule(SHUTTING_DOWN, Closed, None, does=(Finish,), why="the link is gone, so the life is over"),
    Rule(SHUTTING_DOWN, (StopRequested, Started, RetryRequested, CredentialsReplaced), None, why="it is stopping"),
    Rule(SHUTTING_DOWN, OF_LINK, None, why="whatever the link still says, it is being closed"),
    Rule(SHUTTING_DOWN, (TurnGranted, ProbeDue, Stable, Elapsed, NetworkRestored, ClockJumped), None,
         why="nothing is begun any more"),
)  # fmt: skip
