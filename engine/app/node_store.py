"""The store of all nodes, a PostgreSQL server, as one node sees it; imported for a config with a database alone."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from attrs import define, field

from adapters.postgres.account_commands import CommandRows
from adapters.postgres.accounts import AccountRows
from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreConnection, StoreTimeouts
from adapters.postgres.errors import Fenced, NodeNameTaken, StoreError
from adapters.postgres.nodes import NodeRows
from adapters.stores.nodes import AccountGroup, BeatAnswer, ClaimedAccount, LivingNode, NodeEntry
from engine.control.inbox import StoreAway, StoredCommand
from engine.control.protocol import CommandOutcome
from engine.node.ports import LifeOver, NameTaken, StoreSilent

TIMEOUTS: Final = StoreTimeouts(connect=2.0)
"""A server whose host is gone must cost less than is left of a lease, where the next one of the address answers."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of the store as those of the ports."""
    try:
        yield
    except NodeNameTaken as exc:
        raise NameTaken(str(exc), life=exc.life, beat=exc.beat, server=exc.server) from exc
    except Fenced as exc:
        raise LifeOver(str(exc)) from exc
    except StoreError as exc:
        raise StoreSilent(str(exc)) from exc


@define(eq=False)
class DatabaseNodes:
    """One node's way to the store. Each connection is for one task."""

    address: StoreAddress
    entry: NodeEntry
    """What the node says of itself when it begins a life."""
    timeouts: StoreTimeouts = TIMEOUTS

    async def connect(self) -> "DatabaseLine":
        """Connect. Raises ``StoreSilent``."""
        application = f"holdfast {self.entry.name}"
        with translated():
            connection = await StoreConnection.open(
                self.address, application=application, timeouts=self.timeouts, writes=True
            )
        return DatabaseLine(connection, lambda: self.entry)


@define(eq=False)
class DatabaseLine:
    """One connection: see ``StoreLine`` for what its calls mean."""

    connection: StoreConnection
    entry: Callable[[], NodeEntry]
    """Returns what the node says of itself: a reload changes it."""
    _nodes: NodeRows = field(init=False)
    _accounts: AccountRows = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._nodes, self._accounts = NodeRows(self.connection), AccountRows(self.connection)

    async def begin(self, life: int, *, ends: int) -> None:
        """Begin a life, and end another one with it."""
        with translated():
            await self._nodes.begin(life, self.entry(), ends=ends)

    async def beat(self, life: int) -> BeatAnswer | None:
        """Beat once."""
        with translated():
            return await self._nodes.beat(life)

    async def end(self, life: int, why: str) -> bool:
        """End a life."""
        with translated():
            return await self._nodes.end(life, why)

    async def declare_dead(self, life: int, beat: int, server: str) -> bool:
        """End the life of another node."""
        with translated():
            return await self._nodes.declare_dead(life, beat, server)

    async def note_settled(self, server: str) -> bool:
        """Note that a server is settled."""
        with translated():
            return await self._nodes.note_settled(server)

    async def owned(self, life: int) -> Mapping[str, int]:
        """Return the accounts of a life, with their epochs."""
        with translated():
            return await self._accounts.owned(life)

    async def living(self) -> Sequence[LivingNode]:
        """Return the nodes."""
        with translated():
            return await self._nodes.living()

    async def groups(self) -> Sequence[AccountGroup]:
        """Return the accounts, counted."""
        with translated():
            return await self._accounts.groups()

    async def free_accounts_of_the_dead(self) -> int:
        """Free accounts."""
        with translated():
            return await self._accounts.free_accounts_of_the_dead()

    async def claim(self, life: int, server: str, up_to: Mapping[str, int]) -> Sequence[ClaimedAccount]:
        """Claim accounts."""
        with translated():
            return await self._accounts.claim(life, server, up_to)

    async def awaited(self, life: int) -> Mapping[str, int]:
        """Return how many free accounts are to come to this node."""
        with translated():
            return await self._accounts.awaited(life)

    async def moving(self, life: int) -> Collection[str]:
        """Return the accounts that are to go elsewhere."""
        with translated():
            return await self._accounts.moving(life)

    async def release(self, life: int, accounts: Mapping[str, int]) -> Collection[str]:
        """Free accounts."""
        with translated():
            return await self._accounts.release(life, accounts)

    async def withhold(self, marks: Mapping[str, str], seconds: float) -> Mapping[str, str]:
        """Withhold accounts from all nodes."""
        with translated():
            return await self._accounts.withhold(marks, seconds)

    async def release_withheld(self, marks: Mapping[str, str]) -> None:
        """Let nodes have accounts again."""
        with translated():
            await self._accounts.release_withheld(marks)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


@contextmanager
def _away() -> Iterator[None]:
    """Raise the errors of the store as that of the commands' port."""
    try:
        yield
    except StoreError as exc:
        raise StoreAway(str(exc)) from exc


@define(eq=False)
class DatabaseCommands:
    """Commands from other hosts to the accounts of a life: see ``engine.control.inbox.CommandStore``."""

    address: StoreAddress
    life: Callable[[], int]
    """Returns the life that the node has now."""

    async def connect(self) -> "DatabaseCommandLine":
        """Connect. Raises ``StoreAway``."""
        with _away():
            connection = await StoreConnection.open(self.address, application="holdfast commands", writes=True)
            rows = CommandRows(connection, self.life)
            try:
                await rows.listen()
            except BaseException:
                connection.close()
                raise
        return DatabaseCommandLine(connection, rows)


@define(eq=False)
class DatabaseCommandLine:
    """One connection: see ``CommandLine`` for what its calls mean."""

    connection: StoreConnection
    rows: CommandRows

    async def due(self) -> Sequence[StoredCommand]:
        """Return the commands that wait."""
        with _away():
            return [StoredCommand(*row) for row in await self.rows.due()]

    async def begin(self, numbers: Collection[int]) -> Collection[int]:
        """Note who carries them out."""
        with _away():
            return await self.rows.begin(numbers)

    async def answer(self, number: int, outcome: CommandOutcome) -> bool:
        """Write an answer."""
        with _away():
            return await self.rows.answer(number, done=outcome.done, said=outcome.said)

    async def notice(self) -> None:
        """Wait for a hint."""
        with _away():
            await self.rows.notice()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
