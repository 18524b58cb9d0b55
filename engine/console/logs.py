"""Log lines: written by a thread, so that a slow disk or terminal never holds up an account."""

import logging
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog

LINES_QUEUED = 10_000
"""Lines that may wait for the thread; more are dropped and counted, because memory is worth more than a line."""
LINES_RECENT = 8
FILE_BYTES = 10_000_000
FILES_KEPT = 5
STOP_TIMEOUT = 2.0
"""Seconds that the last lines get to be written."""
FORMAT = logging.Formatter("%(asctime)s - %(levelname)s - %(message)s", "%Y-%m-%d %H:%M:%S")
TELETHON_FORMAT = logging.Formatter("%(asctime)s - %(levelname)s - %(name)s - %(message)s", "%Y-%m-%d %H:%M:%S")
TELETHON = "holdfast.telethon"
"""Logger of all clients; each has a child named after its session file."""


class _BoundedHandler(QueueHandler):
    """Puts lines into the queue, and drops what does not fit."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Make a line ready for the thread; the copy that is usually made costs more than the line itself."""
        if record.exc_info or record.exc_text:
            prepared: logging.LogRecord = super().prepare(record)
            return prepared
        record.msg, record.args = record.getMessage(), None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


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


def _file(path: Path, lines: logging.Formatter, wanted: Callable[[logging.LogRecord], bool]) -> logging.Handler:
    """Return a handler that writes the wanted lines to a file, and begins a new one when it is large."""
    handler = RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT - 1, encoding="utf-8")
    handler.setFormatter(lines)
    handler.addFilter(wanted)
    return handler


def render(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    """Return a line: icon, sentence, and what else was given."""
    icon, sentence = event.pop("icon", ""), event.pop("event")
    exception = event.pop("exception", "")
    rest = " ".join(f"{key}={value!r}" for key, value in sorted(event.items()))
    return " ".join(part for part in (icon, sentence, rest) if part) + (f"\n{exception}" if exception else "")


def configure() -> None:
    """Let structlog hand its lines to the standard library's loggers."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.processors.format_exc_info, render],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


@contextmanager
def opened(directory: Path, *, recent: RecentLines | None) -> Iterator[None]:
    """Write log lines to ``directory/engine.log`` and, unless a screen shows the ``recent`` ones, to stderr.

    What Telethon says goes to ``telethon.log``: it calls each lost connection an error, and knows no accounts.
    """
    configure()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = (
        _file(directory / "engine.log", FORMAT, _of_engine),
        _file(directory / "telethon.log", TELETHON_FORMAT, _of_telethon),
    )
    shown: logging.Handler = recent if recent is not None else logging.StreamHandler(sys.stderr)
    shown.setFormatter(FORMAT)
    shown.addFilter(_of_engine)
    lines: queue.Queue[Any] = queue.Queue(LINES_QUEUED)
    entrance = _BoundedHandler(lines)
    listener = QueueListener(lines, *files, shown)
    root = logging.getLogger()
    level = root.level
    root.addHandler(entrance)
    root.setLevel(logging.INFO)
    logging.getLogger(TELETHON).setLevel(logging.WARNING)
    for chatty in ("transitions", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(entrance)
        root.setLevel(level)
        # A terminal that takes no more must not keep the process: the thread that waits for it is given up.
        stopping = threading.Thread(target=listener.stop, daemon=True)
        stopping.start()
        stopping.join(STOP_TIMEOUT)
        if entrance.dropped:
            print(f"{entrance.dropped} log lines were dropped: the terminal or disk was too slow", file=sys.stderr)
        for handler in files:
            handler.close()
