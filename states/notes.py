"""What a rule writes into the snapshot, besides the state: each takes a ``Moment`` and returns the changed fields.

They run before the effects are made up, so that a wait sees the counters that it depends on.
"""

from typing import Any

from attrs import evolve

from states.events import (
    ConfigRefused,
    CredentialsReplaced,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseUnavailable,
    FloodWait,
    ProbeAnswered,
    Started,
    StopRequested,
    TurnGranted,
)
from states.guards import Moment, streak_after
from states.snapshot import Cause, Hold, State, Trouble

Changes = dict[str, Any]


def cause_of(moment: Moment) -> Cause:
    """Return the event as a cause; of a refused config it names the setting."""
    event = moment.event
    detail = getattr(event, "detail", "")
    if isinstance(event, ConfigRefused) and event.setting:
        detail = f"{event.setting} ({detail})" if detail else event.setting
    return Cause(event=type(event).__name__, detail=detail)


def failed(moment: Moment) -> Changes:
    """Count a failure and remember its cause; a damaged file holds no credentials, whatever can be read of it."""
    return {
        "failures": moment.snapshot.failures + 1,
        "streak": streak_after(moment),
        "cause": cause_of(moment),
        **({"credentials": ""} if isinstance(moment.event, DatabaseCorrupt) else {}),
    }


def failed_and_told(moment: Moment) -> Changes:
    """Count a failure that a person is told of; the next ones of this run are not worth another alert."""
    return {**failed(moment), "exhausted": True}


def silent(moment: Moment) -> Changes:
    """Count a failure that is a silence, too."""
    return {**failed(moment), "silences": moment.snapshot.silences + 1}


def silent_and_told(moment: Moment) -> Changes:
    """Count a silence that a person is told of."""
    return {**silent(moment), "exhausted": True}


def opened(moment: Moment) -> Changes:
    """Count an attempt and give its link a number; remember whose key it is made with."""
    links = moment.snapshot.links + 1
    return {"attempt": moment.snapshot.attempt + 1, "links": links, "link": links, "stable": False, **named(moment)}


def connected(moment: Moment) -> Changes:
    """The link is proven; a link after a loss is a reconnect, and what lies between the two is the gap."""
    again = moment.snapshot.state is State.RECONNECTING
    heard = moment.snapshot.last_success
    return {
        "reconnects": moment.snapshot.reconnects + again,
        "offline": None if heard is None else (min(heard, moment.now), moment.now),
        "last_success": moment.now,
        "proved_at": moment.now,
        "silences": 0,
    }


def answered(moment: Moment) -> Changes:
    """A probe came back."""
    proof = isinstance(moment.event, ProbeAnswered) and moment.event.proof
    return {"last_success": moment.now, "silences": 0, **({"proved_at": moment.now} if proof else {})}


def settled(moment: Moment) -> Changes:
    """The link has held: the past is forgiven."""
    return {
        "stable": True, "attempt": 0, "failures": 0, "streak": 0, "cause": None, "exhausted": False,
    }  # fmt: skip


def named(moment: Moment) -> Changes:
    """Remember whose key the event is about, if it says so: so that one which failed is known again."""
    event = moment.event
    assert isinstance(event, Started | TurnGranted | CredentialsReplaced)
    return {} if event.credentials is None else {"credentials": event.credentials}


def renewed(moment: Moment) -> Changes:
    """Start counting anew with another key, which knows no limit of the old one."""
    return {**forgiven(moment), **named(moment), "limited": None}


def forgiven(_: Moment) -> Changes:
    """A person acted: start counting anew."""
    return {"attempt": 0, "failures": 0, "streak": 0, "cause": None, "exhausted": False}


def flooded_request(moment: Moment) -> Changes:
    """Hold this kind of request; of two waits for one kind the longer one stands."""
    event = moment.event
    assert isinstance(event, FloodWait)
    until = moment.now + moment.policy.backoff.flood.delay(event.seconds)
    holds = {hold.request: hold.until for hold in moment.snapshot.holds if hold.until > moment.now}
    holds[event.request] = max(until, holds.get(event.request, 0.0))
    return {"holds": tuple(Hold(request=request, until=end) for request, end in sorted(holds.items()))}


def marked_limited(moment: Moment) -> Changes:
    """Remember that Telegram limits the account."""
    return {"limited": cause_of(moment)}


def unlimited(moment: Moment) -> Changes:
    """A person says that the limit is over."""
    return {"limited": None}


def hindered(moment: Moment) -> Changes:
    """Remember what keeps the session's file from being written."""
    event, known = moment.event, moment.snapshot.database
    assert isinstance(event, DatabaseLocked | DatabaseUnavailable)
    told = known is not None and known.told
    since = moment.now - event.waited
    return {"database": Trouble(event=type(event).__name__, detail=event.detail, since=since, told=told)}


def hindered_and_told(moment: Moment) -> Changes:
    """Remember it, and that a person was told."""
    return {"database": evolve(hindered(moment)["database"], told=True)}


def unhindered(_: Moment) -> Changes:
    """The session's file is written again."""
    return {"database": None}


def stopping(moment: Moment) -> Changes:
    """Remember where the next life begins; a wait goes on then, so its deadline is kept."""
    snapshot = moment.snapshot
    assert isinstance(moment.event, StopRequested)
    goes_on = snapshot.state in (State.BACKOFF, State.AUTH_FAILED)
    return {
        "resumes": snapshot.state if goes_on else State.CONNECTING,
        "deadline": snapshot.deadline if snapshot.state is State.BACKOFF else None,
        "paused": moment.event.paused,
    }
