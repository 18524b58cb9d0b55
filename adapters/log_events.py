"""What adapters log: events with fields, and for people the line of each.

They work in programs that have no engine, so they log to the standard library's loggers, whatever the program does with
these. A record's message is the line; ``event`` and the fields are its attributes, as ``extra`` makes them.
"""

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, NamedTuple

import structlog

from adapters.redaction import redacted


class AdapterEvent(NamedTuple):
    """One event: its name and fields are for programs, icon and sentence (a format of the fields) for people."""

    logger: str
    name: str
    level: str
    icon: str
    sentence: str
    when: str
    fields: Mapping[str, str]


_SESSION: Final = "holdfast.session"
_HANDLERS: Final = "holdfast.handlers"
_FILE: Final = {"account": "the account's name, or the session file's in a script", "path": "the session file"}
_ACCOUNT: Final = {"account": "the account's name"}
_EXCEPTION: Final = {"exception": "the traceback"}

ADAPTER_EVENTS: Final = (
    AdapterEvent(
        _SESSION,
        "session_written",
        "info",
        "💾",
        "{path} is written again after {waited:.1f} s",
        "a script's session file is written again",
        {**_FILE, "waited": "how long it could not be written, in seconds"},
    ),
    AdapterEvent(
        _SESSION,
        "session_waits",
        "warning",
        "💾",
        "{path}: {detail}; {unsaved} rows wait, and nothing is lost",
        "a script's session file is locked or cannot be written",
        {**_FILE, "detail": "what happened, in a sentence", "unsaved": "rows that wait in memory"},
    ),
    AdapterEvent(
        _SESSION,
        "session_not_saved",
        "error",
        "❌",
        "{path}: the session could not be written within {timeout:g} s; see what holds the file",
        "a session was saved or closed, and its file could not be written in time",
        {**_FILE, "timeout": "how long it was tried, in seconds"},
    ),
    AdapterEvent(
        _SESSION,
        "session_writer_failed",
        "error",
        "❌",
        "A mistake in the engine itself kept a session file from being written",
        "a mistake in this program ended one try to write a session file",
        {"account": _FILE["account"], **_EXCEPTION},
    ),
    AdapterEvent(
        _SESSION,
        "sessions_not_written",
        "error",
        "❌",
        "{files} session files could not be written in time before the end of the process",
        "the process ends before all session files are written",
        {"files": "how many files"},
    ),
    AdapterEvent(
        _HANDLERS,
        "handler_failed",
        "error",
        "❌",
        "The handler {handler} failed on an update of {account} ({failures} so far)",
        "a handler of the user's raised an exception",
        {
            **_ACCOUNT,
            "handler": "the function's name",
            "failures": "how often handlers of this account have failed",
            **_EXCEPTION,
        },
    ),
    AdapterEvent(
        _HANDLERS,
        "handler_hangs",
        "warning",
        "⏱️",
        "The handler {handler} of {account} has not ended for {seconds:.0f} s ({calls} calls of it, {waiting} updates "
        "wait); look at what it waits for",
        "a handler of the user's does not end; said after a minute, and each time it has lasted twice as long",
        {
            **_ACCOUNT,
            "handler": "the function's name",
            "seconds": "how long the longest call has taken, in seconds",
            "calls": "how many calls of it have not ended for a minute",
            "waiting": "updates of the account that wait for a handler; beyond 1,000 they are left at the datacenter",
        },
    ),
    AdapterEvent(
        _HANDLERS,
        "handler_goes_on",
        "info",
        "⏱️",
        "The handler {handler} of {account} has ended after {seconds:.0f} s",
        "no call of a handler that was said to hang is under way any more",
        {**_ACCOUNT, "handler": "the function's name", "seconds": "how long the last call has taken, in seconds"},
    ),
    AdapterEvent(
        _HANDLERS,
        "unreadable",
        "warning",
        "⚠️",
        "{account} was sent {what}; update Holdfast, and Telethon with it ({count} such messages so far)",
        "the datacenter sent what the installed Telethon cannot read; each kind of it is said once",
        {**_ACCOUNT, "what": "what it is, without its content", "count": "how many such messages have come so far"},
    ),
    AdapterEvent(
        _HANDLERS,
        "updates_lost",
        "warning",
        "⚠️",
        "{account}: Telegram does not send what came in {where}, {after} to {upto} in their count ({cause}); what is "
        "missing, and how to read it: {command}",
        "what an account missed is not sent any more, or cannot be read; at most once a minute for each account",
        {
            **_ACCOUNT,
            "where": "the channel, or private chats and groups",
            "after": "the last number of its count before the hole",
            "upto": "the last number in the hole",
            "cause": "as `prove` has it",
            "command": "the command that says what is missing, and how to read it",
        },
    ),
    AdapterEvent(
        _HANDLERS,
        "handlers_behind",
        "warning",
        "⏱️",
        "{account}: {count} updates wait for handlers, the oldest since more than a proof ago; Telegram has sent them",
        "an update waits for its handlers from one proof of the link to the next",
        {**_ACCOUNT, "count": "updates that are not handled yet"},
    ),
    AdapterEvent(
        _HANDLERS,
        "channel_begun",
        "info",
        "🔍",
        "{account} gets the updates of channel {channel} from now on; what was posted before is not fetched",
        "a channel of the account had no number to fetch updates from; it begins at Telegram's",
        {**_ACCOUNT, "channel": "the channel's id", "number": "the number (pts) from which it goes on"},
    ),
    AdapterEvent(
        _HANDLERS,
        "channels_begun",
        "info",
        "🔍",
        "{account} knows the numbers of {count} more channels: what comes in them is fetched after an outage",
        "channels in which nothing has come yet were found in the list of the account's chats",
        {**_ACCOUNT, "count": "how many channels"},
    ),
    AdapterEvent(
        _HANDLERS,
        "update_not_delivered",
        "error",
        "❌",
        "An update of {account} could not be given to its handlers",
        "an update could not be dispatched",
        {**_ACCOUNT, **_EXCEPTION},
    ),
)
_BY_NAME: Final = {event.name: event for event in ADAPTER_EVENTS}


def _to_record(_: Any, __: str, fields: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """Return what the standard library's logger is called with."""
    exc_info = fields.pop("exc_info", None)
    event = _BY_NAME[fields["event"]]
    line = f"{event.icon} {event.sentence.format_map(fields)}"
    # A path or a message may have a line break, say, or what a terminal obeys.
    line = redacted(line, [str(fields[key]) for key in ("account", "path", "handler") if key in fields])
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)
    return (line,), {"extra": fields, "exc_info": exc_info}


def event_logger(name: str) -> Any:
    """Return a logger that takes events of ``ADAPTER_EVENTS`` with their fields."""
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, _to_record],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
