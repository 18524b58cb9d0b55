"""The part of the evidence that is about connections towards the datacenter, and what went over them."""

from enum import StrEnum

from attrs import define


class ConnectionUse(StrEnum):
    """What a connection was used for, as far as its bytes tell."""

    UNKNOWN = "unknown"
    """Refused, or closed before anything was sent."""
    PROBE = "probe"
    """It began a key exchange (``req_pq_multi``) and never went on."""
    ACCOUNT = "account"
    """It sent requests with a key, for an account."""
    MEDIA = "media"
    """It sent requests with a key, only such as are for files, which may go side by side."""
    LOGIN = "login"
    """It made a new key."""


@define(kw_only=True)
class ConnectionSeen:
    """One TCP connection towards the datacenter, from the first SYN."""

    number: int
    life: int
    """The engine's life that began it; 0 for a connection of another program."""
    began: float
    """When the engine's side asked for it."""
    account: str = ""
    """Whose it is; empty if neither port nor key tells."""
    key: str = ""
    """The key that its first encrypted message was sent with, as any stable text; empty if there was none."""
    use: ConnectionUse = ConnectionUse.UNKNOWN
    route: str = ""
    """The address that was called."""
    accepted: float | None = None
    """When the datacenter's side accepted; None if it did not."""
    first_request: float | None = None
    """When the first request with ``key`` arrived at the datacenter."""
    answered: float | None = None
    """When the first answer to such a request was delivered to the engine's side."""
    last_request: float | None = None
    """When the last request with ``key`` arrived at the datacenter."""
    closed: float | None = None
    """When the engine's side closed it, or its socket ended by a reset."""
    given_up: bool = False
    """Whether the engine's side closed it by itself: nothing had told it that the link is over."""


@define(kw_only=True)
class RequestSeen:
    """One request (of a container: each) that arrived at the datacenter, decrypted."""

    at: float
    connection: int
    account: str
    method: str
    """As ``messages.sendMessage``."""
    key: str = ""
    sent: float | None = None
    """When the engine's side sent it, or a little before; None: as it arrived."""


@define(kw_only=True)
class FloodDemand:
    """The datacenter demanded a wait (420, or −429 with ``seconds`` 0)."""

    at: float
    account: str
    method: str
    """The request that met it; empty for one that met the connection as a whole."""
    seconds: float
    connection: int
    delivered: float | None = None
    """When the answer was delivered to the engine's side; None if it never was."""


@define(kw_only=True)
class DeadKey:
    """A key that the datacenter refuses for good: revoked, destroyed, its account banned."""

    key: str
    account: str
    at: float
    """From when on it is refused."""
    why: str
    """As ``AUTH_KEY_UNREGISTERED``."""
    by_fault: bool = True
    """Whether a fault of the story has killed it; otherwise it was destroyed for its use."""
    told: float | None = None
    """When a refusal was first delivered to the engine's side."""
