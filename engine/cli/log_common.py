"""What the subcommands of ``log`` share."""

import sys
from collections.abc import Sequence
from pathlib import Path

from adapters.sqlite import JournalReader, Undecodable, event_from
from adapters.sqlite.reader import UnreadableRow
from engine import paths
from engine.config import load
from engine.console.safe_text import one_line
from engine.journal.replay import UnreadableEvent
from states import Entry, Event


def open_journal(config: Path) -> JournalReader:
    """Open the journal of a config. Raises ``ConfigError`` and ``StorageError``."""
    return JournalReader.open(load(config).storage.directory / paths.DATABASE)


def tell_unreadable(rows: Sequence[UnreadableRow]) -> None:
    """Say on stderr how many rows of the journal were left out, and which is the first."""
    if rows:
        where = f"entry {rows[0].seq}" if rows[0].seq else f"what is stored of {rows[0].account}"
        count = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
        said = f"⚠️ {count} of the journal cannot be read, and left out; the first is {where}: {rows[0].why}"
        print(one_line(said), file=sys.stderr)


def decode_event(entry: Entry) -> Event:
    """Return the event of an entry. Raises ``UnreadableEvent``."""
    try:
        return event_from(entry.event, entry.payload)
    except Undecodable as exc:
        raise UnreadableEvent(f"the event of entry {entry.seq} cannot be made from its payload ({exc})") from exc
