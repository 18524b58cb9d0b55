"""The law of intervals: which part of a box's events was handled, without a gap. Pure, like ``step``.

Telegram numbers the events of each *box*, the account's own and each channel's: its pts grows by ``pts_count`` with
every event, without gaps (https://core.telegram.org/api/updates). An event, or a difference, covers the interval of
numbers after one and up to another. What covers an interval without a gap has missed nothing in it.

    situation                                             decision
    ----------------------------------------------------  -------------------------------------------------------------
    two intervals overlap, or touch                       they are one
    the same interval again (a repeat after a crash)      nothing changes
    an interval of no numbers (``pts_count`` 0)           nothing changes
    intervals in any order                                the same result
    numbers between two intervals                         a hole: they were not handled, whatever became of them
    numbers before the first, or after the last           nothing is known of them: neither handled nor a hole

Nothing that was not added is ever covered.
"""

import itertools
from collections.abc import Iterable, Iterator
from enum import StrEnum

from attrs import frozen


class HoleCause(StrEnum):
    """Why numbers of a box were not handled."""

    NOT_RUNNING = "not_running"
    """Nothing was noted of it: the engine did not run, or the session file was used or replaced elsewhere."""
    TOO_LONG = "too_long"
    """The account was away for so long that Telegram did not send what it missed."""
    NOT_SUBSCRIBED = "not_subscribed"
    """The account was not in the chat, or could not read it."""
    NO_ADDRESS = "no_address"
    """The channel's access hash is not in the session file, so it cannot be asked."""
    UNREADABLE = "unreadable"
    """Telegram sent what this version cannot read, such as a new constructor."""
    NO_HANDLER = "no_handler"
    """It arrived, and the program had no handler for anything."""
    NO_NUMBER = "no_number"
    """A channel had news when no number of it was known, so nobody could ask for them."""
    RENUMBERED = "renumbered"
    """Telegram has set the box back to a smaller number, and what was known of greater ones means nothing now."""


@frozen(order=True)
class Interval:
    """The numbers after ``after``, up to and with ``upto``; none if ``upto`` is not greater."""

    after: int
    upto: int

    @property
    def is_empty(self) -> bool:
        """Return whether there is no number in it."""
        return self.upto <= self.after

    def covers(self, other: "Interval") -> bool:
        """Return whether all numbers of the other one are in this one."""
        return other.is_empty or (self.after <= other.after and other.upto <= self.upto)


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same numbers in as few intervals as there can be, in order."""
    merged: list[Interval] = []
    for each in sorted(each for each in intervals if not each.is_empty):
        if merged and each.after <= merged[-1].upto:
            merged[-1] = Interval(merged[-1].after, max(merged[-1].upto, each.upto))
        else:
            merged.append(each)
    return merged


def holes(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """Yield the numbers between the first and the last one that none of the intervals has, in order."""
    for earlier, later in itertools.pairwise(merge(intervals)):
        yield Interval(earlier.upto, later.after)


@frozen(kw_only=True)
class LedgerRow:
    """An interval of one box of a user, with its times: handled, or lost if it has a cause."""

    user: int
    login: str
    """The fingerprint of the login that has seen it."""
    box: int
    """0: the account's own; otherwise a channel's id."""
    interval: Interval
    cause: HoleCause | None = None
    since: float
    """When it begins (Unix seconds): the date of its first message, or when it was noted."""
    until: float
    """When it was last known that nothing had come after it (Unix seconds)."""
    first_id: int | None = None
    last_id: int | None = None
    """The first and the last new message in it; None if it has none."""
