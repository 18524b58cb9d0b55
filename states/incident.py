"""What an incident is, as it is stored and shown; what opens, grows and closes one is in ``incidents``."""

from enum import StrEnum
from typing import Final

from attrs import frozen

from states.limits import CAUSES, OF_REQUESTS, STRANGERS, WRITES, advice_for
from states.snapshot import ADVICE, Action

MAX_DETAIL: Final = 300
"""Characters of an incident's detail."""
SHARED_STORE: Final = "the shared store "
"""With the address of a database, or the path of a file, after it: where nodes or workers have their accounts."""
OF_ROW: Final = "postgresql://"
"""With this begins what is said of a session that is a row of a database: its address."""


def is_of_row(detail: str) -> bool:
    """Return whether a trouble's detail speaks of a session in a database, and not of a file."""
    return detail.startswith(OF_ROW)


class IncidentKind(StrEnum):
    """What kind of trouble it is."""

    NEEDS_PERSON = "needs_person"
    """An account cannot go on before a person acts."""
    OUTAGE = "outage"
    """Accounts are without a connection."""
    FLAPPING = "flapping"
    """Accounts lose their connection again and again, and never stay healthy for long."""
    STORAGE = "storage"
    """A file cannot be written."""
    LIMITED = "limited"
    """Telegram limits an account."""
    STALLED = "stalled"
    """An account does not get the updates that Telegram counts."""
    JOB_FAILED = "job_failed"
    """Jobs of one kind fail for good."""
    CHANNEL = "channel"
    """What is told to people does not arrive there."""


class Severity(StrEnum):
    """How soon somebody should look."""

    CRITICAL = "critical"
    WARNING = "warning"


@frozen(kw_only=True)
class Incident:
    """One trouble from its beginning to its end. Times are Unix seconds; None is not yet."""

    id: int
    kind: IncidentKind
    cause: str
    """What it is about, within its kind: an ``Action``, an error event, what many accounts share (their way to
    Telegram, a setting, a disk), a path, a kind of jobs, a channel."""
    accounts: tuple[str, ...] = ()
    """The accounts that were ever in it, in the order of ``name_key``."""
    fleet: bool = False
    """Whether it is one incident for all that share its cause."""
    severity: Severity
    since: float
    """When the trouble began."""
    opened: float
    """When it became an incident."""
    closed: float | None = None
    """When the last of its accounts was well again, or was paused or removed; noted when that has lasted."""
    acked: float | None = None
    """When a person said that they know of it."""
    detail: str = ""
    """What was heard of it first, in a sentence."""

    @property
    def is_open(self) -> bool:
        """Whether the trouble goes on."""
        return self.closed is None

    def lasted(self, now: float) -> float:
        """Return the seconds from the beginning of the trouble to its end, or to now."""
        return max(0.0, (now if self.closed is None else self.closed) - self.since)

    @property
    def who(self) -> str:
        """Whom it concerns, in a few words: an account's name, or how many there are; empty if it is no account."""
        if not self.accounts:
            return ""
        return self.accounts[0] if len(self.accounts) == 1 else f"{len(self.accounts):,} accounts"

    @property
    def meaning(self) -> str:
        """What is the matter, or was, as a sentence without its full stop; why is in ``detail``. It quotes names."""
        now, who, many = self.is_open, self.who or "the engine", len(self.accounts) != 1
        lose = ("lose" if many else "loses") if now else "lost"
        shared = f", and what they share is {self.cause}" if self.fleet else ""
        match self.kind:
            case IncidentKind.NEEDS_PERSON:
                return f"{who} {'cannot' if now else 'could not'} go on before somebody {'acts' if now else 'acted'}"
            case IncidentKind.OUTAGE:
                return f"{who} {('have' if many else 'has') if now else 'had'} no connection{shared}"
            case IncidentKind.FLAPPING:
                return f"{who} {lose} the connection again and again{shared}"
            case IncidentKind.STORAGE if self.cause.startswith(SHARED_STORE):
                can, close = ("cannot", "close") if now else ("could not", "closed")
                return f"{self.cause} {can} be used; nodes and workers without it {close} their connections"
            case IncidentKind.STORAGE:
                session = f"the session of {who}" if is_of_row(self.detail) else f"the session file of {who}"
                what, can = self.cause if self.fleet else session, "cannot" if now else "could not"
                return f"{what} {can} be written; what is new wait{'s' if now else 'ed'} in memory"
            case IncidentKind.LIMITED:
                its = "their" if many else "its"
                if self.cause == CAUSES[STRANGERS]:
                    let = "lets" if now else "let"
                    return f"Telegram {let} {who} write to nobody who does not know {'them' if many else 'it'}"
                if self.cause == CAUSES[WRITES]:
                    return f"Telegram {'has frozen' if now else 'had frozen'} {who}, which can only read"
                return f"Telegram limit{'s' if now else 'ed'} {who}; {its} work {'is' if now else 'was'} held"
            case IncidentKind.STALLED:
                do = ("do" if many else "does") if now else "did"
                return f"{who} {do} not get the updates that Telegram count{'s' if now else 'ed'}"
            case IncidentKind.JOB_FAILED:
                return f"jobs of the kind {self.cause} fail{'' if now else 'ed'} for good"
            case IncidentKind.CHANNEL:
                return f"messages to {self.cause} {'do' if now else 'did'} not arrive"

    @property
    def action(self) -> str:
        """What a person should do: a sentence in the imperative, without its full stop."""
        if self.kind is IncidentKind.NEEDS_PERSON:
            return ADVICE.get(_ACTIONS.get(self.cause, Action.RETRY), ADVICE[Action.RETRY])
        if self.kind is IncidentKind.LIMITED and self.cause in _REMEDIES_OF_LIMITS:
            return _REMEDIES_OF_LIMITS[self.cause]
        if self.kind is IncidentKind.STORAGE and self.cause.startswith(SHARED_STORE):
            return _STORE_REMEDIES["://" in self.cause]
        if self.kind is IncidentKind.STORAGE and is_of_row(self.detail):
            return _STORE_REMEDIES[True]
        return _REMEDIES_OF_MANY.get(self.kind, _REMEDIES[self.kind]) if self.fleet else _REMEDIES[self.kind]


_ACTIONS: Final = {action.value: action for action in Action}
_REMEDIES: Final[dict[IncidentKind, str]] = {
    IncidentKind.NEEDS_PERSON: ADVICE[Action.RETRY],
    IncidentKind.OUTAGE: (
        "nothing yet: the engine goes on trying; if others are healthy and this lasts, ask 'log explain' for the reason"
    ),
    IncidentKind.FLAPPING: "see what its losses have in common ('log --failed'): a proxy, a time of day, a request",
    IncidentKind.STORAGE: "make the file writable: end the program that locks it, or see to its disk and permissions",
    IncidentKind.LIMITED: f"let the account rest, and {ADVICE[Action.APPEAL]}; retry it when the limit is over",
    IncidentKind.STALLED: (
        "read the chats that the detail names, for example with 'collect'; if it lasts, retry the account for another "
        "fresh client"
    ),
    IncidentKind.JOB_FAILED: "see 'jobs list --state failed' for the cause, mend it, and retry or cancel the jobs",
    IncidentKind.CHANNEL: "see to the channel's address and its service, and try it with 'alerts test'",
}
_REMEDIES_OF_LIMITS: Final = {
    CAUSES[limit]: advice for limit in OF_REQUESTS if (advice := advice_for(limit)) is not None
}
_STORE_REMEDIES: Final = {
    False: "free space on its disk, or end the program that locks it; the accounts come back by themselves",
    True: "see that the database runs, can be reached and has room; the accounts come back by themselves",
}
"""Of a file, and of a database."""
_REMEDIES_OF_MANY: Final[dict[IncidentKind, str]] = {
    IncidentKind.OUTAGE: "see to the network of this machine, or to the proxy; the accounts come back by themselves",
    IncidentKind.FLAPPING: "see to the network of this machine, or to the proxy: it comes and goes",
    IncidentKind.STORAGE: "free space on the disk, or see to its permissions; what waits is written by itself then",
}
