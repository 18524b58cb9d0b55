"""What a node has done since its start, in numbers: for metrics."""

from attrs import define


@define
class NodeCounts:
    """Counts of one process, over all its lives."""

    beats: int = 0
    """Beats that the store has confirmed."""
    lives: int = 0
    """Lives that the store has given."""
    lost: int = 0
    """Lives that were lost: their deadline passed, or the store said that they were over."""
    claimed: int = 0
    """Accounts that were taken."""
    given_up: int = 0
    """Accounts that were given up in order."""
    dropped: int = 0
    """Accounts whose connections were dropped at once, those of lost lives among them."""
