"""A session that tells the engine's accounts which usernames came in, and believes none that has moved meanwhile."""

from typing import Any

from adapters.session import HoldfastSession
from adapters.telegram.usernames import AccountUsernames, entities_in


class NamingSession(HoldfastSession):
    """A session file that shares what it learns of usernames, if ``usernames`` is there."""

    __slots__ = ("usernames",)

    usernames: AccountUsernames | None

    def process_entities(self, tlo: Any) -> Any:
        """Remember the users and chats that an answer names; one of them may have another's name now."""
        if self.usernames is not None:
            self.usernames.shared.observe(entities_in(tlo))
        return super().process_entities(tlo)

    def get_entity_rows_by_username(self, username: str) -> tuple[int, int] | None:
        """Return id and access hash of the peer with this username, unless it is known to be another's."""
        found = super().get_entity_rows_by_username(username)
        if found is not None and self.usernames is not None and self.usernames.shared.contradict(username, found[0]):
            return None
        return found
