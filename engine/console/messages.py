"""Decisions as events of the log, and the one renderer that makes a line of an event.

The icons are those of the user's guide: ✅ success, ⏱️ timeout, 🔌 network, 🔑 login, 💾 database, ⚠️ warning,
❌ error, 🔄 reconnecting, 🔍 monitoring. Each event's icon and sentence are in ``log_alerts``, ``log_connections``,
``log_engine``, ``log_health``, ``log_incidents``, ``log_journal``, ``log_node``, ``log_remote``, ``log_sandbox``,
``log_work`` and ``log_workers``.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import structlog

from adapters.redaction import redacted, redacted_value
from engine.console.log_alerts import ALERTS
from engine.console.log_connections import CONNECTIONS, LOGGER
from engine.console.log_engine import ENGINE
from engine.console.log_event import Fields, LogEvent
from engine.console.log_health import HEALTH
from engine.console.log_incidents import INCIDENTS
from engine.console.log_journal import JOURNAL
from engine.console.log_node import NODE
from engine.console.log_remote import REMOTE
from engine.console.log_sandbox import SANDBOX
from engine.console.log_work import WORK
from engine.console.log_workers import WORKERS
from engine.console.safe_text import one_line, safe_lines, safe_repr
from states import Record, Snapshot, State, Step
from states.effects import Alert, AlertLimited, HoldRequests
from states.events import EVENT_BY_NAME, DatabaseLocked, DatabaseRecovered, DatabaseUnavailable, Failure, UpdatesStalled

LOG_EVENTS: Final[Mapping[str, LogEvent]] = {
    event.name: event
    for event in (
        *ALERTS, *CONNECTIONS, *ENGINE, *HEALTH, *INCIDENTS, *JOURNAL, *NODE, *REMOTE, *SANDBOX, *WORK, *WORKERS,
    )
}  # fmt: skip
"""Every event that the engine logs, by its name."""

NAMES: Final = ("account", "path", "config", "command", "group", "function", "handler")
"""Fields that have what the operator or the program calls things: an account may be called after its number."""

LINKED: Final = (State.HEALTHY, State.TIMEOUT)
ATTEMPT: Final = (State.CONNECTING, State.RECONNECTING)

_OF_FILES: Final = (DatabaseLocked, DatabaseUnavailable)

Told = tuple[int, str, dict[str, Any]]
"""Level, name of the event, fields."""

log = structlog.get_logger(LOGGER)


# --- the renderer ----------------------------------------------------------------------------------------------------


def render(name: str, fields: Mapping[str, Any]) -> str:
    """Return the line of an event: icon and sentence; then, below it, the stack and the exception if it has them.

    An event of the user's own, which is not one of them, is its name and its fields as ``key=value``.
    """
    keep = names_in(fields)
    line = _known(name, fields)
    if line is not None:
        line = redacted(line, keep)
    else:
        shown = sorted((key, value) for key, value in fields.items() if key not in ("event", "icon", "exception"))
        parts = (
            fields.get("icon", ""),
            str(name),
            " ".join(f"{key}={safe_repr(redacted_value(value, keep))}" for key, value in shown),
        )
        line = one_line(redacted(" ".join(str(part) for part in parts if part), keep))
    trace = fields.get("exception")
    return f"{line}\n{safe_lines(redacted(str(trace), keep))}" if trace else line


def names_in(fields: Fields) -> list[str]:
    """Return the values of an event that the operator has chosen, and so are no secrets: names and paths."""
    return [str(fields[key]) for key in NAMES if fields.get(key)]


def _known(name: str, fields: Mapping[str, Any]) -> str | None:
    """Return the line of an known event; None for others."""
    event = LOG_EVENTS.get(name) if isinstance(name, str) else None
    if event is None:
        return None
    try:
        line = event.line(fields)
        return f"{line}\n{safe_lines(str(fields['stack']))}" if "stack" in event.fields else line
    except Exception:  # the user's own event has this name, too, and fields that this sentence knows nothing of
        return None


# --- what a decision says --------------------------------------------------------------------------------------------


def _failed(account: str, record: Record) -> Told:
    """Return what went wrong."""
    lost = record.source in LINKED and record.target not in LINKED
    name = "connection_lost" if lost else "attempt_failed" if record.source in ATTEMPT else "failure_reported"
    fields: dict[str, Any] = {
        "account": account,
        "failure": record.event,
        "detail": record.detail,
        "state": record.target.value,
        "attempt": record.attempt,
        "failures": record.failures,
    }
    if record.delay is not None:
        fields["delay"] = record.delay
    return logging.ERROR if record.target is State.AUTH_FAILED else logging.WARNING, name, fields


def _file_waits(account: str, record: Record) -> Told:
    """Return what keeps a session file from being written, while the account stays connected."""
    fields = {
        "account": account,
        "failure": record.event,
        "detail": record.detail,
        "waited": record.payload["waited"],
        "unsaved": record.payload["unsaved"],
        "alerted": "AlertDatabase" in record.effects,
    }
    return logging.WARNING, "session_file_waits", fields


def _stalled(account: str, record: Record) -> Told:
    """Return which updates are missing, and what is done about it."""
    fields = {
        "account": account,
        "detail": record.detail,
        "asked": record.payload.get("asked", False),
        "fresh_client": record.target is not record.source,
    }
    return logging.WARNING, "updates_missing", fields


def _entered(account: str, record: Record, snapshot: Snapshot) -> Told | None:
    """Return what entering a state means, if there is something to say."""
    name: str
    fields: dict[str, Any]
    match record.target:
        case State.HEALTHY if record.source in ATTEMPT:
            name = "connected" if record.source is State.CONNECTING else "reconnected"
            via = record.payload.get("via", "")
            fields = {"account": account, "took": record.dwell, "attempt": record.attempt, "via": via}
        case State.HEALTHY:
            name, fields = "answered_again", {"account": account, "silence": record.dwell}
        case State.TIMEOUT if record.deadline is not None:
            name, fields = "asked_again", {"account": account, "timeout": record.deadline - record.at}
        case State.BACKOFF if record.delay is not None:
            name = "retry_scheduled"
            fields = {
                "account": account,
                "delay": record.delay,
                "failures": record.failures,
                "attempt": record.attempt,
            }
        case State.RECONNECTING | State.CONNECTING:
            name = "reconnecting" if record.target is State.RECONNECTING else "connecting"
            fields = {"account": account, "trigger": record.event}
        case State.SHUTTING_DOWN:
            name = "pausing" if snapshot.paused else "disconnecting"
            action = snapshot.action
            fields = {"account": account, "action": action.value if action else None}
        case _:
            return None
    return logging.INFO, name, fields


def _gap(account: str, step: Step) -> Told:
    """Return what an account missed, and from when to when it was away."""
    recovered, missing = step.record.payload["recovered"], step.record.payload.get("missing")
    if missing:
        fields = {"account": account, "recovered": recovered, "missing": ", ".join(missing)}
        return logging.WARNING, "gap_incomplete", fields
    too_long, offline = step.record.payload["too_long"], step.snapshot.offline
    if step.record.payload.get("late") and (offline is None or not too_long):
        return logging.INFO, "gap_closed", {"account": account, "recovered": recovered}
    assert offline is not None
    lost, back = offline
    fields = {"account": account, "lost": lost, "back": back}
    if too_long:
        return logging.WARNING, "gap_too_long", fields
    return logging.INFO, "caught_up", {**fields, "recovered": recovered}


def _alert(account: str, record: Record, effect: Alert) -> Told:
    """Return an alert."""
    action = effect.action.value if effect.action else None
    fields = {"account": account, "trigger": record.event, "failures": record.failures, "action": action}
    fields["detail"] = record.detail
    if isinstance(effect, AlertLimited):
        fields |= {name: record.payload.get(name) for name in ("limit", "deletion", "appeal")}
    return logging.WARNING if effect.kind == "limited" else logging.ERROR, f"alert_{effect.kind}", fields


def events_of(account: str, step: Step) -> list[Told]:
    """Return what the log says of one decision, in order; routine has nothing to say."""
    record = step.record
    if record.quiet:
        return []
    told: list[Told] = []
    event = EVENT_BY_NAME[record.event]
    again = record.target is State.TIMEOUT and record.source is State.TIMEOUT and "Probe" in record.effects
    if event in _OF_FILES and record.target in LINKED:
        told.append(_file_waits(account, record))
    elif event is UpdatesStalled:
        if record.effects:
            told.append(_stalled(account, record))
    elif issubclass(event, Failure):
        told.append(_failed(account, record))
    if event is DatabaseRecovered:
        rows = {"waited": record.payload["waited"], "written": record.payload["written"]}
        told.append((logging.INFO, "session_file_written", {"account": account, **rows}))
    if (record.target is not record.source or again) and (entered := _entered(account, record, step.snapshot)):
        told.append(entered)
    if record.event == "Started" and record.target is State.BACKOFF and record.delay is not None:
        told.append((logging.INFO, "retry_continued", {"account": account, "delay": record.delay}))
    later = record.payload.get("missing") or record.payload.get("late")
    if record.event == "CaughtUp" and (step.snapshot.offline is not None or later):
        told.append(_gap(account, step))
    if record.event == "UpdatesConfirmed" and record.source in LINKED:
        told.append((logging.INFO, "updates_complete", {"account": account}))
    if record.event == "Stable":
        told.append((logging.DEBUG, "stable", {"account": account}))
    if record.event == "Closed" and "Finish" in record.effects:
        told.append((logging.INFO, "disconnected", {"account": account, "took": record.dwell}))
    for effect in step.effects:
        if isinstance(effect, HoldRequests):
            held = {"account": account, "request": effect.request, "until": effect.until}
            told.append((logging.WARNING, "request_held", held))
        if isinstance(effect, Alert):
            told.append(_alert(account, record, effect))
    if step.concerns_all:
        return [(logging.INFO, name, {**fields, "concerns_all": True}) for _, name, fields in told]
    return told


_tellers: Final[list[Callable[[str, Step], None]]] = []
"""Who logs decisions, the last one of them: the thread of the log that is open."""


@contextmanager
def told_by(tell: Callable[[str, Step], None]) -> Iterator[None]:
    """Let ``tell`` log the decisions of the block."""
    _tellers.append(tell)
    try:
        yield
    finally:
        _tellers.remove(tell)


def narrate(account: str, step: Step) -> None:
    """Log a decision; while the log is open, its thread does that."""
    if step.record.quiet:
        return
    if _tellers:
        _tellers[-1](account, step)
        return
    for level, name, fields in events_of(account, step):
        log.log(level, name, **fields)
