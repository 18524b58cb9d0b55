"""What the subcommands of ``log`` share."""

from pathlib import Path

from adapters.sqlite import JournalReader, Undecodable, event_from
from engine import paths
from engine.config import load
from engine.journal.replay import UnreadableEvent
from states import Entry, Event


def open_journal(config: Path) -> JournalReader:
    """Open the journal of a config. Raises ``ConfigError`` and ``StorageError``."""
    return JournalReader.open(load(config).storage.directory / paths.DATABASE)


def decode_event(entry: Entry) -> Event:
    """Return the event of an entry. Raises ``UnreadableEvent``."""
    try:
        return event_from(entry.event, entry.payload)
    except Undecodable as exc:
        raise UnreadableEvent(f"the event of entry {entry.seq} cannot be made from its payload ({exc})") from exc
