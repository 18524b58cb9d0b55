"""Protocols of the store that the parent of workers needs. Adapters match them without importing them."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class LivingLife(Protocol):
    """A life of a node that is not over."""

    @property
    def life(self) -> int:
        """Its number."""


class HoldLine(Protocol):
    """One connection to the store. Raises ``engine.node.ports.StoreSilent``."""

    async def living(self) -> Sequence[LivingLife]:
        """Return the lives that are not over."""

    async def owned(self, life: int) -> Mapping[str, int]:
        """Return the accounts of a life, each with its epoch."""

    async def withhold(self, marks: Mapping[str, str], seconds: float) -> Mapping[str, str]:
        """Withhold accounts from all nodes for a time, and return a mark of each; their owners give them up.

        ``marks`` has the accounts, each with the mark of before or an empty one. What somebody else withholds is left
        out.
        """

    async def release_withheld(self, marks: Mapping[str, str]) -> None:
        """Let nodes have these accounts again, each by its mark."""

    def close(self) -> None:
        """Close the connection."""


class HoldStore(Protocol):
    """The store of all nodes."""

    async def connect(self) -> HoldLine:
        """Return a new connection."""
