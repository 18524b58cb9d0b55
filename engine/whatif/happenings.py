"""What happened to accounts, as other settings would have met it as well, and what it came to.

All times are seconds of one clock that was never set.
"""

from attrs import define, field, frozen

from states import Event, Policy, Snapshot, State


@frozen
class LifeBegan:
    """A life began, or the journal's part of it did, at ``start``, whose times are of the clock that was never set.

    ``event`` is what it began with; None where the journal has only what came later. ``follows`` says that nothing is
    missing between the life before and this one.
    """

    at: float
    policy: Policy
    start: Snapshot
    event: Event | None = None
    follows: bool = False


@frozen
class LifeEnded:
    """A life ended, by a stop or because its engine was gone."""

    at: float


@frozen
class LinkLost:
    """A link failed that had been proven. It was ``since`` then that nothing came through it any more.

    ``silent`` says that only a probe without an answer has shown it, ``at - since`` after it was sent.
    """

    at: float
    since: float
    event: Event
    silent: bool = False


@frozen
class SilenceLasted:
    """A link that had fallen silent did not answer a probe either, by then."""

    at: float


@frozen
class SilenceEnded:
    """A link that had fallen silent answered."""

    at: float


@frozen
class AttemptFailed:
    """An attempt, from its turn to its failure."""

    begun: float
    at: float
    event: Event


@frozen
class AttemptSucceeded:
    """An attempt, from its turn to the proof of its link."""

    begun: float
    at: float
    event: Event


@frozen
class NewsHeard:
    """The account heard that the network was back."""

    at: float


@frozen
class EventGiven:
    """The account was told something that no setting moves: a person asked for a retry, a session has a new key."""

    at: float
    event: Event


Happening = (
    LifeBegan
    | LifeEnded
    | LinkLost
    | SilenceLasted
    | SilenceEnded
    | AttemptFailed
    | AttemptSucceeded
    | NewsHeard
    | EventGiven
)


@define
class Meter:
    """Adds up downtime and attempts. Time in ``auth_failed`` and between two lives does not count."""

    seconds: float = 0.0
    attempts: int = 0
    outages: int = 0
    longest: float = 0.0
    _down: float | None = None

    def note(self, state: State, at: float, since: float | None = None) -> None:
        """Take the state after a decision at ``at``; the link was gone ``since`` then, if that was earlier."""
        if state in (State.BACKOFF, State.TIMEOUT, State.RECONNECTING):
            if self._down is None:
                self._down = at if since is None else min(at, since)
                self.outages += 1
        elif state is not State.CONNECTING:
            self.stop(at)

    def stop(self, at: float) -> None:
        """End the outage, if there is one: the account is back, or its time does not count any more."""
        if self._down is not None:
            length = max(0.0, at - self._down)
            self.seconds += length
            self.longest = max(self.longest, length)
            self._down = None


@define
class AccountPast:
    """The past of one account, oldest first, and what it came to."""

    happenings: list[Happening] = field(factory=list)
    meter: Meter = field(factory=Meter)
    draws: list[float] = field(factory=list)
    """The random numbers behind its waits, in their order."""


@define
class News:
    """The network probe told accounts that their datacenter answers, all of them together."""

    at: float
    accounts: list[str]
