"""The outage detector: tells from the decisions of all accounts whether the network itself is down.

One account that loses its link has trouble of its own. When many accounts lose theirs one after the other, with no sign
of life from any account in between, the network is down. Then one account at a time tries for all of them (the canary),
and the first that connects again ends the waits of the others.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import structlog
from attrs import define, field

from states import Event, Record, Snapshot, State, Step
from states.events import AuthKeyUnknown, ClockJumped, Connected, NetworkLost, NetworkRestored, ProbeAnswered, TimedOut

MIN_ACCOUNTS = 3
"""The least number of accounts that must lose the network together."""

QUIET_SECONDS = 600.0
"""Seconds for which a report that equals the last one is not repeated."""

LOSS_EVENTS = frozenset({NetworkLost.__name__, TimedOut.__name__, AuthKeyUnknown.__name__})
"""Losses that the network may have caused. A stranger on the path who says that keys are unknown is one, too: many
accounts that hear it together have one trouble, which is not that of their keys."""
ANSWER_EVENTS = frozenset({Connected.__name__, ProbeAnswered.__name__})
WITHOUT_LINK = (State.CONNECTING, State.RECONNECTING, State.BACKOFF)
NOT_IN_PLAY = (State.AUTH_FAILED, State.SHUTTING_DOWN)

log = structlog.get_logger("holdfast.fleet")


def _is_loss(record: Record) -> bool:
    """Return whether a decision means that an account lost its link, or an attempt, because of the network."""
    moved = record.target is not record.source
    return moved and record.event in LOSS_EVENTS and record.target in (State.BACKOFF, State.RECONNECTING)


def _lacks_network(snapshot: Snapshot) -> bool:
    """Return whether an account is without a link because of the network."""
    return snapshot.state in WITHOUT_LINK and snapshot.cause is not None and snapshot.cause.event in LOSS_EVENTS


class OutageLimiter(Protocol):
    """The connect limiter, as the detector sees it."""

    @property
    def at_once(self) -> int:
        """How many accounts may connect at once."""

    def one_by_one(self) -> None:
        """From now on let one account connect at a time."""

    def all_go(self) -> None:
        """Go back to the limit and the stagger."""


@define(eq=False)
class OutageDetector:
    """An observer of all accounts. ``notify`` puts an event into the mailboxes of the accounts that it names.

    An outage is suspected when at least ``MIN_ACCOUNTS`` accounts, and no fewer than are still healthy, have lost the
    network since the last sign of life of any account. Any sign of life ends the suspicion. If that account came
    *back*, the accounts that lost the network meanwhile are notified, so that their waits end. Each is notified once,
    and again only after it has connected itself: an account with trouble of its own keeps to its schedule, whatever the
    others do.
    """

    limiter: OutageLimiter
    notify: Callable[[Iterable[str], Event], None]
    logs: bool = True
    """Whether it says in the log what it suspects."""
    suspected: bool = field(default=False, init=False)
    _in_play: set[str] = field(factory=set, init=False)
    _healthy: set[str] = field(factory=set, init=False)
    _lost: dict[str, State] = field(factory=dict, init=False)
    """Accounts without network, and the state in which they wait for it."""
    _together: dict[str, None] = field(factory=dict, init=False)
    """Accounts that lost the network since the last sign of life, in this order."""
    _notified: set[str] = field(factory=set, init=False)
    """Accounts that were notified that the network is back, and have not connected since."""
    _since: float = field(default=0.0, init=False)
    _last_report: tuple[int, int] = field(default=(0, 0), init=False)
    """The last report: how many accounts had lost the network, of how many."""
    _last_report_at: float = field(default=float("-inf"), init=False)
    _reporting: bool = field(default=False, init=False)

    def observe(self, account: str, step: Step) -> None:
        """Take a decision of an account into account."""
        snapshot, record = step.snapshot, step.record
        self._sort(account, snapshot)
        if _is_loss(record) and account in self._in_play:
            self._lost[account] = snapshot.state
            self._together[account] = None
            if not self.suspected and len(self._together) >= max(MIN_ACCOUNTS, len(self._healthy)):
                self._begin(record.at)
        elif snapshot.state is State.HEALTHY and record.event in ANSWER_EVENTS and snapshot.last_success == record.at:
            self._sign_of_life(account, record)

    @property
    def listens(self) -> bool:
        """Whether the next sign of life of any account changes something."""
        return self.suspected or bool(self._together)

    def forget(self, account: str) -> None:
        """Forget an account that the fleet has no more."""
        for group in (self._in_play, self._healthy, self._notified):
            group.discard(account)
        self._together.pop(account, None)
        self._lost.pop(account, None)

    def clock_jumped(self, event: ClockJumped) -> None:
        """Move what is remembered with a clock that was set."""
        self._since += event.shift
        self._last_report_at += event.shift

    def datacenter_answers(self, accounts: Iterable[str]) -> None:
        """End the waits of these accounts: their datacenter answers again."""
        if self.suspected:
            self.limiter.one_by_one()  # the next canary goes at once
        self.notify(accounts, NetworkRestored())

    def _sort(self, account: str, snapshot: Snapshot) -> None:
        """Update the sets of accounts that are in play, healthy, and without network."""
        if snapshot.state in NOT_IN_PLAY or snapshot.parked:
            self.forget(account)
            return
        self._in_play.add(account)
        if snapshot.state is State.HEALTHY:
            self._healthy.add(account)
            self._notified.discard(account)
        else:
            self._healthy.discard(account)
        if account in self._lost:
            if _lacks_network(snapshot):
                self._lost[account] = snapshot.state
            else:
                del self._lost[account]
                self._together.pop(account, None)

    def _begin(self, now: float) -> None:
        self.suspected, self._since = True, now
        lost, accounts = len(self._together), len(self._in_play)
        news = (lost, accounts) != self._last_report or now - self._last_report_at > QUIET_SECONDS
        self._reporting = self.logs and news
        if self._reporting:
            self._last_report, self._last_report_at = (lost, accounts), now
            log.warning("outage_suspected", lost=lost, accounts=accounts)
        self.limiter.one_by_one()

    def _sign_of_life(self, account: str, record: Record) -> None:
        if not self.suspected:
            self._together.clear()
            return
        together, self._together, self.suspected = self._together, {}, False
        came_back = record.source is not State.HEALTHY
        if self._reporting:
            go_on = {"waiting": len(self._lost), "at_once": self.limiter.at_once}
            if came_back:
                log.info("outage_over", took=max(0.0, record.at - self._since), **go_on)
            else:
                log.info("outage_ruled_out", account=account, **go_on)
        self.limiter.all_go()
        if came_back:
            news = (name for name in together if name not in self._notified)  # in the order in which they were lost
            waiting = [name for name in news if self._lost[name] is State.BACKOFF]
            self._notified.update(waiting)
            self.notify(waiting, NetworkRestored())
