"""Evidence: what a simulated world saw of an engine from outside, for judges that know nothing of its insides.

The world fills it while it runs, and judges only read it. All times called ``at`` are virtual seconds since the world
began, by a clock that no fault can set. ``None`` as an end means that there was none before the evidence was closed.
Lists are in the order in which things happened. A world that cannot see a kind of thing leaves its list empty, and the
judges of that kind find nothing to condemn.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import define, field, frozen

from states import Entry, Policy, Snapshot
from states.pace import WorkPolicy
from tests.simulation.evidence_network import ConnectionSeen, ConnectionUse, DeadKey, FloodDemand, RequestSeen
from tests.simulation.evidence_work import (
    Delivery,
    Following,
    Hearing,
    Inspection,
    JobAttempt,
    JobSeen,
    ReaderSeen,
    SyncSeen,
    UpdateSeen,
    Write,
)

__all__ = [
    "AccountPromise",
    "CommandSeen",
    "Complaint",
    "ConnectionSeen",
    "ConnectionUse",
    "DeadKey",
    "Delivery",
    "Ending",
    "EngineLife",
    "Evidence",
    "FaultSeen",
    "FloodDemand",
    "Following",
    "Hearing",
    "IncidentReport",
    "Inspection",
    "JobAttempt",
    "JobSeen",
    "JournalSeen",
    "LifeOfAccount",
    "LogLine",
    "Promises",
    "ReaderSeen",
    "RequestSeen",
    "ResourceCount",
    "ResourceMoment",
    "Standing",
    "Standstill",
    "SyncSeen",
    "UpdateSeen",
    "Verdict",
    "Write",
]

# --- what was promised ----------------------------------------------------------------------------------------------


@define(kw_only=True)
class AccountPromise:
    """One account of the config."""

    name: str
    phone: str = ""
    """As the sandbox knows it, with the plus sign."""
    routes: int = 1
    """How many ways to the datacenter the config names for it (proxies)."""


@define(kw_only=True)
class Promises:
    """What the config and the documents promise, in seconds."""

    policy: Policy = field(factory=Policy)
    connects_at_once: int = 25
    stagger: float = 0.1
    """0 also for ``auto``, which promises no distance."""
    work: WorkPolicy = field(factory=WorkPolicy)
    job_tries: int = 5
    job_retry_floor: float = 8.0
    """The shortest pause between two attempts of a job that failed: ``work.retry.first`` less its jitter."""
    durable_within: float = 1.0
    """What the engine knows and nobody awaited (a flood wait that was told, how far updates were handled) is on disk
    after so long at most, as long as the disk takes it."""
    incident_after: float = 120.0
    """A trouble that lasts so long is an incident."""
    incident_calm: float = 300.0
    """An incident is over when all in it have been well for so long, or for ``incident_after`` if that is longer."""
    network_delay: float = 1.0
    """The longest time that a byte is under way in this world, where no fault delays it."""


# --- the engine's lives ---------------------------------------------------------------------------------------------


class Ending(StrEnum):
    """How a life of the engine ended."""

    STOPPED = "stopped"
    """It was asked to stop, and its process (``async with Engine``) ended by itself."""
    KILLED = "killed"
    """As by ``kill -9``: what the system was given is on the disk sooner or later."""
    POWER_CUT = "power_cut"
    """What was not synced is gone, or torn."""
    FAILED = "failed"
    """It ended by itself, with an exception or because nothing could go on any more; ``detail`` says so."""
    RUNNING = "running"
    """It had not ended when the evidence was closed."""


@define(kw_only=True)
class EngineLife:
    """One run of the engine, from its start to its end; an account's lives are those of ``Entry.life``."""

    number: int
    """From 1."""
    began: float
    ended: float | None = None
    ending: Ending = Ending.RUNNING
    asked_to_stop: float | None = None
    """When it was told to stop (SIGTERM, or the end of the block); None if it was not."""
    detail: str = ""


class ResourceMoment(StrEnum):
    """When resources were counted."""

    BASELINE = "baseline"
    """After the end of a first life that did next to nothing, or before the first life began."""
    RUNNING = "running"
    """At rest: every account has its link, and nothing is under way."""
    END = "end"
    """After the end of a life, when the world has collected garbage."""


@define(kw_only=True)
class ResourceCount:
    """What there was at one moment, in the virtual world alone."""

    at: float
    life: int
    moment: ResourceMoment
    counts: Mapping[str, int]
    """By kind: ``tasks``, ``timers``, ``links`` (open sockets of the engine's side), ``descriptors`` (open files),
    ``threads`` (that are the engine's), ``objects`` (by the garbage collector). Kinds that were not counted are left
    out."""


# --- faults and commands --------------------------------------------------------------------------------------------


@define(kw_only=True)
class FaultSeen:
    """A fault that the world made."""

    at: float
    kind: str
    """The story's name of it."""
    account: str = ""
    """Whom it concerns; empty: all."""
    ended: float | None = None
    """When it was over; equal to ``at`` for a fault of a moment, None for one that never ended."""
    excuses: frozenset[str] = frozenset()
    """Names of log events of level error or critical that this fault may cause, besides those that are always
    allowed."""
    parks: bool = False
    """Whether it may leave the accounts that it concerns parked or without a login, until a person acts."""


@define(kw_only=True)
class CommandSeen:
    """A command of the operator, or a call of the library that asks for something."""

    at: float
    what: str
    """``retry``, ``pause``, ``resume``, ``stop``, ``login``, ``jobs retry``, ``jobs cancel``, …"""
    account: str = ""
    """Whom it is for; empty: all."""
    answered: float | None = None
    ok: bool = True
    unknown: bool = False
    """Whether it may have been carried out although nobody said so: the engine, or who gave it, was gone before."""
    said: str = ""
    """What the engine said, or why it said nothing."""
    unreached: bool = False
    """Whether an engine had the lock, and could not be reached, or was gone before it answered."""
    hung: bool = False
    """Whether the engine took it, and did not answer in time."""


# --- how it stands, and what was logged ------------------------------------------------------------------------------


@define(kw_only=True)
class Standing:
    """Where an account is, as ``status`` shows it."""

    at: float
    account: str
    state: str
    """One of the seven, ``paused``, or ``unknown``."""
    cause: str = ""
    action: str = ""
    """What the operator should do; empty: nothing."""
    parked: bool = False


@define(kw_only=True)
class LogLine:
    """A line of the engine's log."""

    at: float
    life: int
    level: str
    """``debug``, ``info``, ``warning``, ``error`` or ``critical``."""
    event: str
    logger: str = ""
    account: str = ""
    text: str = ""
    """The whole line or its fields as JSON, tracebacks included."""


@define(kw_only=True)
class Complaint:
    """What Python itself, or the loop's exception handler, complained of.

    An exception that nobody retrieved or that could not be raised, a task that was destroyed, a callback that failed, a
    warning.
    """

    at: float
    life: int
    text: str


@define(kw_only=True)
class Standstill:
    """A deadlock: nothing could run, and no timer was due, while something was waited for."""

    at: float
    life: int
    detail: str


@frozen(kw_only=True)
class LifeOfAccount:
    """How a life of an account began, as the journal has it; fits ``engine.journal.replay.Beginning``."""

    at: float
    policy: Policy
    snapshot: Snapshot
    pruned_to: int = 0
    start: Snapshot | None = None


@define(kw_only=True)
class JournalSeen:
    """The journal as its readers see it at one moment, usually the end."""

    at: float
    entries: list[Entry] = field(factory=list)
    lives: dict[tuple[str, int], Any] = field(factory=dict)
    """By account and number; ``StoredLife`` as the reader returns it, or ``LifeOfAccount``."""
    stored: dict[str, tuple[Snapshot, int]] = field(factory=dict)
    """Each account's snapshot, and the ``seq`` of its last record before it."""
    first_seq: int = 0
    unreadable: list[str] = field(factory=list)
    """A sentence for each row that cannot be read."""


@define(kw_only=True)
class IncidentReport:
    """An incident as the engine's database has it at the end. Times are Unix seconds by the engine's clock."""

    number: int
    kind: str
    cause: str = ""
    accounts: tuple[str, ...] = ()
    """Those that were ever in it."""
    since: float = 0.0
    opened: float = 0.0
    closed: float | None = None
    inside: frozenset[tuple[str, str]] = frozenset()
    """What is in it now: the slot, and the name."""


# --- all of it --------------------------------------------------------------------------------------------------------


@define(kw_only=True)
class Evidence:
    """Everything that was seen of one run."""

    seed: int = 0
    seconds: float = 0.0
    """How long the world went on."""
    quiet_from: float | None = None
    """From when on no fault was active or began any more, and no command came; None: there was no such time."""
    promises: Promises = field(factory=Promises)
    accounts: list[AccountPromise] = field(factory=list)

    lives: list[EngineLife] = field(factory=list)
    resources: list[ResourceCount] = field(factory=list)
    faults: list[FaultSeen] = field(factory=list)
    commands: list[CommandSeen] = field(factory=list)

    connections: list[ConnectionSeen] = field(factory=list)
    requests: list[RequestSeen] = field(factory=list)
    floods: list[FloodDemand] = field(factory=list)
    dead_keys: list[DeadKey] = field(factory=list)

    writes: list[Write] = field(factory=list)
    inspections: list[Inspection] = field(factory=list)
    syncs: list[SyncSeen] = field(factory=list)

    jobs: list[JobSeen] = field(factory=list)
    attempts: list[JobAttempt] = field(factory=list)
    deliveries: list[Delivery] = field(factory=list)

    updates: list[UpdateSeen] = field(factory=list)
    hearings: list[Hearing] = field(factory=list)
    readers: list[ReaderSeen] = field(factory=list)
    followings: list[Following] = field(factory=list)

    standings: list[Standing] = field(factory=list)
    """In any order; the judges take each account's last one at or after ``quiet_from``, and all changes before."""
    logs: list[LogLine] = field(factory=list)
    """At least all lines of level warning and above."""
    complaints: list[Complaint] = field(factory=list)
    standstills: list[Standstill] = field(factory=list)
    journals: list[JournalSeen] = field(factory=list)
    incidents: list[IncidentReport] | None = None
    """None if nobody looked: that no incident is there may be wrong, too."""


# --- what judges say --------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Verdict:
    """Something that must not be."""

    judge: str
    """The judge's name, which stays the same while a story is made shorter."""
    what: str
    """One sentence."""
    at: float = 0.0
    account: str = ""

    def __str__(self) -> str:
        whose = f" {self.account}:" if self.account else ""
        return f"{self.judge} at {self.at:.3f} s:{whose} {self.what}"
