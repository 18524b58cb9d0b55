"""``log``, and its subcommands ``explain``, ``replay`` and ``stats``."""

import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from adapters.stores.journal_rows import UnreadableRow
from engine.app.records import open_records
from engine.cli.common import (
    EXIT_BAD_INPUT,
    AsJson,
    ConfigPath,
    check_choice,
    fail,
    reporting_errors,
)
from engine.cli.declared import CommandGroup, Parameter
from engine.cli.log_common import journal_accounts
from engine.cli.times import Since, Until, parse_period
from engine.config import load_outline
from engine.console import journal_lines
from engine.console.safe_text import json_text, one_line
from states import Entry, State

if TYPE_CHECKING:  # --json need not wait for it
    from rich.console import Console

app = CommandGroup(name="log", help="Print the journal of all transitions, or analyse it.")
for _command in ("explain", "replay", "stats"):
    app.commands[_command] = f"engine.cli.log_{_command}:{_command}"

MAX_ROWS = 2**63 - 1
"""The greatest number that SQLite knows."""
FOLLOW_INTERVAL = 0.25
"""Seconds between two reads of the journal."""
FOLLOW_FIRST_LINES = 20
"""Number of earlier lines that ``log -f`` prints first."""


def _print_unreadable(as_json: bool, row: UnreadableRow) -> None:
    """Print the place of an entry that cannot be read."""
    if as_json:
        print(json_text({"seq": row.seq, "account": row.account, "unreadable": row.why}))
    else:
        print(f"{row.seq:>6} ⚠️ {one_line(row.account or 'an unknown account')}  unreadable: {one_line(row.why)}")


def _print_entries(entries: Iterator[Entry], console: "Console | None") -> int | None:
    """Print entries as they are read, as JSON without a console; return the number of the last one."""
    last = None
    for entry in entries:
        if console is None:
            print(json_text(journal_lines.as_data(entry)))
        else:
            console.print(journal_lines.as_text(entry), soft_wrap=True)
        last = entry.seq
    sys.stdout.flush()
    return last


@app.default
def log(
    config: ConfigPath = Path("config.yaml"),
    *,
    follow: Annotated[bool, Parameter(name="-f", negative="", help="Keep printing new lines, until Ctrl+C.")] = False,
    number: Annotated[int | None, Parameter(name="-n", help="Only the last N lines.")] = None,
    account: Annotated[
        str | None, Parameter(help="Only accounts whose name fits this pattern, such as 'news*'.")
    ] = None,
    state: Annotated[str | None, Parameter(help="Only transitions into this state.")] = None,
    event: Annotated[str | None, Parameter(help="Only this event, such as NetworkLost.")] = None,
    since: Since = None,
    until: Until = None,
    failed: Annotated[bool, Parameter(negative="", help="Only failures.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the journal of all transitions, oldest first."""
    check_choice("--state", state, [each.value for each in State])
    _check_event(event)
    if number is not None and number < 1:
        fail(EXIT_BAD_INPUT, f"-n: must be at least 1, not {number}")
    period = parse_period(since, until)
    with reporting_errors():
        outline = load_outline(config)
        console = None if as_json else _console()
        with open_records(outline) as reader:
            # Accounts that have left the config are in the journal, and those that are new are not.
            wanted = partial(
                reader.entries,
                accounts=None if account is None else journal_accounts(reader, account, others=outline.names),
                state=State(state) if state else None,
                event=event,
                since=period.since,
                until=period.until,
                failed_only=failed,
            )
            reader.on_unreadable = partial(_print_unreadable, as_json)
            if not follow:
                _print_entries(wanted(limit=number and min(number, MAX_ROWS)), console)
                return
            limit = FOLLOW_FIRST_LINES if number is None else min(number, MAX_ROWS)
            first: list[Entry | UnreadableRow] = []
            reader.on_unreadable = first.append
            with reader.read_transaction():  # what is printed first, and what comes after it, meet in one entry
                seen = reader.last_seq()
                for entry in wanted(limit=limit, after_seq=0):
                    first.append(entry)
            reader.on_unreadable = partial(_print_unreadable, as_json)
            for row in first:
                if isinstance(row, Entry):
                    _print_entries(iter((row,)), console)
                else:
                    _print_unreadable(as_json, row)
            try:
                while period.until is None or time.time() < period.until:
                    time.sleep(FOLLOW_INTERVAL)
                    seen = _print_entries(wanted(after_seq=seen), console) or seen
            except KeyboardInterrupt:
                return


def _check_event(name: str | None) -> None:
    """Exit with a suggestion if there is no such event."""
    if name is not None:
        from states import EVENT_BY_NAME  # noqa: PLC0415 - the events are many, and needed for this alone

        check_choice("--event", name, list(EVENT_BY_NAME))


def _console() -> "Console":
    from rich.console import Console  # noqa: PLC0415 - as above

    return Console(highlight=False)
