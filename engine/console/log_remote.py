"""The events of the door for other programs, and their lines."""

from functools import partial
from typing import Final

from engine.console.log_event import LogEvent

_remote = partial(LogEvent, "holdfast.remote")
_FIELDS: Final = {"program": "what the program calls itself", "account": "the account that it uses"}

REMOTE: Final = (
    _remote(
        "remote_connected",
        "info",
        "🔍",
        "The program {program} sends its requests with {account}",
        "a program was let in at `engine.sock`",
        {**_FIELDS, "pid": "its process; null where the system does not say"},
    ),
    _remote(
        "remote_disconnected",
        "info",
        "🔍",
        "The program {program} uses {account} no more: {detail}",
        "a program has ended, or was disconnected",
        {**_FIELDS, "requests": "how many it has sent", "detail": "why, in a few words"},
    ),
    _remote(
        "remote_updates_dropped",
        "warning",
        "⚠️",
        "{updates} updates of {account} fell out that the program {program} has not acknowledged. What to do: let it "
        "run more often, or raise remote.keep_for and remote.keep_updates",
        "updates that waited for a program were too old or too many; it is told so when it is connected",
        {**_FIELDS, "updates": "how many"},
    ),
    _remote(
        "remote_updates_wait",
        "error",
        "💾",
        "The updates of {account} cannot be read for the program {program} ({detail}); they are read again in a moment",
        "the engine's file cannot be read now",
        {**_FIELDS, "detail": "why, in a few words"},
    ),
    _remote(
        "remote_refused",
        "warning",
        "⚠️",
        "The program {program} was refused: {detail}",
        "a program asked for what the config does not allow it; of each connection the first time",
        {**_FIELDS, "detail": "what, and what to do, in a sentence"},
    ),
)
"""Every event of this logger."""
