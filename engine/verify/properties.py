"""The properties of every decision in every configuration. Each function returns what is wrong, or None."""

from collections.abc import Callable

from engine.verify.stall_properties import clients_are_apart, only_numbers_accuse, stall_goes_on, stall_told_once
from engine.verify.world import ROUNDING, Configuration
from states import Action, Event, Policy, Snapshot, State, Step
from states.clock import NOTICED_WITHIN
from states.effects import (
    AlertDatabase,
    AlertExhausted,
    AlertParked,
    AskTurn,
    Close,
    Finish,
    HoldWork,
    Open,
    Probe,
    ReleaseWork,
    Wait,
)
from states.events import (
    AccountLimited,
    AuthKeyUnknown,
    ClockJumped,
    CredentialsReplaced,
    DatabaseLocked,
    DatabaseRecovered,
    DatabaseUnavailable,
    NetworkRestored,
    OfLink,
    OfVisit,
    RetryRequested,
    Started,
    StopRequested,
    Unexpected,
)
from states.guards import UNEXPECTED_TRIES
from states.limits import OF_REQUESTS
from states.rules import FAILED_ATTEMPT
from states.schedules import Backoff, Renewal, Then
from states.snapshot import UNKNOWN_KEY_TRIES

Always = Callable[[Configuration, Event, Step, Configuration, Policy], str | None]
"""Configuration before, event, decision, configuration after, policy."""

SENDING = (AskTurn, Open, Probe)
FLOODS = ("FloodWait", "TransportFlood")


def one_connection(before: Configuration, _: Event, decision: Step, __: Configuration, ___: Policy) -> str | None:
    """Never are two connections open or opening."""
    link = before.link
    for effect in decision.effects:
        if isinstance(effect, Close):
            link = "none"
        if isinstance(effect, Open):
            if link != "none":
                return "a connection is opened while another one is open"
            link = "opening"
    return None


def stop_is_final(before: Configuration, event: Event, decision: Step, after: Configuration, _: Policy) -> str | None:
    """A stop leads to ``shutting_down`` at once; nothing leaves that state, and only closing happens in it."""
    if isinstance(event, StopRequested) and after.snapshot.state is not State.SHUTTING_DOWN:
        return f"a stop leads to {after.snapshot.state}"
    was, now = before.snapshot, decision.snapshot
    asked = was.state is not State.SHUTTING_DOWN and isinstance(event, StopRequested) and event.paused
    if now.paused != (was.paused or asked):
        return "an account is paused, and no command asked for it"
    if before.snapshot.state is State.SHUTTING_DOWN:
        if after.snapshot.state is not State.SHUTTING_DOWN:
            return f"{after.snapshot.state} is entered after shutting_down"
        if any(not isinstance(effect, Finish) for effect in decision.effects):
            return f"in shutting_down the effects are {decision.record.effects}"
    elif after.snapshot.state is State.SHUTTING_DOWN:
        if any(not isinstance(effect, HoldWork | Close) for effect in decision.effects):
            return f"shutting_down begins with the effects {decision.record.effects}"
        if after.link != "none" or not after.closing:
            return "shutting_down does not close the link"
    return None


def dead_is_silent(before: Configuration, event: Event, decision: Step, after: Configuration, _: Policy) -> str | None:
    """In ``auth_failed`` nothing is open and nothing is sent, and only the operator's act leads out of it."""
    if after.snapshot.state is State.AUTH_FAILED:
        if after.link != "none" or after.turn:
            return "auth_failed has a connection, or asks for one"
        if any(isinstance(effect, SENDING) for effect in decision.effects):
            return f"in auth_failed the effects are {decision.record.effects}"
        if after.snapshot.action is None:
            return "auth_failed does not say what the operator should do"
    elif before.snapshot.state is State.AUTH_FAILED:
        by_operator = isinstance(event, CredentialsReplaced | RetryRequested | StopRequested)
        if not by_operator and not (isinstance(event, Started) and event.credentials != before.snapshot.credentials):
            return f"{type(event).__name__} leads out of auth_failed"
    return None


def waits_end(_: Configuration, __: Event, ___: Step, after: Configuration, ____: Policy) -> str | None:
    """Every wait has something under way that will end it, or is parked with an action for the operator."""
    if not after.started:
        return None
    at = after.snapshot
    match at.state:
        case State.CONNECTING | State.RECONNECTING:
            waits = after.turn if at.waiting_for_turn else after.link == "opening" and at.deadline is not None
            return None if waits else "an attempt has neither asked for a turn nor opened a link"
        case State.HEALTHY:
            asks = after.probe or any(timer.__name__ == "ProbeDue" for timer in after.timers)
            return None if after.link == "open" and asks else "healthy has no link, or no probe is out or due"
        case State.TIMEOUT:
            fine = after.link == "open" and after.probe and at.deadline is not None
            return None if fine else "timeout has no link, probe or deadline"
        case State.BACKOFF:
            armed = any(timer.__name__ == "Elapsed" for timer in after.timers)
            fine = (at.deadline is not None and armed) or (at.parked and at.action is not None)
            return None if fine and after.link == "none" else "backoff has no end, or a link"
        case _:
            return None


def work_only_when_healthy(
    _: Configuration, __: Event, decision: Step, after: Configuration, ___: Policy
) -> str | None:
    """Work uses a connection only while the account is ``healthy`` and not limited."""
    at = after.snapshot
    if not after.held and (at.state is not State.HEALTHY or at.limited):
        return f"work is not held in {at.state}" + (", though limited" if at.limited else "")
    if any(isinstance(effect, ReleaseWork) for effect in decision.effects) and at.state is not State.HEALTHY:
        return f"work is released in {at.state}"
    return None


def limits_hold_what_they_concern(
    before: Configuration, event: Event, decision: Step, after: Configuration, _: Policy
) -> str | None:
    """A limit of some requests holds those and leaves all other work as it was; a retry while healthy ends it."""
    at = decision.snapshot
    if isinstance(event, AccountLimited) and event.limit in OF_REQUESTS and after.held != before.held:
        return "a limit of some requests changes whether work is held"
    if at.restricted is not None and before.snapshot.restricted is None and not at.is_held(at.restricted.limit):
        return "requests that Telegram refuses are not held"
    asked = isinstance(event, RetryRequested) and before.snapshot.state is State.HEALTHY
    return "a retry leaves requests held" if asked and before.snapshot.restricted and at.restricted else None


def delays_fit(_: Configuration, event: Event, decision: Step, __: Configuration, policy: Policy) -> str | None:
    """Every new wait is within the bounds of its schedule, and no shorter than the server demands."""
    for effect in decision.effects:
        if not isinstance(effect, Wait) or not hasattr(event, "schedule"):
            continue
        schedule = getattr(policy.backoff, event.schedule)
        if isinstance(schedule, Renewal):
            return "an account without its updates waits, and has no connection meanwhile"
        if isinstance(schedule, Backoff):
            low, high = schedule.first * (1 - schedule.jitter), schedule.cap
        else:
            low = high = max(0.0, getattr(event, "seconds", 0.0)) + schedule.slack
        if not low <= effect.delay <= high:
            return f"a wait of {effect.delay:g} s is not within {low:g} to {high:g} s"
    return None


def floods_are_floors(before: Configuration, event: Event, _: Step, after: Configuration, __: Policy) -> str | None:
    """Only time ends a flood wait: neither a restored network nor the operator cuts it short."""
    was: Snapshot = before.snapshot
    flooded = was.state is State.BACKOFF and not was.parked and was.cause is not None and was.cause.event in FLOODS
    if flooded and after.link == "none" and after.turn and type(event).__name__ != "Elapsed":
        return f"{type(event).__name__} cuts a flood wait short"
    return None


def quiet_is_routine(before: Configuration, _: Event, decision: Step, __: Configuration, ___: Policy) -> str | None:
    """A decision that the journal leaves out changes neither the state nor a counter."""
    was, now = before.snapshot, decision.snapshot
    counted = (now.attempt, now.failures, now.streak, now.generation) != (
        was.attempt, was.failures, was.streak, was.generation,
    )  # fmt: skip
    if decision.record.quiet and (now.state is not was.state or counted):
        return "a quiet decision changes a counter or the state"
    return None


def alerted_once(before: Configuration, _: Event, decision: Step, __: Configuration, ___: Policy) -> str | None:
    """The decision that marks an account as exhausted raises the alert, and the alert is not raised again."""
    alerted = any(isinstance(effect, AlertExhausted) for effect in decision.effects)
    parked = any(isinstance(effect, AlertParked) for effect in decision.effects)
    if decision.snapshot.exhausted and not before.snapshot.exhausted and not (alerted or parked):
        return "the account is marked as exhausted without an alert"
    return "the alert of an exhausted account is raised again" if alerted and before.snapshot.exhausted else None


def file_alerted_once(before: Configuration, _: Event, decision: Step, __: Configuration, ___: Policy) -> str | None:
    """One trouble of a session file raises at most one alert, and the snapshot says whether it was raised."""
    alerts = sum(isinstance(effect, AlertDatabase) for effect in decision.effects)
    was, now = before.snapshot.database, decision.snapshot.database
    known = was is not None and was.told
    if alerts > (0 if known else 1):
        return "the alert of a session file is raised again"
    if now is None or now.told == (known or alerts == 1):
        return None
    return "the snapshot does not say whether the alert of a session file was raised"


def file_alerted_in_time(
    before: Configuration, event: Event, decision: Step, __: Configuration, policy: Policy
) -> str | None:
    """While the link is up, a file that cannot be written raises an alert, and so does a lock that lasts."""
    was = before.snapshot
    if was.state not in (State.HEALTHY, State.TIMEOUT):
        return None
    match event:
        case DatabaseLocked(waited=waited) if waited < policy.backoff.database.alert_after:
            return None
        case DatabaseLocked(link=link) | DatabaseUnavailable(link=link) if link in (0, was.link):
            known = decision.snapshot.database
            return None if known is not None and known.told else "a session file is not written, without an alert"
    return None


def file_trouble_ends(
    before: Configuration, event: Event, decision: Step, __: Configuration, ___: Policy
) -> str | None:
    """Within a life, a trouble of a session file ends when everything is written, and not before."""
    recovered = isinstance(event, DatabaseRecovered)
    if recovered and decision.snapshot.database is not None:
        return "a session file is written again, but its trouble stays on record"
    forgotten = before.snapshot.database is not None and decision.snapshot.database is None
    return (
        "the trouble of a session file is forgotten before the file is written" if forgotten and not recovered else None
    )


def late_is_nothing(before: Configuration, event: Event, decision: Step, after: Configuration, _: Policy) -> str | None:
    """An event of an earlier visit, or of a link that was closed, changes nothing at all."""
    late = isinstance(event, OfVisit) and event.generation != before.snapshot.generation
    foreign = isinstance(event, OfLink) and event.link not in (0, before.snapshot.link)
    if (late or foreign) and (decision.effects or after != before):
        return f"{type(event).__name__} comes late and still does {decision.record.effects or 'something'}"
    return None


def tries_are_kept(
    before: Configuration, event: Event, decision: Step, after: Configuration, policy: Policy
) -> str | None:
    """Once a schedule's tries are used up, an alert was raised, and the account is parked if the policy says so."""
    at = decision.snapshot
    if at.state is not State.BACKOFF or type(event) not in FAILED_ATTEMPT or at.link or not after.started:
        return None
    schedule = getattr(policy.backoff, getattr(event, "schedule", ""), None)
    stayed = at.generation == before.snapshot.generation
    if stayed or not isinstance(schedule, Backoff) or at.failures < schedule.tries:
        return None
    if not at.exhausted:
        return f"{at.failures} failures in a row, without an alert"
    too_many = isinstance(event, Unexpected) and at.streak >= UNEXPECTED_TRIES
    return None if at.parked == (schedule.then is Then.PARK or too_many) else "parked or not, against the policy"


def unknown_key_is_no_proof(
    before: Configuration, event: Event, decision: Step, after: Configuration, __: Policy
) -> str | None:
    """However often −404 comes, the account keeps trying; after the alert it says that the operator should log in."""
    if not isinstance(event, AuthKeyUnknown) or decision.record.source is State.AUTH_FAILED:
        return None
    at = decision.snapshot
    if at.state is State.AUTH_FAILED or (at.parked and not before.snapshot.parked):
        return f"an unknown key leads to {at.state}, from where only the operator leads"
    if at.doubts_key and at.exhausted and at.streak >= UNKNOWN_KEY_TRIES and at.action is not Action.LOG_IN:
        return "an unknown key was told about, and the account does not say what to do"
    return None


def another_key_is_tried(before: Configuration, event: Event, _: Step, after: Configuration, __: Policy) -> str | None:
    """An account that waits because its key is unknown tries another key, and a restored network, at once."""
    asked = isinstance(event, CredentialsReplaced | NetworkRestored | RetryRequested)
    tried = after.turn and after.snapshot.state is not State.BACKOFF
    return "an unknown key is waited for" if before.snapshot.doubts_key and asked and not tried else None


def retry_is_obeyed(before: Configuration, event: Event, _: Step, after: Configuration, __: Policy) -> str | None:
    """A requested attempt is made, unless one is due already or a flood wait forbids it."""
    was, asked = before.snapshot, isinstance(event, RetryRequested)
    if asked and was.state in (State.BACKOFF, State.AUTH_FAILED) and not after.turn:
        flooded = was.state is State.BACKOFF and was.cause is not None and was.cause.event in FLOODS
        return None if flooded else f"retry in {was.state} does nothing"
    return None


def too_long(at: Snapshot, now: float) -> str | None:
    """Return which wait lasts longer from ``now`` on than it is long in all."""
    waits = [(hold.until, hold.length) for hold in at.holds]
    if at.state is State.BACKOFF and at.deadline is not None:
        waits.append((at.deadline, at.wait))
    if at.stall is not None and at.stall.until is not None:
        waits.append((at.stall.until, at.stall.length))
    for end, length in waits:
        if length is None or end - now > length + ROUNDING:
            return f"a wait of {length} s has {end - now:g} s left"
    return None


def waits_move_with_the_clock(
    before: Configuration, event: Event, decision: Step, after: Configuration, _: Policy
) -> str | None:
    """When the clock is set, what is left of a wait stays, and a sleep shortens it; no wait outgrows its length."""
    if not isinstance(event, ClockJumped) or event.slept is None:
        return None
    was, at, now = before.snapshot, decision.snapshot, decision.record.at
    then = now - event.seconds  # the same moment, by the clock as it was
    if (wrong := too_long(at, now)) is not None:
        return wrong
    if len(was.holds) != len(at.holds):
        return "a clock that was set begins or ends a hold"
    waits = [(old.until, new.until, new.length) for old, new in zip(was.holds, at.holds, strict=True)]
    if was.stall is not None and was.stall.until is not None and was.stall.until > then:
        if at.stall is None or at.stall.until is None:
            return "a clock that was set ends a wait"
        waits.append((was.stall.until, at.stall.until, at.stall.length))
    if at.state is State.BACKOFF and was.deadline is not None and at.deadline is not None:
        waits.append((was.deadline, at.deadline, at.wait))
    for old, new, length in waits:
        if old == new and length is not None and 0 <= now - (old - length) < NOTICED_WITHIN:
            continue  # it began after the clock was set, and before that was noticed
        left = old - then - event.slept
        due = left if length is None else min(left, length)
        if abs((new - now) - due) > ROUNDING:
            return f"{old - then:g} s were left of a wait; after {event.slept:g} s of sleep {new - now:g} s are"
    return None


def waits_have_lengths(_: Configuration, __: Event, decision: Step, ___: Configuration, ____: Policy) -> str | None:
    """Whatever has an end is stored with its length: without it nobody could cap it after a restart."""
    at = decision.snapshot
    if (at.deadline is None) != (at.wait is None):
        return "a deadline is stored without the length of its wait, or the length without it"
    return "a hold is stored without its length" if any(hold.length is None for hold in at.holds) else None


ALWAYS: tuple[Always, ...] = (
    one_connection,
    stop_is_final,
    dead_is_silent,
    waits_end,
    work_only_when_healthy,
    limits_hold_what_they_concern,
    delays_fit,
    floods_are_floors,
    quiet_is_routine,
    alerted_once,
    file_alerted_once,
    file_alerted_in_time,
    file_trouble_ends,
    only_numbers_accuse,
    clients_are_apart,
    stall_told_once,
    stall_goes_on,
    late_is_nothing,
    tries_are_kept,
    retry_is_obeyed,
    unknown_key_is_no_proof,
    another_key_is_tried,
    waits_move_with_the_clock,
    waits_have_lengths,
)
