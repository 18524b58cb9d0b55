"""The properties of missing updates. Each function returns what is wrong with a decision, or None."""

from engine.verify.world import ROUNDING, Configuration
from states import Event, Policy, State, Step
from states.effects import AlertStalled, FetchUpdates
from states.events import CredentialsReplaced, RetryRequested, Started, UpdatesConfirmed, UpdatesStalled


def only_numbers_accuse(
    before: Configuration, event: Event, decision: Step, __: Configuration, ___: Policy
) -> str | None:
    """Only the datacenter's numbers say that updates are missing: neither silence nor a loss does.

    They are asked for before anything is cut, and only a person asks for a fresh client without that.
    """
    was, now, reported = before.snapshot, decision.snapshot, isinstance(event, UpdatesStalled)
    if (now.stall is not None and was.stall is None) and not reported:
        return f"{type(event).__name__} says that updates are missing"
    renewed = now.stall is not None and now.stall.clients > (was.stall.clients if was.stall is not None else 0)
    if renewed and not isinstance(event, RetryRequested) and (was.stall is None or not getattr(event, "asked", False)):
        return "a fresh client takes over, and the updates were not asked for"
    if reported and now.state is not was.state and not renewed:
        return "missing updates end a connection, and no fresh client is counted"
    return None


def clients_are_apart(
    before: Configuration, event: Event, decision: Step, __: Configuration, policy: Policy
) -> str | None:
    """Between two fresh clients that take over because updates are missing there is as much time as the schedule says.

    Only a person may ask for one sooner.
    """
    was, now, at = before.snapshot.stall, decision.snapshot.stall, decision.record.at
    if now is None or now.clients <= (0 if was is None else was.clients):
        return None
    early = was is not None and was.until is not None and was.until > at
    if early and not isinstance(event, RetryRequested):
        return "a fresh client takes over before its time"
    if now.until is None or abs(now.until - at - policy.backoff.updates.delay(now.clients)) > ROUNDING:
        return "a fresh client takes over, and nothing keeps the next one from doing so at once"
    return None


def stall_told_once(before: Configuration, _: Event, decision: Step, __: Configuration, policy: Policy) -> str | None:
    """Missing updates raise one alert, after fresh clients did not get them either, and the snapshot remembers it."""
    alerts = sum(isinstance(effect, AlertStalled) for effect in decision.effects)
    was, now = before.snapshot.stall, decision.snapshot.stall
    known = was is not None and was.told
    if alerts > (0 if known else 1):
        return "the alert of missing updates is raised again"
    if alerts and (was is None or was.clients < policy.backoff.updates.tries):
        return "missing updates raise an alert before a fresh client was tried"
    if now is None or now.told == (known or alerts == 1):
        return None
    return "the snapshot does not say whether the alert of missing updates was raised"


def stall_goes_on(before: Configuration, event: Event, decision: Step, __: Configuration, ___: Policy) -> str | None:
    """Missing updates stay on record until the datacenter's numbers are reached, or another login takes over.

    A report that they are missing is never ignored while the link is up: they are asked for, or it was done before.
    """
    was, now = before.snapshot, decision.snapshot
    reached = isinstance(event, UpdatesConfirmed | CredentialsReplaced)
    if was.stall is not None and now.stall is None and not (reached or isinstance(event, Started)):
        return f"{type(event).__name__} makes the missing updates forgotten"
    current = isinstance(event, UpdatesConfirmed) and event.link == was.link != 0
    if current and was.state in (State.HEALTHY, State.TIMEOUT) and now.stall is not None:
        return "the updates are there, but stay on record as missing"
    reported = isinstance(event, UpdatesStalled) and event.link == was.link != 0 and not event.asked
    if reported and was.state is State.HEALTHY and not any(isinstance(each, FetchUpdates) for each in decision.effects):
        return "updates are missing, and nobody asks for them"
    return None
