"""The law of assignment: which node takes which accounts. Pure; every node decides for itself, by what the store says.

    situation                                                decision
    -------------------------------------------------------  ---------------------------------------------------------
    an account is free                                       the nodes that may have it fill up evenly: those with the
                                                             fewest accounts first, none beyond its ``accounts_at_most``
    a node began its life less than ``join_delay`` ago       it claims nothing: those that start with it are seen first
    a node is draining                                       it claims nothing, and gives all that it has away
    an account's ``hosts`` do not match its node any more,   the node gives one away, if another node can have it
    or the node has more than its ``accounts_at_most``
    a node has over 20 % more than the mean of those that    it gives one away, the idle first
    may have the account, and two more than one of them
    the same, and whoever would take them is on its host     it gives some away at a time, down to the mean: no address
                                                             changes, as between the workers of one machine
    all else                                                 an account stays where it is: another address is a risk

No node is told what to take. All come to the same plan, for it depends on nothing but the store; where their views
differ for a moment, the store gives each account to one of them, and the rest is claimed later.

Patterns of hosts are served in the order of how many nodes may have them, the fewest first. Where patterns overlap and
nodes are full, an account may stay free although a cleverer plan had found a place; no account moves for that.
"""

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, Protocol

IMBALANCE: Final = 0.2
"""How far above the mean a node may be before it gives accounts away."""
LEAST_DIFFERENCE: Final = 2
"""An account goes from a node to one that has so many fewer: with one fewer they would only change places."""

SAME_HOST_AT_ONCE: Final = 8
"""How many accounts a node gives away at a time if they stay on its host: each of them connects anew."""


class NodeView(Protocol):
    """A node that is not dead, as the store has it."""

    @property
    def life(self) -> int:
        """The number of its life."""

    @property
    def host(self) -> str:
        """Where it runs."""

    @property
    def draining(self) -> bool:
        """Whether it gives its accounts away."""

    @property
    def accounts_at_most(self) -> int | None:
        """How many it takes; None for any number."""


class GroupView(Protocol):
    """The accounts with one pattern of hosts, as the store has them."""

    @property
    def hosts(self) -> str:
        """The pattern, see ``host_matches``."""

    @property
    def free(self) -> int:
        """How many nobody owns."""

    @property
    def owned(self) -> Mapping[int, int]:
        """How many each life owns."""


def host_matches(host: str, pattern: str) -> bool:
    """Return whether a host is one of a pattern's: ``*`` stands for any text, ``?`` for one character."""
    return fnmatchcase(host, pattern.replace("[", "[[]"))


def plan_claims(nodes: Collection[NodeView], groups: Collection[GroupView], life: int) -> dict[str, int]:
    """Return how many free accounts of each pattern a life takes. It need not be one that the store has: then none."""
    return _plan(nodes, groups).get(life, {})


def has_claims(nodes: Collection[NodeView], groups: Collection[GroupView]) -> bool:
    """Return whether there are free accounts that somebody can take."""
    return bool(_plan(nodes, groups))


def choose_surplus(nodes: Collection[NodeView], groups: Collection[GroupView], life: int) -> str | None:
    """Return the pattern of which a life gives one account away; None if it keeps all that it has.

    While there are accounts that somebody can take, they go first. A draining node is not asked: it gives all away.
    """
    loads = _loads(nodes, groups)
    me = next((node for node in nodes if node.life == life), None)
    if me is None or me.draining or has_claims(nodes, groups):
        return None
    found: list[tuple[int, str]] = []
    for group in groups:
        others = [node for node in _takers(nodes, group) if node.life != life]
        rooms = _rooms(others, loads)
        least = min((loads[node.life] for node in others if rooms[node.life] > 0), default=None)
        if group.owned.get(life) and least is not None and _is_surplus(me, group, others, loads, least):
            found.append((least, group.hosts))
    return min(found)[1] if found else None


def count_surplus(nodes: Collection[NodeView], groups: Collection[GroupView], life: int, hosts: str) -> int:
    """Return how many accounts of a pattern a life gives away together, if ``choose_surplus`` has said this pattern.

    That is one, or several which all go to nodes on its own host. Several nodes that give some at once leave each other
    enough: none goes below the mean.
    """
    me = next(node for node in nodes if node.life == life)
    group = next(each for each in groups if each.hosts == hosts)
    loads, takers = _loads(nodes, groups), _takers(nodes, group)
    mean = sum(loads[node.life] for node in takers) / max(len(takers), 1)
    most = min(SAME_HOST_AT_ONCE, int(loads[life] - mean), group.owned.get(life, 0))
    for count in range(most, 1, -1):
        given = {**loads, life: loads[life] - count}
        taken = _fill({node.life: given[node.life] for node in takers}, _rooms(takers, given), count)
        if all(node.host == me.host and node.life != life for node in takers if taken[node.life]):
            return count
    return 1


def quiet_gap(host: str, last_host: str | None, takeover_gap: float) -> float:
    """Return the seconds for which an account stays silent before it appears from a host, after the last one."""
    return 0.0 if last_host is None or last_host == host else takeover_gap


def _plan(nodes: Collection[NodeView], groups: Collection[GroupView]) -> dict[int, dict[str, int]]:
    """Return how many free accounts of each pattern each life takes."""
    loads = _loads(nodes, groups)
    plan: dict[int, dict[str, int]] = {}
    for group, takers in sorted(((each, _takers(nodes, each)) for each in groups), key=_most_restricted):
        given = _fill({node.life: loads[node.life] for node in takers}, _rooms(takers, loads), group.free)
        for life, count in given.items():
            loads[life] += count
            if count:
                plan.setdefault(life, {})[group.hosts] = count
    return plan


def _is_surplus(
    me: NodeView, group: GroupView, others: Sequence[NodeView], loads: Mapping[int, int], least: int
) -> bool:
    """Return whether a life has an account too many for one of the others, of which one has ``least`` accounts."""
    own = loads[me.life]
    if not host_matches(me.host, group.hosts) or own > _limit(me):
        return True
    mean = (own + sum(loads[node.life] for node in others)) / (1 + len(others))
    return own > (1 + IMBALANCE) * mean and own - least >= LEAST_DIFFERENCE


def _loads(nodes: Collection[NodeView], groups: Collection[GroupView]) -> dict[int, int]:
    return {node.life: sum(group.owned.get(node.life, 0) for group in groups) for node in nodes}


def _limit(node: NodeView) -> float:
    return float("inf") if node.accounts_at_most is None else node.accounts_at_most


def _takers(nodes: Collection[NodeView], group: GroupView) -> list[NodeView]:
    """Return who may have the accounts of a group."""
    return [node for node in nodes if not node.draining and host_matches(node.host, group.hosts)]


def _most_restricted(pair: tuple[GroupView, list[NodeView]]) -> tuple[int, str]:
    group, takers = pair
    return len(takers), group.hosts


def _rooms(nodes: Collection[NodeView], loads: Mapping[int, int]) -> dict[int, float]:
    """Return how many accounts each node may still take."""
    return {node.life: max(_limit(node) - loads[node.life], 0) for node in nodes}


def _fill(loads: Mapping[int, int], rooms: Mapping[int, float], count: int) -> dict[int, int]:
    """Return how many of ``count`` accounts each life gets: filled up to one level, as water would be."""

    def up_to(level: int) -> dict[int, int]:
        return {life: int(min(max(level - load, 0), rooms[life])) for life, load in loads.items()}

    count = int(min(count, sum(rooms.values())))
    low, high = 0, max(loads.values(), default=0) + count
    while low < high:  # the highest level for which there are enough
        level = (low + high + 1) // 2
        low, high = (level, high) if sum(up_to(level).values()) <= count else (low, level - 1)
    given = up_to(low)
    rest = count - sum(given.values())
    for life in sorted(given):
        if rest > 0 and loads[life] + given[life] == low and rooms[life] > given[life]:
            given[life], rest = given[life] + 1, rest - 1
    return given
