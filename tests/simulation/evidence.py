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
    job_tries: int = 5
    job_retry_floor: float = 8.0
    """The shortest pause between two attempts of a job that failed: ``work.retry.first`` less its jitter."""
    durable_within: float = 1.0
    """What the engine knows and nobody awaited (a flood wait that was told, how far updates were handled) is on disk
    after so long at most, as long as the disk takes it."""
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


# --- the network ----------------------------------------------------------------------------------------------------


class ConnectionUse(StrEnum):
    """What a connection was used for, as far as its bytes tell."""

    UNKNOWN = "unknown"
    """Refused, or closed before anything was sent."""
    PROBE = "probe"
    """It began a key exchange (``req_pq_multi``) and never went on."""
    ACCOUNT = "account"
    """It sent requests with a key, for an account."""
    MEDIA = "media"
    """It sent requests with a key, only such as are for files, which may go side by side."""
    LOGIN = "login"
    """It made a new key."""


@define(kw_only=True)
class ConnectionSeen:
    """One TCP connection towards the datacenter, from the first SYN."""

    number: int
    life: int
    """The engine's life that began it; 0 for a connection of another program."""
    began: float
    """When the engine's side asked for it."""
    account: str = ""
    """Whose it is; empty if neither port nor key tells."""
    key: str = ""
    """The key that its first encrypted message was sent with, as any stable text; empty if there was none."""
    use: ConnectionUse = ConnectionUse.UNKNOWN
    route: str = ""
    """The address that was called."""
    accepted: float | None = None
    """When the datacenter's side accepted; None if it did not."""
    first_request: float | None = None
    """When the first request with ``key`` arrived at the datacenter."""
    answered: float | None = None
    """When the first answer to such a request was delivered to the engine's side."""
    last_request: float | None = None
    """When the last request with ``key`` arrived at the datacenter."""
    closed: float | None = None
    """When the engine's side closed it, or its socket ended by a reset."""
    given_up: bool = False
    """Whether the engine's side closed it by itself: nothing had told it that the link is over."""


@define(kw_only=True)
class RequestSeen:
    """One request (of a container: each) that arrived at the datacenter, decrypted."""

    at: float
    connection: int
    account: str
    method: str
    """As ``messages.sendMessage``."""
    key: str = ""


@define(kw_only=True)
class FloodDemand:
    """The datacenter demanded a wait (420, or −429 with ``seconds`` 0)."""

    at: float
    account: str
    method: str
    """The request that met it; empty for one that met the connection as a whole."""
    seconds: float
    connection: int
    delivered: float | None = None
    """When the answer was delivered to the engine's side; None if it never was."""


@define(kw_only=True)
class DeadKey:
    """A key that the datacenter refuses for good: revoked, destroyed, its account banned."""

    key: str
    account: str
    at: float
    """From when on it is refused."""
    why: str
    """As ``AUTH_KEY_UNREGISTERED``."""
    told: float | None = None
    """When a refusal was first delivered to the engine's side."""


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


# --- what was acknowledged ------------------------------------------------------------------------------------------


@define(kw_only=True)
class Write:
    """Something that was asked to be kept, and perhaps acknowledged as durable.

    Kinds: ``job`` (key: its number; value: kind and data), ``checkpoint`` (key: the job's number), ``session_key``
    (key: the account), ``update_state`` (key: account and channel), ``entity`` (key: account and id), ``record`` (key:
    its ``seq``; value: the entry as JSON has it), ``message`` (key: owner, chat, id). Others may be added.
    """

    kind: str
    key: str
    value: str
    """Any text that is equal for equal values, such as sorted JSON."""
    asked: float
    acknowledged: float | None = None
    """When the engine said that it is durable; None if it never did (then it may be there, or not)."""
    life: int = 0
    gone_from: float | None = None
    """From when on it may be gone by promise (retention, a command)."""


@define(kw_only=True)
class Inspection:
    """What the files had at one moment: after the end of a life, before the next one, or at the end of all."""

    at: float
    life: int
    """The life that had ended."""
    found: Mapping[tuple[str, str], str]
    """Values by kind and key, of all kinds in ``kinds``."""
    kinds: frozenset[str]
    """The kinds that were looked for: only of these a missing key counts."""


# --- work -----------------------------------------------------------------------------------------------------------


@define(kw_only=True)
class JobSeen:
    """A job as whoever added it sees it."""

    number: int
    kind: str
    added: float
    """When adding it had returned."""
    account: str = ""
    """Which account it was added for; empty: any."""
    text: str = ""
    """For ``send``: the message, which no other job of the world has."""
    chat: str = ""
    """For ``collect``: the chat, as in the sandbox."""
    state: str = "queued"
    """At the end of all: ``queued``, ``running``, ``done``, ``failed``, ``cancelled``, or ``gone`` by retention."""
    ended: float | None = None
    """When it was over for the first time (by ``finished``, or as the file has it); None if it never was."""
    bound: float | None = None
    """By when it has to be over, in seconds after all faults have ended; None: not promised (hours, a budget)."""
    cancelled: float | None = None
    """When it was asked to be cancelled."""


@define(kw_only=True)
class JobAttempt:
    """A run of a job of the world's own kind, as its function saw it."""

    number: int
    life: int
    account: str
    began: float
    checkpoint: str = ""
    """The checkpoint it was started with, as ``Write.value`` has it; empty: none."""
    ended: float | None = None
    failed: bool = False
    """Whether it ended by an exception of its own."""


@define(kw_only=True)
class Delivery:
    """A message in the datacenter's ledger: written by an account, once for each that exists there."""

    at: float
    account: str
    """Who wrote it; empty: nobody of the config."""
    text: str
    chat: str = ""
    id: int = 0


# --- updates --------------------------------------------------------------------------------------------------------


@define(kw_only=True)
class UpdateSeen:
    """A message that the datacenter has for an account, of which handlers are to hear."""

    at: float
    account: str
    mark: str
    """Its text, which is different for each."""
    promised: bool = True
    """Whether it has to be heard: False where the datacenter itself forgot it (a difference that is too long)."""


@define(kw_only=True)
class Hearing:
    """A call of a handler."""

    at: float
    life: int
    account: str
    mark: str
    handler: str = ""
    ended: float | None = None
    """When the handler returned or raised; None if it was cut off."""


@define(kw_only=True)
class Following:
    """A record that a subscriber was given (``subscribe``, ``log -f``)."""

    at: float
    life: int
    reader: str
    """A reader that goes on at its last ``seq`` keeps its name over lives."""
    seq: int
    account: str = ""


@define(kw_only=True)
class ReaderSeen:
    """A subscriber: it was to be given every record after ``after``."""

    name: str
    after: int
    began: float
    reached_end: bool = True
    """Whether it read on until the engine's clean end; otherwise the last records may be missing."""


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
