"""What a rule writes into the snapshot, besides the state. Each note takes a ``Moment`` and returns the changed fields.

Notes run before the effects are built, so that a wait sees the counters on which it depends.
"""

from typing import Any

from attrs import evolve

from states.clock import move_end
from states.events import (
    AccountLimited,
    ClockJumped,
    ConfigRefused,
    Connected,
    CredentialsReplaced,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseUnavailable,
    FloodWait,
    ProbeAnswered,
    Started,
    StopRequested,
    TurnGranted,
    UpdatesStalled,
)
from states.guards import Moment, streak_after
from states.limits import LIMIT_SECONDS, WRITES
from states.snapshot import MISSING_UPDATES, Cause, Hold, Restriction, Stall, State, Trouble

Changes = dict[str, Any]


def cause_of(moment: Moment) -> Cause:
    """Return the event as a cause; for a refused config the cause names the setting."""
    event = moment.event
    detail = getattr(event, "detail", "")
    if isinstance(event, ConfigRefused) and event.setting:
        detail = f"{event.setting} ({detail})" if detail else event.setting
    return Cause(event=type(event).__name__, detail=detail)


def count_failure(moment: Moment) -> Changes:
    """Count a failure and remember its cause; a damaged file has no credentials, even if parts of it can be read."""
    return {
        "failures": moment.snapshot.failures + 1,
        "streak": streak_after(moment),
        "cause": cause_of(moment),
        **({"credentials": ""} if isinstance(moment.event, DatabaseCorrupt) else {}),
    }


def count_alerted_failure(moment: Moment) -> Changes:
    """Count a failure that raises an alert; later ones of the same run raise no other."""
    return {**count_failure(moment), "exhausted": True}


def count_silence(moment: Moment) -> Changes:
    """Count a failure that is also a silence."""
    return {**count_failure(moment), "silences": moment.snapshot.silences + 1}


def count_alerted_silence(moment: Moment) -> Changes:
    """Count a silence that raises an alert."""
    return {**count_silence(moment), "exhausted": True}


def count_attempt(moment: Moment) -> Changes:
    """Count an attempt and number its link; remember the key that it uses."""
    links = moment.snapshot.links + 1
    return {
        "attempt": moment.snapshot.attempt + 1,
        "links": links,
        "link": links,
        "stable": False,
        **record_key(moment),
    }


def record_connection(moment: Moment) -> Changes:
    """Record that the link is proven. A link after a loss counts as a reconnect; the time between is the gap."""
    again = moment.snapshot.state is State.RECONNECTING
    heard = moment.snapshot.last_success
    held = isinstance(moment.event, Connected) and moment.event.held
    return {
        **(mark_stable(moment) if held else {}),
        "reconnects": moment.snapshot.reconnects + again,
        "offline": None if heard is None else (min(heard, moment.now), moment.now),
        "last_success": moment.now,
        "proved_at": moment.now,
        "silences": 0,
    }


def record_answer(moment: Moment) -> Changes:
    """Record that a probe was answered."""
    proof = isinstance(moment.event, ProbeAnswered) and moment.event.proof
    return {"last_success": moment.now, "silences": 0, **({"proved_at": moment.now} if proof else {})}


def mark_stable(moment: Moment) -> Changes:
    """Record that the link has held: all counters of failures go back to zero."""
    return {
        "stable": True, "attempt": 0, "failures": 0, "streak": 0, "cause": None, "exhausted": False,
    }  # fmt: skip


def record_key(moment: Moment) -> Changes:
    """Remember the key that the event names, if any, so that a key which failed is recognised later."""
    event = moment.event
    assert isinstance(event, Started | TurnGranted | CredentialsReplaced)
    return {} if event.credentials is None else {"credentials": event.credentials}


def switch_key(moment: Moment) -> Changes:
    """Switch to another key: reset the counters, and forget the limits and the missing updates of the old key."""
    at = moment.snapshot
    forgotten = {"limited": None, "stall": None, **(lift_restriction(moment) if at.restricted else {})}
    return {**reset_counters(moment), **record_key(moment), **forgotten}


def reset_counters(_: Moment) -> Changes:
    """Set the counters of failures to zero, because the operator has acted."""
    return {"attempt": 0, "failures": 0, "streak": 0, "cause": None, "exhausted": False}


def hold_request(moment: Moment) -> Changes:
    """Hold this kind of request; of two waits for the same kind the longer one counts."""
    event = moment.event
    assert isinstance(event, FloodWait)
    length = moment.policy.backoff.flood.delay(event.seconds)
    return _hold(moment, event.request, length)


def _hold(moment: Moment, request: str, length: float) -> Changes:
    """Hold a kind of request from now on; holds that are over are forgotten, but for that of a limit."""
    at, now = moment.snapshot, moment.now
    new = Hold(request=request, until=now + length, length=length)
    holds = {hold.request: hold for hold in at.holds if hold.until > now or at.is_limit(hold.request)}
    holds[request] = max(holds.get(request, new), new, key=lambda hold: hold.until)
    return {"holds": tuple(hold for _, hold in sorted(holds.items()))}


def restrict(moment: Moment) -> Changes:
    """Remember which requests Telegram refuses, and hold them; a frozen account stays one, whatever else it is told."""
    event, known = moment.event, moment.snapshot.restricted
    assert isinstance(event, AccountLimited)
    changes = _hold(moment, event.limit, LIMIT_SECONDS)
    if known is not None and known.limit != event.limit and known.limit == WRITES:
        return changes
    same = known if known is not None and known.limit == event.limit else None
    new = Restriction(
        limit=event.limit,
        detail=event.detail,
        deletion=event.deletion if event.deletion is not None or same is None else same.deletion,
        appeal=event.appeal if event.appeal or same is None else same.appeal,
    )
    return {**changes, "restricted": new}


def lift_restriction(moment: Moment) -> Changes:
    """Forget which requests Telegram refused, and hold them no longer."""
    at = moment.snapshot
    if at.restricted is None:
        return {}
    return {"restricted": None, "holds": tuple(hold for hold in at.holds if not at.is_limit(hold.request))}


def mark_limited(moment: Moment) -> Changes:
    """Remember that Telegram limits the account."""
    return {"limited": cause_of(moment)}


def clear_limit(moment: Moment) -> Changes:
    """Forget the limits, because the operator says that they are over."""
    return {"limited": None, **lift_restriction(moment)}


def record_trouble(moment: Moment) -> Changes:
    """Record what keeps the session's file from being written."""
    event, known = moment.event, moment.snapshot.database
    assert isinstance(event, DatabaseLocked | DatabaseUnavailable)
    told = known is not None and known.told
    since = moment.now - event.waited
    return {"database": Trouble(event=type(event).__name__, detail=event.detail, since=since, told=told)}


def record_alerted_trouble(moment: Moment) -> Changes:
    """Record what keeps the session's file from being written, and that an alert was raised."""
    return {"database": evolve(record_trouble(moment)["database"], told=True)}


def clear_trouble(_: Moment) -> Changes:
    """Record that the session's file is written again."""
    return {"database": None}


def record_stall(moment: Moment) -> Changes:
    """Record which updates are missing, and since when."""
    event, known = moment.event, moment.snapshot.stall
    assert isinstance(event, UpdatesStalled)
    if known is not None:
        return {"stall": evolve(known, detail=event.detail)}
    return {"stall": Stall(since=event.since or moment.now, detail=event.detail)}


def tell_stall(moment: Moment) -> Changes:
    """Record that the operator was told of the missing updates."""
    assert moment.snapshot.stall is not None
    return {"stall": evolve(moment.snapshot.stall, detail=moment.event.detail, told=True)}  # type: ignore[attr-defined]


def count_client(moment: Moment) -> Changes:
    """Count a fresh client that takes over, and when another one may do so."""
    stall = moment.snapshot.stall
    assert stall is not None
    length = moment.policy.backoff.updates.delay(stall.clients + 1)
    after = evolve(stall, clients=stall.clients + 1, until=moment.now + length, length=length)
    return {"stall": after, "cause": Cause(event=MISSING_UPDATES, detail=stall.detail)}


def clear_stall(_: Moment) -> Changes:
    """Record that no updates are missing any more."""
    return {"stall": None}


def move_times(moment: Moment) -> Changes:
    """Move all times with a clock that was set: what is left of a wait, and how long ago something was, stays."""
    event, at, now = moment.event, moment.snapshot, moment.now
    assert isinstance(event, ClockJumped)
    shift = event.shift
    if not shift:
        return {}

    def moved(time: float | None) -> float | None:
        return None if time is None else time + shift

    return {
        "since": at.since + shift,
        "deadline": None if at.deadline is None else move_end(at.deadline, at.wait, shift, now),
        "holds": tuple(evolve(hold, until=move_end(hold.until, hold.length, shift, now)) for hold in at.holds),
        "database": None if at.database is None else evolve(at.database, since=at.database.since + shift),
        "stall": None if at.stall is None else _moved_stall(at.stall, shift, now),
        "last_success": moved(at.last_success),
        "proved_at": moved(at.proved_at),
        "offline": None if at.offline is None else (at.offline[0] + shift, at.offline[1] + shift),
    }


def _moved_stall(stall: Stall, shift: float, now: float) -> Stall:
    until = None if stall.until is None else move_end(stall.until, stall.length, shift, now)
    return evolve(stall, since=stall.since + shift, until=until)


def prepare_next_life(moment: Moment) -> Changes:
    """Record where the next life begins. A wait goes on in it, so its deadline is kept."""
    snapshot = moment.snapshot
    assert isinstance(moment.event, StopRequested)
    goes_on = snapshot.state in (State.BACKOFF, State.AUTH_FAILED)
    return {
        "resumes": snapshot.state if goes_on else State.CONNECTING,
        "deadline": snapshot.deadline if snapshot.state is State.BACKOFF else None,
        "wait": snapshot.wait if snapshot.state is State.BACKOFF else None,
        "paused": moment.event.paused,
    }
