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
        "remote_refused",
        "warning",
        "⚠️",
        "The program {program} was refused: {detail}",
        "a program asked for what the config does not allow it; of each connection the first time",
        {**_FIELDS, "detail": "what, and what to do, in a sentence"},
    ),
)
"""Every event of this logger."""
