"""What the ledger proves of a chat: from when to when nothing was missed, and what is missing, why. Pure.

what is known                                         what it means for the chat
----------------------------------------------------  -------------------------------------------------------------
rows touch or overlap, whoever has seen them          complete from the first to the last
numbers between two of them                           a hole, with the cause that was noted for it
numbers that are noted as lost                        a hole
a hole whose messages were read from the history      filled: what is there now was read, edits before that are not
the time before the first row, if it is asked for     a hole: nothing was noted then
the chat was left, and nothing came since             a hole without an end
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attrs import evolve, frozen

from states.ledger import HoleCause, Interval, LedgerRow

_NO_END: Final = (HoleCause.RENUMBERED, HoleCause.NO_HANDLER)
"""What no empty row says of the time after it. A program without handlers has missed nothing while nothing came."""
_WEIGHT: Final = {cause: weight for weight, cause in enumerate(HoleCause)}
"""Of two causes for the same numbers the later one says more."""


@frozen(kw_only=True)
class ReadLater:
    """The messages after ``after_id`` that were read from a chat's history."""

    source: str
    """What has read them, such as ``job 12``."""
    after_id: int
    upto_id: int | None
    """The last one; None if all that there were ``at`` this time were read."""
    at: float
    """When they were read (Unix seconds)."""
    from_at: float | None = None
    """The date from which they were read; None if it was by number."""


@frozen(kw_only=True)
class Hole:
    """What is missing of a chat."""

    interval: Interval | None
    """Its numbers; None for a time of which nothing was noted."""
    cause: HoleCause
    since: float | None
    """No later than then it began (Unix seconds); None: at the beginning of the chat."""
    until: float | None
    """No earlier than then it ended; None if it has not."""
    after_id: int | None = None
    """The last message before it."""
    before_id: int | None = None
    """The first message behind it."""
    filled: str | None = None
    """What has read its messages later."""


@frozen(kw_only=True)
class Completeness:
    """What is proven of a chat."""

    since: float | None
    """From when on it is complete but for the holes (Unix seconds); None if nothing is known of it."""
    until: float | None
    holes: tuple[Hole, ...] = ()

    @property
    def open(self) -> tuple[Hole, ...]:
        """The holes that nothing has filled."""
        return tuple(hole for hole in self.holes if hole.filled is None)

    @property
    def complete_since(self) -> float | None:
        """Return since when nothing is missing; None if something is missing now, or nothing is known."""
        ends = [hole.until for hole in self.open]
        if self.since is None or None in ends:
            return None
        return max([self.since, *(end for end in ends if end is not None)])


def chains(rows: Iterable[LedgerRow]) -> list[LedgerRow]:
    """Return what was handled as rows that do not touch, in order. Empty rows only say until when it was known."""
    found: list[LedgerRow] = []
    handled = (row for row in rows if row.cause is None)
    for row in sorted(handled, key=lambda row: (row.interval.after, row.interval.upto)):
        last = found[-1] if found else None
        if last is None or row.interval.after > last.interval.upto:
            found.append(row)
            continue
        firsts = [number for number in (last.first_id, row.first_id) if number is not None]
        lasts = [number for number in (last.last_id, row.last_id) if number is not None]
        found[-1] = evolve(
            last,
            interval=Interval(last.interval.after, max(last.interval.upto, row.interval.upto)),
            since=min(last.since, row.since),
            until=max(last.until, row.until),
            first_id=min(firsts, default=None),
            last_id=max(lasts, default=None),
        )
    return found


def assess(rows: Sequence[LedgerRow], fills: Iterable[ReadLater] = (), since: float | None = None) -> Completeness:
    """Return what is proven of a chat's box, from ``since`` on or as far back as anything is known."""
    handled, lost = chains(rows), [row for row in rows if row.cause is not None]
    if not handled and not lost:
        return Completeness(since=None, until=None)
    begin = min(row.since for row in (*handled, *lost))
    holes = [*_holes(handled, lost), *_open_end(handled, lost)]
    if since is not None and begin > since:
        holes.insert(0, Hole(interval=None, cause=HoleCause.NOT_RUNNING, since=since, until=begin))
    known = list(fills)
    found = (
        evolve(hole, filled=_filled(hole, known))
        for hole in holes
        if since is None or hole.until is None or hole.until > since
    )
    start = begin if since is None else max(begin, since)
    until = max((row.until for row in handled), default=None)
    return Completeness(since=start, until=until, holes=tuple(found))


def _holes(handled: Sequence[LedgerRow], lost: Sequence[LedgerRow]) -> Iterator[Hole]:
    """Yield what is between the chains, and what is noted as lost around them, cut where the causes change."""
    ends = [row.interval for row in (*handled, *lost)]
    low, high = min(each.after for each in ends), max(each.upto for each in ends)
    edges = [low, *(number for row in handled for number in (row.interval.after, row.interval.upto)), high]
    for place, (after, upto) in enumerate(_pairs(edges)):
        if upto <= after:
            continue
        earlier, later = handled[:place], handled[place:]
        cuts = sorted(
            {after, upto, *(n for row in lost for n in (row.interval.after, row.interval.upto) if after < n < upto)}
        )
        parts: list[tuple[Interval, HoleCause]] = []
        for one, other in itertools.pairwise(cuts):
            cause = _cause_of(Interval(one, other), Interval(after, upto), lost)
            if parts and parts[-1][1] is cause:
                parts[-1] = (Interval(parts[-1][0].after, other), cause)
            else:
                parts.append((Interval(one, other), cause))
        noted = [row for row in lost if row.interval.after < upto and row.interval.upto > after]
        for interval, cause in parts:
            yield Hole(
                interval=interval,
                cause=cause,
                since=earlier[-1].until if earlier else min((row.since for row in noted), default=None),
                until=later[0].since if later else max((row.until for row in noted), default=None),
                after_id=max((row.last_id for row in earlier if row.last_id is not None), default=None),
                before_id=next((row.first_id for row in later if row.first_id is not None), None),
            )


def _pairs(edges: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the gaps between the edges of chains: before the first, between two, behind the last."""
    return zip(edges[::2], edges[1::2], strict=True)


def _cause_of(part: Interval, whole: Interval, lost: Sequence[LedgerRow]) -> HoleCause:
    """Return the cause that was noted for these numbers, or for the whole hole: that the chat was left before it."""
    exact = [row.cause for row in lost if not row.interval.is_empty and row.interval.covers(part)]
    marks = [row.cause for row in lost if row.interval.is_empty and whole.after <= row.interval.after < whole.upto]
    causes = [cause for cause in exact or marks if cause is not None]
    return max(causes, key=_WEIGHT.__getitem__, default=HoleCause.NOT_RUNNING)


def _open_end(handled: Sequence[LedgerRow], lost: Sequence[LedgerRow]) -> Iterator[Hole]:
    """Yield the hole that has not ended, if the chat was left behind the last number and nothing was seen since."""
    if not handled:
        return
    last = handled[-1]
    for row in lost:
        if row.interval.is_empty and row.interval.after >= last.interval.upto and row.until > last.until:
            if row.cause in _NO_END:
                continue
            yield Hole(
                interval=None, cause=row.cause or HoleCause.NOT_RUNNING, since=row.since, until=None,
                after_id=last.last_id,
            )  # fmt: skip
            return


def _filled(hole: Hole, fills: Sequence[ReadLater]) -> str | None:
    """Return what has read all messages of a hole from the history, after it had ended; None if nothing has."""
    for fill in fills:
        begins = fill.after_id <= (hole.after_id or 0) or (
            hole.interval is None and fill.from_at is not None and hole.since is not None and fill.from_at <= hole.since
        )
        if fill.upto_id is None:
            ends = hole.until is not None and fill.at >= hole.until
        else:
            ends = hole.before_id is not None and fill.upto_id >= hole.before_id - 1
        if begins and ends:
            return fill.source
    return None
