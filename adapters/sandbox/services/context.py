"""What a service is given: the caller of the request, the state that all requests share, and room for pushes."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from attrs import define, field, frozen

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.mtproto.cipher import AuthKey
from adapters.sandbox.phones import BOT
from adapters.sandbox.store.channels import ChannelMessage
from adapters.sandbox.store.database import PrivateMessage, SandboxStore, StoredAccount
from adapters.sandbox.store.events import ChatEvent
from adapters.sandbox.store.logins import PendingLogins

MAX_SLICE: Final = 100
"""The most messages, or chats, in one answer."""
MAX_MISSED: Final = 100_000
MAX_MISSED_IN_CHANNEL: Final = 10_000


@define
class LookupLimit:
    """How many usernames each account may look up, and the flood wait after that."""

    per_account: int
    wait: int
    counts: dict[int, int] = field(factory=dict)

    def charge(self, account: int) -> None:
        """Count a look-up. Raises RpcRefusal if it is one too many."""
        self.counts[account] = self.counts.get(account, 0) + 1
        if self.counts[account] > self.per_account:
            raise RpcRefusal(420, f"FLOOD_WAIT_{self.wait}")


@define
class ServiceContext:
    """What all requests share."""

    store: SandboxStore
    dc_id: int
    """The main datacenter, which is always open."""
    clock: Callable[[], float]
    addresses: Callable[[], dict[int, tuple[str, int]]]
    """The address of each open datacenter, for help.getConfig."""
    max_missed: int = MAX_MISSED
    """A client that missed more messages than this gets differenceTooLong instead of them."""
    max_missed_in_channel: int = MAX_MISSED_IN_CHANNEL
    lookups: LookupLimit | None = None
    exported: dict[bytes, int] = field(factory=dict)
    """Logins on their way to another datacenter: the account of each token that was given out and not used."""
    frozen: dict[int, Any] = field(factory=dict)
    """The accounts that are frozen, by id, each with its ``limits.Freeze``."""
    logins: PendingLogins = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.logins = PendingLogins(self.clock)

    def home_dc(self, name: str) -> int:
        """Return the datacenter where an account, by its normalised name, lives.

        For a number it is the one of its digit X, for a bot the one that it was made for. If that one is not open, it
        is the main one.
        """
        wanted = self.store.credentials.bot_home(int(name.removeprefix(BOT))) if name.startswith(BOT) else int(name[5])
        return wanted if wanted in self.addresses() else self.dc_id

    def key_dc(self, dc_id: int) -> int | None:
        """Return a datacenter as the store knows it: None for the main one."""
        return None if dc_id == self.dc_id else dc_id


@define
class RequestContext:
    """One request: its caller, and what is pushed to others because of it."""

    shared: ServiceContext
    dc_id: int
    """The datacenter that was asked."""
    key: AuthKey
    account: StoredAccount | None
    deliveries: list[PrivateMessage | ChannelMessage | ChatEvent] = field(factory=list)
    notices: list[tuple[int, Any]] = field(factory=list)
    """Updates for clients that wait to be logged in, each with the id of the client's key."""

    @property
    def me(self) -> StoredAccount:
        """Return the account that is logged in. Raises RpcRefusal if none is."""
        if self.account is None:
            raise RpcRefusal(401, "AUTH_KEY_UNREGISTERED")
        return self.account

    @property
    def store(self) -> SandboxStore:
        return self.shared.store

    def now(self) -> datetime:
        return datetime.fromtimestamp(int(self.shared.clock()), UTC)


Handler = Callable[[RequestContext, Any], Any]


@frozen
class Service:
    """A handler, and which callers it answers besides users who are logged in."""

    handle: Handler
    open: bool = False
    """Whether it answers clients that are not logged in."""
    bots: bool = True


def seconds(moment: datetime | None) -> int:
    """Return a date of a request as seconds since the epoch; a missing date is 0, as Telegram writes it."""
    return int(moment.timestamp()) if moment else 0
