"""What a store says of its nodes and of their accounts: values for commands, the page and the screen, on any host."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from attrs import define, field, frozen

OF_WORKERS: Final = "#"
"""Stands between the name of a node and the number of one of its workers, and so in no name that a person gives."""
STOPPED: Final = "the node was stopped"
"""Why a life has ended whose node was stopped in an orderly way."""


class NodeState(StrEnum):
    """What the store has of the life of a node. Whether one that lives is silent only its beats tell."""

    ALIVE = "alive"
    DRAINING = "draining"
    """It gives its accounts away and takes none, until it is resumed or starts again."""
    DEAD = "dead"


@frozen(kw_only=True)
class NodeRecord:
    """A life of a node, as the store has it."""

    life: int
    name: str
    host: str
    epoch: int
    """The number of this life among those with its name."""
    beat: int
    state: NodeState
    lease: float
    """Seconds without a beat after which another node declares it dead."""
    accounts_at_most: int | None
    accounts: int
    """How many accounts it owns."""
    jobs: int
    """How many jobs run there."""
    started_at: float
    """When the life began, by the server's clock (Unix seconds)."""
    ended_at: float | None = None
    ended_why: str | None = None
    details: Mapping[str, Any] = field(factory=dict)
    """What it says of itself: ``version``, ``pid``, and ``config``, a digest of each section that all should agree on.

    Other versions may say something else.
    """

    @property
    def lives(self) -> bool:
        """Whether the store takes it for alive: it may be silent."""
        return self.state is not NodeState.DEAD

    @property
    def was_stopped(self) -> bool:
        """Whether it was stopped in an orderly way, and has not begun another life."""
        return not self.lives and self.ended_why == STOPPED


@frozen(kw_only=True)
class AccountPlace:
    """An account as the store has it: which node owns it, and where it is to go."""

    name: str
    hosts: str
    """The hosts on which it may be."""
    life: int | None
    """The life that owns it and is not over; None if none does."""
    node: str | None
    """The name of that node."""
    host: str | None
    epoch: int
    """The number of this ownership."""
    move_to: str | None = None
    """The node to which a person wants it to go."""
    taken_to: str | None = None
    """The file to which its session was taken: no node can have the account until it is brought back."""
    last_host: str | None = None
    """Where it was connected last."""


@define
class BeatWatch:
    """How long ago the beats of living nodes were seen to change, by the watching process's own clock.

    One look tells nothing: the store keeps the number of a beat and no time, because a clock that was set would lie.
    """

    _began: float | None = field(default=None, init=False)
    _beats: dict[int, int] = field(factory=dict, init=False)
    _changed: dict[int, float] = field(factory=dict, init=False)

    def look(self, now: float, nodes: Iterable[NodeRecord]) -> None:
        """Note what the store says at ``now``, in seconds of a clock that is not set."""
        if self._began is None:
            self._began = now
        living = {node.life: node.beat for node in nodes if node.lives}
        for life, beat in living.items():
            if life in self._beats and beat != self._beats[life]:
                self._changed[life] = now
        self._beats = living

    def age(self, life: int, now: float) -> float | None:
        """Return the seconds since a beat of a life was seen; None if none has been seen yet."""
        at = self._changed.get(life)
        return None if at is None else now - at

    def silent_for(self, life: int, now: float) -> float:
        """Return how long, at least, a life has been silent: since its last beat, or since the first look."""
        return now - self._changed.get(life, now if self._began is None else self._began)

    def unseen(self) -> frozenset[int]:
        """Return the living lives of which no beat has been seen yet."""
        return frozenset(self._beats.keys() - self._changed.keys())
