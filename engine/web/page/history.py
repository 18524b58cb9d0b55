"""What became of each account: the times in which it was not healthy, folded from the journal as it grows.

The rules are those of ``engine.journal.stats``: only time in which an engine ran the account counts. What lies between
two lives (the engine was stopped or killed, the account was paused) is nobody's trouble, and is told apart.

It takes bounded memory: of a day it keeps sums, of the last day also sums of half hours and the newest spans.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol

from attrs import define, field, frozen

from engine.journal.ports import AccountMove, JournalBeginning
from states import State

DAY: Final = 86_400.0
DAYS: Final = 90
"""Days that are shown, the present one included."""
HALF_HOUR: Final = 1800.0
HALF_HOURS: Final = 48
"""Half hours that are shown, the present one included."""
MAX_SPANS: Final = 200
"""Spans of an account that are kept; those before them are only in the sums."""
CHECK_EVERY: Final = 250
"""Records between two looks at the clock."""


class Kind(StrEnum):
    """What an account was, if it was not healthy."""

    TROUBLE = "trouble"
    """Without a connection that works, after it had one or after its first attempt failed."""
    PERSON = "person"
    """It could not go on before somebody acted."""
    STARTING = "starting"
    """In the first attempt of a life."""
    STOPPED = "stopped"
    """Nobody ran it: the engine was stopped or killed, or the account was paused."""


KINDS: Final[Mapping[State, Kind | None]] = {
    State.CONNECTING: Kind.STARTING,
    State.HEALTHY: None,
    State.TIMEOUT: Kind.TROUBLE,
    State.BACKOFF: Kind.TROUBLE,
    State.RECONNECTING: Kind.TROUBLE,
    State.AUTH_FAILED: Kind.PERSON,
    State.SHUTTING_DOWN: Kind.STOPPED,
}
_ILL: Final = (Kind.TROUBLE, Kind.PERSON)


@frozen
class Span:
    """A time in which an account was not healthy, all of one kind (Unix seconds); None as its end is not yet."""

    begin: float
    end: float | None
    kind: Kind
    cause: str = ""
    """The event that began it, such as ``NetworkLost``; empty if that is not known."""


@frozen
class Tally:
    """What was lost in a day, or in half an hour."""

    lost: float = 0.0
    """Seconds in which the engine ran the account, and it was not healthy."""
    stopped: float = 0.0
    """Seconds in which nobody ran it, or nothing is known of it."""
    outages: int = 0
    """Outages that began."""


@frozen
class Past:
    """What became of an account. It is made anew only when something new is known of it."""

    known: float
    """Since when something is known (Unix seconds)."""
    spans: tuple[Span, ...] = ()
    """The newest spans that are over, oldest first."""
    open: Span | None = None
    """What lasts, if the account was not healthy when it was last heard of; with an end if it is over by now."""
    half_hours: Mapping[int, Tally] = field(factory=dict)
    """By number since the epoch; those in which nothing was lost are left out. Without what lasts."""
    days: Mapping[int, Tally] = field(factory=dict)
    """By the ordinal of the local date; as above."""


class HistoryReader(Protocol):
    """Reads the journal: a part of ``engine.journal.ports.JournalRecords``, which says more."""

    @property
    def is_gapless(self) -> bool:
        """Whether one writer has numbered all records, in their order."""

    def read_transaction(self) -> AbstractContextManager[None]:
        """Let all reads of the block see the journal at one moment."""

    def last_seq(self) -> int:
        """Return the number of the record that comes last; 0 if there is none."""

    def first_since(self, since: float) -> int:
        """Return the lowest number of a record of this time or later."""

    def last_moves(self, before: int) -> Mapping[str, AccountMove]:
        """Return each account's last record before this number."""

    def beginnings(self, after: int, since: float) -> Sequence[tuple[int, JournalBeginning]]:
        """Return the lives that began at ``since`` or later, with a number that grows, in its order."""

    def moves_after(self, after_seq: int, first: int) -> Iterator[AccountMove]:
        """Yield the records from number ``first`` on that follow after a record (0: all)."""

    def former_names(self) -> Sequence[object]:
        """Return what was renamed."""


# --- times -----------------------------------------------------------------------------------------------------------


def day_of(at: float) -> int:
    """Return the ordinal of the local date of a time (Unix seconds)."""
    return datetime.fromtimestamp(at, UTC).astimezone().toordinal()


@lru_cache(maxsize=1024)
def midnight(day: int) -> float:
    """Return when a local date begins (Unix seconds)."""
    found = date.fromordinal(day)
    return datetime(found.year, found.month, found.day).astimezone().timestamp()


def by_day(begin: float, end: float) -> Iterator[tuple[int, float]]:
    """Yield the seconds of each local day from ``begin`` to ``end``."""
    day = day_of(begin)
    while begin < end:
        border = min(midnight(day + 1), end)
        if border > begin:
            yield day, border - begin
        begin, day = max(begin, border), day + 1


def by_half_hour(begin: float, end: float) -> Iterator[tuple[int, float]]:
    """Yield the seconds of each half hour from ``begin`` to ``end``."""
    number = int(begin // HALF_HOUR)
    while begin < end:
        border = min((number + 1) * HALF_HOUR, end)
        yield number, border - begin
        begin, number = border, number + 1


# --- one account -----------------------------------------------------------------------------------------------------


@define
class AccountFold:
    """Takes an account's lives and records in their order."""

    horizon: float
    """What was before is not asked for (Unix seconds)."""
    recent: float
    """From when on half hours are asked for."""
    lives: deque[JournalBeginning] = field(factory=deque)
    """Lives that have begun, and of which no record has come yet."""
    life: int | None = None
    state: State = State.SHUTTING_DOWN
    at: float = 0.0
    """When the account was last heard of."""
    over: bool = False
    """Whether the life has ended in order."""
    answered: float | None = None
    known: float | None = None
    kind: Kind | None = None
    begin: float = 0.0
    """Since when it is of this kind."""
    cause: str = ""
    spans: deque[Span] = field(factory=lambda: deque(maxlen=MAX_SPANS))
    half_hours: dict[int, list[float]] = field(factory=dict)
    days: dict[int, list[float]] = field(factory=dict)
    made: Past | None = None

    def remember(self, last: AccountMove) -> None:
        """Take the last record before the time that is asked for."""
        self.life, self.state, self.at = last.life, last.target, last.at
        self.over = last.source is State.SHUTTING_DOWN and last.event == "Closed"
        self.known, self.kind, self.begin = self.horizon, KINDS[last.target], last.at

    def take(self, move: AccountMove) -> None:
        """Go on to the next record."""
        self.made = None
        if move.life != self.life:
            self.begin_lives(move.life)
            if self.life != move.life:  # the journal does not say how this life began
                self._live(move.life, move.source, move.at - move.dwell, None)
        if move.shift:  # what was before has moved with the clock: nobody lived the hours between
            self.at += move.shift
            self.begin += move.shift
        self._turn(move.target, max(self.at, move.at) if move.shift else move.at, move.event)
        self.over = move.source is State.SHUTTING_DOWN and move.event == "Closed"

    def begin_lives(self, until: int | None = None) -> None:
        """Begin the lives up to this one, or all: those before it have no records."""
        while self.lives and (until is None or self.lives[0].life <= until):
            life = self.lives.popleft()
            if self.life is None or life.life > self.life:
                self.made = None
                self._end(life)
                self._live(life.life, life.state, max(life.at, life.since), life.answered)

    def _end(self, following: JournalBeginning) -> None:
        """End the present life at its last record or, if it was cut off, when it last answered, says the next."""
        if self.life is None:
            return
        if not self.over:
            told = following.answered
            heard = self.at if told is None or told == self.answered else told
            self.at = max(self.at, min(heard, following.at))
        self._turn(State.SHUTTING_DOWN, self.at, "")

    def _live(self, life: int, state: State, at: float, answered: float | None) -> None:
        if self.known is None:
            self.known = self.begin = max(at, self.horizon)
        elif self.life is not None:
            self._turn(State.SHUTTING_DOWN, self.at, "")
        self.life, self.over, self.answered = life, False, answered
        self._turn(state, at, "")

    def _turn(self, state: State, at: float, event: str) -> None:
        """Be in a state from a time on."""
        kind = KINDS[state]
        if kind is not self.kind:
            self._close(at)
            if kind in _ILL and self.kind not in _ILL and at >= self.horizon:
                self._count(at)
            self.kind, self.begin, self.cause = kind, at, event
        self.state, self.at = state, at

    def _count(self, at: float) -> None:
        self.days.setdefault(day_of(at), [0.0, 0.0, 0])[2] += 1
        if at >= self.recent:
            self.half_hours.setdefault(int(at // HALF_HOUR), [0.0, 0.0, 0])[2] += 1

    def _close(self, at: float) -> None:
        """End what lasted."""
        if self.kind is None or at <= (begin := max(self.begin, self.horizon)):
            return
        place = 1 if self.kind is Kind.STOPPED else 0
        for number, spent in by_day(begin, at):
            self.days.setdefault(number, [0.0, 0.0, 0])[place] += spent
        for number, spent in by_half_hour(max(begin, self.recent), at):
            self.half_hours.setdefault(number, [0.0, 0.0, 0])[place] += spent
        self.spans.append(Span(begin, at, self.kind, self.cause))

    def past(self) -> Past:
        """Return what became of the account, without what is no longer asked for."""
        if self.made is None:
            first_day, first = day_of(self.horizon), int(self.recent // HALF_HOUR)
            self.days = {day: sums for day, sums in self.days.items() if day >= first_day}
            self.half_hours = {number: sums for number, sums in self.half_hours.items() if number >= first}
            self.made = Past(
                known=self.horizon if self.known is None else max(self.known, self.horizon),
                spans=tuple(self.spans),
                open=None if self.kind is None or self.life is None else Span(self.begin, None, self.kind, self.cause),
                half_hours={number: _tally(sums) for number, sums in self.half_hours.items()},
                days={day: _tally(sums) for day, sums in self.days.items()},
            )
        return self.made


def _tally(sums: Sequence[float]) -> Tally:
    return Tally(sums[0], sums[1], int(sums[2]))


# --- all accounts ----------------------------------------------------------------------------------------------------


@define(eq=False)
class History:
    """What became of all accounts in the last ``DAYS`` days, kept up to date with the journal."""

    complete: bool = field(default=False, init=False)
    """Whether the journal was read to its end; until then everything is told as of an earlier time."""
    read_until: float = field(default=0.0, init=False)
    """The time of the newest record that was read (Unix seconds); 0 before the first."""
    _folds: dict[str, AccountFold] = field(factory=dict, init=False)
    _seq: int | None = field(default=None, init=False)
    """The last record that was taken; None before the first look."""
    _first: int = field(default=1, init=False)
    """The lowest number of a record that is asked for."""
    _row: int = field(default=0, init=False)
    _renamed: int = field(default=0, init=False)

    def read(self, reader: HistoryReader, now: float, seconds: float = float("inf")) -> None:
        """Take what is new, for about so many seconds at most. It reads the file, and is never called twice at once."""
        # Of many writers, the records that are there now need not be all up to the last one: so at one moment.
        with nullcontext() if reader.is_gapless else reader.read_transaction():
            last, renamed = reader.last_seq(), len(reader.former_names())
            replaced = self._seq is not None and reader.is_gapless and last < self._seq
            if self._seq is None or replaced or renamed != self._renamed:
                self._begin(reader, now, renamed)
            horizon, recent = horizons(now)
            for row, life in reader.beginnings(self._row, horizon):  # after last_seq: no record is without its life
                self._fold(life.account, now).lives.append(life)
                self._row = row
            self.complete = self._take(reader, last, now, time.monotonic() + seconds)
        for fold in self._folds.values():
            fold.horizon, fold.recent = horizon, recent
            if self.complete:
                fold.begin_lives()

    def past(self, accounts: Iterable[str] | None = None) -> dict[str, Past]:
        """Return what became of these accounts, or of all; those of which nothing is known are left out."""
        names = self._folds if accounts is None else accounts
        return {name: self._folds[name].past() for name in names if name in self._folds}

    def _begin(self, reader: HistoryReader, now: float, renamed: int) -> None:
        """Begin anew, with the last record of each account before the time that is asked for."""
        self._folds, self._row, self._renamed = {}, 0, renamed
        first = reader.first_since(horizons(now)[0])
        for name, move in reader.last_moves(first).items():
            self._fold(name, now).remember(move)
        # Without any before it, another one with a lower number may still come: its writer has not ended its batch.
        self._seq, self._first = 0, first if self._folds else 1

    def _take(self, reader: HistoryReader, last: int, now: float, deadline: float) -> bool:
        """Take records up to the last one; return whether there was the time for all."""
        for number, move in enumerate(reader.moves_after(self._seq or 0, self._first), 1):
            if reader.is_gapless and move.seq > last:
                break
            self._fold(move.account, now).take(move)
            self._seq, self.read_until = move.seq, move.at
            if number % CHECK_EVERY == 0 and time.monotonic() > deadline:
                return False
        self._seq = last or self._seq
        return True

    def _fold(self, account: str, now: float) -> AccountFold:
        if (fold := self._folds.get(account)) is None:
            horizon, recent = horizons(now)
            fold = self._folds[account] = AccountFold(horizon, recent)
        return fold


def horizons(now: float) -> tuple[float, float]:
    """Return from when on days are asked for, and half hours."""
    return midnight(day_of(now) - DAYS + 1), (now // HALF_HOUR - HALF_HOURS + 1) * HALF_HOUR
