"""The past of an account in half hours and in days, as it is drawn and summed up."""

from typing import Final

from attrs import evolve, frozen

from engine.web.page.history import DAYS, HALF_HOUR, HALF_HOURS, Kind, Past, Tally, day_of, midnight

NOTHING: Final = Tally()
LITTLE: Final = 30.0
"""Seconds of an account's life below which a share of them says nothing: its first attempt is most of them."""


@frozen
class Bucket:
    """A day or half an hour of an account: its beginning, its length so far, and what was lost in it."""

    begin: float
    length: float
    tally: Tally

    @property
    def lived(self) -> float:
        """The seconds in which the engine ran the account."""
        return max(0.0, self.length - self.tally.stopped)


@frozen
class Shown:
    """A period in buckets, oldest first."""

    buckets: tuple[Bucket, ...]

    @property
    def lost(self) -> float:
        """Seconds in which the account was not healthy."""
        return sum(bucket.tally.lost for bucket in self.buckets)

    @property
    def outages(self) -> int:
        """How many outages began."""
        return sum(bucket.tally.outages for bucket in self.buckets)

    @property
    def lived(self) -> float:
        """Seconds in which the engine ran the account."""
        return sum(bucket.lived for bucket in self.buckets)

    @property
    def availability(self) -> float | None:
        """The share in which the account was healthy of the time that the engine ran it; None below ``LITTLE``."""
        lived = self.lived
        return None if lived < LITTLE else min(1.0, max(0.0, 1 - self.lost / lived))


def last_day(past: Past | None, now: float) -> Shown:
    """Return the last 24 hours in half hours; the present one is not over."""
    first = int(now // HALF_HOUR) - HALF_HOURS + 1
    borders = [number * HALF_HOUR for number in range(first, first + HALF_HOURS)]
    kept = {} if past is None else past.half_hours
    return _shown(past, borders, [kept.get(first + place, NOTHING) for place in range(HALF_HOURS)], now)


def last_days(past: Past | None, now: float) -> Shown:
    """Return the last ``DAYS`` local days; the present one is not over."""
    first = day_of(now) - DAYS + 1
    kept = {} if past is None else past.days
    borders = [midnight(first + place) for place in range(DAYS)]
    return _shown(past, borders, [kept.get(first + place, NOTHING) for place in range(DAYS)], now)


def _shown(past: Past | None, borders: list[float], tallies: list[Tally], now: float) -> Shown:
    """Return buckets, with what lasts in them; before anything is known, nobody ran the account."""
    ends = [*borders[1:], max(now, borders[-1])]
    known = now if past is None else past.known
    lasts = None if past is None else past.open
    found = []
    over = now if lasts is None or lasts.end is None else lasts.end
    for begin, end, kept in zip(borders, ends, tallies, strict=True):
        tally = kept
        if begin < known:
            tally = evolve(tally, stopped=tally.stopped + min(end, known) - begin)
        if lasts is not None and (spent := min(end, over) - max(begin, lasts.begin)) > 0:
            stopped = lasts.kind is Kind.STOPPED
            tally = evolve(
                tally,
                stopped=tally.stopped + (spent if stopped else 0),
                lost=tally.lost + (0 if stopped else spent),
            )
        found.append(Bucket(begin, end - begin, tally))
    return Shown(tuple(found))
