"""Whether an account has all updates that the datacenter counts. Pure: numbers in, what is behind out.

Each box (the account's own, that of secret chats, each channel) has a number, its pts, which grows with each update.
The datacenter says its numbers; the client knows how far it has come. Only these are compared, never how long nothing
came: a quiet night accuses nobody. Nor does a race: a box is behind only if it was so when the datacenter was asked,
has not reached that very number a while later, and has not come any nearer to it either.

    the client's number      when the datacenter was asked    a while later
    -----------------------  -------------------------------  ------------------------------------------
    the same, or higher      nothing                          nothing
    lower                    is seen                          reached, or nearer: nothing; as before: behind
    higher, already before   is seen                          reached: nothing; as before: ahead
    the request was sent

A client that is ahead has a wrong number, and takes updates that come for old ones.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from attrs import define, evolve, field, frozen

ACCOUNT: Final = 0
"""The box of private chats and small groups; that of a channel has the channel's number."""
SECRET: Final = -1
"""The box of secret chats, and of what bots get."""
MAX_PEERS: Final = 100
"""Channels in one request for their numbers."""
MAX_NAMED: Final = 3
"""Boxes that are named in a sentence."""
MAX_LISTED: Final = 20


@frozen
class Lag:
    """A box whose number is not the datacenter's."""

    box: int
    due: int
    """The datacenter's number."""
    local: int
    """The client's, when it was looked at last."""
    since: float
    """When it was first seen, in Unix seconds."""

    @property
    def is_ahead(self) -> bool:
        """Whether the client's number is too high."""
        return self.local > self.due

    def __str__(self) -> str:
        return f"{name_of(self.box)}: {abs(self.due - self.local):,}{' ahead' if self.is_ahead else ''}"


def name_of(box: int) -> str:
    """Return what a box is called in a sentence."""
    return {ACCOUNT: "private chats and groups", SECRET: "secret chats"}.get(box) or f"channel {box}"


def describe(lags: Iterable[Lag]) -> str:
    """Return which boxes are behind, and by how much, for a sentence."""
    worst = sorted(lags, key=lambda lag: (-abs(lag.due - lag.local), lag.box))
    parts = [
        f"{name_of(lag.box)} ({abs(lag.due - lag.local):,} {'too high' if lag.is_ahead else 'missing'})"
        for lag in worst[:MAX_NAMED]
    ]
    more = len(worst) - len(parts)
    return ", ".join([*parts, *([f"{more} more"] if more else [])])


def listed(lags: Iterable[Lag]) -> tuple[str, ...]:
    """Return each box that is behind with how much it lacks, the first ``MAX_LISTED`` of them."""
    return tuple(str(lag) for lag in sorted(lags, key=lambda lag: lag.box)[:MAX_LISTED])


@define
class UpdateWatch:
    """The boxes of one client that are behind what the datacenter counts, or ahead of it."""

    lags: dict[int, Lag] = field(factory=dict)
    _agreed: dict[int, int] = field(factory=dict)
    """The last number of each box on which both sides agreed."""

    def compare(
        self, server: Mapping[int, int], before: Mapping[int, int], local: Mapping[int, int], now: float
    ) -> None:
        """Take the datacenter's numbers; ``before`` were the client's when it asked for them, ``local`` are its now.

        Boxes of which the client has no number are left out: there is nothing to compare.
        """
        for box, due in server.items():
            mine = local.get(box)
            if mine is None:
                self.lags.pop(box, None)
            elif mine < due:
                known = self.lags.get(box)
                if known is None or known.is_ahead or mine >= known.due:
                    self.lags[box] = Lag(box, due, mine, now)
            elif mine > due and min(mine, before.get(box, due)) > due:
                known = self.lags.get(box)
                self.lags[box] = Lag(box, due, mine, known.since if known is not None and known.is_ahead else now)
            else:
                self.lags.pop(box, None)
                if mine == due:
                    self._agreed[box] = due

    def look(self, local: Mapping[int, int], excused: Collection[int] = ()) -> list[Lag]:
        """Return the boxes that have come no nearer since they were looked at last; forget those that are there.

        Boxes that are ``excused`` are kept, and not returned.
        """
        found = []
        for box, lag in list(self.lags.items()):
            mine = local.get(box)
            there = mine is None or (mine <= lag.due if lag.is_ahead else mine >= lag.due)
            if there or mine is None:
                del self.lags[box]
                continue
            if mine == lag.local and box not in excused:
                found.append(lag)
            self.lags[box] = evolve(lag, local=mine)
        return found

    def has_reached(self, local: Mapping[int, int]) -> bool:
        """Return whether no box is behind or ahead any more, and forget them if so."""
        for lag in self.lags.values():
            mine = local.get(lag.box)
            if mine is not None and (mine > lag.due if lag.is_ahead else mine < lag.due):
                return False
        self.lags.clear()
        return True

    def set_back(self, lag: Lag) -> tuple[int, bool]:
        """Return from which number a box that is ahead goes on, and whether nothing is left out by that.

        From then on it is behind, if it is anything.
        """
        agreed = self._agreed.get(lag.box)
        number, whole = (lag.due, False) if agreed is None else (min(agreed, lag.due), True)
        self.lags[lag.box] = evolve(lag, local=number)
        return number, whole


@define
class ChannelRounds:
    """Which channels are asked about in the next request: at most ``limit``, and each of them in its turn.

    Half of a request is for those that are suspect and those in which something happened last, the other half for those
    that were not asked about for longest. A refused request is asked again in halves, one at a time, until the channel
    is found that is to blame.
    """

    limit: int = MAX_PEERS
    _numbers: dict[int, int] = field(factory=dict)
    _active: dict[int, float] = field(factory=dict)
    """When something happened in each channel last."""
    _asked: dict[int, float] = field(factory=dict)
    _halves: list[tuple[int, ...]] = field(factory=list)
    _refused: set[int] = field(factory=set)

    def choose(self, numbers: Mapping[int, int | None], now: float, suspects: Collection[int] = ()) -> tuple[int, ...]:
        """Return the channels to ask about, of those with these numbers of the client's; None is one without.

        ``suspects`` are asked about before those in which something happened last.
        """
        self._take(numbers, now)
        while self._halves:
            half = tuple(channel for channel in self._halves.pop(0) if channel in numbers)
            if half:
                return half
        known = [channel for channel in numbers if channel not in self._refused]
        if len(known) <= self.limit:
            return self._note(sorted(known, key=self._last_active, reverse=True), now)
        longest = sorted(known, key=lambda channel: (self._asked.get(channel, -1.0), channel))
        active = sorted(known, key=self._last_active, reverse=True)
        first = [*dict.fromkeys([*(each for each in longest if each in suspects), *active])][: self.limit // 2]
        return self._note([*dict.fromkeys([*first, *longest])][: self.limit], now)

    def refuse(self, channels: tuple[int, ...]) -> int | None:
        """Note that a request about these was refused; return the channel that is to blame, once that is known."""
        if len(channels) == 1:
            self._refused.add(channels[0])
            return channels[0]
        middle = len(channels) // 2
        self._halves.extend((channels[:middle], channels[middle:]))
        return None

    def _take(self, numbers: Mapping[int, int | None], now: float) -> None:
        """Note in which channels something has happened, and forget those that are gone."""
        for channel, number in numbers.items():
            if number is not None and self._numbers.get(channel) != number:
                self._active[channel], self._numbers[channel] = now, number
        for gone in self._numbers.keys() - numbers.keys():
            del self._numbers[gone]
            self._active.pop(gone, None)
        for gone in self._asked.keys() - numbers.keys():
            del self._asked[gone]
        self._refused &= numbers.keys()

    def _last_active(self, channel: int) -> tuple[float, int]:
        return self._active.get(channel, -1.0), channel

    def _note(self, chosen: list[int], now: float) -> tuple[int, ...]:
        for channel in chosen:
            self._asked[channel] = now
        return tuple(chosen)
