"""The questions that rules ask. Each guard takes a ``Moment`` and answers yes or no.

The diagrams print a guard's name and docstring.
"""

from attrs import field, frozen

from states.events import (
    AccountLimited,
    DatabaseLocked,
    DatabaseUnavailable,
    Event,
    FloodWait,
    LimitLifted,
    OfLink,
    OfVisit,
    Started,
    TimedOut,
    TransportFlood,
    Unexpected,
    UpdatesStalled,
)
from states.limits import OF_REQUESTS, WRITES
from states.schedules import Backoff, Policy, Then
from states.snapshot import Snapshot

UNEXPECTED_TRIES = 10
"""After this many unforeseen errors in a row the operator should look."""


@frozen
class Moment:
    """Everything that a decision depends on, except the random number."""

    snapshot: Snapshot
    event: Event
    now: float
    policy: Policy = field(factory=Policy)


def streak_after(moment: Moment) -> int:
    """Return the number of failures of this same kind in a row, including this one."""
    cause = moment.snapshot.cause
    return moment.snapshot.streak + 1 if cause and cause.event == type(moment.event).__name__ else 1


def schedule_of(moment: Moment) -> Backoff | None:
    """Return the growing schedule by which this failure waits; None if the server says how long."""
    schedule = getattr(moment.policy.backoff, getattr(moment.event, "schedule", "network"))
    return schedule if isinstance(schedule, Backoff) else None


def stale(moment: Moment) -> bool:
    """The event answers what an earlier visit asked for."""
    return isinstance(moment.event, OfVisit) and moment.event.generation != moment.snapshot.generation


def foreign(moment: Moment) -> bool:
    """The event comes from a link that is not the present one."""
    return isinstance(moment.event, OfLink) and moment.event.link not in (0, moment.snapshot.link)


def new_credentials(moment: Moment) -> bool:
    """The session holds another key than the one that was used before."""
    return isinstance(moment.event, Started) and moment.event.credentials != moment.snapshot.credentials


def under_way(moment: Moment) -> bool:
    """The attempt has its turn already."""
    return moment.snapshot.link != 0


def stable(moment: Moment) -> bool:
    """The link has held for ``healthy.stable_after``."""
    return moment.snapshot.stable


def patience_left(moment: Moment) -> bool:
    """The patience of ``timeout`` grants another probe."""
    return moment.snapshot.silences + 1 < max(2, len(moment.policy.timeout.patience))


def of_request(moment: Moment) -> bool:
    """It was a request that went unanswered, not the probe."""
    return isinstance(moment.event, TimedOut) and moment.event.what == "request"


def told(moment: Moment) -> bool:
    """The operator was told about this run of failures."""
    return moment.snapshot.exhausted


def doubts_key(moment: Moment) -> bool:
    """The key was said to be unknown, which another key or a working network may end."""
    return moment.snapshot.doubts_key


def out_of_tries(moment: Moment) -> bool:
    """The schedule says to park by now, or too many failures in a row were unforeseen."""
    if isinstance(moment.event, Unexpected) and streak_after(moment) >= UNEXPECTED_TRIES:
        return True
    schedule = schedule_of(moment)
    return schedule is not None and schedule.then is Then.PARK and moment.snapshot.failures + 1 >= schedule.tries


def exhausted(moment: Moment) -> bool:
    """The schedule's tries are used up, and nobody was told yet."""
    schedule = schedule_of(moment)
    return schedule is not None and not moment.snapshot.exhausted and moment.snapshot.failures + 1 >= schedule.tries


def parked(moment: Moment) -> bool:
    """The account waits for a person."""
    return moment.snapshot.parked


def flooded(moment: Moment) -> bool:
    """The wait is a flood wait."""
    cause = moment.snapshot.cause
    return cause is not None and cause.event in (FloodWait.__name__, TransportFlood.__name__)


def waits_for_network(moment: Moment) -> bool:
    """The wait is for the network, and has an end."""
    return moment.snapshot.waits_for_network


def limited(moment: Moment) -> bool:
    """Telegram limits the account, as is known."""
    return moment.snapshot.limited is not None


def of_some_requests(moment: Moment) -> bool:
    """Telegram refuses only some of the account's requests."""
    return isinstance(moment.event, AccountLimited) and moment.event.limit in OF_REQUESTS


def restricted_already(moment: Moment) -> bool:
    """Telegram refuses these requests, as is known."""
    event, known = moment.event, moment.snapshot.restricted
    if known is None or not isinstance(event, AccountLimited) or event.limit not in OF_REQUESTS:
        return False
    return known.limit in (event.limit, WRITES)


def restricted(moment: Moment) -> bool:
    """Telegram refuses some of the account's requests, as is known."""
    return moment.snapshot.restricted is not None


def lifted(moment: Moment) -> bool:
    """It is the limit that is known."""
    return isinstance(moment.event, LimitLifted) and moment.snapshot.is_limit(moment.event.limit)


def worth_telling(moment: Moment) -> bool:
    """The file cannot be written, or was locked for ``backoff.database.alert_after``, and nobody was told yet."""
    event, known = moment.event, moment.snapshot.database
    lasts = isinstance(event, DatabaseLocked) and event.waited >= moment.policy.backoff.database.alert_after
    return (lasts or isinstance(event, DatabaseUnavailable)) and not (known is not None and known.told)


def stalled(moment: Moment) -> bool:
    """Updates are missing, as is known."""
    return moment.snapshot.stall is not None


def asked_for(moment: Moment) -> bool:
    """The updates that are missing were asked for, and did not come."""
    asked = isinstance(moment.event, UpdatesStalled) and moment.event.asked
    return asked and moment.snapshot.stall is not None


def told_of_stall(moment: Moment) -> bool:
    """The operator knows of the updates that are missing, and nothing was asked for yet."""
    stall = moment.snapshot.stall
    return stall is not None and stall.told and not asked_for(moment)


def clients_in_vain(moment: Moment) -> bool:
    """Enough fresh clients did not get the updates either, and nobody was told yet."""
    stall = moment.snapshot.stall
    enough = stall is not None and not stall.told and stall.clients >= moment.policy.backoff.updates.tries
    return enough and asked_for(moment)


def client_due(moment: Moment) -> bool:
    """The updates were asked for in vain, and the time for a fresh client has come."""
    stall = moment.snapshot.stall
    due = stall is not None and (stall.until is None or stall.until <= moment.now)
    return due and asked_for(moment)
