"""Sessions that never lock and never lose: Telethon's own files, read from memory, written behind by threads."""

from typing import TYPE_CHECKING, Any

from adapters.session.errors import (
    NotASession,
    SessionDamaged,
    SessionError,
    SessionHeld,
    SessionNotSaved,
    SessionReplaced,
    SessionTooNew,
)
from adapters.session.owner import Owner, OwnerLock, owner_of

if TYPE_CHECKING:
    from adapters.session.holdfast_session import HoldfastSession

__all__ = [
    "HoldfastSession",
    "NotASession",
    "Owner",
    "OwnerLock",
    "SessionDamaged",
    "SessionError",
    "SessionHeld",
    "SessionNotSaved",
    "SessionReplaced",
    "SessionTooNew",
    "owner_of",
]


def __getattr__(name: str) -> Any:
    """Import ``HoldfastSession`` on first use: Telethon takes a second to import, and inspection does not need it."""
    if name == "HoldfastSession":
        from adapters.session.holdfast_session import HoldfastSession  # noqa: PLC0415  # as above

        return HoldfastSession
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
