"""What the law of incidents knows (the book), what it is told (events), and what it says (changes). Plain values."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

import attrs
from attrs import field, frozen

from states.incident import Incident, IncidentKind


class Slot(StrEnum):
    """What can be the matter with a member: in each of its slots it has one trouble at a time."""

    CONNECTION = "connection"
    PERSON = "person"
    FILE = "file"
    LIMIT = "limit"
    UPDATES = "updates"
    JOURNAL = "journal"
    JOBS = "jobs"
    CHANNEL = "channel"


ACCOUNT_SLOTS: Final = (Slot.CONNECTION, Slot.PERSON, Slot.FILE, Slot.LIMIT, Slot.UPDATES)
"""The slots of accounts. In the others a member is a file, a kind of jobs, a channel."""

Member: TypeAlias = tuple[Slot, str]
"""A slot, and the name of what has it."""


class Sign(StrEnum):
    """What can be said of a slot in which there is no trouble."""

    WELL = "well"
    """It works."""
    LEFT = "left"
    """Nobody asks any more: it is paused, or what is the matter now is told in another slot."""
    UNSETTLED = "unsettled"
    """It is neither well nor in trouble, as an account is that connects for the first time."""


def _not_negative(_: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not 0 <= value < float("inf"):
        raise ValueError(f"{attribute.name} must not be negative, not {value:g}")


@frozen(kw_only=True)
class IncidentPolicy:
    """When a trouble becomes an incident."""

    after: float = field(default=120.0, validator=_not_negative)
    """How long a trouble lasts before it is an incident; a shorter one is none. What needs a person is one at once."""

    @property
    def calm(self) -> float:
        """Seconds of health after which a trouble is over."""
        return max(CALM, self.after)


CALM: Final = 300.0
"""The least seconds of health after which a trouble is over: what comes back sooner is the same trouble."""
FALLS: Final = 4
"""How often an account falls into trouble, never well for ``calm`` in between, before it is flapping."""


@frozen(kw_only=True)
class IncidentReason:
    """What is the matter: of it, an incident may be made."""

    kind: IncidentKind
    cause: str
    detail: str = ""
    """A sentence without a secret."""
    shared: str | None = None
    """What all that have this reason certainly share: the setting, the disk."""
    scoped: bool = False
    """Whether it may lie on the way to Telegram, which accounts share: enough of them together say that it does."""
    at_once: bool = False
    """Whether it is an incident without a wait."""
    since: float | None = None
    """When it began, if that is known from before: used only where nothing was heard of the member yet."""


@frozen(kw_only=True)
class Track:
    """The trouble of one member, from its first fall to ``calm`` of health."""

    reason: IncidentReason
    since: float
    """When it fell first."""
    fell: float | None
    """Since when it is in trouble without a break; None while it is not."""
    well: float | None = None
    """Since when it is well without a break; None while it is not."""
    falls: int = 1
    """How often it was well, and fell into trouble again."""
    incident: int | None = None


@frozen(kw_only=True)
class Book:
    """All that the law knows. It grows with the members that are in trouble, and with the accounts; never with time."""

    now: float = 0.0
    """The time of the last decision: the next is not before it."""
    next_id: int = 1
    open: Mapping[int, Incident] = field(factory=dict)
    """The incidents that are open, by number."""
    tracks: Mapping[Member, Track] = field(factory=dict)
    sizes: Mapping[int, int] = field(factory=dict)
    """How many members each open incident has now."""
    shared: Mapping[tuple[IncidentKind, str], int] = field(factory=dict)
    """The open incidents of the fleet, by the kind of reason and by what is shared."""
    scopes: Mapping[str, tuple[str, ...]] = field(factory=dict)
    """What each account that is in use shares with others on its way to Telegram, the narrowest first."""
    due: float | None = None
    """When ``Elapsed`` must be told at the latest; None if nothing depends on time."""


# --- what the law is told --------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class AccountSeen:
    """Where an account is: what can be said of each of its slots."""

    account: str
    connection: IncidentReason | Sign
    person: IncidentReason | Sign = Sign.WELL
    file: IncidentReason | Sign = Sign.WELL
    limit: IncidentReason | Sign = Sign.WELL
    updates: IncidentReason | Sign = Sign.WELL
    scopes: tuple[str, ...] = ()
    """What it shares with others on its way to Telegram, the narrowest first."""


@frozen
class AccountGone:
    """The account is paused, or is no account of the engine any more."""

    account: str


@frozen
class AccountsRenamed:
    """Accounts are called otherwise from now on: the new name of each, by the old one."""

    names: Mapping[str, str]


@frozen(kw_only=True)
class PartSeen:
    """Where something is that is no account: a file of the engine, the jobs of a kind, a channel."""

    slot: Slot
    name: str
    found: IncidentReason | Sign


@frozen
class ClockMoved:
    """The clock was set by ``shift`` seconds, or the machine slept for ``slept`` seconds, or both."""

    shift: float = 0.0
    slept: float = 0.0


@frozen
class Acknowledged:
    """A person knows of an incident."""

    id: int


@frozen
class Elapsed:
    """Time has passed."""


IncidentEvent: TypeAlias = AccountSeen | AccountGone | AccountsRenamed | PartSeen | ClockMoved | Acknowledged | Elapsed


# --- what it says ----------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Opened:
    """An incident is open, with these members."""

    incident: Incident
    members: tuple[Member, ...]


@frozen(kw_only=True)
class Joined:
    """More members are in an incident; it may be one of the fleet from now on."""

    incident: Incident
    members: tuple[Member, ...]


@frozen(kw_only=True)
class Left:
    """A member is in an incident no more, which goes on for others."""

    incident: Incident
    member: Member
    at: float


@frozen(kw_only=True)
class Closed:
    """An incident is over."""

    incident: Incident
    into: int | None = None
    """The number of the incident in which it goes on, because it was found to be that of many; None if it is over."""


@frozen(kw_only=True)
class Acked:
    """A person knows of an incident."""

    incident: Incident


Change: TypeAlias = Opened | Joined | Left | Closed | Acked
