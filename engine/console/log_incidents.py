"""The events of incidents and their lines."""

from functools import partial
from typing import Final

from engine.console.format import seconds
from engine.console.log_event import Fields, LogEvent

_incidents = partial(LogEvent, "holdfast.incidents")
_FIELDS: Final = {
    "incident": "its number, for `incidents ack`",
    "kind": "`needs_person`, `outage`, `flapping`, `storage`, `limited`, `stalled`, `job_failed` or `channel`",
    "cause": "what it is about, within its kind",
    "account": "the account that it concerns; null if it is none, or several",
    "accounts": "how many accounts it concerns",
    "meaning": "what is the matter, in a sentence",
    "detail": "what was heard of it first, in a sentence",
}


def _opened(of: Fields) -> str:
    detail = f" ({of['detail']})" if of["detail"] else ""
    return f"Incident {of['incident']}: {of['meaning']}{detail}. What to do: {of['todo']}"


def _closed(of: Fields) -> str:
    if of["into"] is not None:
        return f"Incident {of['incident']} goes on as incident {of['into']}, which concerns many"
    return f"Incident {of['incident']} is over after {seconds(of['took'])}: {of['meaning']}"


INCIDENTS: Final = (
    _incidents(
        "incident_opened",
        "error",
        "❌",
        _opened,
        "a trouble has lasted, or needs a person",
        {**_FIELDS, "severity": "`critical` or `warning`", "todo": "what a person should do"},
    ),
    _incidents(
        "incident_closed",
        "info",
        "✅",
        _closed,
        "all that an incident concerns were well for a while, or were paused or removed",
        {
            **_FIELDS,
            "took": "how long the trouble lasted, in seconds",
            "into": "the incident in which it goes on, because it was found to be that of many; null if it is over",
        },
    ),
)
"""Every event of this logger."""
