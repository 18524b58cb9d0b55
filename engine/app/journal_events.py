"""The events of the journal's entries, and the explanation of one, for whatever decides them again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adapters.sqlite import JournalReader, StorageError, Undecodable, event_from
from engine.journal.explain import Explanation, explain
from engine.journal.replay import UnreadableEvent
from engine.journal.troubles import trouble_since
from engine.screen.source import ENTRIES, Unreadable
from states import Entry, Event

NEIGHBOURS = 3
"""Number of the account's entries that an explanation shows before, and after."""
FIRST_ENTRIES = 4
"""Number of entries after the last healthy one among which the trouble's first is: a stop is up to two of them."""


def decode_event(entry: Entry) -> Event:
    """Return the event of an entry. Raises ``UnreadableEvent``."""
    try:
        return event_from(entry.event, entry.payload)
    except Undecodable as exc:
        raise UnreadableEvent(f"the event of entry {entry.seq} cannot be made from its payload ({exc})") from exc


def explain_entry(reader: JournalReader, entry: Entry) -> Explanation:
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


def stored_troubles(path: Path, accounts: Iterable[str]) -> dict[str, float]:
    """Return since when (Unix seconds) accounts are in trouble, as the journal has it; nothing if it cannot be read."""
    found = {}
    with suppress(Unreadable), _readable(path) as reader:
        for account in accounts:
            if (since := trouble_since(reader.after_healthy(account, FIRST_ENTRIES))) is not None:
                found[account] = since
    return found


def read_entries(path: Path, account: str) -> list[Entry]:
    """Return an account's newest entries for the screen, oldest first. Raises ``Unreadable``."""
    with _readable(path) as reader:
        return list(reader.entries(accounts=[account], limit=ENTRIES))


def read_explanation(path: Path, seq: int) -> Explanation:
    """Return the explanation of an entry for the screen. Raises ``Unreadable``."""
    with _readable(path) as reader, reader.read_transaction():
        if (entry := reader.entry(seq)) is None:
            raise Unreadable(f"The journal has no entry {seq} any more: retention has deleted it")
        return explain_entry(reader, entry)


@contextmanager
def _readable(path: Path) -> Iterator[JournalReader]:
    try:
        with JournalReader.open(path) as reader:
            reader.on_unreadable = lambda row: None  # ``log`` tells of it; the others are there to be seen
            yield reader
    except (StorageError, OSError) as exc:
        raise Unreadable(str(exc)) from exc
