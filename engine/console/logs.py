"""Log lines: written by a thread, so that a slow disk or terminal never holds up an account.

A call such as ``log.warning("connection_lost", account=…)`` becomes a record of the standard library whose message is
a ``LogLine`` and whose attributes are the fields. The thread makes of it the line with its icon, or a line of JSON.
"""

import copy
import logging
import queue
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import Any

import structlog

from adapters.redaction import HIDDEN, is_secret_key, redacted, redacted_value
from engine.console.format import iso, rounded
from engine.console.lasting_file import LogFile
from engine.console.messages import LOG_EVENTS, NAMES, names_in, render
from engine.console.safe_text import json_text, one_line, safe_lines, safe_repr

LINES_QUEUED = 10_000
"""Lines that may wait for the thread; more are dropped and counted, because memory is worth more than a line."""
LINES_RECENT = 8
STOP_TIMEOUT = 2.0
"""Seconds that the last lines get to be written."""
FULL_PAUSE = 0.02
"""Seconds between two looks whether a full queue has room."""
DATES = "%Y-%m-%d %H:%M:%S"
TELETHON = "holdfast.telethon"
"""Logger of all clients; each has a child named after its session file."""

LEVELS = {TELETHON: logging.WARNING, "transitions": logging.WARNING, "asyncio": logging.WARNING}
"""Levels of loggers that say much, unless the config has others."""
OF_RECORDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes that each record has, and that are no fields."""


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


def to_record(_: Any, __: str, event: MutableMapping[str, Any]) -> tuple[tuple[LogLine], dict[str, Any]]:
    """Return what the standard library's logger is called with: the line, and each field as an attribute."""
    line = LogLine(event)
    extra = event
    if not OF_RECORDS.isdisjoint(event):
        extra = {key: value for key, value in event.items() if key not in OF_RECORDS}
    if event["event"] not in LOG_EVENTS:
        str(line)  # now: values of the user's own may change before the thread sees them
    return (line,), {"extra": extra, "exc_info": None}


class TextLines(logging.Formatter):
    """Writes when, how bad and what; and of Telethon's lines whose, because they name no account."""

    def __init__(self, *, names: bool = False) -> None:
        super().__init__(datefmt=DATES)
        self._names = names
        self._second = -1
        self._time = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; an event has all of its text already, so it needs none of the formatter's work.

        What another program's logger says may quote anything: it stays one line, and only a traceback follows it.
        """
        if isinstance(record.msg, LogLine):
            return f"{self.formatTime(record, DATES)} - {record.levelname} - {record.msg}"
        name = f"{record.name} - " if self._names else ""
        line = one_line(
            f"{self.formatTime(record, DATES)} - {record.levelname} - {name}{redacted(record.getMessage())}"
        )
        more = (record.exc_text, record.stack_info)
        return "\n".join([line, *(safe_lines(redacted(text)) for text in more if text)])

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time of a record, which is made once for each second."""
        second = int(record.created)
        if second != self._second:
            self._second, self._time = second, super().formatTime(record, datefmt)
        return self._time


class JsonLines(logging.Formatter):
    """Writes a record as one JSON object: ``timestamp``, ``level``, ``logger``, ``event``, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. A value that is not JSON is written as its text."""
        fields: Mapping[str, Any]
        if isinstance(record.msg, LogLine):
            fields = record.msg.fields
            if fields["event"] in LOG_EVENTS:  # values of the user's own stay as they are
                fields = {key: rounded(value) for key, value in fields.items()}
        else:
            attributes = vars(record).items()
            fields = {"event": record.getMessage()}
            fields |= {key: value for key, value in attributes if key not in OF_RECORDS}
            if record.exc_info and not record.exc_text:
                record.exc_text = self.formatException(record.exc_info)
            if record.exc_text:
                fields["exception"] = record.exc_text
        head = {
            "timestamp": iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": fields["event"],
        }
        data = {**head, **fields, **head}
        keep = names_in(fields)
        data = {key: each if key in NAMES else redacted_value(each, keep) for key, each in data.items()}
        data |= {key: HIDDEN for key, each in data.items() if is_secret_key(key) and not isinstance(each, bool)}
        try:
            return _dumped(data)
        except (TypeError, ValueError):
            return _dumped({key: _shown(value) for key, value in data.items()})


def _dumped(value: Any) -> str:
    return json_text(value, allow_nan=False, default=_as_text)


def _as_text(value: object) -> str:
    try:
        return redacted(str(value))
    except Exception:
        return redacted(safe_repr(value))


def _shown(value: Any) -> Any:
    """Return a value, or its text if JSON cannot have it: an infinite number, a mapping with odd keys."""
    try:
        _dumped(value)
    except (TypeError, ValueError):
        return redacted(safe_repr(value))
    return value


class _BoundedHandler(QueueHandler):
    """Puts lines into the queue, and drops what does not fit."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Make a record ready for the thread; the copy that is usually made costs more than the line itself."""
        if record.exc_info:
            prepared = copy.copy(record)  # other handlers may still want the exception itself
            prepared.exc_text = record.exc_text or _EXCEPTIONS.formatException(record.exc_info)
            prepared.exc_info = None
            record = prepared
        if not isinstance(record.msg, LogLine):
            record.msg, record.args = _message(record), None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class _Listener(QueueListener):
    """Hands lines to the handlers, each for itself: what one of them raises ends neither the others nor the thread."""

    def handle(self, record: logging.LogRecord) -> None:
        for handler in self.handlers:
            with suppress(Exception):
                handler.handle(record)

    def finish(self, timeout: float) -> bool:
        """Hand over what waits, and end the thread; return False if it has not ended within ``timeout`` seconds.

        It is given up then: a terminal that takes no more must not keep the process.
        """
        until = time.monotonic() + timeout
        while self._thread is not None and (left := until - time.monotonic()) > 0:
            try:
                self.enqueue_sentinel()
            except queue.Full:
                time.sleep(FULL_PAUSE)
                continue
            self._thread.join(left)
            return not self._thread.is_alive()
        return False


_EXCEPTIONS = logging.Formatter()


def _message(record: logging.LogRecord) -> str:
    """Return a record's message; of a call whose arguments do not fit, what they are: the line is not lost."""
    try:
        return record.getMessage()
    except Exception as exc:
        arguments = record.args if isinstance(record.args, tuple) else (record.args,)
        given = ", ".join(map(safe_repr, (record.msg, *arguments)))
        return f"{given} (this log call is wrong: {type(exc).__name__})"


class RecentLines(logging.Handler):
    """Keeps the last lines for the screen."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[tuple[int, str]] = deque(maxlen=LINES_RECENT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append((record.levelno, self.format(record)))


def _of_telethon(record: logging.LogRecord) -> bool:
    return record.name.startswith(TELETHON)


def _of_engine(record: logging.LogRecord) -> bool:
    return not _of_telethon(record)


class ShownLines(logging.StreamHandler[Any]):
    """Writes lines to stderr for as long as somebody takes them."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing: where it could be said, nobody listens."""


def _line(level: int, name: str, **fields: object) -> logging.LogRecord:
    """Return the line of an event that comes about while lines are written."""
    return logging.LogRecord("holdfast.engine", level, "", 0, LogLine({"event": name, **fields}), None, None)


def _file(
    path: Path, lines: logging.Formatter, wanted: Callable[[logging.LogRecord], bool], shown: logging.Handler
) -> LogFile:
    """Return a handler that writes the wanted lines to a file."""
    handler = LogFile(path, _line, shown)
    handler.setFormatter(lines)
    handler.addFilter(wanted)
    return handler


PROCESSORS = (structlog.stdlib.filter_by_level, structlog.processors.format_exc_info, to_record)


def standard_logger(name: str) -> Any:
    """Return a logger for events that go to the standard library's logger ``name``, however structlog is set up."""
    return structlog.wrap_logger(
        logging.getLogger(name), processors=PROCESSORS, wrapper_class=structlog.stdlib.BoundLogger
    )


def configure() -> None:
    """Let structlog hand its events to the standard library's loggers."""
    structlog.configure(
        processors=PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


@contextmanager
def opened(
    directory: Path,
    *,
    recent: RecentLines | None,
    as_json: bool = False,
    levels: Mapping[str, int] | None = None,
) -> Iterator[None]:
    """Write log lines to ``directory/engine.log`` and, unless a screen shows the ``recent`` ones, to stderr.

    What Telethon says goes to ``telethon.log``: it calls each lost connection an error, and knows no accounts. With
    ``as_json`` all of them are lines of JSON, except on the screen. ``levels`` has those of loggers, by name, for the
    length of the block; ``root`` is all that have none of their own.
    """
    configure()
    text = TextLines()
    lines: logging.Formatter = JsonLines() if as_json else text
    shown: logging.Handler = recent if recent is not None else ShownLines(sys.stderr)
    shown.setFormatter(lines if recent is None else text)
    shown.addFilter(_of_engine)
    files = (
        _file(directory / "engine.log", lines, _of_engine, shown),
        _file(directory / "telethon.log", lines if as_json else TextLines(names=True), _of_telethon, shown),
    )
    waiting: queue.Queue[Any] = queue.Queue(LINES_QUEUED)
    entrance = _BoundedHandler(waiting)
    listener = _Listener(waiting, *files, shown)
    root = logging.getLogger()
    before = _set_levels({"root": logging.INFO, **LEVELS, **(levels or {})})
    root.addHandler(entrance)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(entrance)
        _set_levels(before)
        if listener.finish(STOP_TIMEOUT):
            for handler in files:
                handler.close()
        if entrance.dropped:
            _say(f"{entrance.dropped} log lines were dropped: the terminal or disk was too slow")
        for handler in files:
            if handler.lost:
                _say(f"{handler.path}: the last {handler.lost} lines of the log could not be written")


def _say(sentence: str) -> None:
    with suppress(OSError, ValueError, AttributeError):  # nobody reads stderr any more
        print(one_line(sentence), file=sys.stderr, flush=True)


def _set_levels(levels: Mapping[str, int]) -> dict[str, int]:
    """Set the levels of loggers, and return those that they had."""
    loggers = {name: logging.getLogger(name if name != "root" else None) for name in levels}
    before = {name: logger.level for name, logger in loggers.items()}
    for name, logger in loggers.items():
        logger.setLevel(levels[name])
    return before
