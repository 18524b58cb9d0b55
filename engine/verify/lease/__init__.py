"""Exhaustive exploration of the law of leases (``states.lease``): nodes, a store, and what can go wrong between them.

The nodes decide by the real law. Around them the world does, in any order: statements are committed at once, late or
never, and so are their answers; processes are stopped, go on, are killed and begin again; a clock is slow; the store
fails over, and forgets what it committed last. There is one account. A node *works* from the moment in which it learns
that the account is its own, until its links are closed or its process has ended: a stopped process works, too, for it
may send as soon as it goes on.

*Never* do two nodes work at the same time. *Always* a world in which nothing goes wrong any more comes to have one that
does.

What keeps it small: what a process that is stopped does not do, it does in a later tick or never, so nothing else marks
it; of the orders in which independent steps can happen within a tick, one is taken (a statement, its commit and its
answer belong together, or are apart by a tick at least); what a failover forgets is marked when it is committed; names
of lives and of equal nodes do not count.
"""

from engine.verify.lease.explore import (
    ALWAYS_ONE,
    NEVER_TWO,
    LeaseCase,
    LeaseFinding,
    LeaseReport,
    explore_cases,
    explore_leases,
    thorough_cases,
    usual_cases,
)
from engine.verify.lease.world import LeaseWorld

__all__ = [
    "ALWAYS_ONE",
    "NEVER_TWO",
    "LeaseCase",
    "LeaseFinding",
    "LeaseReport",
    "LeaseWorld",
    "explore_cases",
    "explore_leases",
    "thorough_cases",
    "usual_cases",
]
