"""What can happen to one account's connection, as frozen values.

Adapters and the runner only *report*; each report is one of these. A class name is the event's name in the journal, in
diagrams and in ``log --json``. The names are a contract: add to them, and never rename one. The docstrings of events
are printed in the diagrams.

Two families carry a number that distinguishes an old report from a current one:

* ``OfVisit`` events answer a request of one *visit* of a state (a timer, a turn, a closing). They carry that visit's
  ``generation``; once the state was left they are stale and change nothing.
* ``OfLink`` events come from one *link* (one connection of one client). They carry its number; once the link was
  closed, its reports are foreign. Number 0 means 'about the account, not about a link'.
"""

from typing import ClassVar

from attrs import frozen

from states.exhaustion import EXHAUSTED, NO_DESCRIPTORS, NO_MEMORY, NO_THREADS  # noqa: F401 - known by this name, too
from states.limits import ACCOUNT


@frozen(kw_only=True)
class Event:
    """Base of all events."""


# --- commands and observations, which are valid at any time --------------------------------------------------------


@frozen(kw_only=True)
class Started(Event):
    """A life begins: the engine was started, or a paused account resumed.

    ``credentials`` is a fingerprint of the session's key, so that new ones can be told from those that failed.
    """

    credentials: str = ""


@frozen(kw_only=True)
class NetworkRestored(Event):
    """Another account got through, so a wait for the network may be cut short."""


@frozen(kw_only=True)
class ClockJumped(Event):
    """Wall clock and monotonic clock parted by ``seconds``: the machine slept, or its clock was set."""

    seconds: float = 0.0
    slept: float | None = None
    """How long the machine slept meanwhile. The rest is by how much the clock was set, and stored times move with it;
    None (in journals of earlier versions) is not known, and nothing moves."""

    @property
    def shift(self) -> float:
        """By how many seconds the clock was set."""
        return 0.0 if self.slept is None else self.seconds - self.slept


@frozen(kw_only=True)
class CredentialsReplaced(Event):
    """The session now holds another key than the one that was used so far."""

    credentials: str | None = None
    """A fingerprint of that key; None if the session was not read."""


@frozen(kw_only=True)
class RetryRequested(Event):
    """A person asks for an attempt now."""


@frozen(kw_only=True)
class StopRequested(Event):
    """The engine stops, or the account is paused."""

    reason: str = ""
    paused: bool = False
    """Whether the next life waits until the operator resumes the account."""


@frozen(kw_only=True)
class DatabaseRecovered(Event):
    """The session's file is written again, after ``waited`` seconds: all ``written`` rows that had to wait.

    Of no link: a trouble of the file can outlive the link in which it began.
    """

    waited: float = 0.0
    written: int = 0


# --- answers to the requests of a visit of a state -----------------------------------------------------------------


@frozen(kw_only=True)
class OfVisit(Event):
    """Belongs to the visit of a state that has this ``generation``."""

    generation: int


@frozen(kw_only=True)
class TurnGranted(OfVisit):
    """The fleet's limiter lets this account connect now."""

    credentials: str | None = None
    """A fingerprint of the key that the attempt uses; None if the session was not read."""


@frozen(kw_only=True)
class Elapsed(OfVisit):
    """The state's own deadline has come."""


@frozen(kw_only=True)
class Stable(OfVisit):
    """The link has held for ``healthy.stable_after``."""


@frozen(kw_only=True)
class ProbeDue(OfVisit):
    """``healthy.probe_every`` has passed since the last answer."""


@frozen(kw_only=True)
class Closed(OfVisit):
    """The link that was to be closed is gone: socket, tasks and session."""


# --- reports of a link -----------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class OfLink(Event):
    """Belongs to the link with this number; 0 is none in particular."""

    link: int = 0


@frozen(kw_only=True)
class Connected(OfLink):
    """The attempt is complete: TCP, key, initConnection and one authorised RPC that was answered.

    ``via`` names the proxy that the link goes through; empty if there is none. ``held`` says that the connection had
    stood before the engine was given it: it is stable from the beginning.
    """

    via: str = ""
    held: bool = False


@frozen(kw_only=True)
class ProbeAnswered(OfLink):
    """A probe was answered; ``proof`` says that it was an authorised RPC, not a ping."""

    proof: bool = False


ASKED_AGAIN = "asked again in"
"""Stands in what a ``CaughtUp`` names as missing, if it will be asked for again; the rest is not."""


@frozen(kw_only=True)
class CaughtUp(OfLink):
    """A link has fetched what its account missed: ``recovered`` updates.

    ``too_long`` says that the datacenter would not list it all: the rest can only be read from the chats. ``missing``
    names what was refused and is still missing; ``late`` says that an earlier report of the link has named something.
    """

    recovered: int = 0
    too_long: bool = False
    missing: tuple[str, ...] = ()
    late: bool = False


@frozen(kw_only=True)
class UpdatesConfirmed(OfLink):
    """The link has all updates that the datacenter counts: of the account, and of ``channels`` channels."""

    channels: int = 0


@frozen(kw_only=True)
class LimitLifted(OfLink):
    """A request that the account's ``limit`` would have refused was carried out: the limit is over."""

    limit: str = ACCOUNT


@frozen(kw_only=True)
class Failure(OfLink):
    """Base of the errors.

    ``detail`` is one sentence for the operator; ``chain`` is the chain of causes, outermost first, each as
    ``Class: message``. ``schedule`` names the field of ``BackoffSchedules`` by which a failed attempt waits.
    """

    schedule: ClassVar[str] = "network"
    detail: str = ""
    chain: tuple[str, ...] = ()


@frozen(kw_only=True)
class NetworkLost(Failure):
    """TCP failed: refused, reset, closed, unreachable, or a proxy said so."""


@frozen(kw_only=True)
class TimedOut(Failure):
    """Something was not answered in time. ``what`` is ``connect``, ``probe`` or ``request``."""

    what: str = "probe"


@frozen(kw_only=True)
class ServerFault(Failure):
    """The datacenter answered with an internal error (500, −500, −503)."""

    schedule: ClassVar[str] = "server"


@frozen(kw_only=True)
class UpdatesStalled(Failure):
    """The datacenter counts updates that the link does not bring: its numbers say so, silence alone never does.

    ``behind`` names the boxes, each with how many updates; ``since`` is when that was first seen (Unix seconds).
    ``asked`` says that they were asked for, and in vain.
    """

    schedule: ClassVar[str] = "updates"
    behind: tuple[str, ...] = ()
    since: float = 0.0
    asked: bool = False


@frozen(kw_only=True)
class FloodWait(Failure):
    """The datacenter said how long to wait before the next ``request`` of this kind, in ``seconds``."""

    schedule: ClassVar[str] = "flood"
    seconds: float
    request: str = "any"


@frozen(kw_only=True)
class TransportFlood(Failure):
    """Transport error −429: too many connections from this address; no number of seconds comes with it."""

    schedule: ClassVar[str] = "transport_flood"


@frozen(kw_only=True)
class AuthRejected(Failure):
    """The login is revoked, expired or was never made (401)."""


@frozen(kw_only=True)
class AuthKeyUnknown(Failure):
    """Transport error −404: the datacenter does not know the key. It can be temporary.

    It comes in clear text, before anything is encrypted: anybody on the path can send it, so it proves nothing.
    """

    schedule: ClassVar[str] = "auth_key"


@frozen(kw_only=True)
class SessionDuplicated(Failure):
    """The same key was used from two addresses at once (406); the datacenter has killed it."""


@frozen(kw_only=True)
class AccountBanned(Failure):
    """Telegram has banned or deleted the account."""


@frozen(kw_only=True)
class AccountLimited(Failure):
    """The account may connect, but is limited: peer flood, frozen.

    ``limit`` says what it may not do, by the names in ``states.limits``: journals of earlier versions have none, and
    mean all work. A frozen account may know when it will be deleted (``deletion``, Unix seconds) and where to appeal.
    """

    limit: str = ACCOUNT
    deletion: float | None = None
    appeal: str = ""


@frozen(kw_only=True)
class ConfigRefused(Failure):
    """The datacenter refuses what the config says (``setting``: ``telegram.api_id``, ``telegram.datacenter``)."""

    setting: str = ""


@frozen(kw_only=True)
class ProtocolBroken(Failure):
    """What came over the wire is not MTProto, or breaks its rules."""


@frozen(kw_only=True)
class DatabaseLocked(Failure):
    """Somebody else holds the session's file.

    While it is in use: for ``waited`` seconds already, and ``unsaved`` rows wait in memory to be written.
    """

    schedule: ClassVar[str] = "database"
    waited: float = 0.0
    unsaved: int = 0


@frozen(kw_only=True)
class DatabaseUnavailable(Failure):
    """The session's file cannot be written: full disk, read-only, I/O error, deleted. See ``DatabaseLocked``."""

    schedule: ClassVar[str] = "database"
    waited: float = 0.0
    unsaved: int = 0


@frozen(kw_only=True)
class DatabaseCorrupt(Failure):
    """The session's file is damaged or no database."""

    schedule: ClassVar[str] = "database"


@frozen(kw_only=True)
class Unexpected(Failure):
    """An exception that nobody foresaw; the chain says which."""

    schedule: ClassVar[str] = "unexpected"


EVENTS: tuple[type[Event], ...] = (
    Started, TurnGranted, Connected, CaughtUp, UpdatesConfirmed, LimitLifted, ProbeDue, ProbeAnswered, Stable, Elapsed,
    NetworkRestored, ClockJumped, CredentialsReplaced, DatabaseRecovered, RetryRequested, StopRequested, Closed,
    NetworkLost, TimedOut, ServerFault, UpdatesStalled, FloodWait, TransportFlood, AuthRejected, AuthKeyUnknown,
    SessionDuplicated, AccountBanned, AccountLimited, ConfigRefused, ProtocolBroken, DatabaseLocked,
    DatabaseUnavailable, DatabaseCorrupt, Unexpected,
)  # fmt: skip
"""All events, in the order of the diagrams."""

EVENT_BY_NAME: dict[str, type[Event]] = {event.__name__: event for event in EVENTS}
