"""What each program may do by the config, and how much of it at a time."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Final

import anyio
from attrs import define, field

from engine.config.remote import RemoteProgram, RemoteSection
from engine.console.format import nearest
from engine.console.names import addressed, named
from engine.remote.frames import FailureKind
from engine.remote.ports import NotCarriedOut

MAX_CONNECTIONS: Final = 256
"""Of all programs together."""
MAX_OF_PROGRAM: Final = 16
"""Connections of one program."""
MAX_IN_FLIGHT: Final = 32
"""Requests of one program that are under way at the same time. What it sends beyond that is not read meanwhile."""


class NotAdmitted(Exception):
    """A program is not let in; the text says why. ``later`` is whether it may try again by itself."""

    def __init__(self, sentence: str, *, later: bool = False) -> None:
        super().__init__(sentence)
        self.later = later


@define(eq=False)
class Seat:
    """The place of one program, which all of its connections share."""

    name: str
    slots: anyio.Semaphore = field(factory=lambda: anyio.Semaphore(MAX_IN_FLIGHT), init=False)
    connections: int = 0


@define(eq=False)
class Programs:
    """The programs of the config, and those that are connected."""

    section: Callable[[], RemoteSection]
    """Returns the section of the config as it is now."""
    _seats: dict[str, Seat] = field(factory=dict, init=False)

    def admit(self, name: str, account: str, names: Sequence[str]) -> tuple[Seat, str]:
        """Give a program its seat, for an account that it names; return the account's own name.

        Raises ``NotAdmitted``.
        """
        known = self.section().programs
        if name not in known:
            there = nearest(name, known) if known else "it names no program at all"
            raise NotAdmitted(f"the config lets no program {name!r} use the engine (remote.programs); {there}")
        if (found := named(names, account)) is None:
            raise NotAdmitted(f"the engine has no account {account!r}; {nearest(account, names)}")
        if not self.may_use(name, found, names):
            raise NotAdmitted(f"the program {name!r} may not use {found}; see remote.programs.{name}.accounts")
        if sum(seat.connections for seat in self._seats.values()) >= MAX_CONNECTIONS:
            raise NotAdmitted(f"{MAX_CONNECTIONS} programs are connected already", later=True)
        seat = self._seats.setdefault(name, Seat(name))
        if seat.connections >= MAX_OF_PROGRAM:
            raise NotAdmitted(f"the program {name!r} has {MAX_OF_PROGRAM} connections already", later=True)
        seat.connections += 1
        return seat, found

    def leave(self, seat: Seat) -> None:
        """Take a seat back."""
        seat.connections -= 1
        if not seat.connections:
            self._seats.pop(seat.name, None)

    def program(self, name: str) -> RemoteProgram:
        """Return what a program may do now: nothing, if the config names it no more."""
        return self.section().programs.get(name) or RemoteProgram()

    def may_use(self, name: str, account: str, names: Sequence[str]) -> bool:
        """Return whether a program may use an account."""
        return account in addressed(names, self.program(name).accounts)

    def may_have_updates(self, name: str, account: str, names: Sequence[str]) -> bool:
        """Return whether a program may have the updates of an account."""
        return self.program(name).updates and self.may_use(name, account, names)

    def check(self, name: str, account: str, names: Sequence[str], methods: Sequence[str]) -> None:
        """Raise ``NotCarriedOut`` if a program may not use an account, or one of these methods, now."""
        if not self.may_use(name, account, names):
            raise NotCarriedOut(FailureKind.REFUSED, f"the program {name!r} may not use {account}")
        allowed = self.program(name).methods
        for method in methods:
            if not any(fnmatchcase(method, pattern) for pattern in allowed):
                raise NotCarriedOut(
                    FailureKind.REFUSED,
                    f"{method} is not among the methods that {name!r} may use; see remote.programs.{name}.methods",
                )
