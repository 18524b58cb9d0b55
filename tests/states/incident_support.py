"""What the tests of incidents share: a law that is told things in time, and sightings of accounts."""

from collections.abc import Callable, Iterable

from attrs import define, field

from states.incidents import (
    ACCOUNT_SLOTS,
    AccountSeen,
    Book,
    Change,
    Closed,
    Elapsed,
    Incident,
    IncidentEvent,
    IncidentKind,
    IncidentPolicy,
    IncidentReason,
    Joined,
    Left,
    Opened,
    PartSeen,
    Sign,
    Slot,
    decide,
)
from states.names import name_key

BEGIN = 1_000_000.0
"""When the tests begin, in Unix seconds."""
PROXY = ("the proxy socks5://127.0.0.1:1080", "the network")
OTHER = ("the proxy socks5://127.0.0.1:1081", "the network")


def lost(cause: str = "NetworkLost", *, scoped: bool = True, since: float | None = None) -> IncidentReason:
    """Return the reason of an account without a connection."""
    return IncidentReason(kind=IncidentKind.OUTAGE, cause=cause, detail="connection reset", scoped=scoped, since=since)


def person(action: str = "log_in", *, shared: str | None = None) -> IncidentReason:
    """Return the reason of an account for which a person must act."""
    return IncidentReason(kind=IncidentKind.NEEDS_PERSON, cause=action, shared=shared, at_once=True)


def full(disk: str = "/data") -> IncidentReason:
    """Return the reason of a file on a full disk."""
    return IncidentReason(kind=IncidentKind.STORAGE, cause="DatabaseUnavailable", detail="disk full", shared=disk)


def down(account: str, reason: IncidentReason | None = None, scopes: tuple[str, ...] = PROXY) -> AccountSeen:
    """Return the sight of an account without a connection."""
    unsettled = Sign.UNSETTLED
    return AccountSeen(
        account=account, connection=reason or lost(), person=unsettled, file=unsettled, limit=unsettled, scopes=scopes
    )


def well(account: str, scopes: tuple[str, ...] = PROXY) -> AccountSeen:
    """Return the sight of a healthy account."""
    return AccountSeen(account=account, connection=Sign.WELL, scopes=scopes)


def needs(account: str, reason: IncidentReason | None = None) -> AccountSeen:
    """Return the sight of an account that needs a person."""
    unsettled = Sign.UNSETTLED
    return AccountSeen(
        account=account, connection=Sign.LEFT, person=reason or person(), file=unsettled, limit=unsettled
    )


def journal(found: IncidentReason | Sign) -> PartSeen:
    """Return the sight of the journal's file."""
    return PartSeen(slot=Slot.JOURNAL, name="/data/engine.db", found=found)


def names(count: int) -> list[str]:
    """Return so many accounts."""
    return [f"Account {number:02}" for number in range(1, count + 1)]


@define
class Told:
    """A book that is told things at times, and what it said; ``Elapsed`` comes whenever it is due."""

    policy: IncidentPolicy = field(factory=IncidentPolicy)
    book: Book = field(factory=Book)
    now: float = BEGIN
    changes: list[Change] = field(factory=list)

    def tell(self, *events: IncidentEvent) -> list[Change]:
        """Tell it events now; return what it says."""
        said: list[Change] = []
        for event in events:
            self.book, changes, _ = decide(self.book, event, self.now, self.policy)
            check(self.book)
            said += changes
        self.changes += said
        return said

    def wait(self, seconds: float, each: Callable[[], None] = lambda: None) -> list[Change]:
        """Let time pass; return what it says meanwhile."""
        until, said = self.now + seconds, len(self.changes)
        while self.book.due is not None and self.book.due <= until:
            self.now = max(self.now, self.book.due)
            self.tell(Elapsed())
            each()
        self.now = until
        return self.changes[said:]

    @property
    def open(self) -> list[Incident]:
        """The incidents that are open."""
        return list(self.book.open.values())

    @property
    def opened(self) -> list[Incident]:
        """All incidents that were ever opened, as they were then."""
        return [each.incident for each in self.changes if isinstance(each, Opened)]

    @property
    def closed(self) -> list[Incident]:
        """All incidents that were closed."""
        return [each.incident for each in self.changes if isinstance(each, Closed)]


def check(book: Book) -> None:
    """Check what holds in every book."""
    members = [(track.incident, member) for member, track in book.tracks.items() if track.incident is not None]
    counted: dict[int, int] = {}
    for number, (slot, name) in members:
        assert number is not None
        counted[number] = counted.get(number, 0) + 1
        assert slot not in ACCOUNT_SLOTS or name in book.open[number].accounts
    assert counted == dict(book.sizes), "each open incident has a member, and the book knows how many"
    assert counted.keys() == book.open.keys()
    shared = {number: label for (_, label), number in book.shared.items()}
    assert shared == {number: each.cause for number, each in book.open.items() if each.fleet}
    inside = [(name, book.open[number]) for number, (slot, name) in members if number and slot in ACCOUNT_SLOTS]
    pairs = [(account, each.kind, each.cause) for account, each in inside]
    assert len(pairs) == len(set(pairs)), "one incident for an account and a cause"
    for number, each in book.open.items():
        assert number == each.id < book.next_id
        assert each.since <= each.opened <= book.now
        assert list(each.accounts) == sorted(set(each.accounts), key=name_key)
    for track in book.tracks.values():
        assert track.fell is None or track.well is None
        assert all(time is None or time <= book.now for time in (track.since, track.fell, track.well))
    assert book.due is None or book.due > book.now, "what is due is done"


def replayed(changes: Iterable[Change]) -> tuple[dict[int, Incident], dict[int, set[tuple[Slot, str]]]]:
    """Return what a store has that was told all changes: the incidents, and who is in those that are open."""
    incidents: dict[int, Incident] = {}
    inside: dict[int, set[tuple[Slot, str]]] = {}
    for change in changes:
        number = change.incident.id
        incidents[number] = change.incident
        match change:
            case Opened(members=members) | Joined(members=members):
                inside.setdefault(number, set()).update(members)
            case Left(member=member):
                inside[number].discard(member)
            case Closed():
                inside.pop(number, None)
    return incidents, inside
