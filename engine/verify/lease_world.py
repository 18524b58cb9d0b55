"""A configuration of the leases' world: a store, nodes with their processes, and the statements between them.

Times are ticks of the clock of whoever has them, relative to its present, which is 0. Lives and beats are compared with
nothing but equality. So a node uses the number of a life again of which nobody speaks any more, and a beat is counted
from the one that the store has, which is 0: the configurations are finite.
"""

from typing import Final, NamedTuple

from states.lease import Standing

OFF: Final = 99
"""Ticks until the kernel ends a process, where its timer is not armed."""
NOBODY: Final = 0
LIVES: Final = 8
"""Numbers of lives that each node has."""
OLDEST: Final = -3
"""The beat that stands for all older ones, which the store will not have again."""


class Store(NamedTuple):
    """What is committed."""

    server: int
    settled: bool
    beats: tuple[tuple[int, int], ...]
    """The living lives, each with its beat."""
    owner: int
    """The life that has the account; ``NOBODY`` if it can be claimed."""


class Answer(NamedTuple):
    """The answer to a statement: whether it took place, and what it says of the store."""

    done: bool
    server: int = 0
    settled: bool = False
    mine: bool = False
    """Whether the asking life has the account."""
    others: tuple[tuple[int, int], ...] = ()
    """The other living lives, each with its beat."""


class Statement(NamedTuple):
    """One statement of a node, committed or not."""

    what: str
    """``life`` (begin ``of``, end ``life``), ``beat``, ``death`` (of ``of``), ``claim``, ``settle``, or ``void``, which
    will never be committed."""
    life: int
    """The life that asks."""
    of: int = NOBODY
    beat: int = 0
    """The beat of ``of`` that is the condition of its death."""
    asked: int = 0
    answer: Answer | None = None


class Node(NamedTuple):
    """A node: its process, its hold, its watch, and its statements."""

    stopped: bool = False
    standing: Standing = Standing.BEGINNING
    life: int = NOBODY
    confirmed: int = 0
    death: int = OFF
    """Ticks until the kernel ends the process."""
    server: int | None = None
    since: int = 0
    settled: bool = False
    sights: tuple[tuple[int, int, int], ...] = ()
    """Life, beat, and since when it is seen."""
    deaths: tuple[tuple[int, int], ...] = ()
    """The lives to be declared dead, each with the beat that is the condition."""
    works: bool = False
    wants: int = NOBODY
    """The life that it has asked for, under a number of its own choice: to ask again is to ask for the same one."""
    call: Statement | None = None
    late: Statement | None = None
    """A statement that the node has given up, and that may still be committed."""


class Fleet(NamedTuple):
    """All of it, and how many troubles may still come."""

    store: Store
    nodes: tuple[Node, ...]
    past: tuple[Store, ...] = ()
    """What the store was before its last commits, the latest first, if it may still forget them."""
    stops: int = 0
    kills: int = 0
    failovers: int = 0
    lates: int = 0
    """How many statements that a node gives up may still be committed."""
    phase: int = 0
    """Ticks since clocks of other rates agreed."""


def commit(fleet: Fleet, call: Statement) -> tuple[Fleet, Answer]:
    """Return the fleet after a statement, and its answer."""
    store = fleet.store
    beats = dict(store.beats)
    if call.what == "life":
        beats.pop(call.life, None)
        if call.of in beats:  # it was asked for before
            return fleet, Answer(True)
        beats[call.of] = 0
        return _with(fleet, store, beats), Answer(True)
    if call.life not in beats:  # the fence of every statement
        return fleet, Answer(False)
    match call.what:
        case "beat":
            fleet = _moved(fleet, call.life, -1)
            store = fleet.store
            beats = {**dict(store.beats), call.life: 0}
            others = tuple((life, beat) for life, beat in store.beats if life != call.life)
            answer = Answer(True, store.server, store.settled, store.owner == call.life, others)
            return _with(fleet, store, beats), answer
        case "death":
            if beats.get(call.of) != call.beat:
                return fleet, Answer(False)
            del beats[call.of]
        case "claim":
            if store.owner != NOBODY:
                return fleet, Answer(False)
            store = store._replace(owner=call.life)
        case "settle":
            store = store._replace(settled=True)
    return _with(fleet, store, beats), Answer(True)


def _with(fleet: Fleet, store: Store, beats: dict[int, int]) -> Fleet:
    """Return the fleet with this store and these living lives. The account of a dead life can be claimed."""
    owner = store.owner if store.owner in beats else NOBODY
    return fleet._replace(store=store._replace(beats=tuple(sorted(beats.items())), owner=owner))


def fail_over(fleet: Fleet, store: Store) -> Fleet:
    """Return the fleet with a new server that has this store. Statements that were under way are lost for ever."""

    def cut(node: Node) -> Node:
        call = node.call
        if call is not None and call.answer is None:
            call = Statement("void", call.life)
        return node._replace(call=call, late=None)

    fleet = fleet._replace(nodes=tuple(map(cut, fleet.nodes)), failovers=fleet.failovers - 1)
    for life, beat in store.beats:  # from now on counted from these
        fleet = _moved(fleet, life, -beat)
    beats = tuple((life, 0) for life, _ in store.beats)
    after = store._replace(server=fleet.store.server + 1, settled=False, beats=beats)
    return fleet._replace(store=after, past=())


def _moved(fleet: Fleet, life: int, by: int) -> Fleet:
    """Return the fleet with all beats of a life that anybody speaks of counted from another one."""

    def beat(each: int, value: int) -> int:
        return max(value + by, OLDEST) if each == life else value

    def of_store(store: Store) -> Store:
        return store._replace(beats=tuple((each, beat(each, value)) for each, value in store.beats))

    def of_statement(call: Statement | None) -> Statement | None:
        if call is None:
            return None
        answer = call.answer
        if answer is not None and answer.others:
            answer = answer._replace(others=tuple((each, beat(each, value)) for each, value in answer.others))
        return call._replace(beat=beat(call.of, call.beat) if call.what == "death" else 0, answer=answer)

    return fleet._replace(
        store=of_store(fleet.store),
        past=tuple(map(of_store, fleet.past)),
        nodes=tuple(
            node._replace(
                sights=tuple((each, beat(each, value), since) for each, value, since in node.sights),
                deaths=tuple((each, beat(each, value)) for each, value in node.deaths),
                call=of_statement(node.call),
                late=of_statement(node.late),
            )
            for node in fleet.nodes
        ),
    )


def free_life(fleet: Fleet, number: int) -> int:
    """Return the number for a new life of a node: the lowest that nobody speaks of."""
    node = fleet.nodes[number]
    known = {life for store in (fleet.store, *fleet.past) for life, _ in store.beats}
    used = {*known, node.life, *(each.life for each in (node.call, node.late) if each is not None)}
    return next(life for life in range(number * LIVES + 1, (number + 1) * LIVES) if life not in used)


def normalised(fleet: Fleet) -> Fleet:
    """Return the configuration that stands for this one.

    What a node knows of lives that are dead for ever decides nothing, and is left out; without a failover to come, all
    beats but the present one are alike. The lives of a node are numbered anew, its own first.
    """
    oldest = OLDEST if fleet.failovers else -1
    known = {life for store in (fleet.store, *fleet.past) for life, _ in store.beats}
    names = {NOBODY: NOBODY}
    for number, node in enumerate(fleet.nodes):
        mine = [node.life, node.wants, *(each.life for each in (node.call, node.late) if each is not None)]
        mine += [each.of for each in (node.call, node.late) if each is not None and each.what == "life"]
        mine += sorted(life for life in known if life // LIVES == number)
        for life in mine:
            if life not in names and (life in known or life != node.life or node.standing is not Standing.BEGINNING):
                names[life] = number * LIVES + sum(name // LIVES == number for name in names.values() if name) + 1

    def pairs(found: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        return tuple(sorted((names[life], max(beat, oldest)) for life, beat in found if life in known))

    def of_store(store: Store) -> Store:
        return store._replace(beats=pairs(store.beats), owner=names[store.owner])

    def of_statement(call: Statement | None) -> Statement | None:
        if call is None:
            return None
        if call.what == "death" and call.answer is None and call.of not in known:
            return Statement("void", names.get(call.life, NOBODY), asked=call.asked)
        answer = call.answer and call.answer._replace(others=pairs(call.answer.others))
        of = names.get(call.of, NOBODY) if answer is None or call.what == "life" else NOBODY
        beat = max(call.beat, oldest)
        return call._replace(life=names.get(call.life, NOBODY), of=of, beat=beat, answer=answer)

    return fleet._replace(
        store=of_store(fleet.store),
        past=tuple(map(of_store, fleet.past)),
        nodes=tuple(
            node._replace(
                life=names.get(node.life, NOBODY),
                wants=names[node.wants],
                sights=tuple(
                    sorted(
                        (names[life], max(beat, oldest), since) for life, beat, since in node.sights if life in known
                    )
                ),
                deaths=pairs(node.deaths),
                call=of_statement(node.call),
                late=of_statement(node.late),
            )
            for node in fleet.nodes
        ),
    )
