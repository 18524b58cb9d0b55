"""Protocols of the outside world that the fleet needs. Adapters match them without importing them; tests use fakes."""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from states import Event, Hold, Policy, Record, Snapshot, Step

DatacenterState = Literal["answers", "accepts", "refuses", "dark"]
"""The datacenter answers; a server accepts the connection but does not answer; a datacenter or a proxy answers that it
does not want us; or there is no connection."""

StatStamp = tuple[tuple[int, int, int, int] | None, ...]
"""What the file system says of a session file, then of the log beside it: device, inode, size in bytes, time of change
in nanoseconds. None stands for a file that does not exist, and an empty stamp for an account without a session file."""


class Link(Protocol):
    """One connection of one client: opened once, always closed. It reports what happens to it as events."""

    @property
    def client(self) -> Any:
        """The Telethon client; None before the link is open."""

    async def open(self, *, timeout: float) -> Sequence[Event]:
        """Connect, and prove the connection, within ``timeout`` seconds; the last event is the outcome."""

    def begin_probe(
        self, *, proof: bool, timeout: float, report: Callable[[Sequence[Event]], None]
    ) -> Callable[[], None]:
        """Ask for a sign of life, without waiting: within ``timeout`` seconds ``report`` gets events on the loop.

        The last event is the outcome. Returns what gives the probe up; nothing is reported after that.
        """

    def watch(self, report: Callable[[Event], None]) -> None:
        """Call ``report``, on the loop, with what happens to the link until it ends by itself; the last is the reason.

        What has happened since it was opened is reported at once.
        """

    def hold(self, request: str, until: float) -> None:
        """Send no request of this kind before ``until`` (Unix seconds)."""

    def fetch_updates(self, patience: float) -> None:
        """Ask for updates that are missing; within ``patience`` seconds an event says whether they are there."""

    def abort(self) -> None:
        """Drop all connections at once, also those that are being made; ``close`` it as always. Never raises."""

    async def close(self, *, timeout: float) -> None:
        """Close the link within about ``timeout`` seconds; never raises."""


class Connector(Protocol):
    """Makes the links of one account."""

    @property
    def route(self) -> Hashable:
        """The account's way to the datacenter: its address and the proxy.

        Accounts with an equal route reach it together, or not at all.
        """

    async def probe_datacenter(self, *, timeout: float) -> DatacenterState:
        """Check, without the account, whether the datacenter answers at all within ``timeout`` seconds."""

    async def credentials(self) -> str:
        """Return a fingerprint of the account's credentials; empty if there are none."""

    def session_stamp(self) -> StatStamp:
        """Return what changes whenever the session file is written to or replaced. Blocks for a moment."""

    def link(self, number: int, holds: tuple[Hold, ...]) -> Link:
        """Return a link that is not open yet, and that will send no request of a kind in ``holds``."""

    def listen(self, observer: Callable[[Event], None]) -> None:
        """Call ``observer`` when the account's session cannot be written, and when it can be written again."""

    def deliver(self, start: Callable[[Callable[[], Awaitable[None]]], object] | None) -> None:
        """Pass updates to the account's handlers, in tasks that ``start`` starts when there are some.

        With None, pass no more: the owner of those tasks ends.
        """

    def memory_use(self) -> Mapping[str, Any]:
        """Return what the account has in memory: counts, and ``bytes``, which are estimated. Cheap."""

    async def settle(self) -> None:
        """Store which updates were delivered, and release the session; no link may be open."""


class Limiter(Protocol):
    """Limits how many accounts connect at once."""

    def turn(self) -> AbstractAsyncContextManager[object]:
        """Wait for a turn, and keep it until the block ends."""


class Journal(Protocol):
    """Stores decisions, in order and durable after a moment. A call waits only when the journal is far behind."""

    async def begin_life(self, account: str, at: float, policy: Policy, snapshot: Snapshot) -> None:
        """Record where a life begins."""

    def use_policy(self, account: str, policy: Policy) -> None:
        """Note that another policy decides from now on, in the same life."""

    async def write(self, account: str, record: Record, snapshot: Snapshot) -> None:
        """Record a decision and the snapshot that it led to."""

    async def save(self, account: str, snapshot: Snapshot) -> None:
        """Store a snapshot that only routine has changed."""

    async def flush(self) -> None:
        """Return when everything written so far is durable."""

    async def snapshots(self) -> Mapping[str, Snapshot]:
        """Return the last snapshot of each account."""


class Clock(Protocol):
    """The time of day."""

    def now(self) -> float:
        """Return Unix time in seconds."""


class Observer(Protocol):
    """Is called with every decision, after it was journalled."""

    def __call__(self, account: str, step: Step) -> None:
        """Take a decision; must neither wait nor raise."""
