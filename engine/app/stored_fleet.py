"""Where a config's nodes and the places of its accounts are read. A composition root."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from engine.app.records import StoragePlace
from states.nodes import AccountPlace, NodeRecord


class StoredFleet(Protocol):
    """Reads which nodes there are, and which of them has each account. Not for an event loop."""

    def nodes(self) -> Sequence[NodeRecord]:
        """Return the living nodes by name, and then those that have ended lately."""

    def accounts(self) -> Mapping[str, AccountPlace]:
        """Return where each account is, by its name."""


def open_fleet(place: StoragePlace) -> "AbstractContextManager[StoredFleet] | None":
    """Open the nodes of a config for reading, for a block; None if its accounts are of one engine alone.

    Raises ``StorageError``.
    """
    if place.database is None:
        return None
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415 - psycopg is needed for such a config alone
    from adapters.postgres.fleet_reader import FleetReader  # noqa: PLC0415

    return FleetReader.open(StoreAddress.parse(place.database))
