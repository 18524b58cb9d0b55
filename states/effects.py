"""The effects of a step, as frozen values. The runner performs them in order and decides nothing.

The docstrings of effects are printed in the diagrams.
"""

from typing import ClassVar

from attrs import frozen

from states.events import Elapsed, OfVisit, ProbeDue, Stable
from states.snapshot import Action, Hold


@frozen(kw_only=True)
class Effect:
    """Base of all effects."""


@frozen(kw_only=True)
class AskTurn(Effect):
    """Ask the fleet's limiter for a turn to connect; ``TurnGranted`` of this ``generation`` answers."""

    generation: int


@frozen(kw_only=True)
class Open(Effect):
    """Open link number ``link`` with a fresh client, all of it within ``patience`` seconds.

    Exactly one of ``Connected`` and an error answers. ``holds`` are the kinds of request that the client must not send
    yet: a fresh one knows of no flood wait.
    """

    link: int
    attempt: int
    patience: float
    holds: tuple[Hold, ...] = ()


@frozen(kw_only=True)
class Probe(Effect):
    """Ask the link for a sign of life within ``patience`` seconds; ``proof`` asks for an authorised RPC.

    ``ProbeAnswered`` or an error answers. A new probe takes the place of one that is still out.
    """

    link: int
    proof: bool
    patience: float


@frozen(kw_only=True)
class FetchUpdates(Effect):
    """Ask for the updates that are missing.

    ``UpdatesConfirmed`` or ``UpdatesStalled`` answers within ``patience`` seconds, unless the link is closed before.
    """

    link: int
    patience: float


@frozen(kw_only=True)
class Close(Effect):
    """Close the link, if any, within ``patience`` seconds; ``Closed`` of this ``generation`` answers always."""

    generation: int
    patience: float


@frozen(kw_only=True)
class Release(Effect):
    """Give the session's file up once the link is closed, so that a person can log in with it elsewhere."""


@frozen(kw_only=True)
class HoldWork(Effect):
    """Let no work use the connection."""


@frozen(kw_only=True)
class ReleaseWork(Effect):
    """Let work use the connection."""


@frozen(kw_only=True)
class HoldRequests(Effect):
    """Hold requests of one kind until a wall-clock time (Unix seconds)."""

    request: str
    until: float


@frozen(kw_only=True)
class ReleaseRequests(Effect):
    """Hold requests of one kind no longer."""

    request: str


@frozen(kw_only=True)
class HoldDatabase(Effect):
    """Hold what needs the session's file, and try it again and again, ``delay`` seconds apart at the most."""

    delay: float


@frozen(kw_only=True)
class Alert(Effect):
    """Base of the alerts to the operator: what happened, and what to do about it."""

    kind: ClassVar[str]
    detail: str
    action: Action | None


@frozen(kw_only=True)
class AlertExhausted(Alert):
    """The schedule's tries are used up; the account keeps trying."""

    kind = "exhausted"


@frozen(kw_only=True)
class AlertParked(Alert):
    """The account has stopped trying until a person says so."""

    kind = "parked"


@frozen(kw_only=True)
class AlertUnusable(Alert):
    """The credentials cannot be used."""

    kind = "auth_failed"


@frozen(kw_only=True)
class AlertLimited(Alert):
    """Telegram limits the account; it stays connected, and what it may not do is held."""

    kind = "limited"


@frozen(kw_only=True)
class AlertDatabase(Alert):
    """The session's file cannot be written; the account stays connected."""

    kind = "database"


@frozen(kw_only=True)
class AlertStalled(Alert):
    """A fresh client does not get the updates either that the datacenter counts; the account stays connected."""

    kind = "stalled"


@frozen(kw_only=True)
class Finish(Effect):
    """The life of this account is over."""


@frozen(kw_only=True)
class Timer(Effect):
    """Post ``posts`` of this ``generation`` after ``delay`` seconds. A timer dies with its visit of the state."""

    posts: ClassVar[type[OfVisit]]
    generation: int
    delay: float


@frozen(kw_only=True)
class Wait(Timer):
    """Wait for the state's deadline (Unix seconds)."""

    posts = Elapsed
    deadline: float


@frozen(kw_only=True)
class ArmProbe(Timer):
    """Probe again after a while."""

    posts = ProbeDue


@frozen(kw_only=True)
class ArmStable(Timer):
    """See whether the link holds."""

    posts = Stable
