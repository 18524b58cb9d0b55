"""``log explain``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console

from adapters.stores.journal_rows import UnreadableRow
from engine.app.journal_events import explain_entry
from engine.cli.common import DEFAULT_CONFIG, EXIT_BAD_INPUT, AsJson, fail, parse_number, reporting_errors
from engine.cli.declared import Parameter
from engine.cli.log_common import open_journal, tell_unreadable
from engine.console.safe_text import json_text
from engine.journal.explain_page import as_data, as_text
from states import Entry

if TYPE_CHECKING:  # only the types
    from engine.journal.ports import JournalRecords


def explain(
    *words: Annotated[
        str,
        Parameter(
            name="SEQ [CONFIG]", negative="", help="The number of an entry, as 'log' shows it, and the config file."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Explain why the machine did what it did: the rule, what its guards saw, the arithmetic of the wait, the cause."""
    with reporting_errors():
        config, seq = _config_and_seq(words)
        with open_journal(config) as reader, reader.read_transaction():
            unreadable: list[UnreadableRow] = []
            reader.on_unreadable = unreadable.append
            explanation = explain_entry(reader, _read_entry(reader, seq))
        tell_unreadable(unreadable)
        if as_json:
            print(json_text(as_data(explanation), indent=2))
        else:
            Console(highlight=False).print(as_text(explanation), soft_wrap=True)


def _config_and_seq(words: Sequence[str]) -> tuple[Path, int]:
    """Return the config and the number, in whichever order they stand."""
    numbers = [seq for word in words if (seq := parse_number(word)) is not None]
    if not numbers:
        fail(EXIT_BAD_INPUT, "SEQ: give the number of an entry, as 'log' shows it")
    if len(words) > 2:
        fail(EXIT_BAD_INPUT, f"SEQ: {len(words)} words are too many; give one number, and the config")
    at = next(index for index, word in enumerate(words) if parse_number(word) is not None)
    return Path(words[1 - at]) if len(words) == 2 else DEFAULT_CONFIG, numbers[0]


def _read_entry(reader: "JournalRecords", seq: int) -> Entry:
    entry = reader.entry(seq) if 0 < seq < 2**63 else None
    if entry is None:
        last = reader.last_seq()
        there = f"there are {reader.first_seq()} to {last}" if last else "there are none yet"
        fail(EXIT_BAD_INPUT, f"SEQ: the journal has no entry {seq}; {there}")
    return entry
