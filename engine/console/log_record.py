"""How an event of structlog becomes a record of the standard library: its message is a ``LogLine``.

The line itself is rendered by the log's thread, from the fields. So no field may change after the call: lists and
mappings are copied.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

from engine.console.messages import LOG_EVENTS, render

_TEMPLATE: Final = logging.makeLogRecord({"args": ()})
_COMMON: Final = dict(vars(_TEMPLATE))
OF_RECORDS: Final = frozenset(vars(_TEMPLATE)) | {"message", "asctime", "taskName"}
"""Attributes that each record has, and that are no fields."""
_STARTED: Final = _TEMPLATE.created - _TEMPLATE.relativeCreated / 1000
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_LEVELS: Final = {
    "debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR,
    "critical": logging.CRITICAL,
}  # fmt: skip
_OF_EXCEPTIONS: Final = frozenset({"exc_info", "exception", "stack_info"})


Place = tuple[str, int, str]
"""File, line and function of the call."""


class LogLine:
    """An event and its fields; as text it is its line. It is made when a handler wants it, and once."""

    __slots__ = ("_text", "fields")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields
        """The fields, and the event's name as ``event``."""
        self._text: str | None = None

    def __str__(self) -> str:
        if self._text is None:
            self._text = render(self.fields["event"], self.fields)
        return self._text


def _line_of(event: MutableMapping[str, Any]) -> LogLine:
    """Return the line of an event whose fields stay as they are now."""
    for key, value in event.items():
        if type(value) not in _SCALARS:
            event[key] = _copied(value)
    line = LogLine(event)
    if event["event"] not in LOG_EVENTS:
        str(line)  # now: values of the user's own may change before the thread sees them
    return line


def _copied(value: Any) -> Any:
    """Return a value whose lists, mappings and sets are copies."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    return set(value) if type(value) is set else value


def _extra(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields that become attributes of the record."""
    if OF_RECORDS.isdisjoint(event):
        return event
    return {key: value for key, value in event.items() if key not in OF_RECORDS}


def to_record(_: Any, __: str, event: MutableMapping[str, Any]) -> tuple[tuple[LogLine], dict[str, Any]]:
    """Return what the standard library's logger is called with: the line, and each field as an attribute."""
    line = _line_of(event)
    return (line,), {"extra": _extra(event), "exc_info": None}


PROCESSORS: Final = (structlog.stdlib.filter_by_level, structlog.processors.format_exc_info, to_record)


class EventRecord(logging.LogRecord):
    """The record of an event; made in a third of the time that the library needs for one."""

    def __init__(self, name: str, level: int, event: MutableMapping[str, Any], *, created: float, place: Place) -> None:
        path, line, function = place
        filename = path.rpartition(os.sep)[2]
        thread = threading.current_thread()
        self.__dict__ = {
            **_COMMON,
            **_extra(event),
            "name": name,
            "msg": _line_of(event),
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "pathname": path,
            "filename": filename,
            "module": filename.removesuffix(".py"),
            "lineno": line,
            "funcName": function,
            "created": created,
            "msecs": float(int(created % 1 * 1000)),
            "relativeCreated": (created - _STARTED) * 1000,
            "thread": thread.ident,
            "threadName": thread.name,
            "process": os.getpid(),
        }


class OwnRecord(logging.LogRecord):
    """The record of an event for the handlers of this package alone: it has what they read, and nothing else."""

    def __init__(self, name: str, level: int, event: MutableMapping[str, Any], *, created: float) -> None:
        self.name, self.msg, self.created = name, _line_of(event), created
        self.levelno, self.levelname = level, logging.getLevelName(level)


class EventLogger(structlog.stdlib.BoundLogger):
    """Hands events to the standard library's logger as ``PROCESSORS`` do, in a quarter of the time.

    What is not plain (an exception, values that were bound, another factory of records) takes the usual way.
    """

    def _proxy_to_logger(self, method_name: str, event: str | None = None, *event_args: str, **event_kw: Any) -> Any:
        level = _LEVELS.get(method_name)
        if (
            level is None
            or event_args
            or self._context
            or self._processors is not PROCESSORS
            or not _OF_EXCEPTIONS.isdisjoint(event_kw)
            or logging.getLogRecordFactory() is not logging.LogRecord
        ):
            return super()._proxy_to_logger(method_name, event, *event_args, **event_kw)
        logger = self._logger
        if logger.isEnabledFor(level):
            event_kw["event"] = event
            frame = sys._getframe(2)
            place = (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
            logger.handle(EventRecord(logger.name, level, event_kw, created=time.time(), place=place))
        return None
