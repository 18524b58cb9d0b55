"""What accounts missed while they were away, in a sentence for the message that an incident is over."""

from collections.abc import Iterable
from typing import Final

from engine.console.safe_text import one_line
from states.record import Entry

MOST_NAMES: Final = 5


def missed_of(entries: Iterable[Entry]) -> str:
    """Return what the records ``CaughtUp`` of some accounts say of it, oldest first; empty if there is none.

    The last record of an account says what it still lacks. A ``late`` one counts again what the one before it counted.
    """
    fetched, counted, lacking, too_long = 0, dict[str, int](), dict[str, None](), dict[str, None]()
    for entry in entries:
        payload, account = entry.payload, entry.account
        recovered = payload.get("recovered")
        count = recovered if isinstance(recovered, int) else 0
        fetched += count - (counted.get(account, 0) if payload.get("late") else 0)
        counted[account] = count
        lacking.pop(account, None)
        if payload.get("missing"):
            lacking[account] = None
        if payload.get("too_long"):  # what Telegram does not list does not come later
            too_long[account] = None
    told = []
    if fetched:
        told.append(f"nothing of {fetched:,} update{'s' if fetched != 1 else ''} that came late")
    if lacking:
        told.append(f"some updates of {_names(lacking)}, which could not be fetched yet")
    if too_long:
        told.append(f"what Telegram does not list any more for {_names(too_long)}: read the chats for it")
    if len(told) > 1 and fetched:
        told[0] = f"{fetched:,} update{'s' if fetched != 1 else ''} came late"
    return "; ".join(told)


def _names(accounts: Iterable[str]) -> str:
    names = [one_line(each, 64) for each in accounts]
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
