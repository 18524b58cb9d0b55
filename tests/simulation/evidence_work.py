"""The part of the evidence that is about what there was to do: what was kept, jobs, and updates."""

from collections.abc import Mapping, Sequence

from attrs import define, field

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
    positions: Mapping[str, int] = field(factory=dict)
    """Up to which position each account's session file has its updates as handled."""
    claims: Mapping[str, Sequence[tuple[int, int]]] = field(factory=dict)
    """The intervals of positions that the ledger claims to be handled, by account: after one, up to another."""


@define(kw_only=True)
class SyncSeen:
    """The disk has made durable what was written to a file."""

    at: float
    file: str
    """Its name."""


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
    work: float = 0.0
    """How many seconds it takes at most when it is the only one, its own failures included, their waits not."""
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
    """Whether it was drawn to fail, and ended by that."""
    attempt: int = 0
    """Its number as the engine counts it, from 1: a run after a lost link belongs to the same one. 0: not seen."""
    returned: bool = False
    """Whether the function came to its end."""
    raised: bool = False
    """Whether it ended by an exception, its own or one of the client; not by being cancelled."""


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
    position: int = 0
    """What the datacenter counts as the account's position (``pts``) from this message on; 0: not seen."""
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
