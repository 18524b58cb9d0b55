"""The events of the logger ``holdfast.connection`` and their lines: one account's connection, decision by decision.

``holdfast.monitor`` logs the same events for the clients of a ``ConnectionMonitor``.
"""

from functools import partial
from typing import Final

from engine.console.format import ahead, date_and_time, of_day, seconds
from engine.console.log_event import Fields, LogEvent
from states.exhaustion import EXHAUSTED
from states.incident import is_of_row
from states.limits import ACCOUNT, MEANINGS, advice_for
from states.snapshot import ADVICE, Action

LOGGER: Final = "holdfast.connection"

ICONS: Final = {
    "NetworkLost": "🔌",
    "ServerFault": "🔌",
    "UpdatesStalled": "🔌",
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
WORDS: Final = {
    "NetworkLost": "Network error",
    "ServerFault": "Telegram server error",
    "UpdatesStalled": "Updates missing",
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
REMEDIES: Final = {
    "DatabaseLocked": "close the program that holds it",
    "DatabaseUnavailable": "see to the file and its disk",
}
"""What the operator should do about a session file that cannot be written."""
OF_DATABASE: Final = "see to the database"
"""The same for a session that is a row."""


def _failure(of: Fields) -> str:
    failure = of["failure"]
    detail = f": {of['detail']}" if of["detail"] else ""
    words = str(WORDS.get(failure, failure))
    if is_of_row(of["detail"]):
        words = words.replace("Session file", "Session")
    return f"{words} for {of['account']}{detail}"


def _file_waits(of: Fields) -> str:
    word = "locked" if of["failure"] == "DatabaseLocked" else "not written"
    lasts = f" for {seconds(of['waited'])}" if of["waited"] else ""
    detail = f": {of['detail']}" if of["detail"] else ""
    unsaved = of["unsaved"]
    rows = f", {unsaved} row{'s wait' if unsaved != 1 else ' waits'} in memory" if unsaved else ""
    said = of["alerted"] or of["detail"].startswith(EXHAUSTED)  # by the alert's own line, or by the detail
    row = is_of_row(of["detail"])
    remedy = "" if said else f"; {OF_DATABASE if row else REMEDIES[of['failure']]}"
    return f"Session{'' if row else ' file'} of {of['account']} is {word}{lasts}{detail}; nothing is lost{rows}{remedy}"


def _stalled(of: Fields) -> str:
    if of["fresh_client"]:
        after = "a fresh client takes over"
    else:
        after = "they did not come when they were asked for" if of["asked"] else "they are asked for"
    return f"{of['account']} lacks updates that Telegram counts: {of['detail']}; {after}"


def _via(of: Fields) -> str:
    return f" via {of['via']}" if of["via"] else ""


def _connected(of: Fields) -> str:
    return f"Successfully connected {of['account']} in {seconds(of['took'])}{_via(of)}"


def _reconnected(of: Fields) -> str:
    tries = f" at attempt {of['attempt']}" if of["attempt"] > 1 else ""
    return f"Successfully reconnected {of['account']}{tries}{_via(of)}"


def _retry(of: Fields) -> str:
    tries = f" after {of['failures']} failures in a row" if of["failures"] > 1 else ""
    return f"Retrying {of['account']} in {seconds(of['delay'])}{tries}"


def _reconnecting(of: Fields) -> str:
    why = "The network is back. " if of["trigger"] == "NetworkRestored" else ""
    return f"{why}Attempting to reconnect {of['account']}..."


def _leaving(of: Fields, word: str) -> str:
    where = f", {ADVICE[Action(of['action'])]}" if of["action"] else ""
    return f"{word} {of['account']}{where}"


def _away(of: Fields) -> str:
    lost, back = of["lost"], of["back"]
    start = of_day(lost) if back - lost < 12 * 3600 else date_and_time(lost)
    return f"{of['account']} was away from {start} to {of_day(back)} ({seconds(back - lost)})"


def _caught_up(of: Fields) -> str:
    missed = _recovered(of) if of["recovered"] else "nothing was missed"
    return f"{_away(of)}; {missed}"


def _recovered(of: Fields) -> str:
    count = of["recovered"]
    return f"{count} update{'s' if count != 1 else ''} recovered"


def _alert(of: Fields, text: str) -> str:
    advice = f". What to do: {ADVICE[Action(of['action'])]}" if of["action"] else ""
    return f"{of['account']} is {text}{advice}"


def _limit_alert(of: Fields) -> str:
    limit = of.get("limit") or ACCOUNT
    advice = advice_for(limit, of.get("deletion"), of.get("appeal") or "")
    if advice is None:
        return _alert(of, MEANINGS[ACCOUNT])
    return f"{of['account']} is {MEANINGS[limit]}. What to do: {advice}"


def _database_alert(of: Fields) -> str:
    remedy, detail = REMEDIES.get(of["trigger"], ""), of.get("detail", "")
    if detail.startswith(EXHAUSTED):
        remedy = detail.partition("; ")[2]
    if is_of_row(detail):
        return _alert(of, f"connected, but its session cannot be written. What to do: {OF_DATABASE}")
    return _alert(of, f"connected, but its session file cannot be written. What to do: {remedy}")


_ACCOUNT: Final = {"account": "the account's name"}
_FAILURE: Final = {
    **_ACCOUNT,
    "failure": "the error's event, such as `NetworkLost`",
    "detail": "what happened, in a sentence; may be empty",
    "state": "the account's state now",
    "attempt": "connection attempts since the last stable link",
    "failures": "failures in a row since the last stable link",
    "delay": "how long the account waits now, in seconds; only where a wait began",
    "concerns_all": "true for a refused setting that all accounts share; then the level is info",
}
_REPORTED: Final = {name: meaning for name, meaning in _FAILURE.items() if name != "delay"}
_ALERT: Final = {
    **_ACCOUNT,
    "trigger": "the event that raised the alert",
    "failures": "failures in a row since the last stable link",
    "action": "what the operator should do, such as `log_in`; may be null",
    "detail": "what happened, in a sentence",
    "concerns_all": _FAILURE["concerns_all"],
}
_FILE: Final = {
    **_ACCOUNT,
    "failure": "`DatabaseLocked` or `DatabaseUnavailable`",
    "detail": "what happened, in a sentence; may be empty",
    "waited": "how long the file has not been written, in seconds",
    "unsaved": "rows that wait in memory",
    "alerted": "whether an alert goes with it",
}
_GAP: Final = {
    **_ACCOUNT,
    "lost": "when the account was last heard of before, in Unix seconds",
    "back": "when the new link was proven, in Unix seconds",
}


def _icon(of: Fields) -> str:
    return ICONS.get(of["failure"], "⚠️")


_event = partial(LogEvent, LOGGER)
_LOST = "warning, or error where the account's credentials cannot be used"

CONNECTIONS: Final = (
    _event("connection_lost", _LOST, _icon, _failure, "an error ended a connection", _FAILURE),
    _event("attempt_failed", _LOST, _icon, _failure, "an error ended an attempt to connect", _FAILURE),
    _event(
        "failure_reported",
        _LOST,
        _icon,
        _failure,
        "an error ended neither, such as a silence or a flood wait",
        _REPORTED,
    ),
    _event(
        "session_file_waits",
        "warning",
        "💾",
        _file_waits,
        "the session file of a connected account is locked or cannot be written",
        _FILE,
    ),
    _event(
        "session_file_written",
        "info",
        "💾",
        lambda of: f"Session file of {of['account']} is written again after {seconds(of['waited'])}",
        "the session file is written again",
        {**_ACCOUNT, "waited": _FILE["waited"], "written": "rows that had to wait"},
    ),
    _event(
        "connected",
        "info",
        "✅",
        _connected,
        "the first connection of a life is proven",
        {
            **_ACCOUNT,
            "took": "seconds since the attempt began",
            "attempt": _FAILURE["attempt"],
            "via": "the proxy; may be empty",
        },
    ),
    _event(
        "reconnected",
        "info",
        "✅",
        _reconnected,
        "a connection after a loss is proven",
        {
            **_ACCOUNT,
            "took": "seconds since the attempt began",
            "attempt": _FAILURE["attempt"],
            "via": "the proxy; may be empty",
        },
    ),
    _event(
        "answered_again",
        "info",
        "✅",
        lambda of: f"{of['account']} answers again after {seconds(of['silence'])}",
        "a connection that had fallen silent answered",
        {**_ACCOUNT, "silence": "how long it was suspect, in seconds"},
    ),
    _event(
        "asked_again",
        "info",
        "🔍",
        lambda of: f"Asking {of['account']} again, for {seconds(of['timeout'])} this time",
        "a silent connection is asked for a sign of life",
        {**_ACCOUNT, "timeout": "how long the answer may take, in seconds"},
    ),
    _event(
        "retry_scheduled",
        "info",
        "⏱️",
        _retry,
        "a wait before the next attempt began",
        {
            **_ACCOUNT,
            "delay": "how long the account waits, in seconds",
            "failures": _FAILURE["failures"],
            "attempt": _FAILURE["attempt"],
        },
    ),
    _event(
        "retry_continued",
        "info",
        "⏱️",
        lambda of: f"{of['account']} goes on waiting, {seconds(of['delay'])} more",
        "a new life goes on with a wait of the last one",
        {**_ACCOUNT, "delay": "how long the account still waits, in seconds"},
    ),
    _event(
        "reconnecting",
        "info",
        "🔄",
        _reconnecting,
        "an attempt after a loss is due",
        {**_ACCOUNT, "trigger": "the event that made it due, such as `Elapsed` or `NetworkRestored`"},
    ),
    _event(
        "connecting",
        "info",
        "🔄",
        "Connecting {account} anew...",
        "an account begins anew, with new credentials or at a retry",
        {**_ACCOUNT, "trigger": "the event that made it begin"},
    ),
    _event(
        "pausing",
        "info",
        "🔍",
        lambda of: _leaving(of, "Pausing"),
        "an account is paused",
        {**_ACCOUNT, "action": _ALERT["action"]},
    ),
    _event(
        "disconnecting",
        "info",
        "🔍",
        lambda of: _leaving(of, "Disconnecting"),
        "an account is stopped",
        {**_ACCOUNT, "action": _ALERT["action"]},
    ),
    _event(
        "disconnected",
        "info",
        "✅",
        lambda of: f"Disconnected {of['account']} in {seconds(of['took'])}",
        "a life is over",
        {**_ACCOUNT, "took": "seconds since the stop was asked for"},
    ),
    _event(
        "caught_up",
        "info",
        "🔍",
        _caught_up,
        "what an account missed while it was away has been fetched",
        {**_GAP, "recovered": "updates that were fetched"},
    ),
    _event(
        "gap_incomplete",
        "warning",
        "⚠️",
        lambda of: f"{of['account']} has not all that it missed: {_recovered(of)}; still missing: {of['missing']}",
        "Telegram refuses to list updates that an account missed, or Telethon cannot read them",
        {**_ACCOUNT, "recovered": "updates that were fetched", "missing": "what is missing, and why"},
    ),
    _event(
        "gap_closed",
        "info",
        "🔍",
        lambda of: f"{of['account']} now has what was still missing; {_recovered(of)}",
        "what `gap_incomplete` named has been fetched",
        {**_ACCOUNT, "recovered": "updates that were fetched since the account came back"},
    ),
    _event(
        "gap_too_long",
        "warning",
        "⚠️",
        lambda of: f"{_away(of)}, too long for Telegram to list all that it missed; read the chats for it",
        "an account was away for so long that Telegram does not list what it missed",
        _GAP,
    ),
    _event(
        "updates_missing",
        "warning",
        "⚠️",
        _stalled,
        "Telegram counts updates that the connection has not brought, by its numbers",
        {
            **_ACCOUNT,
            "detail": "what is missing",
            "asked": "whether they were asked for, and did not come",
            "fresh_client": "whether a fresh client takes over because of it",
        },
    ),
    _event(
        "updates_complete",
        "info",
        "🔍",
        "{account} has all updates that Telegram counts again",
        "the updates that `updates_missing` named are there",
        _ACCOUNT,
    ),
    _event(
        "stable", "debug", "✅", "{account} is stable", "a connection has held for `healthy.stable_after`", _ACCOUNT
    ),
    _event(
        "request_held",
        "warning",
        "⏱️",
        lambda of: f"{of['account']}: {of['request']} is held until {ahead(of['until'])}",
        "a flood wait holds requests of one kind",
        {**_ACCOUNT, "request": "the kind of request", "until": "when the wait ends, in Unix seconds"},
    ),
    _event(
        "alert_exhausted",
        "error",
        "❌",
        lambda of: _alert(of, f"still failing after {of['failures']} failures in a row; it keeps trying"),
        "the schedule's tries are used up; the account keeps trying",
        _ALERT,
    ),
    _event(
        "alert_parked",
        "error",
        "❌",
        lambda of: _alert(of, f"parked after {of['failures']} failures in a row"),
        "the account has stopped trying until the operator asks for it",
        _ALERT,
    ),
    _event(
        "alert_limited",
        "warning",
        "⚠️",
        _limit_alert,
        "Telegram limits the account",
        {
            **_ALERT,
            "limit": "what it may not do: `account` (unknown: all work is held), `strangers`, or `writes` (frozen)",
            "deletion": "when a frozen account will be deleted, in Unix seconds, or null",
            "appeal": "where to appeal against that; empty if it is not known",
        },
    ),
    _event(
        "alert_stalled",
        "error",
        "❌",
        lambda of: _alert(of, "without updates that Telegram counts, also with a fresh client; it stays connected"),
        "a fresh client does not get the missing updates either",
        _ALERT,
    ),
    _event(
        "alert_database",
        "error",
        "❌",
        _database_alert,
        "the session file of a connected account cannot be written",
        _ALERT,
    ),
    _event(
        "alert_auth_failed",
        "error",
        "❌",
        lambda of: _alert(of, "stopped: its credentials cannot be used"),
        "the account's credentials cannot be used",
        _ALERT,
    ),
)
