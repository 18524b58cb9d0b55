"""What a node or a store alone decides, worked out once for each that differs.

There are a few thousand nodes that differ, and far more worlds that are made of them. So each node and each store has a
number, and a world is a row of numbers.
"""

from collections.abc import Hashable, Iterator
from functools import cache
from typing import Final, Generic, TypeVar

from engine.verify.lease.node import (
    BEGINNING,
    LeaseLaw,
    LeaseNode,
    after_beat,
    ask_life,
    asks,
    cut_off,
    hear,
    hear_claim,
    is_due,
    let_pass,
    local_steps,
    own_lives,
    renumbered,
    restarted,
    with_statement,
)
from engine.verify.lease.store import LIVES, NOBODY, LeaseStore, StoreRules, commit, taken_over

T = TypeVar("T", bound=Hashable)
NONE: Final = -1
"""No number."""
Commit = tuple[str, int, int, int, bool]
"""What happens, the store and the node after it, the life that it let beat, and whether an answer is still to come."""
UNHEARD: Final = ("end", "death", "settle")
"""Statements whose answers decide nothing."""


class NumberedValues(Generic[T]):
    """Values, each with a number."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}

    def number(self, value: T) -> int:
        """Return the number of a value, a new one if it is seen for the first time."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class LeaseTables:
    """What follows for single nodes and stores. All of it is remembered."""

    def __init__(self, law: LeaseLaw, rules: StoreRules, *, lates: bool, leaves: bool) -> None:
        self.law, self.rules, self.lates, self.leaves = law, rules, lates, leaves
        self.stores: NumberedValues[LeaseStore] = NumberedValues()
        self.nodes: NumberedValues[LeaseNode] = NumberedValues()
        self.works = cache(lambda node: self.nodes.values[node].works)
        self.is_due = cache(lambda node: is_due(self.nodes.values[node], law))
        self.spoken = cache(self._spoken)
        self.living = cache(self._living)
        self.local_steps = cache(self._local_steps)
        self.asks = cache(self._asks)
        self.asks_life = cache(self._asks_life)
        self.commits = cache(lambda *given: tuple(self._commits(*given)))
        self.later = cache(self._later)
        self.restarted = cache(self._restarted)
        self.cut_off = cache(lambda node: self.nodes.number(cut_off(self.nodes.values[node])))
        self.after_beat = cache(self._after_beat)
        self.taken_over = cache(lambda store: self.stores.number(taken_over(self.stores.values[store])))
        self.own_lives = cache(lambda node, living: own_lives(self.nodes.values[node], living))

    def _spoken(self, node: int) -> int:
        """Return the lives of which a node speaks, as a bit mask."""
        return sum(1 << life for life in set(self.nodes.values[node].lives()))

    def _living(self, store: int) -> int:
        """Return the lives of which a store speaks, as a bit mask."""
        value = self.stores.values[store]
        return sum(1 << life for life in {*value.lives(), value.owner})

    def _local_steps(self, node: int) -> tuple[tuple[str, int], ...]:
        steps = local_steps(self.nodes.values[node], self.law, lates=self.lates, leaves=self.leaves)
        return tuple((what, self.nodes.number(after)) for what, after in steps)

    def _asks(self, node: int) -> tuple[tuple[str, str, int], ...]:
        found = asks(self.nodes.values[node], self.law)
        return tuple((what, place, self.nodes.number(after)) for what, place, after in found)

    def _asks_life(self, node: int, life: int) -> int:
        """Return what a node is that asks for a life under this number, or ``NONE`` if it does not ask now."""
        after = ask_life(self.nodes.values[node], life, self.law)
        return NONE if after is None else self.nodes.number(after)

    def may_ask_life(self, node: int) -> bool:
        """Return whether it is worth a question."""
        value = self.nodes.values[node]
        return value.standing is BEGINNING and value.call is None and not value.ends

    def _commits(self, store: int, node: int, doomed: bool, place: str) -> Iterator[Commit]:
        """Yield what happens when a statement is committed: the one just asked in this place, or one asked before."""
        before, asking = self.stores.values[store], self.nodes.values[node]
        for each, asked in (("call", asking.call), ("work", asking.work), ("late", asking.late)):
            if asked is None or asked.answer is not None or asked.what == "void":
                continue
            if (place and each != place) or asked.fresh is not bool(place):
                continue
            changed, answer = commit(before, asked, self.rules, int(doomed))
            after, beaten = self.stores.number(changed), asked.life if asked.what == "beat" and answer.done else NOBODY
            what = f"{asked.what} {'committed' if answer.done else 'refused'}"
            if each == "late" or asked.what in UNHEARD or (asked.what == "claim" and not answer.done):
                yield what, after, self.nodes.number(with_statement(asking, each, None)), beaten, False
                continue
            answered = with_statement(asking, each, asked._replace(answer=answer, fresh=True))
            heard = (hear if each == "call" else hear_claim)(answered, self.law)
            yield f"{what} and heard", after, self.nodes.number(heard), beaten, False
            yield what, after, self.nodes.number(answered), beaten, True

    def _later(self, node: int) -> tuple[int, ...]:
        return tuple(map(self.nodes.number, let_pass(self.nodes.values[node], self.law, lates=self.lates)))

    def _restarted(self, node: int) -> tuple[int, ...]:
        return tuple(map(self.nodes.number, restarted(self.nodes.values[node], lates=self.lates)))

    def _after_beat(self, node: int, life: int) -> int:
        return self.nodes.number(after_beat(self.nodes.values[node], life))


class LeaseNames:
    """Other names for lives and nodes, by which worlds that are alike become the same."""

    def __init__(self, tables: LeaseTables, nodes: int) -> None:
        self._tables = tables
        self._nodes = nodes
        self._namings: NumberedValues[tuple[tuple[int, int], ...]] = NumberedValues()
        self.naming = cache(self._naming)
        self.node = cache(self._node)
        self.store = cache(self._store)

    def _naming(self, orders: tuple[tuple[int, ...], ...]) -> int:
        """Return the number of the names by which each node's lives are numbered in this order."""
        names = {
            life: number * LIVES + place
            for number, order in enumerate(orders)
            for place, life in enumerate(dict.fromkeys(order), 1)
        }
        return self._namings.number(((NOBODY, NOBODY), *names.items()))

    def of_places(self, places: tuple[int, ...]) -> int:
        """Return the number of the names that lives get when their nodes change places."""
        names = {
            number * LIVES + life: places[number] * LIVES + life
            for number in range(self._nodes)
            for life in range(1, LIVES)
        }
        return self._namings.number(((NOBODY, NOBODY), *names.items()))

    def _node(self, node: int, naming: int) -> int:
        names = dict(self._namings.values[naming])
        return self._tables.nodes.number(renumbered(self._tables.nodes.values[node], names))

    def _store(self, store: int, naming: int) -> int:
        names, before = dict(self._namings.values[naming]), self._tables.stores.values[store]
        beats = tuple(sorted((names[life], beat) for life, beat in before.beats))
        return self._tables.stores.number(before._replace(beats=beats, owner=names[before.owner]))
