"""What can be made to hurt, and the switchboard that says whom it hurts now.

A fault acts at one point of a connection's life. The server asks the switchboard at each of those points; it
never looks at a fault itself. A new fault is a new kind, a row in `ACTS_AT` and, if its point is new, one question.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import attrs

from adapters.sandbox.errors import SandboxError
from adapters.sandbox.phones import normalise

LONGEST_FAULT_SECONDS: Final = 24 * 3600.0
MOST_STANDING_FAULTS: Final = 1000


class FaultKind(StrEnum):
    """The faults, named as in a command."""

    RESET = "reset"
    """The connection ends with RST: the client reads ConnectionResetError."""
    CLOSE = "close"
    """The connection ends with FIN: the client reads the end of the stream."""
    BLACKHOLE = "blackhole"
    """Packets are read and thrown away, nothing is sent: a half-open link. It works again when the fault ends."""
    REFUSE = "refuse"
    """Nothing listens: connecting fails with ECONNREFUSED. Connections that exist stay."""
    ACCEPT_THEN_CLOSE = "accept_then_close"
    """Connecting works and the connection is closed at once: a dead backend behind a proxy. Existing ones stay."""


class Point(StrEnum):
    """Where in a connection's life a fault acts."""

    LISTEN = "listen"
    """The listening socket is closed."""
    ACCEPT = "accept"
    """A new connection, before its first byte; on a port shared by all, when its account becomes known."""
    PACKET = "packet"
    """A packet that arrives or is about to be sent."""


ACTS_AT: Final = {
    FaultKind.RESET: Point.PACKET,
    FaultKind.CLOSE: Point.PACKET,
    FaultKind.BLACKHOLE: Point.PACKET,
    FaultKind.REFUSE: Point.LISTEN,
    FaultKind.ACCEPT_THEN_CLOSE: Point.ACCEPT,
}
# These do something at the moment of injection and are over, unless a duration keeps them standing.
ONCE: Final = frozenset({FaultKind.RESET, FaultKind.CLOSE})


def _account(value: str | None) -> str | None:
    return None if value is None else normalise(value)


@attrs.frozen
class Fault:
    """One fault: what happens, to whom, for how long.

    Raises SandboxError for an account that is no test number and a duration that is not positive.
    """

    kind: FaultKind = attrs.field(converter=FaultKind)
    account: str | None = attrs.field(default=None, converter=_account)
    """The phone number of the account, or None for all of them."""
    duration: float | None = None
    """Seconds; None means once for `reset` and `close`, and until cleared for the others."""

    def __attrs_post_init__(self) -> None:
        if self.duration is not None and not 0 < self.duration <= LONGEST_FAULT_SECONDS:
            raise SandboxError(
                f"A fault lasts more than 0 and at most {LONGEST_FAULT_SECONDS:.0f} s, not {self.duration} s; "
                "leave the time out for a fault that lasts until it is cleared."
            )

    @property
    def stands(self) -> bool:
        """Whether it goes on after the moment of injection."""
        return self.duration is not None or self.kind not in ONCE

    def concerns(self, account: str | None) -> bool:
        """Whether it hurts this account; an account not yet known is hurt only by what hurts all."""
        return self.account is None or self.account == account


@attrs.define
class Switchboard:
    """The faults that stand now."""

    _clock: Callable[[], float]
    _standing: list[tuple[Fault, float]] = attrs.field(factory=list)

    def add(self, fault: Fault) -> None:
        """Lets a fault stand until its time is over. Raises SandboxError when there are too many."""
        if not fault.stands:
            return
        if len(self._standing) >= MOST_STANDING_FAULTS:
            raise SandboxError(f"{MOST_STANDING_FAULTS} faults stand already; clear some before adding another.")
        lasts = float("inf") if fault.duration is None else fault.duration
        self._standing.append((fault, self._clock() + lasts))

    def clear(self, account: str | None) -> None:
        """Ends the faults of one account, or with None every fault."""
        self._standing = [entry for entry in self._standing if account is not None and entry[0].account != account]

    def standing(self) -> list[Fault]:
        """The faults whose time is not over, oldest first."""
        if self._standing:
            now = self._clock()
            self._standing = [entry for entry in self._standing if entry[1] > now]
        return [fault for fault, _ in self._standing]

    def at(self, point: Point, account: str | None) -> FaultKind | None:
        """What hurts this account at this point, the newest fault first; None when nothing does."""
        if not self._standing:
            return None
        hurting = (f for f in reversed(self.standing()) if ACTS_AT[f.kind] is point and f.concerns(account))
        return next((fault.kind for fault in hurting), None)

    def next_end(self) -> float | None:
        """When the next fault is over, on the switchboard's clock; None when none ends by itself."""
        ends = [end for _, end in self._standing if end != float("inf")]
        return min(ends, default=None)
