"""The events of the journal's entries, and the explanation of one, for whatever decides them again."""

from typing import TYPE_CHECKING

from adapters.sqlite import Undecodable, event_from
from engine.journal.explain import Explanation, explain
from engine.journal.replay import UnreadableEvent
from states import Entry, Event

if TYPE_CHECKING:  # only the types
    from engine.journal.ports import JournalRecords

NEIGHBOURS = 3
"""Number of the account's entries that an explanation shows before, and after."""


def decode_event(entry: Entry) -> Event:
    """Return the event of an entry. Raises ``UnreadableEvent``."""
    try:
        return event_from(entry.event, entry.payload)
    except Undecodable as exc:
        raise UnreadableEvent(f"the event of entry {entry.seq} cannot be made from its payload ({exc})") from exc


def explain_entry(reader: "JournalRecords", entry: Entry) -> Explanation:
    """Return the explanation of an entry of the journal that the reader reads."""
    lives = {life.life: life for life in reader.lives(entry.account, from_life=entry.life)}
    return explain(
        entry,
        life=lives.get(entry.life),
        records=reader.life_until(entry),
        event_of=decode_event,
        before=reader.before(entry, NEIGHBOURS),
        after=reader.after(entry, NEIGHBOURS),
    )
