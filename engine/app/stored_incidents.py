"""Where a config's incidents are: in the engine's own file, or in the database of many nodes. A composition root."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from engine import paths
from states.incident import Incident

if TYPE_CHECKING:  # only the types
    from engine.app.records import StoragePlace


class StoredIncidents(Protocol):
    """Reads incidents. Not for an event loop."""

    on_unreadable: Callable[[int, str], None]
    """Called for each incident that is left out because its row cannot be read: its number, and why."""

    def incidents(
        self,
        *,
        open_only: bool = False,
        last: int | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> list[Incident]:
        """Return the incidents, oldest first; of ``last`` the newest."""

    def incident(self, number: int) -> Incident | None:
        """Return an incident by its number; None if there is none."""

    def left(self, number: int) -> dict[str, float | None]:
        """Return when each account left an incident; None for one that was in it to its end, or is."""


def open_incidents(place: "StoragePlace") -> AbstractContextManager[StoredIncidents]:
    """Open the incidents for reading, for a block. Raises ``StorageError``, also where no engine has run yet."""
    if place.database is None:
        from adapters.sqlite.incident_reader import IncidentReader  # noqa: PLC0415 - one of the two

        return IncidentReader.open(place.directory / paths.DATABASE)
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415 - psycopg is needed for such a config alone
    from adapters.postgres.incident_reader import PostgresIncidentReader  # noqa: PLC0415

    return PostgresIncidentReader.open(StoreAddress.parse(place.database))


def note_incident(place: "StoragePlace", number: int, now: float) -> tuple[Incident | None, bool]:
    """Note that a person knows of an incident; return it as it is now, and whether that was noted just now.

    None if there is no such incident; one that is over stays as it is. Raises ``StorageError``.
    """
    if place.database is None:
        from adapters.sqlite.incidents import acknowledge  # noqa: PLC0415 - the list needs nothing that writes

        return acknowledge(place.directory / paths.DATABASE, number, now)
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415
    from adapters.postgres.incidents import acknowledge_stored  # noqa: PLC0415

    return acknowledge_stored(StoreAddress.parse(place.database), number, now)
