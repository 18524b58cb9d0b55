"""Is it the network? What the decisions of all accounts say together, and what the fleet does about it.

One account that loses its link has a trouble of its own. Many that lose theirs one after the other, while nobody shows
a sign of life in between, have lost the network. Then one at a time tries for all (the canary), and the first that
comes back ends the waiting of the others.
"""

from collections.abc import Callable, Iterable

import structlog
from attrs import define, field

from engine.fleet.connect_limiter import ConnectLimiter
from states import Event, Record, Snapshot, State, Step
from states.events import Connected, NetworkLost, NetworkRestored, ProbeAnswered, TimedOut

MIN_ACCOUNTS = 3
"""So many accounts must lose the network together, and no fewer than are healthy still."""

QUIET_SECONDS = 600.0
"""A report that equals the last one is not repeated for so long."""

LOSS = frozenset({NetworkLost.__name__, TimedOut.__name__})
ANSWER = frozenset({Connected.__name__, ProbeAnswered.__name__})
WITHOUT_LINK = (State.CONNECTING, State.RECONNECTING, State.BACKOFF)
OUT_OF_PLAY = (State.AUTH_FAILED, State.SHUTTING_DOWN)

log = structlog.get_logger("holdfast.fleet")


def _is_loss(record: Record) -> bool:
    """Say whether an account has just lost its link, or an attempt, to the network."""
    moved = record.target is not record.source
    return moved and record.event in LOSS and record.target in (State.BACKOFF, State.RECONNECTING)


def _lacks_network(snapshot: Snapshot) -> bool:
    """Say whether the network's last refusal is still why the account has no link."""
    return snapshot.state in WITHOUT_LINK and snapshot.cause is not None and snapshot.cause.event in LOSS


@define(eq=False)
class OutageDetector:
    """An observer of all accounts. ``tell`` puts an event into the mailboxes of the accounts named.

    The network is suspected when at least ``MIN_ACCOUNTS`` accounts, and as many as are healthy still, have lost it
    since anybody's last sign of life. Any sign of life ends that. If it is an account that came *back*, those that lost
    the network meanwhile are told, so that their waits end; each is told once and then not again before it got through
    itself, so an account whose trouble is its own keeps to its schedule whatever the others do.
    """

    turns: ConnectLimiter
    tell: Callable[[Iterable[str], Event], None]
    suspected: bool = field(default=False, init=False)
    _in_play: set[str] = field(factory=set, init=False)
    _healthy: set[str] = field(factory=set, init=False)
    _lost: dict[str, State] = field(factory=dict, init=False)
    """Accounts that lack the network, and the state in which they wait for it."""
    _together: set[str] = field(factory=set, init=False)
    """Those that lost it since the last sign of life."""
    _told: set[str] = field(factory=set, init=False)
    """Those that were told it is back, and did not get through since."""
    _since: float = field(default=0.0, init=False)
    _said: tuple[int, int] = field(default=(0, 0), init=False)
    """The last report: how many accounts had lost the network, of how many."""
    _said_at: float = field(default=float("-inf"), init=False)
    _reporting: bool = field(default=False, init=False)

    def observe(self, account: str, step: Step) -> None:
        """Look at a decision."""
        snapshot, record = step.snapshot, step.record
        self._sort(account, snapshot)
        if _is_loss(record) and account in self._in_play:
            self._lost[account] = snapshot.state
            self._together.add(account)
            if not self.suspected and len(self._together) >= max(MIN_ACCOUNTS, len(self._healthy)):
                self._begin(record.at)
        elif snapshot.state is State.HEALTHY and record.event in ANSWER and snapshot.last_success == record.at:
            self._sign_of_life(account, record)

    def seen(self, accounts: Iterable[str]) -> None:
        """Hear that the datacenter of these accounts answers again: they need not wait any more."""
        if self.suspected:
            self.turns.one_by_one()  # the next canary goes at once
        self.tell(accounts, NetworkRestored())

    def _sort(self, account: str, snapshot: Snapshot) -> None:
        """Keep the sets: who is in play, healthy, without network."""
        if snapshot.state in OUT_OF_PLAY or snapshot.parked:
            for group in (self._in_play, self._healthy, self._together, self._told):
                group.discard(account)
            self._lost.pop(account, None)
            return
        self._in_play.add(account)
        if snapshot.state is State.HEALTHY:
            self._healthy.add(account)
            self._told.discard(account)
        else:
            self._healthy.discard(account)
        if account in self._lost:
            if _lacks_network(snapshot):
                self._lost[account] = snapshot.state
            else:
                del self._lost[account]
                self._together.discard(account)

    def _begin(self, now: float) -> None:
        self.suspected, self._since = True, now
        lost, accounts = len(self._together), len(self._in_play)
        self._reporting = (lost, accounts) != self._said or now - self._said_at > QUIET_SECONDS
        if self._reporting:
            self._said, self._said_at = (lost, accounts), now
            log.warning("outage_suspected", lost=lost, accounts=accounts)
        self.turns.one_by_one()

    def _sign_of_life(self, account: str, record: Record) -> None:
        if not self.suspected:
            self._together.clear()
            return
        together, self._together, self.suspected = self._together, set(), False
        came_back = record.source is not State.HEALTHY
        if self._reporting:
            go_on = {"waiting": len(self._lost), "at_once": self.turns.at_once}
            if came_back:
                log.info("outage_over", took=max(0.0, record.at - self._since), **go_on)
            else:
                log.info("outage_ruled_out", account=account, **go_on)
        self.turns.all_go()
        if came_back:
            waiting = [name for name in together - self._told if self._lost[name] is State.BACKOFF]
            self._told.update(waiting)
            self.tell(waiting, NetworkRestored())
