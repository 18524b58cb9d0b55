"""Writes ``docs/log-events.md``, the list of all events of the log, from their lists.

``python -m tools.log_reference`` writes it, ``--check`` fails if it is stale.
"""

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from adapters.log_events import ADAPTER_EVENTS
from engine.console.log_event import LogEvent
from engine.console.messages import LOG_EVENTS

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "log-events.md"
HEAD: Final = """# Log events

<!-- Written by: python -m tools.log_reference -->

Every line of the log comes from an event: a name and fields. With `logging: {format: json}` in the config, or with
`run --log-format json`, each line is a JSON object with `timestamp` (ISO 8601, local time with its offset), `level`,
`logger`, `event` (the name) and the event's own fields. Names and fields are stable: new ones may be added, and none is
renamed. Durations are in seconds. The lines below are examples.

A program of your own gets the same events. If it has configured structlog, they go through its processors with their
fields. If not, they are records of the standard library's loggers: the message is the line, and each field is an
attribute of the record. `holdfast.session`, `holdfast.handlers`, `holdfast.monitor` and `holdfast.telethon` always use
the standard library's loggers.
"""
NOTES: Final = {
    "holdfast.alerts": "Messages about incidents that leave this machine. No address of a channel is in the log.",
    "holdfast.connection": "One account's connection. `ConnectionMonitor` logs the same events to `holdfast.monitor`.",
    "holdfast.control": "Commands for the running engine: `pause`, `resume`, `retry`.",
    "holdfast.engine": "The engine's start and end.",
    "holdfast.fleet": "What concerns many accounts at once, and mistakes of the engine.",
    "holdfast.handlers": "Handlers of Telegram's updates.",
    "holdfast.health": "Whether the engine does its work, and the heartbeats that tell another machine of it.",
    "holdfast.incidents": "Troubles that have lasted, or that need a person: `incidents` lists them.",
    "holdfast.jobs": "Jobs and background tasks.",
    "holdfast.journal": "The journal's file, which also holds the jobs.",
    "holdfast.loop": "What blocks the event loop.",
    "holdfast.node": "Which accounts this node has, of those that several nodes share.",
    "holdfast.remote": "Other programs on this machine that send their requests through the engine.",
    "holdfast.sandbox": "The sandbox datacenter of a demo.",
    "holdfast.session": "Session files. What the engine's accounts meet is logged by `holdfast.connection` instead.",
    "holdfast.web": "The web server.",
    "holdfast.workers": "The processes that share the accounts of one machine, where `node.workers` is more than one.",
}
TELETHON: Final = """## `holdfast.telethon`

What Telethon itself says, in words of its own; each client has a logger below it, named after its session file. The
engine writes it to `logs/telethon.log`, from level `warning` on.
"""
TIME: Final = datetime(2025, 11, 29, 18, 4, 44).timestamp()
"""A time that is written in the same way in every time zone."""
EXAMPLES: Final[dict[str, Any]] = {
    "account": "Account 1", "accounts": 14, "action": "log_in", "alerted": False, "alone": False, "at_once": 32,
    "attempt": 2, "attempts": 2, "back": TIME, "cancellations": 3, "command": "uv run python -m engine doctor --fix",
    "config": "config.yaml", "delay": 10.0, "detail": "connection reset", "done": 1000.0, "duration": 120.0,
    "exit_code": 1, "failure": "NetworkLost", "failures": 5, "files": 2, "function": "watch", "grace": 15.0,
    "group": "holdfast_news", "handler": "on_message", "job": 17, "kind": "send", "lost": 3, "max_failures": 5,
    "messages": 3000, "others": 2, "path": "data/sessions/account1.session", "port": 40123, "recovered": 3,
    "request": "SendMessage", "rows": 12, "running": "job 17 (send) of Account 1", "seconds": 7200.0, "seed": 7,
    "signal": 2, "silence": 1.5, "still": 2.0, "timeout": 20.0, "took": 31.0, "total": 2500.0,
    "trigger": "NetworkRestored", "unsaved": 3, "until": TIME, "via": "", "waited": 32.0, "waiting": 3,
    "watcher": "the network probe", "written": 3, "channel": "alerts[0] (mailtos)", "incidents": [12],
}  # fmt: skip
"""A value for each field that a line shows."""
OF_EVENTS: Final[dict[str, dict[str, Any]]] = {
    "handler_hangs": {"seconds": 120.0, "calls": 2, "waiting": 317},
    "handler_goes_on": {"seconds": 187.0},
    "channel_failed": {"detail": "Failed to send JSON POST notification: error=500", "delay": 15.0},
    "alerts_given_up": {"messages": 2},
    "config_reloaded": {
        "added": 10,
        "removed": 5,
        "renamed": 1,
        "reconnecting": 2,
        "kept": 193,
        "settings": 1,
    },
    "sandbox_control": {
        "port": 4431,
        "command": '(cat data/sandbox/control.token; echo \'{"do": "reset"}\') | nc 127.0.0.1 4431',
    },
    "accounts_unmatched": {"function": "on_message", "pattern": "Nws *", "hint": "did you mean 'News 1'?"},
    "account_renamed": {"account": "News 1", "former": "Account 1"},
    "account_replaced": {"kept": "Account 1 (login until 2026-11-29)"},
    "remote_connected": {"program": "reporter", "pid": 4711},
    "remote_disconnected": {"program": "reporter", "requests": 12, "detail": "it closed the connection"},
    "remote_updates_dropped": {"program": "reporter", "updates": 120},
    "remote_updates_wait": {"program": "reporter", "detail": "disk I/O error"},
    "remote_refused": {
        "program": "reporter",
        "detail": "messages.sendMessage is not among the methods that 'reporter' may use",
    },
    "backups_not_renamed": {"path": "data/backups", "detail": "Read-only file system"},
    "snapshot_repaired": {"detail": "a stored snapshot cannot be read (JSONDecodeError)", "exact": True, "holds": 0},
    "alert_database": {"trigger": "DatabaseLocked", "action": None},
    "caught_up": {"lost": TIME - 31.0},
    "config_refused": {"detail": "telegram.api_id (API_ID_INVALID (400))"},
    "database_lost": {
        "path": "data/engine.db",
        "detail": "was replaced by another file",
        "whole": True,
        "aside": "data/engine.db.aside-20260131-120000",
        "jobs": [],
    },
    "disconnecting": {"action": None},
    "engine_failed": {"detail": "engine.db is locked by another program"},
    "incident_closed": {
        "incident": 3,
        "kind": "outage",
        "account": None,
        "accounts": 50,
        "meaning": "50 accounts had no connection, and what they share is the proxy socks5://10.0.0.7:1080",
        "into": None,
        "took": 610.0,
    },
    "incident_opened": {
        "incident": 4,
        "kind": "needs_person",
        "accounts": 1,
        "meaning": "Account 1 cannot go on before somebody acts",
        "detail": "AUTH_KEY_UNREGISTERED (401)",
        "todo": "log in again",
    },
    "gap_incomplete": {"missing": "private chats and groups (INTERNAL (500); asked again in 2 s)"},
    "gap_too_long": {"lost": TIME - 31.0},
    "workers_starting": {"count": 4},
    "worker_started": {"worker": 2, "pid": 4711},
    "worker_ended": {"worker": 2, "pid": 4711, "detail": "been ended by SIGKILL", "delay": 1.0},
    "worker_not_started": {"worker": 2, "detail": "Resource temporarily unavailable", "delay": 1.0},
    "database_overwritten": {"path": "data/engine.db"},
    "worker_accounts_free": {"worker": 2, "took": 0.02},
    "worker_accounts_wait": {"worker": 2, "detail": "the store does not answer"},
    "worker_output": {"worker": 2, "detail": "free(): invalid pointer"},
    "workers_die": {"accounts": 250, "count": 125},
    "account_withheld": {"account": "Account 3", "seconds": 600.0},
    "workers_search_waits": {"detail": "the store does not answer"},
    "worker_not_reloaded": {"worker": 2, "detail": "no answer came within 40 s"},
    "worker_reloaded": {"worker": 2},
    "worker_stuck": {"worker": 2, "pid": 4711},
    "workers_remain": {"worker": 2},
    "page_ready": {"path": "data/web.token", "command": "uv run python -m engine web link config.yaml"},
    "page_token_unusable": {"detail": "data/web.token: the file is empty; delete it, and one with a new token is made"},
    "page_token_refused": {"client": "192.0.2.7"},
    "descriptors_few": {"accounts": 40, "needed": 304, "limit": 64, "command": "ulimit -n 1024"},
    "log_waits": {"path": "data/logs/engine.log", "detail": "no space left on device"},
    "log_written": {"path": "data/logs/engine.log", "lines": 12},
    "heartbeat_failed": {"host": "hc.example.org", "detail": "connection refused", "every": 60.0},
    "heartbeat_answered": {"host": "hc.example.org"},
    "liveness_lost": {"detail": "no row of the journal was saved for 31 s, and 12 wait (database is locked)"},
    "web_listening": {"address": "127.0.0.1:8080"},
    "web_request_failed": {"request": "/metrics"},
    "web_exposed": {"address": "0.0.0.0:8080"},
    "web_unreachable": {"address": "127.0.0.1:8080", "detail": "address already in use"},
    "watcher_failed": {"detail": "too many open files"},
    "command_not_heard": {"detail": "too many open files"},
    "lock_lost": {"path": "data", "detail": "was removed or replaced; it is held again"},
    "pausing": {"action": None},
    "reconnecting": {"trigger": "Elapsed"},
    "node_accounts_renamed": {"account": "Shop", "former": "Account 3", "count": 1},
    "node_account_unknown": {"account": "Account 3"},
    "node_accounts_differ": {"nodes": 1},
    "node_leases_differ": {"nodes": 1, "lease": 45.0},
    "node_configs_older": {"names": "eu-2"},
    "node_sessions_away": {"count": 1, "accounts": 125, "place": "/srv/account1.session on eu-1"},
    "node_accounts_dropped": {"count": 2},
    "node_accounts_wait": {"count": 25, "detail": "postgresql://db/holdfast: the server does not answer"},
    "node_accounts_claimed": {"count": 25, "accounts": 125},
    "node_accounts_given_up": {"count": 1, "accounts": 124},
    "node_assignment_waits": {"detail": "the store has not answered within 10 s"},
    "node_declared_dead": {"lease": 15.0},
    "node_life_over": {"accounts": 125},
    "node_name_taken": {
        "detail": "postgresql://db/holdfast: a node called eu-1 is alive already on host eu-1",
        "lease": 15.0,
    },
    "node_store_silent": {"detail": "the store has not answered within 3 s", "left": 7.0},
    "node_without_deadline": {"detail": "the kernel does not set the dead-man timer"},
    "updates_missing": {"detail": "channel 1234567890 (3 missing)", "asked": False, "fresh_client": False},
    "handlers_behind": {"count": 12},
    "updates_lost": {
        "where": "channel 1000000001",
        "after": 101,
        "upto": 240,
        "cause": "too_long",
        "command": "prove CONFIG --chat -1001000000001",
    },
    "channels_begun": {"count": 12},
    "channel_begun": {"channel": 1234567890, "number": 4711},
    "unreadable": {"what": "a constructor 1f00ba2e that Telethon 1.45.0 does not know", "count": 1},
    "session_file_waits": {"failure": "DatabaseLocked", "detail": "database is locked"},
}
"""Values that one event has otherwise."""


def events() -> list[LogEvent]:
    """Return all events, by logger and in the order of their lists."""
    found = [*LOG_EVENTS.values(), *(LogEvent(*event) for event in ADAPTER_EVENTS)]
    return sorted(found, key=lambda event: event.logger)


def example(event: LogEvent) -> str:
    """Return a line of an event."""
    return event.line({**EXAMPLES, **OF_EVENTS.get(event.name, {})})


def _section(logger: str, of: list[LogEvent]) -> Iterator[str]:
    yield f"## `{logger}`\n"
    yield f"{NOTES[logger]}\n"
    for event in of:
        yield f"### `{event.name}`\n"
        yield f"Logged when {event.when}. Level: {event.level}.\n"
        yield f"    {example(event)}\n"
        yield from (f"- `{name}`: {meaning}" for name, meaning in event.fields.items())
        if event.fields:
            yield ""


def page() -> str:
    """Return the page."""
    lines = [HEAD]
    for logger, of in groupby(events(), key=lambda event: event.logger):
        lines += _section(logger, list(of))
    return "\n".join([*lines, TELETHON])


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(prog="python -m tools.log_reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if the page is stale")
    new = page()
    if not parser.parse_args().check:
        PAGE.write_text(new, "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != new:
        sys.exit(f"{PAGE.name} is stale; run: python -m tools.log_reference")


if __name__ == "__main__":
    main()
