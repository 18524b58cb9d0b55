"""Protocols of the outside world that a node needs. Adapters match them without importing them; tests use fakes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from states.assignment import GroupView, NodeView


class StoreSilent(Exception):
    """The store does not answer, or cannot be used; the text is a sentence. Its line is not to be used any more."""


class LifeOver(Exception):
    """The store says that a life has ended that was to begin."""


class NameTaken(Exception):
    """Another life with this node's name is not over; the text is a sentence.

    It may be that of a process of before, on this machine or another: its beat says whether it goes on.
    """

    def __init__(self, sentence: str, *, life: int, beat: int, server: str) -> None:
        super().__init__(sentence)
        self.life, self.beat, self.server = life, beat, server


class BeatReport(Protocol):
    """What the store answers to a beat, all as of one instant."""

    @property
    def draining(self) -> bool:
        """Whether somebody asked the node to give its accounts away."""

    @property
    def server(self) -> str:
        """Which server answered, in which of its starts and on which timeline."""

    @property
    def settled(self) -> bool:
        """Whether somebody has noted that this server is settled."""

    @property
    def others(self) -> Mapping[int, int]:
        """The beats of the other living lives."""

    @property
    def accounts(self) -> int:
        """How many accounts the life owns."""

    @property
    def epochs(self) -> int:
        """The sum of their epochs."""

    @property
    def has_free(self) -> bool:
        """Whether there is an account that the node might claim."""

    @property
    def has_moves(self) -> bool:
        """Whether an account of the life is to go to another node."""


class ClaimedView(Protocol):
    """An account that a life has claimed."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def epoch(self) -> int:
        """The number of this ownership."""

    @property
    def last_host(self) -> str | None:
        """Where it was connected before; None if nowhere yet."""


class StoreLine(Protocol):
    """One connection to the store, for one task at a time. Every call may raise ``StoreSilent``.

    A call that is given up may have been carried out, or be later: all may simply be called again.
    """

    async def begin(self, life: int, *, ends: int) -> None:
        """Begin a life under this number, and end ``ends`` (0: none) with it. Raises ``NameTaken`` and ``LifeOver``."""

    async def beat(self, life: int) -> BeatReport | None:
        """Beat once; None if the life is over."""

    async def end(self, life: int, why: str) -> bool:
        """End a life of this node, whose links are closed."""

    async def declare_dead(self, life: int, beat: int, server: str) -> bool:
        """End a life on condition that it has this beat still, and that this server answers; return whether it did."""

    async def note_settled(self, server: str) -> bool:
        """Note that a server is settled, on condition that it answers."""

    async def owned(self, life: int) -> Mapping[str, int]:
        """Return the accounts of a life, each with its epoch."""

    async def living(self) -> Sequence[NodeView]:
        """Return the nodes that are not dead."""

    async def groups(self) -> Sequence[GroupView]:
        """Return how many accounts of each pattern of hosts there are, and whose."""

    async def free_accounts_of_the_dead(self) -> int:
        """Free the accounts of lives that are over."""

    async def claim(self, life: int, server: str, up_to: Mapping[str, int]) -> Sequence[ClaimedView]:
        """Give a life so many free accounts of each pattern, on condition that it lives and this server answers."""

    async def awaited(self, life: int) -> Mapping[str, int]:
        """Return how many free accounts of each pattern are to go to the node of a life, and to no other."""

    async def moving(self, life: int) -> Collection[str]:
        """Return the accounts of a life that are to go to another node."""

    async def release(self, life: int, accounts: Mapping[str, int]) -> Collection[str]:
        """Free accounts of a life whose links are closed, each on condition of its epoch.

        A release that was given up may be carried out after the life has claimed the account once more.
        """

    def close(self) -> None:
        """Close the connection, whatever is under way on it. Does not wait, and never raises."""


class NodeStore(Protocol):
    """The store of all nodes."""

    async def connect(self) -> StoreLine:
        """Return a new connection; has a deadline of its own. Raises ``StoreSilent``."""


class NodeWork(Protocol):
    """What a node does for its accounts: links, jobs, all that uses their logins."""

    def take(self, account: str, epoch: int, last_host: str | None) -> None:
        """Begin to act for an account. Must neither wait nor raise."""

    def abort(self, accounts: Collection[str]) -> None:
        """Drop all connections of these accounts now, and begin none for them. Must neither wait nor raise."""

    def abort_all(self) -> None:
        """Drop all connections of all accounts now, and begin none. Must neither wait nor raise."""

    async def gone(self) -> None:
        """Return when nothing acts for an account that was aborted."""

    async def give_up(self, accounts: Collection[str]) -> None:
        """End all that is done for these accounts as at a normal stop; what they wrote is in the store on return."""

    def idle(self, hosts: str) -> Sequence[str]:
        """Return the accounts with this pattern of hosts, those first that would be missed least."""

    def busy(self) -> Collection[str]:
        """Return the accounts with which something is done that would have to be begun again elsewhere."""


class DeadMan(Protocol):
    """Ends this process at a deadline, whatever it is doing."""

    def arm(self, at: float) -> None:
        """End it at ``at``, by the node's clock, instead of when it was to end before. Raises if nothing would."""

    def disarm(self) -> None:
        """Let it live."""

    def close(self) -> None:
        """Disarm, and give back what it needs."""


class LeaseClock(Protocol):
    """A clock that cannot be set, and goes on while the machine sleeps."""

    def now(self) -> float:
        """Return seconds since an arbitrary moment."""
