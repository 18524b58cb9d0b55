"""What one of each costs, measured: the plan of a fleet multiplies them.

Those of the store are from ``python -m tests.bench.many_lives`` (400 lives with 2,500 accounts each, PostgreSQL 18.6
with fsync, two processors that had other work), those of a node from ``python -m tests.bench.capacity``. Another
machine has others; what follows from their proportions stays.
"""

from typing import Final

STATEMENT: Final = 0.005
"""Seconds that a statement of a lease takes, there and back, on a server that has other work."""
BEAT_PROCESSOR: Final = 0.6e-3
"""Seconds of the server's processor for a beat."""
BEAT_LOG: Final = 195.0
"""Bytes of the server's log for a beat. It goes to each standby, too."""
BEATS_MOST: Final = 877.0
"""Beats per second that the server has answered at most, with nothing else to do."""
RENEWAL_LOG: Final = 134.0
"""Bytes of log for the renewal of a lease, if each account had one: ``python -m tests.bench.leases``."""
LOOK_SMALL, LOOK_LARGE = (100_000, 0.022), (1_000_000, 0.118)
"""Accounts, and seconds of the server's processor for a look at all of them: whose they are, and how many are free."""
CLAIM_PROCESSOR: Final = 25e-6
"""Seconds of the server's processor for an account that is claimed: ``python -m tests.bench.leases``."""
RECORD_PROCESSOR: Final = 17e-6
RECORD_LOG: Final = 862.0
RECORD_DISK: Final = 442.0
"""Bytes that a record takes in its table and indexes, for as long as it is kept."""
RECORDS_MOST: Final = 11_373.0
"""Records per second that one writer has stored."""
SNAPSHOT_PROCESSOR: Final = 7e-6
SNAPSHOT_LOG: Final = 488.0
SNAPSHOTS_MOST: Final = 25_554.0
"""Snapshots per second that one writer has stored."""

READ_LEFT: Final = 0.05
"""Seconds until a node has read where accounts were left that it has claimed."""
NODE_MEMORY: Final = 95e6
"""Bytes of a process without accounts."""
ACCOUNT_MEMORY: Final = 48e3
"""Bytes of a connected account without handlers of its own."""
ACCOUNT_PROCESSOR: Final = 37e-6
"""Part of a core that a connected account takes while nothing happens: 3.7 % for 1,000."""
ACCOUNT_FILES: Final = 1
"""Open files of an account whose session is in the database: its socket."""
NODE_CONNECTIONS: Final = 11
"""Connections of a node to the store: two of the lease, the journal's, four of jobs, four of sessions."""

ACCOUNTS_OF_A_CORE: Final = 8_000
"""Accounts that one process has been seen to keep connected; it works on one core."""
USUAL_CONNECTIONS: Final = 100
"""``max_connections`` of a PostgreSQL server that was not told otherwise."""
NETWORK: Final = 125e6
"""Bytes per second of a network of a gigabit: the log goes to the standby."""


def look_processor(accounts: int) -> float:
    """Return the seconds of the server's processor for a look at so many accounts."""
    (few, little), (many, much) = LOOK_SMALL, LOOK_LARGE
    if accounts <= few:
        return accounts * little / few
    return little + (accounts - few) * (much - little) / (many - few)
