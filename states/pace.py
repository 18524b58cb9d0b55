"""How fast work may go: how many jobs at once, how many per period, at which hours. Telegram limits hasty accounts.

These are values of the config, with pure functions of them. All times are seconds.
"""

from datetime import datetime, timedelta
from typing import Any, Final

import attrs
from attrs import field, frozen

from states.jobs import RETRY
from states.schedules import Backoff

_MAX_AT_ONCE: Final = 10_000
MAX_ENDLESS: Final = 200
"""Jobs that never end, such as ``follow``, with one account."""
_DAY_MINUTES: Final = 24 * 60


def _count(_: Any, attribute: "attrs.Attribute[Any]", value: int | None) -> None:
    if value is not None and not 1 <= value <= _MAX_AT_ONCE:
        raise ValueError(f"{attribute.name} must be from 1 to {_MAX_AT_ONCE}")


def _above_zero(_: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{attribute.name} must be more than 0 s")


def _jitter(_: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} must be from 0 to 1")


@frozen(kw_only=True)
class Budget:
    """At most ``at_most`` jobs may begin in any ``per`` seconds, for each account and kind.

    A job that begins takes one of these places, which is free again after ``per`` seconds and a random extra of up to
    ``jitter`` of them, so that the jobs show no rhythm.
    """

    at_most: int = field(validator=_count)
    """How many jobs of the kind may begin with one account in ``per``."""
    per: float = field(validator=_above_zero)
    """The time that the count is for."""
    jitter: float = field(default=0.1, validator=_jitter)
    """How much later a place may become free again, at random, as a part of ``per``, so that no rhythm shows."""

    def taken_until(self, now: float, draw: float) -> float:
        """Return when a place that is taken ``now`` is free again; ``draw`` from [0, 1) determines the jitter."""
        return now + self.per * (1 + self.jitter * draw)


@frozen
class Hours:
    """The hours of a day in which jobs may begin, as minutes since midnight; they may extend past midnight."""

    opens: int
    closes: int

    def opening(self, at: datetime) -> datetime | None:
        """Return the next opening after ``at`` (a local time); None if ``at`` is within the hours."""
        minute = at.hour * 60 + at.minute
        if (minute - self.opens) % _DAY_MINUTES < (self.closes - self.opens) % _DAY_MINUTES:
            return None
        opening = at.replace(hour=self.opens // 60, minute=self.opens % 60, second=0, microsecond=0)
        return opening if opening > at else opening + timedelta(days=1)

    def __str__(self) -> str:
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (self.opens, self.closes))


@frozen(kw_only=True)
class KindPolicy:
    """How the jobs of one kind may run."""

    at_once: int | None = field(default=None, validator=_count)
    """How many jobs of the kind may run at once in the whole fleet. Left out, only the accounts' limits hold."""
    per_account: int = field(default=1, validator=_count)
    """How many jobs of the kind may run at once with one account."""
    budget: Budget | None = None
    """How many jobs of the kind may begin in a while, for each account. Left out, any number."""
    hours: Hours | None = None
    """The hours of the day, local time, in which jobs of the kind may begin, such as ``"09:00-18:00"``. Hours may go
    over midnight. Left out, all day."""
    patience: float = field(default=600.0, validator=_above_zero)
    """How long a job may go without a checkpoint, a report of its progress, or its end; after that the attempt has
    failed."""


@frozen(kw_only=True)
class WorkPolicy:
    """How all work may run: at most ``per_account`` jobs with one account, and each kind by its own rules."""

    per_account: int = field(default=4, validator=_count)
    """How many jobs, of all kinds together, may run at once with one account."""
    retry: Backoff = RETRY
    """The waits after a job's own failures. After ``tries`` attempts the job is ``failed`` until it is retried. A lost
    connection is not a failure of the job."""
    kinds: dict[str, KindPolicy] = field(factory=dict)
    """The limits of single kinds of jobs, by the kind's name."""

    def of(self, kind: str) -> KindPolicy:
        """Return the rules of a kind."""
        return self.kinds.get(kind) or _DEFAULTS.get(kind, _DEFAULT)


_DEFAULT: Final = KindPolicy()
_DEFAULTS: Final = {"follow": KindPolicy(per_account=MAX_ENDLESS)}
"""Jobs that never end wait for updates nearly all the time."""
