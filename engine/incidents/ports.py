"""Protocols of the outside world that incidents need. Adapters match them without importing them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from states.incidents import Book, Change

Rows = Sequence[Any]
"""Rows for the database, as the adapter that makes them has them."""
Companion = Callable[[Sequence[Change]], Rows]
"""Returns the rows that are to be stored in one transaction with changes: what is to be sent because of them."""
CountJobs = Callable[[], Awaitable[Mapping[str, Mapping[str, int]]]]
"""Returns how many jobs there are, by kind and state."""


class IncidentStorage(Protocol):
    """Stores incidents, in order and durable after a moment; ``flush`` waits for that."""

    async def keep(self, changes: Iterable[Change], also: Rows = ()) -> None:
        """Store changes and other rows in one transaction; a cancelled call has stored nothing."""

    async def keep_all(self, book: Book) -> None:
        """Store all that is open, anew."""

    async def acknowledged(self) -> set[int]:
        """Return which of the open incidents a person knows of, as commands have written it."""

    async def flush(self) -> None:
        """Return when everything written so far is durable."""


class LastingIncidents(IncidentStorage, Protocol):
    """Incidents that an engine goes on with, and that are deleted when they have long been over."""

    async def restore(self, now: float) -> Book:
        """Return the book with which this engine begins: what earlier ones have left open."""

    async def prune(self, before: float) -> int:
        """Delete some of the incidents that were over before ``before`` (Unix seconds); return how many."""
