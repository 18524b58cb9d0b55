"""The lease of a worker over ``engine.db``, as the ports of ``engine.node`` have it. A composition root."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread
from attrs import define, field

from adapters.sqlite.errors import StorageError
from adapters.sqlite.node_accounts import FileAccounts
from adapters.sqlite.node_file import LifeIsOver, NameHeld, NodeFile
from adapters.sqlite.nodes import FileNodes
from adapters.stores.nodes import AccountGroup, BeatAnswer, ClaimedAccount, LivingNode, NodeEntry
from engine.node.ports import LifeOver, NameTaken, StoreSilent


@contextmanager
def translated_of_file() -> Iterator[None]:
    """Raise the errors of the file as those of the ports."""
    try:
        yield
    except NameHeld as exc:
        raise NameTaken(str(exc), life=exc.life, beat=exc.beat, server=exc.server) from exc
    except LifeIsOver as exc:
        raise LifeOver(str(exc)) from exc
    except StorageError as exc:
        raise StoreSilent(str(exc)) from exc


@define(eq=False)
class FileLines:
    """One worker's way to the file. Each connection is for one task."""

    path: Path
    entry: NodeEntry
    """What the worker says of itself when it begins a life."""

    async def connect(self) -> "FileLine":
        """Open the file, which is there. Raises ``StoreSilent``."""
        with translated_of_file():
            file = await anyio.to_thread.run_sync(NodeFile.open, self.path, abandon_on_cancel=True)
        return FileLine(file, lambda: self.entry)


@define(eq=False)
class FileLine:
    """One connection: see ``StoreLine`` for what its calls mean."""

    file: NodeFile
    entry: Callable[[], NodeEntry]
    """Returns what the worker says of itself: a reload changes it."""
    _nodes: FileNodes = field(init=False)
    _accounts: FileAccounts = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._nodes, self._accounts = FileNodes(self.file), FileAccounts(self.file)

    async def begin(self, life: int, *, ends: int) -> None:
        """Begin a life, and end another one with it."""
        with translated_of_file():
            await self._nodes.begin(life, self.entry(), ends=ends)

    async def beat(self, life: int) -> BeatAnswer | None:
        """Beat once."""
        with translated_of_file():
            return await self._nodes.beat(life)

    async def end(self, life: int, why: str) -> bool:
        """End a life."""
        with translated_of_file():
            return await self._nodes.end(life, why)

    async def declare_dead(self, life: int, beat: int, server: str) -> bool:
        """End the life of another worker."""
        with translated_of_file():
            return await self._nodes.declare_dead(life, beat, server)

    async def note_settled(self, server: str) -> bool:
        """Note that a file is settled."""
        with translated_of_file():
            return await self._nodes.note_settled(server)

    async def owned(self, life: int) -> Mapping[str, int]:
        """Return the accounts of a life, with their epochs."""
        with translated_of_file():
            return await self._accounts.owned(life)

    async def living(self) -> Sequence[LivingNode]:
        """Return the workers."""
        with translated_of_file():
            return await self._nodes.living()

    async def groups(self) -> Sequence[AccountGroup]:
        """Return the accounts, counted."""
        with translated_of_file():
            return await self._accounts.groups()

    async def free_accounts_of_the_dead(self) -> int:
        """Free accounts."""
        with translated_of_file():
            return await self._accounts.free_accounts_of_the_dead()

    async def claim(self, life: int, server: str, up_to: Mapping[str, int]) -> Sequence[ClaimedAccount]:
        """Claim accounts."""
        with translated_of_file():
            return await self._accounts.claim(life, server, up_to)

    async def awaited(self, life: int) -> Mapping[str, int]:
        """Return how many free accounts are to come to this worker."""
        with translated_of_file():
            return await self._accounts.awaited(life)

    async def moving(self, life: int) -> Collection[str]:
        """Return the accounts that are to go elsewhere."""
        with translated_of_file():
            return await self._accounts.moving(life)

    async def release(self, life: int, accounts: Mapping[str, int]) -> Collection[str]:
        """Free accounts."""
        with translated_of_file():
            return await self._accounts.release(life, accounts)

    async def withhold(self, marks: Mapping[str, str], seconds: float) -> Mapping[str, str]:
        """Withhold accounts from all workers."""
        with translated_of_file():
            return await self._accounts.withhold(marks, seconds)

    async def release_withheld(self, marks: Mapping[str, str]) -> None:
        """Let workers have accounts again."""
        with translated_of_file():
            await self._accounts.release_withheld(marks)

    def close(self) -> None:
        """Close the connection."""
        self.file.close()
