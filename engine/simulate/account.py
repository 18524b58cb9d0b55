"""One account of a simulation: its snapshot, its timers and its link, in as little memory as possible."""

from typing import Final

from attrs import define

from states import Snapshot

REPORT, LOSS, DUE, STABLE, ELAPSED, HINT, GRANT, START, ASK = range(1, 10)
"""What comes to an account. At the same time the lower number comes first."""
NO_TURN, QUEUED, TURN, CANARY = range(4)

# What a report says.
CONNECTED: Final = 1
ANSWERED: Final = 2
SILENCE: Final = 3
LOST: Final = 4
TRANSPORT: Final = 5
REFUSAL: Final = 6
RETRY: Final = 7
"""Nothing yet: the first packet of the connection is sent again."""

# How far an attempt is.
NO_ATTEMPT, SYN, HANDSHAKE, DEAD = range(4)


@define(eq=False)
class SimulatedAccount:
    """One account. Times are in ticks; a key is the place of what comes in the order of everything, 0 for nothing."""

    index: int
    name: str
    route: str
    rtt: int
    """Ticks from a packet to its answer."""
    snapshot: Snapshot
    mask: int = 0
    """A bit for each disturbance that is for this account."""
    report: int = 0
    """Key of the outcome of the attempt or probe under way."""
    loss: int = 0
    due: int = 0
    """Key of the next probe; 0 while answered probes are skipped."""
    stable: int = 0
    elapsed: int = 0
    hint: int = 0
    grant: int = 0
    """Key of the question for a turn, or of its answer."""
    says: int = 0
    """What the report says."""
    detail: tuple[int, str] | None = None
    """The code of a transport error, or a refusal, that the report says."""
    loss_code: int = 0
    """The transport error with which the link is lost; 0 is none."""
    sent: int = 0
    """When the attempt's first packet, or the probe, was sent."""
    limit: int = 0
    """When the patience of the attempt or probe ends."""
    phase: int = NO_ATTEMPT
    proof: bool = False
    """Whether the probe under way is a request that needs the login."""
    dead: bool = False
    """Whether the open link carries nothing any more, whatever the network does."""
    held: int = 0
    """Until when the request that proves a login is held."""
    turn: int = NO_TURN
    armed: int = -1
    """When the first of the probes that are skipped was armed; -1 if none are."""
    lost_by: int = -1
    """The disturbance that took the account its link last; -1 for none."""
    lost_place: int = 0
    """Which of the accounts that this disturbance took their link it is."""
    opening: bool = False
    """Whether an attempt is under way."""
