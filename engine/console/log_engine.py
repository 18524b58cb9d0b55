"""The events of the engine itself and their lines: the fleet, commands."""

from functools import partial
from signal import SIGHUP
from typing import Final

from engine.console.format import seconds
from engine.console.log_event import Fields, LogEvent
from states.snapshot import ADVICE, Action

_ACCOUNT: Final = {"account": "the account's name"}
_DETAIL: Final = {"detail": "what happened, in a sentence"}
_EXCEPTION: Final = {"exception": "the traceback"}
_WAITING: Final = {"waiting": "accounts that go on now", "at_once": "how many of them connect at a time"}

_engine = partial(LogEvent, "holdfast.engine")
_fleet = partial(LogEvent, "holdfast.fleet")
_control = partial(LogEvent, "holdfast.control")


def _not_private(of: Fields) -> str:
    more = f" and {of['others']} more session files or directories" if of["others"] else ""
    return f"Others can use {of['path']}{more}; this mends it: {of['command']}"


def _signalled(of: Fields) -> str:
    what = f"{of['signal']} (SIGHUP: the terminal has closed)" if of["signal"] == SIGHUP else of["signal"]
    return f"Received signal {what}. Initiating graceful shutdown"


def _goes_on(of: Fields, outcome: str) -> str:
    return f"{outcome}; {of['waiting']} accounts go on, {of['at_once']} at a time"


def _refused(of: Fields) -> str:
    count = "1 account is" if of["accounts"] == 1 else f"{of['accounts']} accounts are"
    advice = ADVICE[Action.MEND_CONFIG]
    return f"Telegram refuses {of['detail']}, so {count} stopped. What to do: {advice}"


def _reloaded(of: Fields) -> str:
    told = [f"{of[name]} {name}" for name in ("added", "removed", "renamed", "reconnecting") if of[name]]
    if count := of["settings"]:
        told.append(f"{count} setting{'' if count == 1 else 's'} changed")
    told.append(f"{of['kept']} with no change")
    return f"{of['config']} was read again: {', '.join(told)}"


def _jumped(of: Fields) -> str:
    which = "ahead" if of["seconds"] > 0 else "back"
    return (
        f"The clock jumped {which} by {seconds(abs(of['seconds']))}: the machine slept, or its clock was set. "
        "Every account is asked whether it still answers"
    )


_ENGINE = (
    _engine(
        "engine_starting",
        "info",
        "🔍",
        "Starting {accounts} accounts from {config}",
        "`run` begins",
        {"accounts": "how many accounts the config has", "config": "the path of the config"},
    ),
    _engine(
        "files_not_private",
        "warning",
        "⚠️",
        _not_private,
        "other users of the machine can use session files",
        {"path": "the first file or directory", "others": "how many more there are", "command": "what mends it"},
    ),
    _engine(
        "accounts_unmatched",
        "warning",
        "⚠️",
        "{function} is for accounts named like {pattern!r}, and there is none; {hint}",
        "a handler or a `while_healthy` function of the program is for no account",
        {"function": "its name", "pattern": "its `accounts`", "hint": "the nearest name, or all names"},
    ),
    _engine(
        "account_renamed",
        "info",
        "🔍",
        "{account} was called {former} before: it has the same login. Its journal, waits, counters, jobs and backups "
        "go with it",
        "the config has another name for an account, or two have swapped their names; told once",
        {"account": "its name now", "former": "the name before"},
    ),
    _engine(
        "account_replaced",
        "info",
        "🔍",
        "What was stored as {account} is of another login than {account} has now. It is kept as {kept!r} for when that "
        "login comes back; jobs for {account} stay",
        "a name of the config is that of another login than before, which begins anew; told once",
        {**_ACCOUNT, "kept": "the name of what the login before has left"},
    ),
    _engine(
        "backups_not_renamed",
        "error",
        "💾",
        "{path}: the backups of renamed accounts still have their former names ({detail}). Solve that; the next start "
        "renames them",
        "a backup of a renamed account cannot be renamed",
        {"path": "the directory of the backups", **_DETAIL},
    ),
    _engine(
        "descriptors_few",
        "warning",
        "⚠️",
        "{accounts} accounts need about {needed} open files, and this process may open {limit}: if they run "
        "out, accounts will not connect. Stop it, raise the limit with {command} (of a service: LimitNOFILE), and "
        "start it again",
        "the limit of open files is too low for the accounts, and the process may not raise it",
        {
            "accounts": "how many accounts the config has",
            "needed": "open files that they need, about",
            "limit": "open files that the process may have",
            "command": "what raises the limit of the shell",
        },
    ),
    _engine(
        "config_reloaded",
        "info",
        "🔄",
        _reloaded,
        "the config was read again, and what is different in it applied",
        {
            "config": "the path of the config",
            "added": "accounts that were added",
            "removed": "accounts that were closed",
            "renamed": "accounts that have another name",
            "reconnecting": "accounts that stay and reconnect, renamed ones included",
            "kept": "accounts that keep their connection",
            "settings": "keys outside of `accounts` that have another value",
        },
    ),
    _engine(
        "reload_signalled",
        "info",
        "",
        "Received SIGHUP. The config is read again",
        "SIGHUP came to an engine that has no terminal, such as a service",
    ),
    _engine(
        "config_unchanged",
        "info",
        "🔄",
        "{config} was read again, and nothing in it has changed",
        "the config was read again, and is what the engine runs",
        {"config": "the path of the config"},
    ),
    _engine(
        "reload_refused",
        "error",
        "❌",
        "The config was read again, and nothing of it applied: {detail}",
        "a reload was asked for, and cannot be done",
        _DETAIL,
    ),
    _engine(
        "reload_waits",
        "error",
        "💾",
        "The reload waits for the database, which has the state of accounts that come: {detail}",
        "the database cannot be used during a reload; told once, and tried again every few seconds",
        _DETAIL,
    ),
    _engine(
        "account_not_closed",
        "error",
        "❌",
        "{account} leaves the fleet, and could not be closed within the grace; its connection was dropped",
        "an account that a reload removes or changes did not close in time",
        {**_ACCOUNT, "grace": "the grace, in seconds"},
    ),
    _engine(
        "signal_received",
        "info",
        "",
        _signalled,
        "SIGINT, SIGTERM or SIGHUP came; with SIGHUP the terminal has closed, without a terminal it is a reload",
        {"signal": "the signal's number"},
    ),
    _engine(
        "duration_over",
        "info",
        "",
        lambda of: f"Ran for {seconds(of['duration'])}, as asked. Initiating graceful shutdown",
        "the time that `run --for` gives is over",
        {"duration": "seconds that the fleet ran"},
    ),
    _engine(
        "log_waits",
        "error",
        "💾",
        "{path}: the log cannot be written ({detail}). Its lines are counted, and the accounts go on",
        "a log file cannot be written; told once, on stderr or the live table",
        {"path": "the log file", **_DETAIL},
    ),
    _engine(
        "log_written",
        "warning",
        "💾",
        "{path}: the log is written again; {lines} lines are missing",
        "a log file is written again",
        {"path": "the log file", "lines": "how many lines were lost"},
    ),
    _engine(
        "lock_lost",
        "warning",
        "⚠️",
        "The lock of {path} {detail}",
        "a lock file was removed or replaced while the engine runs; looked at every two seconds",
        {"path": "the data directory, or the session file", "detail": "what was found, and what came of it"},
    ),
    _engine("engine_failed", "error", "❌", "{detail}", "the engine cannot run", _DETAIL),
    _engine(
        "grace_exceeded",
        "error",
        "❌",
        "Not every account could be closed within the grace; its connection was dropped",
        "an account did not close in time at the end",
        {"grace": "the grace, in seconds"},
    ),
    _engine(
        "start_abandoned",
        "info",
        "✅",
        "Stopped before any account was started",
        "a stop was asked for while the engine started",
    ),
    _engine("engine_stopped", "info", "✅", "Stopped", "the engine has stopped"),
)
_FLEET = (
    _fleet(
        "hint_dropped",
        "debug",
        "",
        "{account} is too busy to hear {trigger}",
        "an account's mailbox had no room for what is only a hint",
        {**_ACCOUNT, "trigger": "the event"},
    ),
    _fleet(
        "life_failed",
        "error",
        "❌",
        lambda of: f"An error in the engine itself ended this life; a new one follows account={of['account']!r}",
        "a mistake of the engine ended an account's life",
        {**_ACCOUNT, **_EXCEPTION},
    ),
    _fleet(
        "life_refused",
        "error",
        "⚠️",
        lambda of: f"{of['account']} starts again in {seconds(of['delay'])}: {of['detail']}",
        "the system has no memory, thread or file for what an account needs",
        {**_ACCOUNT, **_DETAIL, "delay": "how long until it starts again, in seconds"},
    ),
    _fleet(
        "watcher_failed",
        "error",
        "⚠️",
        lambda of: (
            f"{of['watcher'][:1].upper()}{of['watcher'][1:]} failed ({of['detail']}); it starts again in "
            f"{seconds(of['delay'])}, and after longer pauses if it fails again. The accounts go on"
        ),
        "something that runs beside the accounts failed; told once for the failures in a row",
        {"watcher": "what failed", **_DETAIL, "delay": "how long until it starts again, in seconds", **_EXCEPTION},
    ),
    _fleet(
        "observer_failed",
        "error",
        "❌",
        "An error in the engine itself kept a part of it from hearing what {account} does ({trigger})",
        "a mistake in what observes the decisions; told at most every ten minutes for each observer",
        {**_ACCOUNT, "trigger": "the event", **_EXCEPTION},
    ),
    _fleet(
        "outage_suspected",
        "warning",
        "🔌",
        "{lost} of {accounts} accounts lost the network together; one tries for all",
        "many accounts lost the network with no sign of life in between",
        {"lost": "accounts that lost it", "accounts": "accounts that are in use"},
    ),
    _fleet(
        "outage_over",
        "info",
        "✅",
        lambda of: _goes_on(of, f"The network is back after {seconds(of['took'])}"),
        "an account is back after a suspected outage",
        {"took": "how long it took, in seconds", **_WAITING},
    ),
    _fleet(
        "outage_ruled_out",
        "info",
        "✅",
        lambda of: _goes_on(of, f"It is not the network: {of['account']} still answers"),
        "an account that had not lost its connection still answers",
        {**_ACCOUNT, **_WAITING},
    ),
    _fleet(
        "config_refused",
        "error",
        "❌",
        _refused,
        "the datacenter refuses a setting that all accounts share",
        {"detail": "the setting and the datacenter's answer", "accounts": "accounts that are stopped"},
    ),
    _fleet(
        "clock_jumped",
        "warning",
        "🔍",
        _jumped,
        "the time of day and the steady clock have parted",
        {"seconds": "how far it jumped; negative is back"},
    ),
    _fleet(
        "credentials_watch_failed",
        "error",
        "❌",
        "An error in the engine itself kept it from looking at the session files",
        "a mistake of the engine ended one look at the session files",
        _EXCEPTION,
    ),
)
_CONTROL = (
    _control(
        "control_unreachable",
        "error",
        "❌",
        "{path}: pause, resume and retry cannot reach this engine ({detail}); it is tried again, and the accounts go "
        "on. If it lasts, give storage.directory a place where sockets can be made",
        "the socket for commands cannot be made",
        {"path": "the path of the socket", **_DETAIL},
    ),
    _control(
        "control_reachable",
        "info",
        "✅",
        "{path}: commands reach this engine again",
        "the socket for commands is there again",
        {"path": "the path of the socket"},
    ),
    _control(
        "command_not_heard",
        "warning",
        "⚠️",
        "A command could not be heard: {detail}; commands wait until it can, and the accounts go on",
        "the system has no room for a command's connection; told once until one is heard",
        _DETAIL,
    ),
    _control(
        "hold_ended",
        "warning",
        "🔄",
        "{account} goes on: the login that had it paused has ended",
        "a `login` or `logout` was killed while it had an account paused",
        _ACCOUNT,
    ),
    _control(
        "command_failed",
        "error",
        "❌",
        "An error in the engine itself ended a command",
        "a mistake of the engine ended a command",
        _EXCEPTION,
    ),
)
ENGINE: Final = (*_ENGINE, *_FLEET, *_CONTROL)
"""Every event of these loggers."""
