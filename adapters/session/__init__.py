"""Sessions that never lock and never lose: Telethon's own files, read from memory, written behind by threads."""

from typing import TYPE_CHECKING

from states.lazy_names import lazy_names

if TYPE_CHECKING:
    from adapters.session.errors import (
        NotASession,
        SessionDamaged,
        SessionError,
        SessionHeld,
        SessionNotSaved,
        SessionReplaced,
        SessionTooNew,
    )
    from adapters.session.holdfast_session import HoldfastSession
    from adapters.session.owner import Owner, OwnerLock, owner_of

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

_HOMES = {
    "adapters.session.errors": (
        "NotASession",
        "SessionDamaged",
        "SessionError",
        "SessionHeld",
        "SessionNotSaved",
        "SessionReplaced",
        "SessionTooNew",
    ),
    "adapters.session.owner": ("Owner", "OwnerLock", "owner_of"),
    "adapters.session.holdfast_session": ("HoldfastSession",),
}
"""The module of each name, which is imported when the name is first asked for: most need no Telethon."""

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's
    __getattr__ = lazy_names(__name__, _HOMES)
