"""Nodes are killed, or all start: when the accounts have a node, and when they are connected. In virtual time.

What is real: the watch over the others with its deadlines (``states.lease``), who takes how many
(``states.assignment``), the quiet gap, and the connect limiter's arithmetic (``Turns``). What is a model: a statement
takes ``costs.STATEMENT``, the store's processors do one thing after the other, and network and datacenter are those of
``simulate``.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from attrs import define, field, frozen

from engine.config.types import Fleet
from engine.fleet.stagger import AutoStagger
from engine.fleet.turns import Turns
from engine.node.assigner import JOIN_DELAY
from engine.node.holder import ROUNDING
from engine.simulate.driver import CLASSES
from engine.simulate.network import NetworkModel
from engine.simulate.nodes import costs
from states.assignment import plan_claims, quiet_gap
from states.lease import DeclareDead, LeaseTimes, NodeWatch, StoreAnswered, decide_watch, next_look

SERVER = "server"
HOSTS = "*"


@frozen(kw_only=True)
class FleetSize:
    """A fleet, and how many of its nodes are killed at once."""

    accounts: int
    nodes: int
    killed: int
    times: LeaseTimes = field(factory=LeaseTimes)
    fleet: Fleet = field(factory=Fleet)
    network: NetworkModel = field(factory=NetworkModel)
    takeover_gap: float = 0.0
    store_cores: int = 2
    """Processors of the database's server."""
    seed: int = 0

    @property
    def beats_apart(self) -> float:
        """Seconds between two beats of a node."""
        return self.times.beats_apart(self.nodes)


@frozen
class PlannedNode:
    """A node, as ``states.assignment`` asks for one."""

    life: int
    draining: bool = False
    accounts_at_most: int | None = None

    @property
    def host(self) -> str:
        """Each is on a host of its own."""
        return f"host {self.life}"


@define
class PlannedGroup:
    """All accounts, as ``states.assignment`` asks for them."""

    free: int
    owned: dict[int, int] = field(factory=dict)
    hosts: str = HOSTS


@frozen(kw_only=True)
class Takeover:
    """What became of accounts that had no node. Times are seconds since the kill, or since the start."""

    accounts: int
    declared: tuple[float, ...] = ()
    """When each killed node was declared dead, in order."""
    claimed: tuple[tuple[float, int], ...]
    """When a node has got how many accounts, in order."""
    connected: tuple[float, ...]
    """When each account was connected, in order."""
    owned: Mapping[int, int]
    """How many accounts each node has afterwards."""


@define(eq=False)
class StoreProcessors:
    """The processors of the store's server: each does one thing after the other."""

    free: list[float]
    """When each has nothing to do any more."""

    def done(self, asked: float, seconds: float) -> float:
        """Return when something is done that was asked for at ``asked`` and takes so long."""
        end = max(asked, heappop(self.free)) + seconds
        heappush(self.free, end)
        return end


@define(eq=False)
class _Claims:
    """The nodes claim what is free, each when it looks at the store."""

    size: FleetSize
    group: PlannedGroup
    nodes: dict[int, PlannedNode]
    """Those that the store takes for alive."""
    processors: StoreProcessors
    given: list[tuple[float, int, int]] = field(factory=list)
    """When which node got how many."""

    def run(self, looks: Iterable[tuple[float, int]], deaths: Sequence[tuple[float, int]] = ()) -> None:
        """Let nodes look from the given times on until nothing is free; ``deaths`` free the accounts of their nodes."""
        due, coming = list(looks), list(reversed(deaths))
        heapify(due)
        look_takes = costs.look_processor(self.size.accounts)
        while due and (coming or self.group.free):
            now, life = heappop(due)
            while coming and coming[-1][0] <= now:
                dead = coming.pop()[1]
                del self.nodes[dead]
                self.group.free += self.group.owned.pop(dead)
            at = now
            if self.group.free:
                at = self._claim(life, self.processors.done(now + costs.STATEMENT, look_takes))
            wait = (
                self.size.times.beat_every + ROUNDING if coming else self.size.beats_apart
            )  # as ``LeaseHolder`` beats
            heappush(due, (max(at, now + wait), life))

    def _claim(self, life: int, at: float) -> float:
        """Let a node that has seen what is free claim its part; return when that is done."""
        count = plan_claims(self.nodes.values(), [self.group], life).get(HOSTS, 0)
        if count:
            at = self.processors.done(at + costs.STATEMENT, count * costs.CLAIM_PROCESSOR)
            self.group.free -= count
            self.group.owned[life] = self.group.owned.get(life, 0) + count
            self.given.append((at, life, count))
        return at


def first_shares(size: FleetSize) -> dict[int, int]:
    """Return how many accounts each node has at first: by the law, the first nodes have those that are over."""
    nodes = [PlannedNode(life) for life in range(1, size.nodes + 1)]
    least = plan_claims(nodes, [PlannedGroup(size.accounts)], size.nodes).get(HOSTS, 0)
    over = size.accounts - least * size.nodes
    return {node.life: least + (node.life <= over) for node in nodes}


def kill_nodes(size: FleetSize) -> Takeover:
    """Return how the accounts of the killed nodes go on at the others."""
    rng = random.Random(size.seed)
    every = size.beats_apart
    nodes = {life: PlannedNode(life) for life in range(1, size.nodes + 1)}
    group = PlannedGroup(0, first_shares(size))
    phases = {life: rng.uniform(0.0, every) for life in nodes}
    killed = set(rng.sample(list(nodes), size.killed))
    living = sorted(nodes.keys() - killed)
    deaths = sorted(
        (declared_dead(phases[life], [phases[each] for each in living], size.times, every), life)
        for life in sorted(killed)
    )
    lost = sum(group.owned[life] for life in killed)
    claims = _Claims(size, group, nodes, _processors(size))
    claims.run([(deaths[0][0] + rng.uniform(0.0, size.times.beat_every + ROUNDING), life) for life in living], deaths)
    return _taken(size, claims, lost, rng, tuple(at for at, _ in deaths), moved=True)


def start_all(size: FleetSize) -> Takeover:
    """Return how all accounts are connected when all nodes start at once."""
    rng = random.Random(size.seed)
    nodes = {life: PlannedNode(life) for life in range(1, size.nodes + 1)}
    claims = _Claims(size, PlannedGroup(size.accounts), nodes, _processors(size))
    claims.run([(JOIN_DELAY + costs.STATEMENT * rng.random(), life) for life in nodes])
    return _taken(size, claims, size.accounts, rng, (), moved=False)


def _processors(size: FleetSize) -> StoreProcessors:
    return StoreProcessors([0.0] * size.store_cores)


def declared_dead(phase: float, others: Sequence[float], times: LeaseTimes, every: float) -> float:
    """Return when a node is declared dead that beats at ``phase``, and ``every`` so often before and after, until 0."""
    last = phase - every
    seen = last + min((each - last) % every for each in others) + costs.STATEMENT
    watch = NodeWatch(server=SERVER, since=last - times.lease, settled=True)
    answer = StoreAnswered(asked=seen - costs.STATEMENT, server=SERVER, beats={1: 1}, settled=True)
    watch, _ = decide_watch(watch, answer, seen, times)
    due = next_look(watch, seen, times)
    assert due is not None, "a beat that was seen is watched"
    asked = due + ROUNDING
    again = StoreAnswered(asked=asked, server=SERVER, beats={1: 1}, settled=True)
    _, effects = decide_watch(watch, again, asked + costs.STATEMENT, times)
    assert any(isinstance(each, DeclareDead) for each in effects), "that was the time to look"
    return asked + 2 * costs.STATEMENT


def _taken(
    size: FleetSize, claims: _Claims, lost: int, rng: random.Random, declared: tuple[float, ...], *, moved: bool
) -> Takeover:
    """Let each node connect what it has claimed."""
    gap = quiet_gap("here", "elsewhere" if moved else None, size.takeover_gap)
    ready: dict[int, list[tuple[float, int]]] = {}
    for at, life, count in claims.given:
        ready.setdefault(life, []).append((at + costs.READ_LEFT + gap, count))
    connected = [at for of in ready.values() for at in connect_times(of, size.fleet, size.network, rng)]
    return Takeover(
        accounts=lost,
        declared=declared,
        claimed=tuple(sorted((at, count) for at, _, count in claims.given)),
        connected=tuple(sorted(connected)),
        owned=dict(claims.group.owned),
    )


def connect_times(
    ready: Iterable[tuple[float, int]], fleet: Fleet, network: NetworkModel, rng: random.Random
) -> list[float]:
    """Return when one node has connected its accounts, of which so many are ready at each of these times."""
    turns = Turns(fleet.connects_at_once, AutoStagger() if fleet.stagger == "auto" else fleet.stagger)
    under_way: list[float] = []
    found, served, service = [], 0.0, 1 / network.handshakes
    nearest, step = network.latency * (1 - network.spread), 2 * network.latency * network.spread / (CLASSES - 1)
    for at, count in sorted(ready):
        now = at
        for _ in range(count):
            while (start := turns.next_start()) is None:
                now = max(now, heappop(under_way))
                turns.take_back(canary=False, now=now)
            now = max(now, start)
            while under_way and under_way[0] <= now:
                heappop(under_way)
                turns.take_back(canary=False, now=now)
            turns.note_late(0.0)
            turns.give(now)
            rtt = nearest + step * rng.randrange(CLASSES)
            served = max(now + rtt, served) + service
            found.append(served + rtt)
            heappush(under_way, served + rtt)
    return found
