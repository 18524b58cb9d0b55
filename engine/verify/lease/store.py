"""The store of the leases' world, the statements that nodes send it, and what each of them does.

A beat is compared with nothing but equality. So beats are counted from the present one, which is 0: what a node has
seen is 0, ``OLD`` (a beat that will not come again) or, after a failover, a number above 0: a beat that was forgotten,
and will come again when the life has beaten so often. Then there are finitely many.
"""

from typing import Final, NamedTuple

from attrs import frozen

NOBODY: Final = 0
LIVES: Final = 8
"""By how much the numbers of two nodes' lives differ: those of node 1 begin at 9."""
OLD: Final = -1
"""The beat that stands for all those that the store will not have again."""


@frozen(kw_only=True)
class StoreRules:
    """The conditions of the statements; a mutant of the store lacks one of them."""

    beat_needs_life: bool = True
    """A life that was declared dead cannot beat."""
    death_needs_beat: bool = True
    """A life is declared dead only if its beat is the one that was seen."""
    death_needs_server: bool = True
    """Only the server at which it was seen declares it dead."""
    claim_needs_server: bool = True
    """Only the server that is settled gives accounts."""


class LeaseStore(NamedTuple):
    """What is committed."""

    server: int
    settled: bool
    beats: tuple[tuple[int, int], ...]
    """The living lives, each with its beat."""
    owner: int
    """The life that has the account."""

    def lives(self) -> frozenset[int]:
        """Return the living lives."""
        return frozenset(life for life, _ in self.beats)


class StoreAnswer(NamedTuple):
    """The answer to a beat or a claim: whether it took place, and what it says of the store."""

    done: bool
    server: int = 0
    settled: bool = False
    mine: bool = False
    """Whether the asking life has the account."""
    others: tuple[tuple[int, int], ...] = ()
    """The other living lives, each with its beat."""


class LeaseStatement(NamedTuple):
    """One statement of a node, committed or not."""

    what: str
    """``life`` (begin ``life``, end ``of``), ``beat``, ``end`` (of ``life``), ``death`` (of ``of``), ``claim``,
    ``settle``, or ``void``: will never be committed."""
    life: int
    """The life that asks."""
    of: int = NOBODY
    beat: int = 0
    """The beat of ``of`` that is the condition of its death; for a beat, 1 if the node worked when it asked."""
    server: int = 0
    """The server that is a condition."""
    asked: int = 0
    answer: StoreAnswer | None = None
    fresh: bool = False
    """Whether it was asked, or answered, in this tick and goes on in a later one."""


def commit(store: LeaseStore, asked: LeaseStatement, rules: StoreRules, step: int) -> tuple[LeaseStore, StoreAnswer]:
    """Return the store after a statement, and its answer. A beat is later by ``step``, or by 0 if it is the present."""
    beats, owner = dict(store.beats), store.owner
    here = asked.server == store.server
    match asked.what:
        case "life":
            beats.pop(asked.of, None)
            beats.setdefault(asked.life, 0)
        case "end":
            beats.pop(asked.life, None)
        case "beat":
            if asked.life not in beats and rules.beat_needs_life:
                return store, StoreAnswer(False)
            others = tuple(each for each in store.beats if each[0] != asked.life)
            if asked.life in beats:
                beats[asked.life] += step
            answer = StoreAnswer(True, store.server, store.settled, owner == asked.life, others)
            return store._replace(beats=tuple(sorted(beats.items()))), answer
        case "death":
            seen = asked.beat == beats.get(asked.of) or not rules.death_needs_beat
            if not seen or not (here or not rules.death_needs_server):
                return store, StoreAnswer(False)
            beats.pop(asked.of, None)
        case "claim":
            if asked.life not in beats or owner in beats or not (here or not rules.claim_needs_server):
                return store, StoreAnswer(False)
            owner = asked.life
        case "settle":
            return store._replace(settled=store.settled or here), StoreAnswer(True)
    if owner not in beats and rules.beat_needs_life:  # whose it was is then of no importance
        owner = NOBODY
    return store._replace(beats=tuple(sorted(beats.items())), owner=owner), StoreAnswer(True)


def taken_over(store: LeaseStore) -> LeaseStore:
    """Return the store of a server that has taken over with this data."""
    beats = tuple((life, 0) for life, _ in store.beats)
    return store._replace(server=store.server + 1, settled=False, beats=beats)
