"""Sessions that never lock and never lose: Telethon's own files, in memory for reading, written behind by threads."""

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
from adapters.session.session import HoldfastSession

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
