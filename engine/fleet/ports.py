"""What the engine asks of the outside world. Adapters fit these without knowing them; tests put fakes here."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from states import Event, Hold, Policy, Record, Snapshot, Step

DatacenterState = Literal["answers", "accepts", "dark"]
"""The datacenter answers; somebody takes connections, but is no datacenter that works; or nobody is there."""

StatStamp = tuple[tuple[int, int, int, int] | None, ...]
"""What the file system says of a session file, then of the log beside it: device, inode, size in bytes, time of change
in nanoseconds. None stands for a file that does not exist, and an empty stamp for an account without a session file."""


class Link(Protocol):
    """One connection of one client: opened once, closed always, and it says what it finds as events."""

    @property
    def client(self) -> Any:
        """The Telethon client; None before the link is open."""

    async def open(self, *, timeout: float) -> Sequence[Event]:
        """Connect and prove it within ``timeout`` seconds; the last event is the outcome."""

    async def probe(self, *, proof: bool, timeout: float) -> Sequence[Event]:
        """Ask for a sign of life within ``timeout`` seconds; the last event is the outcome."""

    def events(self) -> AsyncIterator[Event]:
        """Yield what the link finds, until it ends by itself; what it yields last is why."""

    def hold(self, request: str, until: float) -> None:
        """Send no request of this kind until then (Unix seconds)."""

    async def close(self, *, timeout: float) -> None:
        """Close everything within about ``timeout`` seconds; never raises."""


class Connector(Protocol):
    """Makes the links of one account."""

    @property
    def route(self) -> str:
        """Which accounts share a way to the datacenter: what reaches it for one reaches it for all of them."""

    async def probe_datacenter(self, *, timeout: float) -> DatacenterState:
        """Look whether the datacenter answers at all, without the account, within ``timeout`` seconds."""

    async def credentials(self) -> str:
        """Return a fingerprint of the account's credentials; empty if there are none."""

    def session_stamp(self) -> StatStamp:
        """Return what changes whenever the session file is written to or replaced. Blocks for a moment."""

    def link(self, number: int, holds: tuple[Hold, ...]) -> Link:
        """Return a link that is not open yet, and that sends no request of a kind that is held."""

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Call ``hear`` from now on with what keeps the account's session from being written, and when it is again."""

    async def deliver(self) -> None:
        """Give what arrives to the account's handlers, for ever; to be cancelled."""

    async def settle(self) -> None:
        """Write down what was delivered and give the session up, when no link is open any more."""


class Turns(Protocol):
    """Says who may connect now."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait for a turn, and keep it until the block ends."""


class Journal(Protocol):
    """Where decisions are written down. Writing is ordered and soon durable; it waits only when it is far behind."""

    async def begin_life(self, account: str, at: float, policy: Policy, snapshot: Snapshot) -> None:
        """Write down where a life begins."""

    async def write(self, account: str, record: Record, snapshot: Snapshot) -> None:
        """Write down a decision and the snapshot it led to."""

    async def save(self, account: str, snapshot: Snapshot) -> None:
        """Write down a snapshot that only routine has changed."""

    async def flush(self) -> None:
        """Return when all that was written is durable."""

    async def snapshots(self) -> Mapping[str, Snapshot]:
        """Return the last snapshot of each account."""


class Clock(Protocol):
    """The time of day."""

    def now(self) -> float:
        """Return Unix time in seconds."""


class Observer(Protocol):
    """Hears of every decision, after it was journalled."""

    def __call__(self, account: str, step: Step) -> None:
        """Look at a decision; must neither wait nor raise."""
