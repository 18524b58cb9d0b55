"""The events of alerts and their lines: messages about incidents that leave this machine."""

from functools import partial
from typing import Final

from engine.console.format import seconds
from engine.console.log_event import Fields, LogEvent

_CHANNEL: Final = {"channel": "the channel: its place in the config and the kind of its address, or `exec`"}

_alerts = partial(LogEvent, "holdfast.alerts")


def _sent(of: Fields) -> str:
    numbers = ", ".join(map(str, of["incidents"][:20]))
    more = f" and {len(of['incidents']) - 20} more" if len(of["incidents"]) > 20 else ""
    return f"{of['channel']} was told of incident{'s' if len(of['incidents']) > 1 else ''} {numbers}{more}"


def _failed(of: Fields) -> str:
    return (
        f"{of['channel']} does not take alerts ({of['detail']}); they wait, and it is tried again in "
        f"{seconds(of['delay'])}. What to do: see what is said there, then try it with: alerts test"
    )


def _works(of: Fields) -> str:
    times = "once" if of["failures"] == 1 else f"{of['failures']} times"
    return f"{of['channel']} takes alerts again, after it had failed {times}"


def _given_up(of: Fields) -> str:
    return (
        f"{of['channel']} did not take alerts for a week, so {of['messages']} of them are not sent any more: their "
        "incidents have long been over. What to do: mend the channel, and read what there was with: incidents"
    )


ALERTS: Final = (
    _alerts(
        "alert_sent",
        "info",
        "📨",
        _sent,
        "a message was sent",
        {**_CHANNEL, "incidents": "the numbers of the incidents that it tells of"},
    ),
    _alerts(
        "channel_failed",
        "warning",
        "⚠️",
        _failed,
        "a message could not be sent, for the first time in a row; the other channels are told",
        {**_CHANNEL, "detail": "why, in a few words", "delay": "seconds until the next try"},
    ),
    _alerts(
        "channel_works",
        "info",
        "📨",
        _works,
        "a channel that failed takes messages again",
        {**_CHANNEL, "failures": "how often it had failed in a row"},
    ),
    _alerts(
        "alerts_given_up",
        "error",
        "❌",
        _given_up,
        "messages about incidents that were over a week ago still could not be sent",
        {**_CHANNEL, "messages": "how many messages are not sent"},
    ),
    _alerts(
        "alerts_unreadable",
        "warning",
        "💾",
        "{rows} alerts of earlier runs cannot be read from the database, and are not sent",
        "something else has spoilt rows of the table of alerts",
        {"rows": "how many"},
    ),
)
"""Every event of this logger."""
