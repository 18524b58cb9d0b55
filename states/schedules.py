"""The schedules of the states, as values: how long each state waits, and for what. All times are seconds.

The defaults are those of the user's guide; ``config.yaml`` can set each one.
"""

from enum import StrEnum
from typing import Any

import attrs
from attrs import field, frozen


class Then(StrEnum):
    """What to do after ``tries`` failures in a row."""

    KEEP_TRYING = "keep_trying"
    PARK = "park"


def _positive(_: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{attribute.name} must be more than 0 s, not {value:g}")


def _not_negative(_: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not 0 <= value < float("inf"):
        raise ValueError(f"{attribute.name} must not be negative, not {value:g}")


def _at_least_one(_: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not 1 <= value < float("inf"):
        raise ValueError(f"{attribute.name} must be at least 1, not {value:g}")


def _fraction(_: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{attribute.name} must be at least 0 and below 1, not {value:g}")


def _durations(_: Any, attribute: "attrs.Attribute[Any]", value: tuple[float, ...]) -> None:
    if not value or not all(0 < seconds < float("inf") for seconds in value):
        raise ValueError(f"{attribute.name} must be a list of at least one duration, each more than 0 s")


@frozen(kw_only=True)
class Backoff:
    """Waits that grow: ``first``, ``first·factor``, … up to ``cap``, each shifted by up to ``± jitter`` of itself.

    ``cap`` is the most that is ever waited: near it, the jitter only shortens.

    After ``tries`` failures in a row one alert is raised; ``then`` says whether to keep trying at the cap.
    """

    first: float = field(default=10.0, validator=_positive)
    """The wait after the first failure."""
    factor: float = field(default=2.0, validator=_at_least_one)
    """How many times longer each wait is than the one before; at least 1."""
    cap: float = field(default=120.0, validator=_positive)
    """The most that is ever waited, jitter included; not below ``first``."""
    jitter: float = field(default=0.2, validator=_fraction)
    """How far a wait is shifted at random, as a part of itself: ``0.2`` is up to 20 % shorter or longer. Below 1. Where
    ``cap`` leaves no room, a wait is drawn from what is below it."""
    tries: int = field(default=5, validator=_at_least_one)
    """After so many failures in a row one alert is raised."""
    then: Then = Then.KEEP_TRYING
    """What follows then: ``keep_trying`` goes on at ``cap``, ``park`` waits until the operator asks for a retry."""

    def __attrs_post_init__(self) -> None:
        if self.cap < self.first:
            raise ValueError(f"cap ({self.cap:g} s) must not be below first ({self.first:g} s)")

    def steady(self, nth: int) -> float:
        """Return the wait after the ``nth`` failure (from 1) without jitter."""
        steady = self.first
        for _ in range(nth - 1):  # a loop, not a power: 2.0 ** 1025 overflows, and this stops at the cap
            if steady >= self.cap or self.factor == 1:
                break
            steady *= self.factor
        return min(steady, self.cap)

    def delay(self, nth: int, draw: float) -> float:
        """Return the wait after the ``nth`` failure (from 1); ``draw`` from [0, 1) determines the jitter."""
        steady = self.steady(nth)
        # Drawn from what the cap leaves of the range: cut at the cap, half of all accounts would wait equally long.
        lowest, highest = steady * (1 - self.jitter), min(self.cap, steady * (1 + self.jitter))
        return min(self.cap, lowest + (highest - lowest) * draw)


@frozen(kw_only=True)
class FileBackoff(Backoff):
    """The waits for a session's file.

    Most locks on it pass by themselves: the first report of a lock after ``alert_after`` seconds raises the alert.
    """

    alert_after: float = field(default=30.0, validator=_not_negative)
    """A file that cannot be written for so long raises one alert; a shorter trouble is only logged."""


@frozen(kw_only=True)
class ServerGiven:
    """The wait that the server demands, plus ``slack``; it is never shorter than the server demands."""

    slack: float = field(default=1.0, validator=_not_negative)
    """How much longer than the server asked for; what the server says is a floor."""

    def delay(self, seconds: float) -> float:
        """Return the wait for a server that demands ``seconds``."""
        return max(0.0, seconds) + self.slack


@frozen(kw_only=True)
class Patience:
    """How long to wait for an answer: the first time, the second time, …; the last value applies from then on."""

    patience: tuple[float, ...] = field(default=(60.0, 75.0, 90.0), validator=_durations)
    """How long the whole attempt may take, from TCP to one answered request: the first time, the second time, and so
    on. The last value holds for all further attempts."""

    def nth(self, nth: int) -> float:
        """Return the patience of the ``nth`` time (from 1)."""
        return self.patience[min(nth, len(self.patience)) - 1]


@frozen(kw_only=True)
class Suspicion(Patience):
    """The patience of probes: the first value is for a probe in ``healthy``, the others for those in ``timeout``."""

    patience: tuple[float, ...] = field(default=(10.0, 20.0), validator=_durations)
    """How long an answer may take: the first value is granted to the probe that ``healthy`` sends, the next ones to the
    probes that ``timeout`` sends. When the last one is over, the link is lost."""


@frozen(kw_only=True)
class Health:
    """The times of ``healthy``.

    A ping is sent every ``probe_every``, an authorised RPC every ``prove_every``; the counters of failures go back to
    zero after ``stable_after``.
    """

    probe_every: float = field(default=20.0, validator=_positive)
    """How often a ping asks whether the link still works."""
    prove_every: float = field(default=60.0, validator=_positive)
    """How often a request that needs the login is sent instead: a ping does not notice a revoked login."""
    stable_after: float = field(default=60.0, validator=_positive)
    """After so long the link counts as stable: failures count from zero again, and a loss is followed by an attempt at
    once."""
    catch_up_within: float = field(default=15.0, validator=_positive)
    """How long updates may take that were missing and were asked for, before a fresh client takes over."""


@frozen(kw_only=True)
class Renewal:
    """When a client that does not get its updates is replaced by a fresh one: ``first``, ``first·factor``, … apart.

    The first is due at once, after the updates were asked for in vain. The connection stays meanwhile.
    """

    first: float = field(default=300.0, validator=_positive)
    """The least time between the first fresh client and the second."""
    factor: float = field(default=4.0, validator=_at_least_one)
    """How many times longer each of these times is than the one before; at least 1."""
    cap: float = field(default=6 * 3600.0, validator=_positive)
    """The longest of these times; not below ``first``."""
    tries: int = field(default=1, validator=_at_least_one)
    """When so many fresh clients have not got the updates either, the operator is told."""

    def __attrs_post_init__(self) -> None:
        if self.cap < self.first:
            raise ValueError(f"cap ({self.cap:g} s) must not be below first ({self.first:g} s)")

    def delay(self, nth: int) -> float:
        """Return the least time between the ``nth`` fresh client (from 1) and the next."""
        return Backoff(first=self.first, factor=self.factor, cap=self.cap).steady(nth)


@frozen(kw_only=True)
class BackoffSchedules:
    """One schedule for each kind of cause; ``Failure.schedule`` names the one that an event uses."""

    network: Backoff = Backoff()
    """After a lost connection, a timeout or a broken protocol."""
    server: Backoff = Backoff()
    """After an error of Telegram's own (``ServerFault``)."""
    database: FileBackoff = FileBackoff(first=5.0, factor=1.0, cap=5.0, jitter=0.0)
    """While the session file is locked or cannot be written."""
    flood: ServerGiven = ServerGiven()
    """After a flood wait that met the connection itself. A flood wait of one kind of request only holds that kind."""
    transport_flood: Backoff = Backoff(first=30.0, cap=900.0)
    """After the transport error −429: too many connections."""
    auth_key: Backoff = Backoff(first=5.0, cap=900.0)
    """After the transport error −404, which says that the key is unknown. Anybody on the path can send these bytes, so
    they are no proof: the account keeps trying, ever more slowly, and after ``tries`` failures the operator is told to
    log in. It is never parked, whatever ``then`` says."""
    unexpected: Backoff = Backoff()
    """After an error that is in no table; ten in a row park the account."""
    updates: Renewal = Renewal()
    """While updates are missing that Telegram counts. They are asked for first; then a fresh client takes over."""


@frozen(kw_only=True)
class ShuttingDown:
    """``grace`` is how long a link may take to close before it is dropped."""

    grace: float = field(default=15.0, validator=_positive)
    """How long the links may take to close before they are dropped."""


@frozen(kw_only=True)
class Policy:
    """The schedules of all states; a field has the name of its state. ``auth_failed`` waits for the operator."""

    connecting: Patience = Patience()
    """The first attempt of a life."""
    healthy: Health = Health()
    """A link that has proven itself."""
    timeout: Suspicion = Suspicion()
    """A link on which something went unanswered."""
    backoff: BackoffSchedules = BackoffSchedules()
    """The waits between attempts, by their cause."""
    reconnecting: Patience = Patience()
    """An attempt after a loss."""
    shutting_down: ShuttingDown = ShuttingDown()
    """The end."""
