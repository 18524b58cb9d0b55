"""What a service is given: the request's caller, what all requests share, and where pushes are left."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from adapters.sandbox.channels import ChannelMessage
from adapters.sandbox.cipher import AuthKey
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.logins import Logins
from adapters.sandbox.phones import BOT
from adapters.sandbox.store import Account, Message, Store

SLICE: Final = 100
"""The most messages, or chats, in one answer."""
MOST_MISSED: Final = 100_000
MOST_MISSED_IN_CHANNEL: Final = 10_000


@attrs.define
class Office:
    """What all requests share."""

    store: Store
    dc_id: int
    """The data centre that is always open."""
    clock: Callable[[], float]
    addresses: Callable[[], dict[int, tuple[str, int]]]
    """Where each data centre that is open can be reached, for help.getConfig."""
    most_missed: int = MOST_MISSED
    """A client that missed more messages than this is not told them, but that it is too late."""
    most_missed_in_channel: int = MOST_MISSED_IN_CHANNEL
    logins: Logins = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.logins = Logins(self.clock)

    def home(self, name: str) -> int:
        """The data centre where an account, by its normalised name, lives.

        For a number it is the one of its digit X, for a bot the one that it was made for; where that is not open,
        the one that always is.
        """
        wanted = self.store.credentials.bot_home(int(name.removeprefix(BOT))) if name.startswith(BOT) else int(name[5])
        return wanted if wanted in self.addresses() else self.dc_id

    def place(self, dc_id: int) -> int | None:
        """A data centre as the store names the places of keys."""
        return None if dc_id == self.dc_id else dc_id


@attrs.define
class Call:
    """One request, by whom, and what is to be pushed to others because of it."""

    office: Office
    dc_id: int
    """The data centre that was asked."""
    key: AuthKey
    account: Account | None
    deliveries: list[Message | ChannelMessage] = attrs.field(factory=list)
    notices: list[tuple[int, Any]] = attrs.field(factory=list)
    """Updates for clients that wait to be logged in, each with the id of the client's key."""

    @property
    def me(self) -> Account:
        """The account that is logged in. Raises RpcRefusal when none is."""
        if self.account is None:
            raise RpcRefusal(401, "AUTH_KEY_UNREGISTERED")
        return self.account

    @property
    def store(self) -> Store:
        return self.office.store

    def now(self) -> datetime:
        return datetime.fromtimestamp(int(self.office.clock()), UTC)


Handler = Callable[[Call, Any], Any]


@attrs.frozen
class Service:
    """A handler, and whom it answers besides people who are logged in."""

    handle: Handler
    open: bool = False
    """Clients that are not logged in, too."""
    bots: bool = True


def seconds(moment: datetime | None) -> int:
    """A date of a request as seconds since the epoch; Telegram's 0 is no date, however the reader tells it."""
    return int(moment.timestamp()) if moment else 0
