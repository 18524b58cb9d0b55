"""The events of the journal's entries, for the commands that decide them again."""

from adapters.sqlite import Undecodable, event_from
from engine.journal.replay import UnreadableEvent
from states import Entry, Event


def decode_event(entry: Entry) -> Event:
    """Return the event of an entry. Raises ``UnreadableEvent``."""
    try:
        return event_from(entry.event, entry.payload)
    except Undecodable as exc:
        raise UnreadableEvent(f"the event of entry {entry.seq} cannot be made from its payload ({exc})") from exc
