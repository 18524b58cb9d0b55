"""The section ``remote``: which other programs on this machine may send requests through the engine, and which."""

import re
from typing import Any, Final

from attrs import field, frozen

from engine.config.outline import MAX_INT

_METHOD: Final = re.compile(r"[A-Za-z0-9_.*?]{1,100}")
_METHOD_FORM: Final = "the name of a method of Telegram's API, such as messages.getHistory, or a pattern: messages.get*"


def _are_methods(_: Any, attribute: Any, value: tuple[str, ...]) -> None:
    for each in value:
        if not _METHOD.fullmatch(each):
            raise ValueError(f"{attribute.name} must be {_METHOD_FORM}, or a list of these")


def _within(smallest: int) -> Any:
    def check(_: Any, attribute: Any, value: float) -> None:
        if not smallest <= value <= MAX_INT:
            raise ValueError(f"{attribute.name} must be from {smallest} to {MAX_INT}")

    return check


@frozen(kw_only=True)
class RemoteProgram:
    """What one program may do. It may do nothing that is not written here, and never what would harm the engine."""

    accounts: tuple[str, ...] = ()
    """The accounts that it may use: a name, a pattern such as ``News *``, or a list of these."""
    methods: tuple[str, ...] = field(default=(), validator=_are_methods)
    """The requests that it may send, by their names in Telegram's API: a name, a pattern such as ``messages.get*``, or
    a list of these."""
    updates: bool = False
    """Whether it may have the updates of these accounts."""


@frozen(kw_only=True)
class RemoteSection:
    """The programs, and how much is kept of the updates that one of them has not acknowledged yet."""

    programs: dict[str, RemoteProgram] = field(factory=dict)
    """The programs, each by the name that it gives itself. Left out, no program may do anything."""
    keep_for: float = field(default=86_400.0, validator=_within(1))
    """How long an update waits for a program that is away."""
    keep_updates: int = field(default=10_000, validator=_within(100))
    """How many updates of one account wait at most; the oldest fall out."""
    keep_megabytes: int = field(default=64, validator=_within(1))
    """How many megabytes they may have, of one account."""
