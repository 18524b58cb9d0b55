"""The numbers, as values: how long each state waits for what. All times are seconds.

The defaults are those of the user's guide; ``config.yaml`` can set each one.
"""

from enum import StrEnum
from typing import Any

import attrs
from attrs import field, frozen


class Then(StrEnum):
    """What follows when ``tries`` failures in a row were counted."""

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

    After ``tries`` failures in a row one alert is raised; ``then`` says whether to go on at the cap.
    """

    first: float = field(default=10.0, validator=_positive)
    factor: float = field(default=2.0, validator=_at_least_one)
    cap: float = field(default=120.0, validator=_positive)
    jitter: float = field(default=0.2, validator=_fraction)
    tries: int = field(default=5, validator=_at_least_one)
    then: Then = Then.KEEP_TRYING

    def __attrs_post_init__(self) -> None:
        if self.cap < self.first:
            raise ValueError(f"cap ({self.cap:g} s) must not be below first ({self.first:g} s)")

    def delay(self, nth: int, draw: float) -> float:
        """Return the wait after the ``nth`` failure (from 1); ``draw`` from [0, 1) places it within the jitter."""
        steady = self.first
        for _ in range(nth - 1):  # a loop, not a power: 2.0 ** 1025 overflows, and this stops at the cap
            if steady >= self.cap or self.factor == 1:
                break
            steady *= self.factor
        return min(steady, self.cap) * (1 + self.jitter * (2 * draw - 1))


@frozen(kw_only=True)
class FileBackoff(Backoff):
    """The waits for a session's file.

    A lock on it mostly passes by itself: a person is told with the first report of it after ``alert_after`` seconds.
    """

    alert_after: float = field(default=30.0, validator=_not_negative)


@frozen(kw_only=True)
class ServerGiven:
    """The wait that the server asked for and ``slack`` more; what the server says is a floor."""

    slack: float = field(default=1.0, validator=_not_negative)

    def delay(self, seconds: float) -> float:
        """Return the wait for a server that asked for ``seconds``."""
        return max(0.0, seconds) + self.slack


@frozen(kw_only=True)
class Patience:
    """How long to wait for an answer: the first time, the second time, …; the last one goes on for ever."""

    patience: tuple[float, ...] = field(default=(60.0, 75.0, 90.0), validator=_durations)

    def nth(self, nth: int) -> float:
        """Return the patience of the ``nth`` time (from 1)."""
        return self.patience[min(nth, len(self.patience)) - 1]


@frozen(kw_only=True)
class Suspicion(Patience):
    """The patience of the state ``timeout``: the first is granted to a probe of ``healthy``, the others follow."""

    patience: tuple[float, ...] = field(default=(10.0, 20.0), validator=_durations)


@frozen(kw_only=True)
class Health:
    """The clock of ``healthy``: how often a ping is sent, how often an authorised RPC, and when counters go to zero."""

    probe_every: float = field(default=20.0, validator=_positive)
    prove_every: float = field(default=60.0, validator=_positive)
    stable_after: float = field(default=60.0, validator=_positive)


@frozen(kw_only=True)
class BackoffSchedules:
    """One schedule for each kind of cause; ``Failure.schedule`` names the one that an event uses."""

    network: Backoff = Backoff()
    server: Backoff = Backoff()
    database: FileBackoff = FileBackoff(first=5.0, factor=1.0, cap=5.0, jitter=0.0)
    flood: ServerGiven = ServerGiven()
    transport_flood: Backoff = Backoff(first=30.0, cap=900.0)
    auth_key: Backoff = Backoff(first=5.0, factor=1.0, cap=5.0, jitter=0.0)
    unexpected: Backoff = Backoff()


@frozen(kw_only=True)
class ShuttingDown:
    """``grace``: how long a link may take to close before it is dropped."""

    grace: float = field(default=15.0, validator=_positive)


@frozen(kw_only=True)
class Policy:
    """The schedules of all states; a field has the name of its state. ``auth_failed`` waits for a person."""

    connecting: Patience = Patience()
    healthy: Health = Health()
    timeout: Suspicion = Suspicion()
    backoff: BackoffSchedules = BackoffSchedules()
    reconnecting: Patience = Patience()
    shutting_down: ShuttingDown = ShuttingDown()
