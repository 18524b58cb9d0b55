"""What can happen to some nodes and their store: all of it, in any order."""

import itertools
from collections.abc import Iterator
from typing import Final

from attrs import define, field

from engine.verify.lease.node import HOLDING, LeaseLaw, LeaseNode
from engine.verify.lease.store import LIVES, NOBODY, LeaseStore, StoreRules
from engine.verify.lease.tables import NONE, LeaseNames, LeaseTables

World = tuple[int, ...]
"""The store, what it will be after the failover that is to come (or ``NONE``), how many more commits that will forget,
how often something may still happen, the phase of slow clocks, and the nodes."""
STORE, DURABLE, FORGETS, KILLS, STOPS, DELAYS, PHASE, NODES = range(8)
AT_ONCE: Final = ("its", "hears", "gives up its void")
"""How the names begin of what a node is late with."""


@define(kw_only=True)
class LeaseWorld:
    """How many nodes there are, what may happen to them, and by which law and store rules (of a mutant, perhaps).

    A number of times that is None is any number.
    """

    law: LeaseLaw
    rules: StoreRules = field(factory=StoreRules)
    nodes: int = 2
    stops: int | None = 0
    """How often a process may be stopped while something is due, which it then does later, or never."""
    delays: int | None = 0
    """How many statements may be committed, or answered, later than at once."""
    kills: int | None = 0
    """How many times a process may be killed, and begin again."""
    lates: bool = False
    """Whether a statement that a node has given up may still be committed, however late."""
    failovers: int = 0
    """How many times the store may fail over."""
    forgets: int = 2
    """How many of its last commits it may forget then."""
    leaves: bool = False
    """Whether nodes may be asked to leave."""
    slow: frozenset[int] = frozenset()
    """The nodes whose clocks are slow."""
    slow_every: int = 5
    """Of so many ticks a slow clock misses one."""
    lives: int = 2
    """How many lives of one node may be spoken of at the same time."""
    tables: LeaseTables = field(init=False)
    _names: LeaseNames = field(init=False)
    _turns: list[tuple[int, tuple[int, ...]]] = field(factory=list, init=False)
    """Names and places of all nodes, for each way to exchange those with equal clocks."""

    def __attrs_post_init__(self) -> None:
        self.tables = LeaseTables(self.law, self.rules, lates=self.lates, leaves=self.leaves)
        self._names = LeaseNames(self.tables, self.nodes)
        alike = [number for number in range(self.nodes) if number not in self.slow]
        for order in itertools.permutations(alike):
            exchanged = dict(zip(alike, order, strict=True))
            places = tuple(exchanged.get(number, number) for number in range(self.nodes))
            self._turns.append((self._names.of_places(places), places))

    def first(self) -> World:
        """Return the world before anything has happened."""
        store = self.tables.stores.number(LeaseStore(0, settled=True, beats=(), owner=NOBODY))
        node = self.tables.nodes.number(LeaseNode())
        budgets = [NONE if budget is None else budget for budget in (self.kills, self.stops, self.delays)]
        return (store, NONE, 0, *budgets, 0, *(node,) * self.nodes)

    def store(self, world: World) -> LeaseStore:
        """Return the store of a world."""
        return self.tables.stores.values[world[STORE]]

    def node(self, world: World, number: int) -> LeaseNode:
        """Return a node of a world."""
        return self.tables.nodes.values[world[NODES + number]]

    def workers(self, world: World) -> int:
        """Return how many nodes work for the account."""
        return sum(map(self.tables.works, world[NODES:]))

    # --- what can happen next ------------------------------------------------------------------------------------

    def successors(self, world: World) -> Iterator[tuple[str, World]]:
        """Yield everything that can happen next, with a name."""
        for number, node in enumerate(world[NODES:]):
            at = NODES + number
            for what, after in self.tables.local_steps(node):
                yield f"{number} {what}", _with(world, at, after)
            if world[KILLS]:
                for after in self.tables.restarted(node):
                    yield f"{number} is killed", _with(world, at, after, KILLS)
            for what, reached in self._commits(world, number, node):
                yield f"{number}'s {what}", reached
            for what, place, asking in self._asks(world, number, self.lives):
                if world[DELAYS]:
                    yield f"{number} {what}, which takes its time", _with(world, at, asking, DELAYS)
                for result, reached in self._commits(world, number, asking, place):
                    yield f"{number} {what}: {result}", reached
        yield from self._ticks(world)
        if self._can_fail_over(world):
            yield "the store fails over", self._fail_over(world)

    def _asks(self, world: World, number: int, lives: int) -> Iterator[tuple[str, str, int]]:
        """Yield what a node can ask for now, the statement's place, and what the node is then."""
        node = world[NODES + number]
        yield from self.tables.asks(node)
        if not self.tables.may_ask_life(node):
            return
        spoken = self.tables.living(world[STORE])
        if world[DURABLE] != NONE:
            spoken |= self.tables.living(world[DURABLE])
        for each in world[NODES:]:
            spoken |= self.tables.spoken(each)
        first = number * LIVES + 1
        free = next((life for life in range(first, first + lives) if not spoken >> life & 1), NOBODY)
        if self.tables.nodes.values[node].wants or free != NOBODY:
            after = self.tables.asks_life(node, free)
            if after != NONE:
                yield "asks for a life", "call", after

    def _commits(self, world: World, number: int, node: int, place: str = "") -> Iterator[tuple[str, World]]:
        """Yield what statements of a node do that are committed now: for good, or to be forgotten in a failover.

        With a place it is the one that it has just asked for there, and otherwise one that it asked for before.
        """
        store, doomed = world[STORE], world[DURABLE] != NONE
        fates = [doomed]
        if not doomed and self.forgets and self._can_fail_over(world):
            fates.append(True)
        for forgotten in fates:
            for what, after_store, after_node, beaten, waits in self.tables.commits(store, node, forgotten, place):
                changed = after_store != store or beaten != NOBODY
                if (waits and not world[DELAYS]) or (changed and doomed and not world[FORGETS]):
                    continue
                after = list(_with(world, NODES + number, after_node, DELAYS if waits else NONE))
                after[STORE] = after_store
                if not forgotten:
                    self._note_beat(after, number, beaten)
                elif doomed:
                    after[FORGETS] -= changed
                elif changed:
                    after[DURABLE], after[FORGETS] = store, self.forgets - 1
                else:
                    continue
                yield f"{what}{', to be forgotten' if forgotten and changed else ''}", tuple(after)

    def _note_beat(self, world: list[int], number: int, life: int) -> None:
        """Let everything that the others know of a life's beat be a beat older."""
        if life == NOBODY:
            return
        for other in range(self.nodes):
            if other != number and self.tables.spoken(world[NODES + other]) >> life & 1:
                world[NODES + other] = self.tables.after_beat(world[NODES + other], life)

    def _ticks(self, world: World) -> Iterator[tuple[str, World]]:
        """Yield what the world is after a tick. Processes for which something is due are stopped for that long."""
        nodes = world[NODES:]
        late = [number for number, node in enumerate(nodes) if self.tables.is_due(node)]
        if late and world[STOPS] != NONE:
            if world[STOPS] < len(late):
                return
            world = (*world[:STOPS], world[STOPS] - len(late), *world[STOPS + 1 :])
        phase = (world[PHASE] + 1) % self.slow_every if self.slow else 0
        options = [
            (node,) if phase == 0 and number in self.slow else self.tables.later(node)
            for number, node in enumerate(nodes)
        ]
        stopped = f", {' and '.join(map(str, late))} stopped" if late else ""
        for after in itertools.product(*options):
            yield f"a tick passes{stopped}", (*world[:PHASE], phase, *after)

    def _can_fail_over(self, world: World) -> bool:
        return world[DURABLE] != NONE or self.tables.stores.values[world[STORE]].server < self.failovers

    def _fail_over(self, world: World) -> World:
        """Return the world with a new server, which has forgotten what was to be forgotten."""
        durable = world[STORE] if world[DURABLE] == NONE else world[DURABLE]
        nodes = map(self.tables.cut_off, world[NODES:])
        return (self.tables.taken_over(durable), NONE, 0, *world[KILLS:NODES], *nodes)

    # --- what is alike -------------------------------------------------------------------------------------------

    def canonical(self, world: World) -> World:
        """Return the one that stands for all worlds in which the same can happen.

        Names decide nothing: neither those of lives, nor those of nodes with equal clocks. The lives of a node are
        numbered anew, its present one first; what is known of those that are dead is left out.
        """
        living = self.tables.living(world[STORE])
        if world[DURABLE] != NONE:
            living |= self.tables.living(world[DURABLE])
        orders = []
        for number, node in enumerate(world[NODES:]):
            rest = living >> number * LIVES & ((1 << LIVES) - 1)
            orders.append(self.tables.own_lives(node, living) + BITS[rest][number])
        world = self._named(world, self._names.naming(tuple(orders)), self._turns[0][1])
        if len(self._turns) == 1:
            return world
        return min(self._named(world, *turn) for turn in self._turns)

    def _named(self, world: World, naming: int, places: tuple[int, ...]) -> World:
        """Return the world with other numbers of lives, and the nodes in other places."""
        nodes = [0] * self.nodes
        for number, node in enumerate(world[NODES:]):
            nodes[places[number]] = self._names.node(node, naming)
        durable = world[DURABLE]
        if durable != NONE:
            durable = self._names.store(durable, naming)
        return (self._names.store(world[STORE], naming), durable, *world[FORGETS:NODES], *nodes)

    # --- a world without further trouble -------------------------------------------------------------------------

    def benign(self, world: World, silent: int = NONE) -> World | None:
        """Return what happens next if nothing goes wrong any more, or None when a node works and will.

        The node ``silent`` is stopped for ever.
        """
        if world[DURABLE] != NONE:
            return self._fail_over(world)
        able = [number for number in range(self.nodes) if number != silent]
        here = [self.node(world, number) for number in able]
        if any(_has_it(node, self.store(world)) for node in here) or all(node.leaving for node in here):
            return None
        for step in (self._go_on, self._begin):
            for number in able:
                if (after := step(world, number)) is not None:
                    return after
        if silent != NONE:
            world = (*world[:STOPS], NONE, *world[STOPS + 1 :])
        return next((after for _, after in self._ticks(world)), None)

    def _go_on(self, world: World, number: int) -> World | None:
        """Return the world after what a node is late with."""
        at = NODES + number
        for what, after in self.tables.local_steps(world[at]):
            if what.startswith(AT_ONCE):
                return _with(world, at, after)
        return next((after for _, after in self._commits(world, number, world[at])), None)

    def _begin(self, world: World, number: int) -> World | None:
        """Return the world after what a node asks for and hears at once, unless it is in vain."""
        for what, place, asking in self._asks(world, number, LIVES - 1):
            after = next(after for _, after in self._commits(world, number, asking, place))
            if what in ("beats", "asks for a life") or after[STORE] != world[STORE]:
                return after
        return None


BITS: Final = [
    [tuple(number * LIVES + bit for bit in range(1, LIVES) if mask >> bit & 1) for number in range(4)]
    for mask in range(1 << LIVES)
]
"""The lives of each node in a bit mask."""


def _with(world: World, at: int, node: int, spent: int = NONE) -> World:
    """Return the world with another node in a place, and one budget spent, unless that is without bound."""
    after = list(world)
    after[at] = node
    if spent != NONE and after[spent] > 0:
        after[spent] -= 1
    return tuple(after)


def _has_it(node: LeaseNode, store: LeaseStore) -> bool:
    """Return whether a node works, and will go on if nothing goes wrong."""
    mine = store.owner == node.life and node.life in store.lives()
    return node.works and mine and node.standing is HOLDING and not node.leaving
