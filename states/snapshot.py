"""The snapshot of one account: all that ``step`` knows about it, and all that a restart needs."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import attrs
from attrs import frozen

from states.clock import cap_end
from states.limits import advice_for


class State(StrEnum):
    """The seven states of a connection."""

    CONNECTING = "connecting"
    HEALTHY = "healthy"
    TIMEOUT = "timeout"
    BACKOFF = "backoff"
    RECONNECTING = "reconnecting"
    AUTH_FAILED = "auth_failed"
    SHUTTING_DOWN = "shutting_down"


MEANINGS: dict[State, str] = {
    State.CONNECTING: "first attempt of this life; nothing proven yet",
    State.HEALTHY: "an RPC was answered on this very connection",
    State.TIMEOUT: "something went unanswered; the link is suspect and work is held",
    State.BACKOFF: "no socket; waiting for the deadline that the cause's schedule gave",
    State.RECONNECTING: "an attempt after a loss, always with a fresh client",
    State.AUTH_FAILED: "the credentials are unusable; nothing is sent until a person acts",
    State.SHUTTING_DOWN: "final",
}


class Action(StrEnum):
    """What the operator should do."""

    LOG_IN = "log_in"
    STOP_OTHER_COPY = "stop_other_copy"
    APPEAL = "appeal"
    RESTORE_SESSION = "restore_session"
    MEND_CONFIG = "mend_config"
    RETRY = "retry"


ACTION_OF_CAUSE: dict[str, Action] = {
    "AuthRejected": Action.LOG_IN,
    "AuthKeyUnknown": Action.LOG_IN,
    "SessionDuplicated": Action.STOP_OTHER_COPY,
    "AccountBanned": Action.APPEAL,
    "AccountLimited": Action.APPEAL,
    "DatabaseCorrupt": Action.RESTORE_SESSION,
    "ConfigRefused": Action.MEND_CONFIG,
}

UNKNOWN_KEY = "AuthKeyUnknown"
"""The event that casts doubt on a key."""
UNKNOWN_KEY_TRIES = 3
"""So many in a row are no longer a passing trouble: the operator should log in, once the alert was raised."""

MISSING_UPDATES = "UpdatesStalled"
"""The event that says that updates are missing, by the datacenter's numbers."""

SHARED_SETTING = "telegram.api_id"
"""The setting that all accounts share: if it is refused, all of them are."""

NETWORK_CAUSES = ("NetworkLost", "TimedOut")
"""Events that mean that the network is the trouble."""

ADVICE: dict[Action, str] = {
    Action.LOG_IN: "log in again",
    Action.STOP_OTHER_COPY: "stop the other program that uses this session, then log in again",
    Action.APPEAL: "appeal to Telegram (recover@telegram.org, or @SpamBot for a limit)",
    Action.RESTORE_SESSION: "restore the session file from a backup, or log in again",
    Action.MEND_CONFIG: "mend the config (api_id, api_hash or session), then reload; restart for another datacenter",
    Action.RETRY: "look at the cause, then retry the account",
}


@frozen(kw_only=True)
class Cause:
    """Why the account is in its state: the name of the error event, and its sentence."""

    event: str
    detail: str = ""


@frozen(kw_only=True)
class Hold:
    """A hold on requests of one kind until a wall-clock time (Unix seconds)."""

    request: str
    until: float
    length: float | None = None
    """Length of this wait in seconds; None if an earlier version stored it."""


@frozen(kw_only=True)
class Restriction:
    """What Telegram does not let the account do, by the names in ``states.limits``; everything else goes on."""

    limit: str
    detail: str = ""
    deletion: float | None = None
    """When the account will be deleted (Unix seconds), as far as Telegram says so."""
    appeal: str = ""
    """Where to appeal; as the datacenter wrote it, so it must be checked before it is shown."""


@frozen(kw_only=True)
class Trouble:
    """What keeps the session's file from being written, and since when (Unix seconds)."""

    event: str
    detail: str = ""
    since: float
    told: bool = False
    """Whether an alert was raised. Snapshots are stored under the names of their fields, so this one keeps its name."""


@frozen(kw_only=True)
class Stall:
    """Updates that the datacenter counts and the account does not get. Times are Unix seconds."""

    since: float
    detail: str = ""
    """What is missing, in a sentence."""
    clients: int = 0
    """How many fresh clients have taken over because of it."""
    until: float | None = None
    """The time before which no other one does; None before the first."""
    length: float | None = None
    """Length of the wait that ends then, in seconds."""
    told: bool = False
    """Whether an alert was raised."""


@frozen(kw_only=True)
class Snapshot:
    """One account's connection. Times are wall-clock Unix seconds, so that they are valid after a restart."""

    state: State = State.CONNECTING
    since: float = 0.0
    """When the state was entered."""
    generation: int = 0
    """Number of visits of states so far; it distinguishes a current timer from a stale one."""
    life: int = 0
    """Number of lives so far: starts of the engine and resumes."""
    link: int = 0
    """Number of the link that is open or opening, 0 for none. In an attempt, 0 means waiting for a turn."""
    links: int = 0
    """Number of links opened so far."""
    attempt: int = 0
    """Connection attempts since the last stable link."""
    failures: int = 0
    """Failures in a row since the last stable link."""
    streak: int = 0
    """How many of the latest failures had the same cause."""
    silences: int = 0
    """Unanswered probes in a row."""
    cause: Cause | None = None
    """The last failure; forgotten when the link is stable."""
    deadline: float | None = None
    """When the state's wait ends. In ``backoff``, None means parked: only the operator ends the wait."""
    wait: float | None = None
    """Length in seconds of the wait that ends at ``deadline``; None if there is none, or if it is not known."""
    stable: bool = False
    """Whether the present link has held for ``healthy.stable_after``."""
    exhausted: bool = False
    """Whether the alert for this run of failures was raised."""
    limited: Cause | None = None
    """Set while Telegram limits the account as a whole: all work is held."""
    restricted: Restriction | None = None
    """Set while Telegram refuses only some of its requests."""
    holds: tuple[Hold, ...] = ()
    database: Trouble | None = None
    stall: Stall | None = None
    """Set while updates are missing that were asked for."""
    reconnects: int = 0
    last_success: float | None = None
    offline: tuple[float, float] | None = None
    """The last gap: the last sign of life before the present link, and the time at which that link was proven."""
    proved_at: float | None = None
    """When an authorised RPC was last answered."""
    credentials: str = ""
    """Fingerprint of the key that was used last, or will be used next."""
    resumes: State = State.CONNECTING
    """Where the next life begins."""
    paused: bool = False
    """Whether the next life waits until the operator resumes the account."""

    @property
    def parked(self) -> bool:
        """Whether the account waits for the operator rather than for a time."""
        return self.state is State.BACKOFF and self.deadline is None

    @property
    def waiting_for_turn(self) -> bool:
        """Whether an attempt is due, but the limiter has not granted its turn yet."""
        return self.state in (State.CONNECTING, State.RECONNECTING) and self.link == 0

    @property
    def waits_for_network(self) -> bool:
        """Whether the account waits until a deadline because of the network."""
        of_network = self.cause is not None and self.cause.event in NETWORK_CAUSES
        return self.state is State.BACKOFF and of_network and not self.parked

    @property
    def doubts_key(self) -> bool:
        """Whether the account waits until a deadline because its key was said to be unknown."""
        doubted = self.cause is not None and self.cause.event == UNKNOWN_KEY
        return self.state is State.BACKOFF and doubted and not self.parked

    @property
    def stopped_with_all(self) -> bool:
        """Whether the account is stopped, or begins its next life stopped, because of a setting that all share."""
        where = self.resumes if self.state is State.SHUTTING_DOWN else self.state
        cause = self.cause if where is State.AUTH_FAILED else None
        return cause is not None and cause.event == "ConfigRefused" and cause.detail.startswith(SHARED_SETTING)

    def is_held(self, request: str) -> bool:
        """Return whether there is a hold on a kind of request, which may be over."""
        return any(hold.request == request for hold in self.holds)

    def is_limit(self, request: str) -> bool:
        """Return whether a kind of request is held because of the account's restriction."""
        return self.restricted is not None and self.restricted.limit == request

    @property
    def action(self) -> Action | None:
        """What the operator should do about this account, if anything."""
        where = self.resumes if self.state is State.SHUTTING_DOWN else self.state
        if where is State.AUTH_FAILED:
            return ACTION_OF_CAUSE.get(self.cause.event, Action.LOG_IN) if self.cause else Action.LOG_IN
        if where is State.BACKOFF and self.deadline is None:
            return Action.RETRY
        without_link = where in (State.CONNECTING, State.RECONNECTING, State.BACKOFF)
        doubted = self.cause is not None and self.cause.event == UNKNOWN_KEY and self.streak >= UNKNOWN_KEY_TRIES
        if without_link and doubted and self.exhausted:
            return Action.LOG_IN
        if self.limited or self.restricted:
            return Action.APPEAL
        return Action.RETRY if self.stall is not None and self.stall.told else None


def advice_of(at: Snapshot) -> str:
    """Return what the operator should do about an account, as a clause; empty if there is nothing to do."""
    if at.action is None:
        return ""
    restricted = at.restricted if at.action is Action.APPEAL and at.limited is None else None
    if restricted is not None and at.state is not State.AUTH_FAILED:
        return advice_for(restricted.limit, restricted.deletion, restricted.appeal) or ADVICE[at.action]
    return ADVICE[at.action]


class SnapshotDraft(Snapshot):
    """The next snapshot while a decision is made: ``put`` changes its fields, and ``finish`` makes a snapshot of it."""

    __slots__ = ()
    __setattr__, __delattr__ = object.__setattr__, object.__delattr__  # fast only if both are the usual ones

    @classmethod
    def of(cls, at: Snapshot) -> "SnapshotDraft":
        """Return a draft with the fields of ``at``; one by one, which takes a tenth of the time of ``attrs.evolve``."""
        draft: Any = object.__new__(cls)  # to the type checker, a snapshot's fields cannot be set
        draft.state, draft.since, draft.generation = at.state, at.since, at.generation
        draft.life, draft.link, draft.links = at.life, at.link, at.links
        draft.attempt, draft.failures, draft.streak = at.attempt, at.failures, at.streak
        draft.silences, draft.cause = at.silences, at.cause
        draft.deadline, draft.wait = at.deadline, at.wait
        draft.stable, draft.exhausted, draft.limited = at.stable, at.exhausted, at.limited
        draft.restricted, draft.holds = at.restricted, at.holds
        draft.database, draft.stall = at.database, at.stall
        draft.reconnects, draft.last_success = at.reconnects, at.last_success
        draft.offline, draft.proved_at = at.offline, at.proved_at
        draft.credentials, draft.resumes, draft.paused = at.credentials, at.resumes, at.paused
        made: SnapshotDraft = draft
        return made

    def enter(self, state: State, now: float) -> None:
        """Enter a state; a deadline ends with the visit to which it belongs."""
        draft: Any = self
        draft.state, draft.since, draft.generation = state, now, self.generation + 1
        draft.deadline = draft.wait = None

    def put(self, changes: Mapping[str, Any]) -> None:
        """Change fields."""
        for name, value in changes.items():
            setattr(self, name, value)

    def finish(self) -> Snapshot:
        """Make this a snapshot, which nothing can change any more, and return it."""
        self.__class__ = Snapshot  # type: ignore[assignment]  # the same fields at the same places
        return self


def _deadline_of(previous: Snapshot, now: float) -> float | None:
    """Return when a wait that goes on in a new life ends; None if it is for the operator."""
    deadline, length = previous.deadline, previous.wait
    if deadline is None:
        return None
    if length is None:  # stored by an earlier version: what was left when the state was entered is the most
        length = max(0.0, deadline - previous.since)
    return cap_end(deadline, length, now)


def _stall_of(previous: Snapshot, now: float) -> Stall | None:
    """Return the stall with which a new life begins: who was told stays told, until the updates are there."""
    stall = previous.stall
    if stall is None or stall.until is None:
        return stall
    return attrs.evolve(stall, until=cap_end(stall.until, stall.length, now))


def begin(previous: Snapshot | None, *, now: float) -> Snapshot:
    """Return the snapshot with which a new life begins.

    An account goes on where it was: a wait goes on, unusable credentials stay unusable, counters and holds are kept.
    Only a link cannot outlive its life, so a state that had one or was opening one becomes ``connecting``. A wait is
    never longer than its own length from now on: the clock may have been set while nobody watched it.
    """
    if previous is None:
        return Snapshot(since=now, life=1)
    where = previous.resumes if previous.state is State.SHUTTING_DOWN else previous.state
    if where not in (State.BACKOFF, State.AUTH_FAILED):
        where = State.CONNECTING
    return attrs.evolve(
        previous,
        state=where,
        since=now,
        generation=previous.generation + 1,
        life=previous.life + 1,
        link=0,
        silences=0,
        stable=False,
        deadline=_deadline_of(previous, now) if where is State.BACKOFF else None,
        wait=previous.wait if where is State.BACKOFF else None,
        holds=tuple(
            attrs.evolve(hold, until=cap_end(hold.until, hold.length, now))
            for hold in previous.holds
            if hold.until > now or previous.is_limit(hold.request)  # a limit lasts until something proves its end
        ),
        database=None,
        stall=_stall_of(previous, now),
        resumes=where,
        paused=False,
    )
