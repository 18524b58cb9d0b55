"""Where a config's nodes and the places of its accounts are read. A composition root."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, Protocol

from engine import paths
from engine.app.records import StoragePlace
from states.lease import LeaseTimes
from states.nodes import AccountPlace, BeatWatch, NodeRecord

if TYPE_CHECKING:  # a command whose config is read in outline needs no more of it
    from engine.config import Config

LOOK_EVERY: Final = 0.2
"""Seconds between two looks at the beats."""
MARGIN: Final = 1.0
"""Seconds for which a beat may be late."""


class StoredFleet(Protocol):
    """Reads which nodes there are, and which of them has each account. Not for an event loop."""

    def nodes(self) -> Sequence[NodeRecord]:
        """Return the living nodes by name, and then those that have ended lately."""

    def accounts(self, names: Sequence[str] | None = None) -> Mapping[str, AccountPlace]:
        """Return where each account is, or each of these, by its name."""


def open_fleet(place: StoragePlace) -> "AbstractContextManager[StoredFleet] | None":
    """Open the nodes of a config for reading, for a block; None if its accounts are of one engine alone.

    Raises ``StorageError``.
    """
    if place.database is None:
        return None
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415 - psycopg is needed for such a config alone
    from adapters.postgres.fleet_reader import FleetReader  # noqa: PLC0415

    return FleetReader.open(StoreAddress.parse(place.database))


def watch_beats(fleet: StoredFleet, name: str | None = None) -> tuple[Sequence[NodeRecord], BeatWatch]:
    """Look until a beat of each living node was seen, or of the one with this name; return the last look.

    One that is silent for a beat's time and a second is not waited for. Raises ``StorageError``.
    """
    watch = BeatWatch()
    while True:
        found = fleet.nodes()
        now = time.monotonic()
        watch.look(now, found)
        living = [each for each in found if each.lives and name in (None, each.name)]
        unseen, silent = watch.unseen(), silent_lives(found, watch, now)
        if not any(each.life in unseen and each.life not in silent for each in living):
            return found, watch
        time.sleep(LOOK_EVERY)


def silent_lives(nodes: Sequence[NodeRecord], watch: BeatWatch, now: float) -> Mapping[int, float]:
    """Return the lives that the store takes for alive and that have not beaten for longer than they may, and how long.

    What they have stored of their accounts is no more than what was known last.
    """
    waited = {each.life: watch.silent_for(each.life, now) for each in nodes if each.lives}
    return {each.life: waited[each.life] for each in nodes if each.lives and waited[each.life] >= beat_time(each.lease)}


def beat_time(lease: float) -> float:
    """Return the seconds within which a living node with this lease beats."""
    try:
        return LeaseTimes.of(lease).beats_apart_at_most + MARGIN
    except ValueError:
        return LeaseTimes().beats_apart_at_most + MARGIN


def open_nodes(config: "Config") -> "AbstractContextManager[StoredFleet] | None":
    """Open the nodes of a config for reading, also if they are workers that share a file.

    None if the accounts are of one engine alone. Raises ``StorageError``.
    """
    if config.storage.database is not None or config.node.workers == 1:
        return open_fleet(config.storage)
    from adapters.sqlite.fleet_reader import FileFleetReader  # noqa: PLC0415 - as above

    return FileFleetReader.open(config.storage.directory / paths.DATABASE)


def drain_node(place: StoragePlace, name: str, *, drain: bool) -> bool | None:
    """Ask a node to give its accounts away and to take none, or take that back; return whether it lives.

    None if no node was ever called so. Raises ``StorageError``.
    """
    if place.database is None:
        from adapters.sqlite import node_commands as of_file  # noqa: PLC0415 - as above

        return of_file.drain(place.directory / paths.DATABASE, name, drain=drain)
    from adapters.postgres import node_commands  # noqa: PLC0415 - as above
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415

    return node_commands.drain(StoreAddress.parse(place.database), name, drain=drain)


def move_account(place: StoragePlace, account: str, to: str) -> str | None:
    """Ask for an account to go to a node; return why that cannot be, None if it is on its way or there.

    Raises ``StorageError``.
    """
    if place.database is None:
        from adapters.sqlite import node_commands as of_file  # noqa: PLC0415 - as above

        return of_file.move(place.directory / paths.DATABASE, account, to)
    from adapters.postgres import node_commands  # noqa: PLC0415 - as above
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415

    return node_commands.move(StoreAddress.parse(place.database), account, to)
