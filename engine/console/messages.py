"""Decisions as lines for people, with the icons of the user's guide.

✅ success, ⏱️ timeout, 🔌 network, 🔑 login, 💾 database, ⚠️ warning, ❌ error, 🔄 reconnecting, 🔍 monitoring.
"""

import logging

import structlog

from engine.console.format import of_day, seconds
from states import Record, Snapshot, State, Step
from states.effects import Alert, HoldRequests
from states.events import EVENT_BY_NAME, DatabaseLocked, DatabaseRecovered, DatabaseUnavailable, Failure
from states.snapshot import ADVICE

ICONS = {
    "NetworkLost": "🔌",
    "ServerFault": "🔌",
    "TransportFlood": "🔌",
    "ProtocolBroken": "🔌",
    "TimedOut": "⏱️",
    "FloodWait": "⏱️",
    "AuthRejected": "🔑",
    "AuthKeyUnknown": "🔑",
    "SessionDuplicated": "🔑",
    "AccountBanned": "🔑",
    "ConfigRefused": "🔑",
    "AccountLimited": "⚠️",
    "DatabaseLocked": "💾",
    "DatabaseUnavailable": "💾",
    "DatabaseCorrupt": "💾",
    "Unexpected": "❌",
}
WORDS = {
    "NetworkLost": "Network error",
    "ServerFault": "Telegram server error",
    "TransportFlood": "Too many connections",
    "ProtocolBroken": "Protocol error",
    "TimedOut": "Timeout",
    "FloodWait": "Flood wait",
    "AuthRejected": "Login refused",
    "AuthKeyUnknown": "Session key unknown",
    "SessionDuplicated": "Session used elsewhere",
    "AccountBanned": "Account banned",
    "ConfigRefused": "Config refused",
    "AccountLimited": "Account limited",
    "DatabaseLocked": "Session file locked",
    "DatabaseUnavailable": "Session file unavailable",
    "DatabaseCorrupt": "Session file damaged",
    "Unexpected": "Unexpected error",
}
ALERTS = {
    "exhausted": (logging.ERROR, "still failing after {failures} failures in a row; it keeps trying"),
    "parked": (logging.ERROR, "parked after {failures} failures in a row"),
    "limited": (logging.WARNING, "limited by Telegram; it stays connected and its work is held"),
    "database": (logging.ERROR, "connected, but its session file cannot be written. What to do: {remedy}"),
    "auth_failed": (logging.ERROR, "stopped: its credentials cannot be used"),
}
REMEDIES = {
    "DatabaseLocked": "close the program that holds it",
    "DatabaseUnavailable": "see to the file and its disk",
}
"""What a person should do about a session file that cannot be written."""
Line = tuple[int, str, str]
"""Level, icon, sentence."""

log = structlog.get_logger()


def failure_line(account: str, record: Record) -> Line:
    """Return what went wrong."""
    level = logging.ERROR if record.target is State.AUTH_FAILED else logging.WARNING
    detail = f": {record.detail}" if record.detail else ""
    return level, ICONS.get(record.event, "⚠️"), f"{WORDS.get(record.event, record.event)} for {account}{detail}"


def waiting_line(account: str, record: Record) -> Line:
    """Return what keeps a session file from being written, while the account stays connected."""
    word = "locked" if record.event == "DatabaseLocked" else "not written"
    lasts = f" for {seconds(record.payload['waited'])}" if record.payload["waited"] else ""
    detail = f": {record.detail}" if record.detail else ""
    unsaved = record.payload["unsaved"]
    rows = f", {unsaved} row{'s wait' if unsaved != 1 else ' waits'} in memory" if unsaved else ""
    remedy = "" if "AlertDatabase" in record.effects else f"; {REMEDIES[record.event]}"  # the alert's own line says it
    return logging.WARNING, "💾", f"Session file of {account} is {word}{lasts}{detail}; nothing is lost{rows}{remedy}"


def entry_line(account: str, record: Record, snapshot: Snapshot) -> Line | None:
    """Return what entering a state means, if there is something to say."""
    via = f" via {proxy}" if (proxy := record.payload.get("via")) else ""
    match record.target:
        case State.HEALTHY if record.source is State.CONNECTING:
            return logging.INFO, "✅", f"Successfully connected {account} in {seconds(record.dwell)}{via}"
        case State.HEALTHY if record.source is State.RECONNECTING:
            tries = f" at attempt {record.attempt}" if record.attempt > 1 else ""
            return logging.INFO, "✅", f"Successfully reconnected {account}{tries}{via}"
        case State.HEALTHY:
            return logging.INFO, "✅", f"{account} answers again after {seconds(record.dwell)}"
        case State.TIMEOUT if record.deadline is not None:
            return logging.INFO, "🔍", f"Asking {account} again, for {seconds(record.deadline - record.at)} this time"
        case State.BACKOFF if record.delay is not None:
            tries = f" after {record.failures} failures in a row" if record.failures > 1 else ""
            return logging.INFO, "⏱️", f"Retrying {account} in {seconds(record.delay)}{tries}"
        case State.RECONNECTING:
            why = "The network is back. " if record.event == "NetworkRestored" else ""
            return logging.INFO, "🔄", f"{why}Attempting to reconnect {account}..."
        case State.CONNECTING:
            return logging.INFO, "🔄", f"Connecting {account} anew..."
        case State.SHUTTING_DOWN:
            where = f", {ADVICE[snapshot.action]}" if snapshot.action else ""
            return logging.INFO, "🔍", f"{'Pausing' if snapshot.paused else 'Disconnecting'} {account}{where}"
    return None


def gap_line(account: str, step: Step) -> Line:
    """Return from when to when an account was away, and what it missed."""
    assert step.snapshot.offline is not None
    lost, back = step.snapshot.offline
    away = f"{account} was away from {of_day(lost)} to {of_day(back)} ({seconds(back - lost)})"
    count = step.record.payload["recovered"]
    if step.record.payload["too_long"]:
        return logging.WARNING, "⚠️", f"{away}, too long for Telegram to list all that it missed; read the chats for it"
    missed = f"{count} update{'s' if count != 1 else ''} recovered" if count else "nothing was missed"
    return logging.INFO, "🔍", f"{away}; {missed}"


def lines(account: str, step: Step) -> list[Line]:
    """Return the lines of one decision, in order; routine has none."""
    record = step.record
    if record.quiet:
        return []
    said: list[Line | None] = []
    event = EVENT_BY_NAME[record.event]
    again = record.target is State.TIMEOUT and record.source is State.TIMEOUT and "Probe" in record.effects
    if issubclass(event, DatabaseLocked | DatabaseUnavailable) and record.target in (State.HEALTHY, State.TIMEOUT):
        said.append(waiting_line(account, record))
    elif issubclass(event, Failure):
        said.append(failure_line(account, record))
    if event is DatabaseRecovered:
        waited = seconds(record.payload["waited"])
        said.append((logging.INFO, "💾", f"Session file of {account} is written again after {waited}"))
    if record.target is not record.source or again:
        said.append(entry_line(account, record, step.snapshot))
    if record.event == "Started" and record.target is State.BACKOFF and record.delay is not None:
        said.append((logging.INFO, "⏱️", f"{account} goes on waiting, {seconds(record.delay)} more"))
    if record.event == "CaughtUp" and step.snapshot.offline is not None:
        said.append(gap_line(account, step))
    if record.event == "Stable":
        said.append((logging.DEBUG, "✅", f"{account} is stable"))
    if record.event == "Closed" and "Finish" in record.effects:
        said.append((logging.INFO, "✅", f"Disconnected {account} in {seconds(record.dwell)}"))
    for effect in step.effects:
        if isinstance(effect, HoldRequests):
            said.append((logging.WARNING, "⏱️", f"{account}: {effect.request} is held until {of_day(effect.until)}"))
        if isinstance(effect, Alert):
            level, text = ALERTS[effect.kind]
            advice = f". What to do: {ADVICE[effect.action]}" if effect.action else ""
            text = text.format(failures=record.failures, remedy=REMEDIES.get(record.event, ""))
            sentence = f"{account} is {text}{advice}"
            said.append((level, "❌" if level >= logging.ERROR else "⚠️", sentence))
    told = [line for line in said if line is not None]
    return [(logging.INFO, "🔑", sentence) for _, _, sentence in told] if step.concerns_all else told


def narrate(account: str, step: Step) -> None:
    """Log a decision."""
    for level, icon, sentence in lines(account, step):
        log.log(level, sentence, icon=icon)
