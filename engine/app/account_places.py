"""Where the accounts are that other nodes have, for programs that ask this one. A composition root."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
from attrs import frozen

from adapters.sqlite.errors import StorageError
from engine.app.node_details import this_machine
from engine.app.records import StoragePlace
from engine.app.stored_fleet import open_fleet
from engine.console.safe_text import one_line
from engine.remote.ports import Whereabouts
from states.nodes import AccountPlace, NodeRecord

READ_SECONDS: Final = 5.0
"""How long the store may take to say where an account is."""
MAX_PEERS: Final = 16
MAX_NAME: Final = 64


@frozen
class AccountPlaces:
    """Reads in the store of all nodes which of them has an account."""

    place: StoragePlace
    directory: str
    """The data directory of this engine, absolute."""

    async def of(self, account: str) -> Whereabouts:
        """Return where an account is, as far as the store says it."""
        found: tuple[AccountPlace | None, Sequence[NodeRecord]] | None = None
        with anyio.move_on_after(READ_SECONDS):
            found = await anyio.to_thread.run_sync(partial(self._read, account), abandon_on_cancel=True)
        if found is None:
            return Whereabouts(f"this node does not have {account}, and the store does not say which one has it")
        place, nodes = found
        owner = next((node for node in nodes if place is not None and node.lives and node.life == place.life), None)
        if owner is None:
            return Whereabouts(f"no node has {account} now; one takes it in a moment, unless 'nodes' says otherwise")
        name, host = one_line(owner.name, MAX_NAME), one_line(owner.host, MAX_NAME)
        there = self._directory_of(owner)
        if there is not None:
            return Whereabouts(f"{account} is at node {name} now, whose data directory is {one_line(there)}", there)
        remedy = "start the program there, or bring the account with 'move'"
        return Whereabouts(f"{account} is at node {name} now, on host {host}: {remedy}")

    async def peers(self) -> Sequence[str]:
        """Return the data directories of living nodes on this machine, this one's not among them."""
        found: tuple[AccountPlace | None, Sequence[NodeRecord]] | None = None
        with anyio.move_on_after(READ_SECONDS):
            found = await anyio.to_thread.run_sync(partial(self._read, None), abandon_on_cancel=True)
        nodes = () if found is None else found[1]
        there = [self._directory_of(node) for node in nodes if node.lives]
        return [each for each in there if each is not None][:MAX_PEERS]

    def _read(self, account: str | None) -> tuple[AccountPlace | None, Sequence[NodeRecord]] | None:
        try:
            opened = open_fleet(self.place)
            if opened is None:
                return None
            with opened as fleet:
                places = {} if account is None else fleet.accounts([account])
                return (None if account is None else places.get(account)), fleet.nodes()
        except StorageError:
            return None

    def _directory_of(self, node: NodeRecord) -> str | None:
        """Return the data directory of another node if it is on this machine."""
        match node.details:
            case {"machine": str(machine), "directory": str(directory)} if machine == this_machine():
                return directory if directory != self.directory else None
        return None
