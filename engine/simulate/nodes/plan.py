"""What a fleet of many nodes asks of its database and of its nodes all day, and which of it is not to be had first."""

from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from adapters.sandbox.faults.kinds import FaultKind
from engine.config.types import Fleet
from engine.node.assigner import LOOK_EVERY
from engine.simulate.disturbances import Disturbance
from engine.simulate.driver import AccountModel, Simulation
from engine.simulate.nodes import costs
from engine.simulate.nodes.takeover import FleetSize, Takeover
from states import Policy

DAY: Final = 86_400.0
LOSSES_A_DAY: Final = 10.0
"""How often a day an account loses its link: an assumption. ``log stats`` has the fleet's own figure."""
SAVE_EVERY: Final = 30.0
"""Seconds from one snapshot of a healthy account to the next: ``SAVE_SECONDS`` of both journals."""
SAMPLE: Final = 20
"""Accounts of the simulation in which records are counted."""
SHARES: Final = (0.5, 0.95, 1.0)


@frozen
class RecordCounts:
    """How many records of the journal an account has for its start, and for a link that is lost and comes back."""

    start: float
    loss: float


@frozen
class Demand:
    """Something that a fleet needs, and how much of it there is."""

    what: str
    needed: float
    most: float
    unit: str
    remedy: str

    @property
    def share(self) -> float:
        """How much of what there is that takes: above 1 it is not to be had."""
        return self.needed / self.most


@frozen(kw_only=True)
class FleetPlan:
    """What a fleet takes all day, by the second if nothing else is said; sizes are in bytes."""

    size: FleetSize
    counts: RecordCounts
    keep: float | None
    """``storage.keep``: for how many seconds records are kept; None is for ever."""

    @property
    def a_node(self) -> int:
        """Accounts of a node, the most that one has."""
        return -(-self.size.accounts // self.size.nodes)

    @property
    def beats(self) -> float:
        """Beats of all nodes."""
        return self.size.nodes / self.size.beats_apart

    @property
    def beats_log(self) -> float:
        """Bytes of log for them."""
        return self.beats * costs.BEAT_LOG

    @property
    def renewals(self) -> float:
        """What would take their place if each account had a lease."""
        return self.size.accounts / self.size.beats_apart

    @property
    def looks(self) -> float:
        """Looks at the balance of all nodes."""
        return self.size.nodes / LOOK_EVERY

    @property
    def snapshots(self) -> float:
        """Snapshots of healthy accounts."""
        return self.size.accounts / SAVE_EVERY

    @property
    def records(self) -> float:
        """Records of the journal."""
        return self.size.accounts * LOSSES_A_DAY * self.counts.loss / DAY

    @property
    def records_a_day(self) -> float:
        """Bytes of table and indexes."""
        return self.records * DAY * costs.RECORD_DISK

    @property
    def kept(self) -> float | None:
        """Bytes of all records that are kept; None where none is ever deleted."""
        return None if self.keep is None else self.records_a_day * self.keep / DAY

    @property
    def log(self) -> float:
        """Bytes of the store's log. A record brings a snapshot."""
        rows = (self.snapshots + self.records) * costs.SNAPSHOT_LOG + self.records * costs.RECORD_LOG
        return self.beats_log + rows

    @property
    def store_cores(self) -> float:
        """Processors of the store that have nothing else to do."""
        leases = self.beats * costs.BEAT_PROCESSOR + self.looks * costs.look_processor(self.size.accounts)
        rows = (self.snapshots + self.records) * costs.SNAPSHOT_PROCESSOR + self.records * costs.RECORD_PROCESSOR
        return leases + rows

    @property
    def connections(self) -> int:
        """Connections to the store."""
        return self.size.nodes * costs.NODE_CONNECTIONS

    @property
    def node_memory(self) -> float:
        """Bytes of a node's process."""
        return costs.NODE_MEMORY + self.a_node * costs.ACCOUNT_MEMORY

    @property
    def node_cores(self) -> float:
        """Part of a core that a node takes while nothing happens."""
        return self.a_node * costs.ACCOUNT_PROCESSOR

    def demands(self) -> list[Demand]:
        """Return what is needed of what, the scarcest first."""
        looks = self.looks * costs.look_processor(self.size.accounts)
        found = [
            Demand("connections to the store", self.connections, costs.USUAL_CONNECTIONS, "",
                   "raise max_connections; a pooler must keep sessions (pool_mode = session)"),
            Demand("looks at the balance", looks, self.size.store_cores, "cores",
                   "several fleets, each with a database of its own"),
            Demand("snapshots of healthy accounts", self.snapshots, costs.SNAPSHOTS_MOST, "a second",
                   "a server with more processors and a faster disk, or several fleets"),
            Demand("beats", self.beats, costs.BEATS_MOST, "a second", "fewer and larger nodes, or several fleets"),
            Demand("records", self.records, costs.RECORDS_MOST, "a second", "as for snapshots"),
            Demand("log to the standby", self.log, costs.NETWORK, "B/s", "a faster network, or several fleets"),
            Demand("accounts of a node", self.a_node, costs.ACCOUNTS_OF_A_CORE, "", "more nodes"),
        ]  # fmt: skip
        return sorted(found, key=lambda each: -each.share)


def count_records(policy: Policy, seed: int) -> RecordCounts:
    """Return how many records the engine's own decisions make, by a simulation of some accounts."""
    models = [AccountModel(f"Account {number}") for number in range(SAMPLE)]
    calm = 30.0 + 2 * policy.healthy.stable_after
    apart = [  # each by itself: links that are lost together are an outage, which has records of its own
        Disturbance(begin=calm * (2 + number), end=calm * (2 + number), kind=FaultKind.RESET, members=[number])
        for number in range(SAMPLE)
    ]

    def rows(disturbances: Sequence[Disturbance]) -> int:
        fleet, lasts = Fleet(stagger=0.0), calm * (3 + SAMPLE)
        simulation = Simulation(models, policy, fleet, disturbances, duration=lasts, seed=seed)
        simulation.run()
        return sum(simulation.observed.rows)

    start = rows(())
    return RecordCounts(start / SAMPLE, (rows(apart) - start) / SAMPLE)


def curve(found: Takeover) -> dict[str, float | None]:
    """Return when accounts had a node and were connected again, in seconds; None where there were none."""
    count = len(found.connected)
    at = {f"{share:.0%}": found.connected[max(0, -(-int(share * 100) * count // 100) - 1)] if count else None
          for share in SHARES}  # fmt: skip
    return {
        "declared": found.declared[0] if found.declared else None,
        "first_claimed": found.claimed[0][0] if found.claimed else None,
        "all_claimed": found.claimed[-1][0] if found.claimed else None,
        "first_connected": found.connected[0] if count else None,
        **{f"connected_{share}": when for share, when in at.items()},
    }


def as_data(plan: FleetPlan, killed: Takeover, started: Takeover) -> dict[str, Any]:
    """Return what ``simulate --nodes --json`` prints; seconds, bytes, cores, and all else by the second."""
    size = plan.size
    return {
        "accounts": size.accounts,
        "nodes": size.nodes,
        "killed": size.killed,
        "lease": size.times.lease,
        "seed": size.seed,
        "accounts_of_a_node": plan.a_node,
        "beats": plan.beats,
        "beats_log": plan.beats_log,
        "renewals_instead": plan.renewals,
        "looks": plan.looks,
        "snapshots": plan.snapshots,
        "records": plan.records,
        "records_of_a_start": plan.counts.start,
        "records_of_a_loss": plan.counts.loss,
        "losses_a_day": LOSSES_A_DAY,
        "records_bytes_a_day": plan.records_a_day,
        "records_bytes_kept": plan.kept,
        "log": plan.log,
        "store_cores": plan.store_cores,
        "connections": plan.connections,
        "node_memory": plan.node_memory,
        "node_cores": plan.node_cores,
        "takeover": {
            "accounts": killed.accounts,
            **curve(killed),
            "of_a_node": [min(killed.owned.values()), max(killed.owned.values())],
        },
        "start": {"accounts": started.accounts, **curve(started)},
        "demands": [
            {"what": each.what, "needed": each.needed, "most": each.most, "unit": each.unit, "share": each.share,
             "remedy": each.remedy}
            for each in plan.demands()
        ],
    }  # fmt: skip
