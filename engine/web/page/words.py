"""What is said of an account, an incident or a job: values that a template writes, made from those of the engine."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from attrs import evolve, frozen
from markupsafe import Markup, escape

from engine.console.account_status import PAUSED, UNKNOWN, AccountStatus
from engine.console.format import moment
from engine.console.job_lines import progress_text, target_of
from engine.console.safe_text import one_line
from engine.console.status import SEVERITY, cause_text, last_known, waiting
from engine.web.page.source import AccountHeat, account_path, element_id
from states import Entry, Snapshot, State
from states.incident import Incident, Severity, is_of_row
from states.job import Job, JobState
from states.names import name_key
from states.snapshot import advice_of

MAX_NAME: Final = 120
"""Characters of a name; the middle of a longer one is left out."""
MAX_WHY: Final = 600
"""Characters of a cause or a detail; its middle is left out. What to do is never cut."""
MAX_NAMES: Final = 12
"""Accounts of one incident that are named."""
NEEDS: Final = "needs"
"""The filter for the accounts that need a person, beside those for states."""
TROUBLED: Final = "troubled"
"""The filter for the accounts that are neither healthy nor paused."""
ICONS: Final[Mapping[str, str]] = {
    State.HEALTHY.value: "healthy",
    State.BACKOFF.value: "backoff",
    State.TIMEOUT.value: "timeout",
    State.RECONNECTING.value: "attempt",
    State.CONNECTING.value: "attempt",
    State.AUTH_FAILED.value: "key",
    State.SHUTTING_DOWN.value: "stop",
    UNKNOWN: "unknown",
    PAUSED: "paused",
}
"""The drawing that stands for each state; those of ``base.html``."""
JOB_ICONS: Final[Mapping[JobState, str]] = {
    JobState.QUEUED: "backoff",
    JobState.RUNNING: "attempt",
    JobState.DONE: "healthy",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "stop",
}


def path_of(name: str) -> Markup:
    """Return the path of an account's page as a template writes it; a name that is not shown stands in none."""
    shown = one_line(name, MAX_NAME) == name
    return escape(account_path(name) if shown else f"/accounts/{element_id(name)}")


def word_of(state: str) -> str:
    """Return the name of a state as people read it."""
    return state.replace("_", " ")


def sentence(text: str) -> str:
    """Return a text as a sentence: with a capital letter."""
    return text[:1].upper() + text[1:]


@frozen
class Next:
    """What happens next: the words, and the time (Unix seconds) that is counted down to, if there is one."""

    said: str = ""
    at: float | None = None


@frozen
class AccountWords:
    """Where an account is, in words."""

    id: str
    name: str
    path: Markup
    target: str
    """How an action names the account."""
    state: str
    icon: str
    since: float | None
    """Since when it is in this state; None if that is not known."""
    trouble: float | None
    """Since when it is in trouble."""
    why: str
    next: Next
    todo: str
    """What a person should do; empty if nobody has to do anything."""
    failures: int
    reconnects: int
    heard: float | None
    """When it last answered."""
    verbs: tuple[tuple[str, str], ...]
    """What can be done with it: the verb, and what stands on the button."""

    @property
    def word(self) -> str:
        """The name of the state."""
        return word_of(self.state)


def account_words(name: str, at: AccountStatus, trouble: float | None, now: float) -> AccountWords:
    """Return an account in words; ``trouble`` is since when it is in trouble."""
    last, shown = at.last or Snapshot(), one_line(name, MAX_NAME)
    needs = at.last is not None and last.action is not None and not at.paused
    why = cause_text(last) or "" if at.known else last_known(at, now)
    if at.healthy and last.cause is not None:
        why = f"last trouble: {why}"
    if at.known and last.state is State.HEALTHY and last.database is not None:
        file = "" if is_of_row(last.database.detail) else " file"
        why = f"the session{file} is not written: {last.database.detail}"
    elif at.known and last.state is State.HEALTHY and last.stall is not None:
        why = f"updates are missing that Telegram counts: {last.stall.detail}"
    identity = element_id(name)
    return AccountWords(
        id=identity,
        name=shown,
        path=path_of(name),
        target=name if shown == name else identity,
        state=at.state,
        icon=ICONS[at.state],
        since=last.since if at.known else None,
        trouble=None if at.paused or at.healthy else trouble,
        why=one_line(why, MAX_WHY),
        next=_next(at, last, now) if at.known else Next(),
        todo=sentence(advice_of(last)) if needs and last is not None else "",
        failures=last.failures,
        reconnects=last.reconnects,
        heard=last.last_success,
        verbs=_verbs(at),
    )


def _next(at: AccountStatus, last: Snapshot, now: float) -> Next:
    """Return what happens next, and which requests wait for it in place."""
    following, waits = next_of(last, now), waiting(at)
    return evolve(following, said="; ".join(part for part in (following.said, waits) if part)) if waits else following


def _verbs(at: AccountStatus) -> tuple[tuple[str, str], ...]:
    if at.paused:
        return (("resume", "Resume"),)
    if at.healthy:
        return (("pause", "Pause"),)
    return (("retry", "Retry now"), ("pause", "Pause"))


def next_of(at: Snapshot, now: float) -> Next:
    """Return what happens next with an account, if anything is to be expected."""
    if at.paused:
        return Next("it is paused, and waits until somebody resumes it")
    if at.parked or at.state is State.AUTH_FAILED:
        return Next("nothing is tried before somebody acts")
    if at.waiting_for_turn:
        return Next("waits for its turn to connect")
    match at.state:
        case State.HEALTHY:
            held = [hold for hold in at.holds if hold.until > now]
            return Next(", ".join(f"{hold.request} held until {moment(hold.until, now)}" for hold in held))
        case State.BACKOFF:
            return Next("next attempt", at.deadline)
        case State.TIMEOUT:
            return Next("asked again; without an answer it reconnects", at.deadline)
        case State.SHUTTING_DOWN:
            return Next("it is being stopped")
        case _:
            return Next(f"attempt {at.attempt} is under way, and ends at the latest", at.deadline)


def choices(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return what the accounts can be filtered by: the value, and its words."""
    states = [(state, word_of(state)) for state in SEVERITY if counts.get(state) or state == State.HEALTHY.value]
    return [("", "all states"), (NEEDS, "needs you"), (TROUBLED, "not healthy"), *states]


# --- incidents -------------------------------------------------------------------------------------------------------


@frozen
class IncidentWords:
    """An incident in words."""

    number: int
    icon: str
    severity: str
    kind: str
    since: float
    closed: float | None
    acked: float | None
    meaning: str
    detail: str
    todo: str
    """What to do; empty if it is over."""
    accounts: tuple[tuple[str, Markup], ...]
    """Names and paths of its accounts, the first ones."""
    more: int
    """How many there are beyond those."""


def incident_words(incident: Incident) -> IncidentWords:
    """Return an incident in words."""
    critical = incident.severity is Severity.CRITICAL
    return IncidentWords(
        number=incident.id,
        icon="healthy" if not incident.is_open else "failed" if critical else "warning",
        severity=incident.severity.value if incident.is_open else "over",
        kind=word_of(incident.kind.value),
        since=incident.since,
        closed=incident.closed,
        acked=incident.acked,
        meaning=one_line(sentence(incident.meaning), MAX_WHY),
        detail=one_line(incident.detail, MAX_WHY),
        todo=sentence(incident.action) if incident.is_open else "",
        accounts=_first_of(incident.accounts),
        more=max(0, len(incident.accounts) - MAX_NAMES),
    )


@lru_cache(maxsize=64)
def _first_of(accounts: tuple[str, ...]) -> tuple[tuple[str, Markup], ...]:
    """Return the first accounts in the order of all lists, which is kept: of a large outage it takes a moment."""
    return tuple((one_line(name, MAX_NAME), path_of(name)) for name in sorted(accounts, key=name_key)[:MAX_NAMES])


# --- jobs ------------------------------------------------------------------------------------------------------------


@frozen
class JobWords:
    """A job in words."""

    number: int
    kind: str
    state: str
    icon: str
    account: str
    path: Markup | None
    about: str
    at: float
    """When it ended, began, or was added."""
    due: float | None
    attempts: int
    progress: str
    share: float | None
    """How much of it is done, from 0 to 1."""
    detail: str
    causes: tuple[str, ...]


def job_words(job: Job, accounts: Mapping[str, AccountStatus]) -> JobWords:
    """Return a job in words; ``accounts`` are those that have a page."""
    who = job.account or (job.worker if job.state is not JobState.QUEUED else None)
    done = None if not job.total or job.done is None else min(1.0, max(0.0, job.done / job.total))
    return JobWords(
        number=job.id,
        kind=one_line(job.kind, MAX_NAME),
        state=job.state.value,
        icon=JOB_ICONS[job.state],
        account=one_line(who, MAX_NAME) if who else "any account",
        path=path_of(who) if who is not None and who in accounts else None,
        about=one_line(target_of(job), MAX_NAME),
        at=next((each for each in (job.ended, job.since, job.added) if each is not None), 0.0),
        due=job.due if job.state is JobState.QUEUED else None,
        attempts=job.attempts,
        progress=progress_text(job),
        share=done,
        detail=one_line(job.detail, MAX_WHY),
        causes=tuple(one_line(cause, MAX_WHY) for cause in job.error[:12]),
    )


# --- the journal -----------------------------------------------------------------------------------------------------


@frozen
class EntryWords:
    """A record of the journal in words."""

    seq: int
    at: float
    account: str
    path: Markup
    icon: str
    state: str
    """The state afterwards."""
    moved: bool
    source: str
    target: str
    event: str
    dwell: float
    delay: float | None
    detail: str
    rule: str


def entry_words(entry: Entry) -> EntryWords:
    """Return a record in words."""
    return EntryWords(
        seq=entry.seq,
        at=entry.at,
        account=one_line(entry.account, MAX_NAME),
        path=path_of(entry.account),
        icon=ICONS[entry.target.value],
        state=entry.target.value,
        moved=entry.target is not entry.source,
        source=word_of(entry.source.value),
        target=word_of(entry.target.value),
        event=one_line(entry.event, MAX_NAME),
        dwell=entry.dwell,
        delay=entry.delay,
        detail=one_line(entry.detail, MAX_WHY),
        rule=one_line(entry.rule, MAX_NAME),
    )


def taken(heat: AccountHeat) -> list[tuple[str, str, str, int]]:
    """Return the ways that an account went, the most frequent first: from, to, the events of it, how often."""
    found: dict[tuple[State, State], dict[str, int]] = {}
    for (source, event, target), count in heat.moves.items():
        if source is not target:
            events = found.setdefault((source, target), {})
            events[event] = events.get(event, 0) + count
    ways = [
        (word_of(source.value), word_of(target.value), _most(events), sum(events.values()))
        for (source, target), events in found.items()
    ]
    return sorted(ways, key=lambda way: (-way[3], way[:2]))


def _most(events: Mapping[str, int], shown: int = 4) -> str:
    order: Sequence[str] = sorted(events, key=lambda event: (-events[event], event))
    more = f" and {len(order) - shown} more" if len(order) > shown else ""
    return ", ".join(one_line(event, MAX_NAME) for event in order[:shown]) + more
