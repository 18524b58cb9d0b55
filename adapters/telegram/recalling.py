"""What a client knows of users and chats: bounded in memory, and read from the session file in a thread."""

from collections.abc import Container
from typing import Any, Final

from telethon import TelegramClient
from telethon._updates import Entity, EntityCache

from adapters.session import HoldfastSession

MAX_KNOWN: Final = 4_000
"""Users and chats in Telethon's own cache, which forgets nothing by itself below 5,000, and then nearly everything."""


class RecentEntities(EntityCache):  # type: ignore[misc]  # Telethon ships no types
    """Telethon's cache of access hashes, which forgets the oldest quarter when it is full; the session has them all.

    The user and the channels whose updates are counted stay: Telethon asks nobody else for their hashes.
    """

    def __init__(self, counted: Container[Any]) -> None:
        super().__init__({})
        self._counted = counted

    def extend(self, users: Any, chats: Any) -> None:
        """Remember these users and chats."""
        super().extend(users, chats)
        self._bound()

    def put(self, entity: Entity) -> None:
        """Remember one."""
        super().put(entity)
        self._bound()

    def _bound(self) -> None:
        if (excess := len(self.hash_map) - MAX_KNOWN) <= 0:
            return
        spare = [number for number in self.hash_map if number != self.self_id and number not in self._counted]
        for number in spare[: excess + MAX_KNOWN // 4]:
            del self.hash_map[number]


async def recall(session: Any, *keys: Any) -> None:
    """Have a session know what its file says of these peers, if it has such a file. Raises as the session does."""
    if isinstance(session, HoldfastSession):
        await session.recall(*keys)


class RecallingClient(TelegramClient):  # type: ignore[misc]  # as above
    """A client whose questions to the session file are put in a thread, where the loop does not wait for the disk.

    A file that cannot be read raises: "not found" would have Telethon ask the network, for every peer.
    """

    __slots__ = ()

    async def get_input_entity(self, peer: Any) -> Any:
        """Return the input entity of a peer, as Telethon does."""
        await recall(self.session, peer)
        return await super().get_input_entity(peer)

    async def _get_entity_from_string(self, string: str) -> Any:
        await recall(self.session, string)
        return await super()._get_entity_from_string(string)

    async def _recall_counted(self) -> None:
        """Have the session know whatever a connection begins with: the user, and the channels that have a count."""
        user = getattr(self.session, "user", None)
        channels = (number for number, _ in self.session.get_update_states() if number)
        await recall(self.session, 0, *(() if user is None else (user,)), *channels)
