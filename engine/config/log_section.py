"""The section ``logging``: the form of log lines, and which of them are wanted."""

import logging
import re
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen

from adapters.file_names import pasted_secret
from engine.config.values import describe_type
from engine.console.format import may_show, nearest

LOGGERS: Final = (
    "holdfast.alerts",
    "holdfast.connection",
    "holdfast.control",
    "holdfast.engine",
    "holdfast.fleet",
    "holdfast.handlers",
    "holdfast.health",
    "holdfast.incidents",
    "holdfast.jobs",
    "holdfast.journal",
    "holdfast.node",
    "holdfast.loop",
    "holdfast.monitor",
    "holdfast.remote",
    "holdfast.sandbox",
    "holdfast.session",
    "holdfast.telethon",
    "holdfast.web",
    "holdfast.workers",
)
"""The loggers of this program; ``holdfast.telethon`` has one below it for each session."""
_MAX_LOGGERS: Final = 100
_LOGGER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]{0,63}(\.[A-Za-z0-9_ -]{1,64}){0,15}")


class LogFormat(StrEnum):
    """The form of log lines."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """How much a line must matter to be written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def number(self) -> int:
        """The level's number in ``logging``."""
        return logging.getLevelNamesMapping()[self.name]


@frozen(kw_only=True)
class LoggingSection:
    """How ``run`` writes the log; a program with an engine of its own sets its logging up itself."""

    format: LogFormat = LogFormat.TEXT
    """`text` is lines with icons, `json` is one JSON object on each line. On the screen it is always text."""
    levels: dict[str, LogLevel] = field(factory=dict)
    """The level of a logger and of those below it, such as `holdfast.jobs: warning`; `root` is all others."""


def to_loggers(value: Any) -> dict[str, Any]:
    """Return a mapping whose keys are names of loggers. Raises ``ValueError`` with a sentence."""
    if not isinstance(value, dict | None):
        raise ValueError(f"must be a mapping (logger: level), not {describe_type(value)}")
    loggers = value or {}
    if len(loggers) > _MAX_LOGGERS:
        raise ValueError(f"must have at most {_MAX_LOGGERS} loggers")
    for name in loggers:
        if not isinstance(name, str) or not _LOGGER.fullmatch(name) or pasted_secret(name) is not None:
            shown = f", not {name!r}" if isinstance(name, str) and may_show(name) else ""
            raise ValueError(f"must have names of loggers as its keys, such as holdfast.connection or root{shown}")
        if name.startswith("holdfast.") and ".".join(name.split(".")[:2]) not in LOGGERS:
            raise ValueError(f"has no logger {name!r}; {nearest(name, LOGGERS)}")
    return loggers
