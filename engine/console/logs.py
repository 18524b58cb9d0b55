"""Log lines: written by a thread, so that a slow disk or terminal never holds up an account.

A call such as ``log.warning("connection_lost", account=…)`` becomes a record of the standard library whose message is
a ``LogLine`` and whose attributes are the fields. The thread makes of it the line with its icon, or a line of JSON.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import structlog

from adapters.redaction import HIDDEN, is_secret_key, redacted, redacted_value
from engine.console.format import iso, rounded
from engine.console.lasting_file import LinesTogether, LogFile
from engine.console.log_record import OF_RECORDS, PROCESSORS, EventLogger, LogLine
from engine.console.log_relay import OF_WORKER, RelayedLines
from engine.console.log_thread import LogThread
from engine.console.messages import LOG_EVENTS, NAMES, names_in, told_by
from engine.console.safe_text import json_text, one_line, safe_lines, safe_repr

LINES_RECENT = 8
STOP_TIMEOUT = 2.0
"""Seconds that the last lines get to be written."""
DATES = "%Y-%m-%d %H:%M:%S"
TELETHON = "holdfast.telethon"
"""Logger of all clients; each has a child named after its session file."""

LEVELS = {TELETHON: logging.WARNING, "transitions": logging.WARNING, "asyncio": logging.WARNING}
"""Levels of loggers that say much, unless the config has others."""


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
            return f"{self.formatTime(record, DATES)} - {record.levelname} - {_of_worker(record)}{record.msg}"
        name = f"{record.name} - " if self._names else ""
        line = one_line(
            f"{self.formatTime(record, DATES)} - {record.levelname} - {_of_worker(record)}{name}"
            f"{redacted(record.getMessage())}"
        )
        more = (record.exc_text, record.stack_info)
        return "\n".join([line, *(safe_lines(redacted(text)) for text in more if text)])

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time of a record, which is made once for each second."""
        second = int(record.created)
        if second != self._second:
            self._second, self._time = second, super().formatTime(record, datefmt)
        return self._time


def _of_worker(record: logging.LogRecord) -> str:
    """Return which worker has said this, as it stands in a line; nothing of one's own."""
    worker = getattr(record, OF_WORKER, None)
    return "" if worker is None else f"worker {worker} - "


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
            fields |= {key: value for key, value in attributes if key not in OF_RECORDS and key != OF_WORKER}
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
        if (worker := getattr(record, OF_WORKER, None)) is not None:
            head["worker"] = worker
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


class RecentLines(LinesTogether):
    """Keeps the last lines for the screen."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[tuple[int, str]] = deque(maxlen=LINES_RECENT)

    def handle_together(self, records: Sequence[logging.LogRecord]) -> None:
        """Keep the last of several lines; those that would be gone at once are not even written out."""
        for record in [record for record in records if self.filter(record)][-LINES_RECENT:]:
            self.emit(record)

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


def standard_logger(name: str) -> Any:
    """Return a logger for events that go to the standard library's logger ``name``, however structlog is set up."""
    return structlog.wrap_logger(logging.getLogger(name), processors=PROCESSORS, wrapper_class=EventLogger)


def configure() -> None:
    """Let structlog hand its events to the standard library's loggers."""
    structlog.configure(
        processors=PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=EventLogger,
        cache_logger_on_first_use=True,
    )


class ChangeLog(Protocol):
    """Changes how a log that is open is written."""

    def __call__(self, *, as_json: bool, levels: Mapping[str, int]) -> None:
        """Write lines in this form, of loggers with these levels, from now on."""


@contextmanager
def opened(
    directory: Path,
    *,
    recent: RecentLines | None,
    as_json: bool = False,
    levels: Mapping[str, int] | None = None,
) -> Iterator[ChangeLog]:
    """Write log lines to ``directory/engine.log`` and, unless a screen shows the ``recent`` ones, to stderr.

    What Telethon says goes to ``telethon.log``: it calls each lost connection an error, and knows no accounts. With
    ``as_json`` all of them are lines of JSON, except on the screen. ``levels`` has those of loggers, by name, for the
    length of the block; ``root`` is all that have none of their own. Yields what changes both while lines are written.
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
    thread = LogThread((*files, shown))
    root = logging.getLogger()
    before: dict[str, int] = {}

    def change(*, as_json: bool, levels: Mapping[str, int]) -> None:
        _set_levels(before)  # those that have none of their own any more
        before.update(_set_levels({"root": logging.INFO, **LEVELS, **levels}))
        lines = JsonLines() if as_json else text
        files[0].setFormatter(lines)
        files[1].setFormatter(lines if as_json else TextLines(names=True))
        if recent is None:
            shown.setFormatter(lines)

    change(as_json=as_json, levels=levels or {})
    root.addHandler(thread)
    try:
        with told_by(thread.tell):
            yield change
    finally:
        ended = thread.finish(STOP_TIMEOUT)
        root.removeHandler(thread)
        _set_levels(before)
        if ended:
            for handler in files:
                handler.close()
        if thread.dropped:
            _say(f"{thread.dropped} log lines were dropped: the terminal or disk was too slow")
        for handler in files:
            if handler.lost:
                _say(f"{handler.path}: the last {handler.lost} lines of the log could not be written")


@contextmanager
def relayed(descriptor: int, *, levels: Mapping[str, int] | None = None) -> Iterator[ChangeLog]:
    """Hand log lines to the process that reads this pipe, which writes them as ``opened`` does, for the block.

    A parent that does not read holds up the log's thread, and after a while lines are dropped; it never holds up the
    event loop. Yields what changes the levels of loggers.
    """
    configure()
    thread = LogThread((RelayedLines(descriptor),))
    root, before = logging.getLogger(), dict[str, int]()

    def change(*, as_json: bool, levels: Mapping[str, int]) -> None:
        _set_levels(before)
        before.update(_set_levels({"root": logging.INFO, **LEVELS, **levels}))

    change(as_json=False, levels=levels or {})
    root.addHandler(thread)
    try:
        with told_by(thread.tell):
            yield change
    finally:
        thread.finish(STOP_TIMEOUT)
        root.removeHandler(thread)
        _set_levels(before)


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
