"""What the door needs from the rest of the engine."""

from collections.abc import Sequence
from typing import Any, Protocol

from attrs import frozen

from engine.remote.frames import FailureKind, RemoteFailure


class NotCarriedOut(Exception):
    """A request has no answer, and why."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.failure = RemoteFailure(kind, text)


class Call(Protocol):
    """A request of a program."""

    @property
    def methods(self) -> Sequence[str]:
        """The methods that it asks for, by their names in Telegram's API: itself, and what is wrapped in it."""

    async def send(self, client: Any, datacenter: int) -> bytes:
        """Send it with an account's client to a datacenter (0: the account's own); return the answer in TL.

        Raises whatever the client raises.
        """


class Calls(Protocol):
    """Reads what programs send, and says what became of it."""

    @property
    def layer(self) -> int:
        """The version of Telegram's protocol that the engine speaks."""

    def read(self, body: bytes) -> Call:
        """Return the request in a body. Raises ``ValueError``, whose text says why it is none or never allowed."""

    def failure_of(self, exc: BaseException) -> tuple[str, int, str]:
        """Return what an exception of ``Call.send`` means: a ``FailureKind``, a code and a text."""


@frozen
class Whereabouts:
    """Where an account is that this engine does not have: in a sentence, and the data directory of the engine there."""

    sentence: str
    directory: str | None = None
    """None if it is on another machine, or nobody has the account now."""


class Accounts(Protocol):
    """The accounts of the engine."""

    @property
    def names(self) -> Sequence[str]:
        """Their names."""

    def datacenter(self, account: str) -> int:
        """Return the number of the datacenter in which an account lives; 0 if it is not known yet."""

    async def elsewhere(self, account: str) -> Whereabouts | None:
        """Return where an account is that another engine may have; None if this one has it."""

    async def peers(self) -> Sequence[str]:
        """Return the data directories of other engines on this machine that may have the accounts at another time."""

    async def client(self, account: str) -> Any:
        """Wait for the client of an account. Raises ``NotCarriedOut`` if no waiting helps."""
