"""``AutoStagger``: how far apart accounts connect, as this machine and the datacenter allow it."""

from typing import Final

from attrs import define, field

from states import Step
from states.events import TransportFlood

LEAST: Final = 0.001
"""Seconds between two starts while nothing speaks against it."""
MOST: Final = 0.02
"""Seconds between two starts on a machine that is busy: it makes progress all the same."""
REFUSED: Final = 1.0
"""Seconds between two starts after the datacenter, or a proxy, refused a connection because there are too many."""
LATE: Final = 0.05
"""Seconds by which the loop may be late: healthy accounts, commands and the live table are served meanwhile."""
LONGER: Final = 1.5
SHORTER: Final = 0.9
"""What the distance is multiplied by at a start that was late, and at one that was in time."""


@define(eq=False)
class AutoStagger:
    """The seconds between two starts, measured as it goes.

    Each start tells how late the loop was. A loop that is late has as much to do as it can, so the next account comes
    later; a refusal of the transport counts for more, and wears off with the starts that follow.
    """

    seconds: float = field(default=LEAST, init=False)

    def __float__(self) -> float:
        return self.seconds

    def note_late(self, late: float) -> None:
        """Take into account how many seconds late the loop was at a start."""
        if late > LATE:
            self.seconds = max(self.seconds, min(MOST, self.seconds * LONGER))
        else:
            self.seconds = max(LEAST, self.seconds * SHORTER)

    def observe(self, account: str, step: Step) -> None:
        """Take a decision of an account into account."""
        if step.record.event == TransportFlood.__name__:
            self.seconds = REFUSED
