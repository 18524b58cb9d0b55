"""What the screen reads of the journal, in a thread. A composition root."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from adapters.sqlite import StorageError
from engine.app.journal_events import explain_entry
from engine.app.records import StoragePlace, open_records
from engine.journal.explain import Explanation
from engine.journal.troubles import trouble_since
from engine.screen.source import ENTRIES, JournalUnreadable
from states import Entry

if TYPE_CHECKING:  # only the types
    from engine.journal.ports import JournalRecords

FIRST_ENTRIES = 4
"""Number of entries after the last healthy one among which the trouble's first is: a stop is up to two of them."""


def stored_troubles(place: StoragePlace, accounts: Iterable[str]) -> dict[str, float]:
    """Return since when (Unix seconds) accounts are in trouble, as the journal has it; nothing if it cannot be read."""
    found = {}
    with suppress(JournalUnreadable), _readable(place) as reader:
        for account in accounts:
            if (since := trouble_since(reader.after_healthy(account, FIRST_ENTRIES))) is not None:
                found[account] = since
    return found


def read_entries(place: StoragePlace, account: str) -> list[Entry]:
    """Return an account's newest entries for the screen, oldest first. Raises ``JournalUnreadable``."""
    with _readable(place) as reader:
        return list(reader.entries(accounts=[account], limit=ENTRIES))


def read_explanation(place: StoragePlace, seq: int) -> Explanation:
    """Return the explanation of an entry for the screen. Raises ``JournalUnreadable``."""
    with _readable(place) as reader, reader.read_transaction():
        if (entry := reader.entry(seq)) is None:
            raise JournalUnreadable(f"The journal has no entry {seq} any more: retention has deleted it")
        return explain_entry(reader, entry)


@contextmanager
def _readable(place: StoragePlace) -> Iterator["JournalRecords"]:
    try:
        with open_records(place) as reader:
            reader.on_unreadable = lambda row: None  # ``log`` tells of it; the others are there to be seen
            yield reader
    except (StorageError, OSError) as exc:
        raise JournalUnreadable(str(exc)) from exc
