"""The log's thread: lines wait for it in a bounded queue, and it hands them on a few at a time.

Waking a thread costs the event loop more than a line does. So the thread is woken once, waits a moment for the lines
that follow, and takes all of them. Decisions wait there as they are, because nothing can change them: what the log says
of one is found out by the thread, too.
"""

import copy
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from engine.console.lasting_file import LinesTogether
from engine.console.log_connections import LOGGER
from engine.console.log_record import EventRecord, LogLine, OwnRecord, Place
from engine.console.messages import events_of, narrate
from engine.console.safe_text import safe_repr
from states import Step

LINES_QUEUED = 10_000
"""Lines that may wait for the thread; more are dropped and counted, because memory is worth more than a line."""
GATHER_SECONDS = 0.01
"""How long the thread waits for more lines after the first."""
_LINES_AT_ONCE = 256

_EXCEPTIONS = logging.Formatter()
_LOGGER: Final = logging.getLogger(LOGGER)
_PLACE: Final[Place] = (narrate.__code__.co_filename, narrate.__code__.co_firstlineno, narrate.__name__)
_Decision = tuple[float, str, Step]
"""When it was logged, whose it is, and what it is."""


class LogThread(logging.Handler):
    """Puts lines into the queue, and drops what does not fit; its thread hands them to the other handlers."""

    def __init__(self, handlers: Sequence[logging.Handler]) -> None:
        super().__init__()
        self.dropped = 0
        self._handlers = handlers
        self._waiting: deque[logging.LogRecord | _Decision] = deque()
        self._taken: list[logging.LogRecord] = []
        """Lines that are handed over next. Used by the thread only."""
        self._filled = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Let a line wait for the thread; unless that is where it was made. Needs no lock."""
        if threading.current_thread() is self._thread:
            self._taken.append(record)
            return True
        try:
            self._put(_prepared(record))
        except Exception:
            self.handleError(record)
        return True

    def tell(self, account: str, step: Step) -> None:
        """Let a decision wait for the thread."""
        self._put((time.time(), account, step))

    def _put(self, each: "logging.LogRecord | _Decision") -> None:
        if len(self._waiting) >= LINES_QUEUED:
            self.dropped += 1
            return
        self._waiting.append(each)
        if not self._filled.is_set():
            self._filled.set()

    def finish(self, timeout: float) -> bool:
        """Hand over what waits, and end the thread; return False if it has not ended within ``timeout`` seconds.

        It is given up then: a terminal that takes no more must not keep the process.
        """
        self._ending.set()
        self._filled.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        self._hand_over_all()  # what came after the thread's last look
        return True

    def _work(self) -> None:
        while not self._ending.is_set():
            self._filled.wait()
            self._ending.wait(GATHER_SECONDS)
            self._filled.clear()
            self._hand_over_all()

    def _hand_over_all(self) -> None:
        is_alone = self._is_alone()
        while self._waiting:
            for _ in range(min(_LINES_AT_ONCE, len(self._waiting))):
                each = self._waiting.popleft()
                if isinstance(each, logging.LogRecord):
                    self._taken.append(each)
                else:
                    with suppress(Exception):
                        self._expand(*each, is_alone=is_alone)
            self._hand_over(self._taken)
            self._taken.clear()

    def _is_alone(self) -> bool:
        """Return whether nobody else wants what the logger of decisions says: no other handler, and no filter."""
        logger: logging.Logger | None = _LOGGER
        found = list(_LOGGER.filters)
        while logger is not None:
            found += logger.handlers
            logger = logger.parent if logger.propagate else None
        return found == [self]

    def _expand(self, at: float, account: str, step: Step, *, is_alone: bool) -> None:
        """Make the lines of a decision, for all handlers of the logger: those of the thread get them at last."""
        for level, name, fields in events_of(account, step):
            if _LOGGER.isEnabledFor(level):
                fields["event"] = name
                if is_alone:
                    self._taken.append(OwnRecord(LOGGER, level, fields, created=at))
                else:
                    _LOGGER.handle(EventRecord(LOGGER, level, fields, created=at, place=_PLACE))

    def _hand_over(self, records: Sequence[logging.LogRecord]) -> None:
        """Hand lines to the handlers, each for itself: what one raises ends neither the others nor the thread."""
        for handler in self._handlers:
            if isinstance(handler, LinesTogether):
                with suppress(Exception):
                    handler.handle_together(records)
                continue
            for record in records:
                with suppress(Exception):
                    handler.handle(record)


def _prepared(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record that is ready for the thread; the copy that is usually made costs more than the line itself."""
    if isinstance(record.msg, LogLine):
        return record
    if record.exc_info:
        prepared = copy.copy(record)  # other handlers may still want the exception itself
        prepared.exc_text = record.exc_text or _EXCEPTIONS.formatException(record.exc_info)
        prepared.exc_info = None
        record = prepared
    record.msg, record.args = _message(record), None
    return record


def _message(record: logging.LogRecord) -> str:
    """Return a record's message; of a call whose arguments do not fit, what they are: the line is not lost."""
    try:
        return record.getMessage()
    except Exception as exc:
        arguments = record.args if isinstance(record.args, tuple) else (record.args,)
        given = ", ".join(map(safe_repr, (record.msg, *arguments)))
        return f"{given} (this log call is wrong: {type(exc).__name__})"
