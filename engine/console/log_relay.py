"""Log lines between the processes of one engine: a worker hands its lines to its parent, which writes them all.

A line is one object of JSON on a pipe. Its text is made where it was said, for what its values were there is gone on
the way. The parent believes nothing that it reads: what is no such line is shown as the output of a program.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from adapters.redaction import redacted
from engine.console.lasting_file import LinesTogether
from engine.console.log_record import OF_RECORDS, LogLine
from engine.console.safe_text import safe_lines, safe_repr

MAX_LINE: Final = 1_000_000
"""Bytes of a line that a parent takes."""
_LEVELS: Final = frozenset({logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL})
OF_WORKER: Final = "of_worker"
"""The attribute of a record that says which worker has said it."""


class RelayedLines(LinesTogether):
    """Writes lines to the pipe that a parent reads. Used by the log's thread, which a slow parent may hold up."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._gone = False

    def handle_together(self, records: Sequence[logging.LogRecord]) -> None:
        """Write several lines at once."""
        self._write(b"".join(map(_encoded, records)))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self._write(_encoded(record))

    def _write(self, lines: bytes) -> None:
        view = memoryview(lines)
        while view and not self._gone:
            try:
                view = view[os.write(self._descriptor, view) :]
            except OSError:  # the parent has ended, and this process ends with it
                self._gone = True


def _encoded(record: logging.LogRecord) -> bytes:
    """Return a record as a line."""
    values: dict[str, Any] = {"at": record.created, "level": record.levelno, "logger": record.name}
    if isinstance(record.msg, LogLine):
        values |= {"fields": record.msg.fields, "text": str(record.msg)}
    else:
        more = {key: value for key, value in vars(record).items() if key not in OF_RECORDS}
        values |= {"said": record.getMessage(), "more": more}
        values |= {key: text for key in ("exc_text", "stack_info") if (text := getattr(record, key, None))}
    try:
        line = json.dumps(values, default=_as_text)
    except (TypeError, ValueError):  # keys that are no text, or a value that has itself within
        plain = {key: safe_repr(value) for key, value in values.get("fields", values.get("more", {})).items()}
        plain = {str(key): value for key, value in plain.items()}
        line = json.dumps(values | ({"fields": plain} if "fields" in values else {"more": plain}))
    return line.encode("utf-8", "replace") + b"\n"


def _as_text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return safe_repr(value)


class RelayedLine(LogLine):
    """An event of another process, whose text was made there."""

    __slots__ = ()

    def __init__(self, fields: Mapping[str, Any], text: str) -> None:
        super().__init__(fields)
        self._text = safe_lines(text)


def record_of(line: bytes, worker: int) -> logging.LogRecord | None:
    """Return the record in a line that a worker has sent; None for anything else."""
    with suppress(ValueError, RecursionError, TypeError):
        values = json.loads(line)
        match values:
            case {"at": float(at), "level": int(level), "logger": str(name)} if level in _LEVELS:
                return _made(name[:200], level, at, values, worker)
    return None


def _made(name: str, level: int, at: float, rest: Mapping[str, Any], worker: int) -> logging.LogRecord | None:
    match rest:
        case {"fields": {"event": str()} as fields, "text": str(text)}:
            record = logging.LogRecord(name, level, "", 0, RelayedLine(fields, text), None, None)
        case {"said": str(said), "more": dict() as more}:
            record = logging.LogRecord(name, level, "", 0, said, None, None)
            for key, value in more.items():
                if key not in OF_RECORDS:
                    setattr(record, key, value)
            for key in ("exc_text", "stack_info"):
                if isinstance(trace := rest.get(key), str):
                    setattr(record, key, redacted(trace))
        case _:
            return None
    record.created = at
    setattr(record, OF_WORKER, worker)
    return record
