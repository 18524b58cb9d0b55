"""``export``: the messages that jobs have stored of a chat, as a file of their own."""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from engine.app.stored_jobs import open_messages
from engine.cli.common import (
    DEFAULT_CONFIG,
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    ConfigPath,
    check_output,
    fail,
    have_engine_look,
    reporting_errors,
)
from engine.cli.declared import Parameter
from engine.cli.times import Since, parse_period
from engine.config import load_outline
from engine.console.message_export import as_csv, jsonl, write_sqlite

_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")


def export(
    config: ConfigPath = DEFAULT_CONFIG,
    *,
    chat: Annotated[
        str,
        Parameter(help="The chat: as a job names it (@name), or its id as jobs print it.", allow_leading_hyphen=True),
    ],
    form: Annotated[
        Literal["jsonl", "csv", "sqlite"], Parameter(name="--format", help="What is written; sqlite needs --out.")
    ] = "jsonl",
    out: Annotated[
        Path | None, Parameter(help="The file to write; left out, stdout. It replaces what is there.")
    ] = None,
    since: Since = None,
) -> None:
    """Write the messages that jobs have stored of a chat, while the engine runs or not.

    With --out the file is there when it is whole, and not before. Exit code 0 if it is done, 1 if there are no such
    messages or it cannot be written, 2 if the chat or an option is wrong.
    """
    begin = parse_period(since, None).since
    if form == "sqlite" and out is None:
        fail(EXIT_BAD_INPUT, "--format sqlite writes a database: name its file with --out")
    with reporting_errors():
        outline = load_outline(config)
        have_engine_look(outline.directory)
        if out is not None:
            _check(out, outline.directory)
        with open_messages(outline) as reader:
            number = int(chat) if _NUMBER.fullmatch(chat) else reader.chat_named(chat)
            if number is None:
                fail(EXIT_BAD_INPUT, f"{chat}: no job has read a chat of this name; give its id, or collect it first")
            rows = reader.messages(number, begin)
            first = next(rows, None)
            if first is None:
                fail(EXIT_FAILED, f"no messages of {chat} are stored for this time; follow or collect the chat first")
            count = _write([first], rows, form, out)
    if out is not None:
        print(f"{out}: {count:,} messages", file=sys.stderr)


def _check(out: Path, directory: Path) -> None:
    """Exit if the file cannot be written there, or would take the place of one of the engine's own."""
    check_output(out)
    real, own = out.resolve(), directory.resolve()
    if real.parent == own or (out.exists() and not out.is_file()):
        fail(EXIT_BAD_INPUT, f"{out}: write it elsewhere: {own} is for the engine's own files, and OUT is a plain file")


def _write(first: list[Any], rest: Iterable[Any], form: str, out: Path | None) -> int:
    """Write the messages; return how many."""
    counted = _Counted(first, rest)
    if out is None:
        for line in _lines(form, counted):
            sys.stdout.write(line)
        sys.stdout.flush()
        return counted.count
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # messages are for the operator alone
        if form == "sqlite":
            write_sqlite(part, counted)
        else:
            with part.open("w", encoding="utf-8", newline="") as file:
                file.writelines(_lines(form, counted))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return counted.count


def _lines(form: str, rows: Iterable[Any]) -> Iterator[str]:
    return as_csv(rows) if form == "csv" else jsonl(rows)


class _Counted:
    """Messages that are counted as they pass."""

    def __init__(self, first: list[Any], rest: Iterable[Any]) -> None:
        self.count, self._first, self._rest = 0, first, rest

    def __iter__(self) -> Iterator[Any]:
        for part in (self._first, self._rest):
            for row in part:
                self.count += 1
                yield row
