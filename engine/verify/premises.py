"""Of which decisions each property says something: where its premise does not hold, it holds of itself.

A reader finds with it the decisions that a property is about, and a test that no violation escapes it.
"""

from collections.abc import Callable, Mapping

from engine.verify import properties, stall_properties
from engine.verify.properties import FLOODS, Always
from engine.verify.world import GENERATION, Configuration
from states import Event, Policy, State, Step
from states.effects import AlertDatabase, AlertExhausted, AlertParked, AlertStalled, Effect, Open, ReleaseWork, Wait
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
    StopRequested,
    UpdatesConfirmed,
    UpdatesStalled,
)
from states.limits import OF_REQUESTS
from states.rules import FAILED_ATTEMPT
from states.schedules import Backoff

Premise = Callable[[Configuration, Event, Step, Configuration, Policy], bool]
"""Configuration before, event, decision, configuration after, policy."""


def _does(decision: Step, *kinds: type[Effect]) -> bool:
    return any(isinstance(effect, kinds) for effect in decision.effects)


def _opens(_: Configuration, __: Event, decision: Step, ___: Configuration, ____: Policy) -> bool:
    return _does(decision, Open)


def _stops(before: Configuration, event: Event, decision: Step, after: Configuration, _: Policy) -> bool:
    ends = State.SHUTTING_DOWN in (before.snapshot.state, after.snapshot.state)
    return ends or isinstance(event, StopRequested) or decision.snapshot.paused != before.snapshot.paused


def _is_dead(before: Configuration, _: Event, __: Step, after: Configuration, ___: Policy) -> bool:
    return State.AUTH_FAILED in (before.snapshot.state, after.snapshot.state)


def _waits(_: Configuration, __: Event, ___: Step, after: Configuration, ____: Policy) -> bool:
    return after.started and after.snapshot.state not in (State.AUTH_FAILED, State.SHUTTING_DOWN)


def _works(_: Configuration, __: Event, decision: Step, after: Configuration, ___: Policy) -> bool:
    return not after.held or _does(decision, ReleaseWork)


def _waits_by_schedule(_: Configuration, event: Event, decision: Step, __: Configuration, ___: Policy) -> bool:
    return hasattr(event, "schedule") and _does(decision, Wait)


def _flooded(before: Configuration, _: Event, __: Step, ___: Configuration, ____: Policy) -> bool:
    was = before.snapshot
    return was.state is State.BACKOFF and not was.parked and was.cause is not None and was.cause.event in FLOODS


def _quiet(_: Configuration, __: Event, decision: Step, ___: Configuration, ____: Policy) -> bool:
    return decision.record.quiet


def _exhausts(before: Configuration, _: Event, decision: Step, __: Configuration, ___: Policy) -> bool:
    marked = decision.snapshot.exhausted and not before.snapshot.exhausted
    return marked or _does(decision, AlertExhausted, AlertParked)


def _troubled(_: Configuration, __: Event, decision: Step, ___: Configuration, ____: Policy) -> bool:
    return decision.snapshot.database is not None or _does(decision, AlertDatabase)


def _file_fails(before: Configuration, event: Event, _: Step, __: Configuration, policy: Policy) -> bool:
    was = before.snapshot
    if was.state not in (State.HEALTHY, State.TIMEOUT) or not isinstance(event, DatabaseLocked | DatabaseUnavailable):
        return False
    short = isinstance(event, DatabaseLocked) and event.waited < policy.backoff.database.alert_after
    return not short and event.link in (0, was.link)


def _trouble_ends(before: Configuration, event: Event, _: Step, __: Configuration, ___: Policy) -> bool:
    return isinstance(event, DatabaseRecovered) or before.snapshot.database is not None


def _misses(before: Configuration, event: Event, decision: Step, __: Configuration, ___: Policy) -> bool:
    return isinstance(event, UpdatesStalled) or decision.snapshot.stall is not None


def _renews(before: Configuration, _: Event, decision: Step, __: Configuration, ___: Policy) -> bool:
    was, now = before.snapshot.stall, decision.snapshot.stall
    return now is not None and now.clients > (0 if was is None else was.clients)


def _tells_of_stall(_: Configuration, __: Event, decision: Step, ___: Configuration, ____: Policy) -> bool:
    return decision.snapshot.stall is not None or _does(decision, AlertStalled)


def _stall_lasts(before: Configuration, event: Event, _: Step, __: Configuration, ___: Policy) -> bool:
    return before.snapshot.stall is not None or isinstance(event, UpdatesStalled | UpdatesConfirmed)


def _late(before: Configuration, event: Event, _: Step, __: Configuration, ___: Policy) -> bool:
    if isinstance(event, OfVisit):
        return event.generation != before.snapshot.generation
    return isinstance(event, OfLink) and event.link not in (0, before.snapshot.link)


def _tried_enough(_: Configuration, event: Event, decision: Step, after: Configuration, policy: Policy) -> bool:
    at = decision.snapshot
    if at.state is not State.BACKOFF or type(event) not in FAILED_ATTEMPT or at.link or not after.started:
        return False
    schedule = getattr(policy.backoff, getattr(event, "schedule", ""), None)
    return at.generation != GENERATION and isinstance(schedule, Backoff) and at.failures >= schedule.tries


def _asked_to_retry(before: Configuration, event: Event, _: Step, __: Configuration, ___: Policy) -> bool:
    return isinstance(event, RetryRequested) and before.snapshot.state in (State.BACKOFF, State.AUTH_FAILED)


def _key_unknown(_: Configuration, event: Event, decision: Step, __: Configuration, ___: Policy) -> bool:
    return isinstance(event, AuthKeyUnknown) and decision.record.source is not State.AUTH_FAILED


def _asked_in_doubt(before: Configuration, event: Event, _: Step, __: Configuration, ___: Policy) -> bool:
    return before.snapshot.doubts_key and isinstance(event, CredentialsReplaced | NetworkRestored | RetryRequested)


def _is_restricted(before: Configuration, event: Event, decision: Step, _: Configuration, __: Policy) -> bool:
    told = isinstance(event, AccountLimited) and event.limit in OF_REQUESTS
    return told or before.snapshot.restricted is not None or decision.snapshot.restricted is not None


def _clock_jumps(_: Configuration, event: Event, __: Step, ___: Configuration, ____: Policy) -> bool:
    return isinstance(event, ClockJumped) and event.slept is not None


def _has_end(_: Configuration, __: Event, decision: Step, ___: Configuration, ____: Policy) -> bool:
    at = decision.snapshot
    return at.deadline is not None or at.wait is not None or bool(at.holds)


PREMISES: Mapping[Always, Premise] = {
    properties.one_connection: _opens,
    properties.stop_is_final: _stops,
    properties.dead_is_silent: _is_dead,
    properties.waits_end: _waits,
    properties.work_only_when_healthy: _works,
    properties.limits_hold_what_they_concern: _is_restricted,
    properties.delays_fit: _waits_by_schedule,
    properties.floods_are_floors: _flooded,
    properties.quiet_is_routine: _quiet,
    properties.alerted_once: _exhausts,
    properties.file_alerted_once: _troubled,
    properties.file_alerted_in_time: _file_fails,
    properties.file_trouble_ends: _trouble_ends,
    stall_properties.only_numbers_accuse: _misses,
    stall_properties.clients_are_apart: _renews,
    stall_properties.stall_told_once: _tells_of_stall,
    stall_properties.stall_goes_on: _stall_lasts,
    properties.late_is_nothing: _late,
    properties.tries_are_kept: _tried_enough,
    properties.retry_is_obeyed: _asked_to_retry,
    properties.unknown_key_is_no_proof: _key_unknown,
    properties.another_key_is_tried: _asked_in_doubt,
    properties.waits_move_with_the_clock: _clock_jumps,
    properties.waits_have_lengths: _has_end,
}
"""The premise of each property; what it does not hold of cannot violate the property."""
