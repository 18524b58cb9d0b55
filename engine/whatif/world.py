"""The world of an account, as its past bounds it: what an attempt would have met at a time at which none was made.

A failed attempt shows that the way was closed then, a proven link that it was open. In between nobody knows: the way
opened again somewhere between the last failure and the first success. So there are two worlds. In the *best* one it
opened right after the last failure, in the *worst* one only when the attempt began that succeeded, or when the account
heard that the network was back. Between two failures it was closed, says either; that nobody can know is part of what
the command says.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import define, field, frozen

from engine.whatif.happenings import (
    AccountPast,
    AttemptFailed,
    AttemptSucceeded,
    Happening,
    LifeBegan,
    LinkLost,
    NewsHeard,
    SilenceEnded,
    SilenceLasted,
)
from states import Event, State
from states.events import Connected, NetworkLost, TimedOut

SAME_MOMENT: Final = 1.0
"""Seconds within which an attempt is taken for the one that was made then, and meets what that one met."""
LATEST: Final = 5.0
"""Seconds by which a busy machine made an attempt later than it was due that is still taken for the same one."""
QUICK_REFUSAL: Final = 0.05
"""Seconds of a failed attempt, and of one that succeeds, where the past has none to learn from."""
MIN_ACCOUNTS: Final = 3
"""The least number of accounts without network that are one outage, as for the outage detector."""
CONNECTED: Final = Connected()
FOREVER: Final = float("inf")
OF_NETWORK: Final = (NetworkLost, TimedOut)


@define
class Closure:
    """A time in which the way of an account was closed. It ended between ``least`` and ``most``."""

    began: float
    loss: LinkLost | None
    """How a proven link failed; None if there was none."""
    least: float
    most: float = FOREVER
    failures: list[AttemptFailed] = field(factory=list)
    success: AttemptSucceeded | None = None
    cuts: list[LinkLost] = field(factory=list)
    """What came through a suspected link after all: it was cut."""
    deaf: float = float("-inf")
    """Until when a link that had fallen silent did not answer."""
    answered: float | None = None
    """When it answered."""

    @property
    def of_network(self) -> bool:
        """Whether the network closed the way."""
        last = self.failures[-1].event if self.failures else self.loss and self.loss.event
        return isinstance(last, OF_NETWORK)

    @property
    def silent(self) -> bool:
        """Whether nothing was refused, as far as is known: what is sent just gets no answer."""
        waited = self.success is not None and self.most > self.success.begun
        return waited or (self.loss is not None and isinstance(self.loss.event, TimedOut))

    def same_moment(self, at: float) -> AttemptFailed | AttemptSucceeded | None:
        """Return the attempt that was made at ``at``, or nearly then."""
        nearest = min(self._made, key=lambda attempt: abs(attempt.begun - at), default=None)
        return nearest if nearest is not None and abs(nearest.begun - at) <= SAME_MOMENT else None

    def made_late(self, at: float) -> AttemptFailed | AttemptSucceeded | None:
        """Return the attempt that was due at ``at`` with the settings of then, and made a while later."""
        return next((attempt for attempt in self._made if at < attempt.begun <= at + LATEST), None)

    @property
    def _made(self) -> Sequence[AttemptFailed | AttemptSucceeded]:
        return self.failures if self.success is None else (*self.failures, self.success)

    def ended(self, *, worst: bool) -> float:
        """Return when the way opened again, in one of the two worlds."""
        return self.most if worst else self.least


@frozen
class Meeting:
    """What an attempt meets, and after how many seconds; ``event`` is ``Connected`` if it succeeds."""

    event: Event
    seconds: float


@define
class AccountWorld:
    """The closures of one account, oldest first, and how long its attempts take when the way is open."""

    closures: list[Closure]
    handshake: float
    _begins: list[float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._begins = [closure.began for closure in self.closures]

    def closure_at(self, at: float) -> Closure | None:
        """Return the last closure that began before ``at``, or then."""
        index = bisect_right(self._begins, at) - 1
        return self.closures[index] if index >= 0 else None

    def attempt(self, at: float, patience: float, *, worst: bool, then: bool = False) -> Meeting:
        """Return what an attempt meets that begins at ``at`` and may take ``patience`` seconds.

        ``then`` says that it is one of those that were made: how late the machine was with it is part of what was.
        """
        closure = self.closure_at(at)
        if closure is None:
            return self._open(at, self.handshake)
        same = closure.same_moment(at) or (closure.made_late(at) if then else None)
        if same is not None:
            seconds = same.at - (min(at, same.begun) if then else same.begun)
            return self._open(at, seconds, same.event) if same is closure.success else Meeting(same.event, seconds)
        end = closure.ended(worst=worst)
        if at >= end:
            return self._open(at, self.handshake)
        return self._closed(closure, at, patience, end)

    def answer(self, at: float, patience: float, *, worst: bool) -> float | None:
        """Return after how many seconds a suspected link answers a probe; None if it does not, within ``patience``."""
        closure = self.closure_at(at)
        if closure is None:
            return 0.0
        if closure.answered is not None:
            answers = closure.answered if worst else max(closure.least, closure.deaf)
        elif worst or closure.cuts:
            return None
        else:
            answers = max(closure.least, closure.deaf)
            if answers > at + patience - SAME_MOMENT:
                return None
        return max(0.0, answers - at) if answers < at + patience else None

    def is_open(self, at: float, *, worst: bool) -> bool:
        """Return whether an attempt gets through that begins now."""
        closure = self.closure_at(at)
        if closure is None:
            return True
        return at >= closure.ended(worst=worst) and not isinstance(closure.same_moment(at), AttemptFailed)

    def _open(self, at: float, seconds: float, event: Event = CONNECTED) -> Meeting:
        following = bisect_right(self._begins, at)
        if following < len(self._begins) and self._begins[following] < at + seconds:
            return Meeting(NetworkLost(), max(0.0, self._begins[following] - at))
        return Meeting(event, seconds)

    def _closed(self, closure: Closure, at: float, patience: float, end: float) -> Meeting:
        """Return what an attempt meets while the way is closed: what the nearest one met."""
        like = _nearest(closure.failures, at)
        if like is not None and not isinstance(like.event, TimedOut):
            return Meeting(like.event, like.at - like.begun)
        if like is None and not closure.silent:
            return Meeting(NetworkLost(), QUICK_REFUSAL)
        if at + patience > end:  # the way opens while it waits
            return Meeting(CONNECTED, end - at + self.handshake)
        return Meeting(TimedOut(what="connect"), patience)


def _nearest(failures: Sequence[AttemptFailed], at: float) -> AttemptFailed | None:
    return min(failures, key=lambda failed: abs(failed.begun - at), default=None)


def closures_of(happenings: Iterable[Happening], handshake: float) -> list[Closure]:
    """Return the times in which the way of an account was closed, oldest first.

    ``handshake`` is how long an attempt takes when the way is open: one that took longer had to wait until it was.
    """
    found: list[Closure] = []
    present: Closure | None = None
    for each in happenings:
        if isinstance(each, LinkLost):
            if present is None:
                present = Closure(each.since, each, least=each.at)
                found.append(present)
            else:
                present.cuts.append(each)
                present.least = max(present.least, each.at)
        elif isinstance(each, AttemptFailed):
            if present is None:
                present = Closure(each.begun, None, least=each.begun)
                found.append(present)
            present.failures.append(each)
            present.least, present.most = max(present.least, _shown(each)), FOREVER
        elif isinstance(each, NewsHeard) and present is not None:
            present.most = min(present.most, max(present.least, each.at))
        elif isinstance(each, AttemptSucceeded):
            if present is not None:
                present.success = each
                opened = each.begun
                if each.at - each.begun > handshake + SAME_MOMENT:
                    opened = each.at - handshake
                present.most = min(present.most, max(present.least, opened))
            present = None
        elif isinstance(each, LifeBegan) and each.start.state is State.HEALTHY:  # it was lost sight of meanwhile
            if present is not None:
                present.most = min(present.most, max(present.least, each.at))
            present = None
        elif isinstance(each, SilenceLasted):
            if present is not None:
                present.deaf = each.at
        elif isinstance(each, SilenceEnded):
            if present is not None:
                present.answered = each.at
                present.most = min(present.most, max(present.least, each.at))
            present = None
    return found


def worlds_of(pasts: Mapping[str, AccountPast], routes: Mapping[str, object]) -> dict[str, AccountWorld]:
    """Return the world of each account. ``routes`` says by which way each reaches the datacenter; None is direct."""
    typical = _median([
        success.at - success.begun
        for past in pasts.values()
        for success in past.happenings
        if isinstance(success, AttemptSucceeded)
    ])  # fmt: skip
    closures = {name: closures_of(past.happenings, typical) for name, past in pasts.items()}
    _share_failures(closures, routes)
    return {name: AccountWorld(found, typical) for name, found in closures.items()}


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else QUICK_REFUSAL


def _share_failures(closures: Mapping[str, list[Closure]], routes: Mapping[str, object]) -> None:
    """Let all accounts of an outage of a whole route know of each other's failures, which end none of its closures.

    By the outage detector's own rule: at least so many accounts, and no fewer than are still up. Once somebody got
    through, a later failure does not speak for those who have made no attempt since.
    """
    marks: dict[object, list[tuple[float, int, Closure]]] = {}
    fleet: dict[object, int] = {}
    for name in {**closures, **routes}:
        route = routes.get(name)
        fleet[route] = fleet.get(route, 0) + 1
        for closure in closures.get(name, ()):
            if closure.of_network:
                back = closure.answered if closure.success is None else closure.success.at
                marks.setdefault(route, []).extend(
                    [(closure.began, 0, closure), (FOREVER if back is None else back, 2, closure)]
                    + [(_shown(failed), 1, closure) for failed in closure.failures]
                )
    for route, found in marks.items():
        _sweep(sorted(found, key=lambda mark: mark[:2]), fleet[route])


def _sweep(marks: Iterable[tuple[float, int, Closure]], accounts: int) -> None:
    """Go through beginnings (0), failures (1) and ends (2) of the closures of one route, in their order."""
    present: dict[int, Closure] = {}
    back = float("-inf")
    for at, kind, closure in marks:
        if kind == 0:
            present[id(closure)] = closure
        elif kind == 2:
            present.pop(id(closure), None)
            back = at
        elif len(present) >= max(MIN_ACCOUNTS, accounts - len(present)):
            for other in present.values():
                if back < other.least < at <= other.most:
                    other.least = at


def _shown(failed: AttemptFailed) -> float:
    """Return until when a failed attempt has shown that the way was closed."""
    # One in silence has shown that it was when it began, and little of what came later.
    return failed.begun if isinstance(failed.event, TimedOut) else failed.at
