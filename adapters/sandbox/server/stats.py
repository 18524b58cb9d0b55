"""What happened in the sandbox since its start, in numbers."""

from collections import Counter
from typing import Any, Final

from attrs import define, field

MAX_NAMES: Final = 500
"""How many different names one counter keeps; the rest is counted together."""


@define
class SandboxStats:
    """Counters since the start."""

    accepted: int = 0
    accepted_by_account: Counter[str] = field(factory=Counter)
    """Of those, the ones on each account's own port, by phone number."""
    turned_away: int = 0
    """Accepted by the kernel and closed by a fault before the first byte."""
    connections: int = 0
    handshakes: int = 0
    """Current connections that have not had an answer to a request yet."""
    max_handshakes: int = 0
    """The most at once since the counters were reset."""
    keys_made: int = 0
    logins_destroyed: int = 0
    """Logins that were used on two connections in parallel."""
    updates_pushed: int = 0
    requests: Counter[str] = field(factory=Counter)
    unknown_requests: Counter[str] = field(factory=Counter)
    protocol_errors: Counter[str] = field(factory=Counter)
    faults: Counter[str] = field(factory=Counter)

    def count(self, counter: Counter[str], name: str) -> None:
        """Count a name that a client may have chosen, without growing for ever."""
        counter[name if name in counter or len(counter) < MAX_NAMES else "others"] += 1

    def begin_handshake(self) -> None:
        self.handshakes += 1
        self.max_handshakes = max(self.max_handshakes, self.handshakes)

    def reset_counters(self) -> None:
        self.max_handshakes = self.handshakes

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "accepted": self.accepted,
            "accepted_by_account": dict(self.accepted_by_account),
            "turned_away": self.turned_away,
            "connections": self.connections,
            "handshakes": {"now": self.handshakes, "most": self.max_handshakes},
            "keys_made": self.keys_made,
            "logins_destroyed": self.logins_destroyed,
            "updates_pushed": self.updates_pushed,
            "requests": dict(self.requests),
            "unknown_requests": dict(self.unknown_requests),
            "protocol_errors": dict(self.protocol_errors),
            "faults": dict(self.faults),
        }
