"""Exhaustive exploration of the law of leases: nodes, a store, and everything that can go wrong between them.

The nodes decide by the real ``states.lease``. Around them the world does, in any order: statements are committed,
late or never, and so are their answers; processes are stopped, go on, are killed and start again; clocks run at other
rates; the store fails over, and forgets what it committed last. There is one account. A node *works* from the moment in
which it learns of its claim until its links are closed, or its process has ended; a stopped process works, too, for it
may send as soon as it goes on.

*Never* do two nodes work at the same time. *Always* a world without further trouble leads to one that works.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from attrs import define, frozen

from engine.verify.lease_world import (
    NOBODY,
    OFF,
    Answer,
    Fleet,
    Node,
    Statement,
    Store,
    commit,
    fail_over,
    free_life,
    normalised,
)
from states.lease import (
    ArmDeadlines,
    AskLife,
    BeatConfirmed,
    BeatDue,
    BeatRefused,
    Death,
    DisarmDeath,
    DropAccounts,
    Hold,
    HoldEffect,
    HoldEvent,
    LeaseTimes,
    LifeBegun,
    LinksGone,
    SendBeat,
    Sight,
    Standing,
    StoreAnswered,
    StoreLost,
    Watch,
    decide_hold,
    decide_watch,
    may_claim,
)

TIMES: Final = LeaseTimes(beat_every=0.5, stop_after=1, death_after=2, lease=3)
"""The times in ticks. Greater ones have more configurations, and no other ones."""
FORGETS: Final = 2
"""How many of its last commits a store may forget when it fails over."""
PATIENCE: Final = 1
"""For how many ticks a node waits for an answer."""
SLOW_EVERY: Final = 5
"""Of so many ticks a slow clock misses one."""
ACCOUNT: Final = frozenset({"account"})

DecideHold = Callable[[Hold, HoldEvent, float, LeaseTimes], tuple[Hold, tuple[HoldEffect, ...]]]
DecideWatch = Callable[[Watch, StoreAnswered | StoreLost, float, LeaseTimes], tuple[Watch, tuple[Death, ...]]]
MayClaim = Callable[[Hold, Watch, float, LeaseTimes], bool]


@frozen(kw_only=True)
class LeaseWorld:
    """How many nodes there are, what may happen to them, and by which law they decide (a mutant, perhaps)."""

    nodes: int = 2
    stops: int = 1
    """How many times a process may be stopped, for however long."""
    kills: int = 1
    failovers: int = 0
    lates: int = 1
    """How many statements that were given up may still be committed, however late."""
    slow: frozenset[int] = frozenset()
    """The nodes whose clocks are slow, by a fifth."""
    times: LeaseTimes = TIMES
    kernel: bool = True
    """Whether the kernel ends a process at its deadline."""
    condition: bool = True
    """Whether a death is declared on condition of the beat."""
    decide_hold: DecideHold = decide_hold
    decide_watch: DecideWatch = decide_watch
    may_claim: MayClaim = may_claim

    def first(self) -> Fleet:
        """Return the fleet before anything has happened."""
        return Fleet(
            Store(0, settled=True, beats=(), owner=NOBODY),
            (Node(),) * self.nodes,
            stops=self.stops,
            kills=self.kills,
            failovers=self.failovers,
            lates=self.lates,
        )

    # --- what can happen next ------------------------------------------------------------------------------------

    def successors(self, fleet: Fleet) -> Iterator[tuple[str, Fleet]]:
        """Yield everything that can happen next, with a name."""
        for number, node in enumerate(fleet.nodes):
            for what, after in self._of_node(fleet, number, node):
                yield f"{number}: {what}", after
        if not any(self._is_due(node) for node in fleet.nodes):
            yield "a tick", self._tick(fleet)
        if fleet.failovers:
            for forgotten, store in enumerate((fleet.store, *fleet.past)):
                yield f"the store fails over, and forgets {forgotten}", fail_over(fleet, store)

    def _of_node(self, fleet: Fleet, number: int, node: Node) -> Iterator[tuple[str, Fleet]]:
        if node.late is not None:
            after, _ = self._commit(fleet, node.late)
            yield f"late, {node.late.what} is committed", _put(after, number, after.nodes[number]._replace(late=None))
        if fleet.kills:
            yield "killed", _put(fleet, number, _restarted(node), kills=fleet.kills - 1)
        if node.stopped:
            yield "goes on", _put(fleet, number, node._replace(stopped=False))
            return
        if fleet.stops:
            yield "stopped", _put(fleet, number, node._replace(stopped=True), stops=fleet.stops - 1)
        if node.standing is Standing.HOLDING and not self._hold(node).may_act(0, self.times):
            yield "its stop timer fires", _put(fleet, number, self._decide(node, BeatDue()))
        if node.standing is Standing.CLOSING:
            yield "its links are gone", _put(fleet, number, self._decide(node._replace(works=False), LinksGone()))
        if node.call is None:
            for call in self._statements(fleet, number, node):
                wants = call.of if call.what == "life" else node.wants
                yield f"asks ({call.what})", _put(fleet, number, node._replace(call=call, wants=wants))
            return
        if node.call.answer is not None:
            yield f"hears the answer ({node.call.what})", _put(fleet, number, self._hear(node, node.call))
        elif node.call.what != "void":
            after, answer = self._commit(fleet, node.call)
            answered = node.call._replace(answer=answer, beat=0)
            yield f"{node.call.what} is committed", _put(after, number, after.nodes[number]._replace(call=answered))
        given_up = self._give_up(node, node.call)
        yield f"gives up ({node.call.what})", _put(fleet, number, given_up)
        if fleet.lates and node.call.answer is None and node.call.what != "void":
            late = given_up._replace(late=node.call._replace(asked=0))
            yield f"gives up too early ({node.call.what})", _put(fleet, number, late, lates=fleet.lates - 1)

    def _statements(self, fleet: Fleet, number: int, node: Node) -> Iterator[Statement]:
        """Yield what a node may ask the store for now."""
        if node.standing is Standing.BEGINNING:
            yield Statement("life", node.life, node.wants or free_life(fleet, number))
        if node.standing is not Standing.HOLDING:
            return
        if node.confirmed < 0 or node.server is None:
            _, effects = self.decide_hold(self._hold(node), BeatDue(), 0, self.times)
            if SendBeat(node.life) in effects:
                yield Statement("beat", node.life)
        for life, beat in node.deaths:
            yield Statement("death", node.life, life, beat)
        if not node.works and self.may_claim(self._hold(node), _watch(node), 0, self.times):
            yield Statement("claim", node.life)
        if node.settled and node.server == fleet.store.server and not fleet.store.settled:
            yield Statement("settle", node.life)

    def _commit(self, fleet: Fleet, call: Statement) -> tuple[Fleet, Answer]:
        if call.what == "death" and not self.condition:
            call = call._replace(beat=dict(fleet.store.beats).get(call.of, 0))
        after, answer = commit(fleet, call)
        if fleet.failovers and after.store != fleet.store:
            after = after._replace(past=(_before(after, fleet.store, call), *after.past)[:FORGETS])
        return after, answer

    # --- how a node decides --------------------------------------------------------------------------------------

    def _hold(self, node: Node) -> Hold:
        return Hold(standing=node.standing, life=node.life, confirmed=node.confirmed)

    def _decide(self, node: Node, event: HoldEvent) -> Node:
        """Return the node after an event of its hold. Its links are closed later, but for what is dropped at once."""
        hold, effects = self.decide_hold(self._hold(node), event, 0, self.times)
        node = node._replace(standing=hold.standing, life=hold.life, confirmed=int(hold.confirmed))
        for effect in effects:
            match effect:
                case ArmDeadlines(death=death):
                    node = node._replace(death=int(death))
                case DisarmDeath():
                    node = node._replace(death=OFF)
                case DropAccounts():
                    node = node._replace(works=False)
                case AskLife():
                    node = node._replace(wants=NOBODY)
        return node

    def _hear(self, node: Node, call: Statement) -> Node:
        """Return the node after the answer to its statement."""
        assert call.answer is not None
        answer = call.answer
        node = node._replace(call=None)
        if call.what == "life":
            return self._decide(node._replace(wants=NOBODY), LifeBegun(life=call.of, asked=call.asked))
        if call.what == "beat":
            if not answer.done:
                return self._decide(node, BeatRefused(life=call.life))
            lost = ACCOUNT if node.works and not answer.mine else frozenset[str]()
            node = self._decide(node, BeatConfirmed(life=call.life, asked=call.asked, unconfirmed=lost))
            seen = StoreAnswered(
                asked=call.asked, server=str(answer.server), beats=dict(answer.others), settled=answer.settled
            )
            node = self._watched(node, seen)
        mine = answer.mine if call.what == "beat" else answer.done and call.what == "claim"
        if mine and call.life == node.life and self._hold(node).may_act(0, self.times):
            node = node._replace(works=True)
        return node

    def _give_up(self, node: Node, call: Statement) -> Node:
        """Return the node after its connection to the store is lost."""
        node = node._replace(call=None)
        return self._watched(node, StoreLost())

    def _watched(self, node: Node, event: StoreAnswered | StoreLost) -> Node:
        watch, deaths = self.decide_watch(_watch(node), event, 0, self.times)
        return node._replace(
            server=None if watch.server is None else int(watch.server),
            since=int(watch.since),
            settled=watch.settled,
            sights=tuple(sorted((life, seen.beat, int(seen.since)) for life, seen in watch.sights.items())),
            deaths=tuple((death.life, death.beat) for death in deaths),
        )

    def _is_due(self, node: Node) -> bool:
        """Return whether a node must do something before more time passes. One that is late is one that was stopped."""
        if node.stopped:
            return False
        if node.standing is Standing.CLOSING:
            return True
        if node.standing is Standing.HOLDING and not self._hold(node).may_act(0, self.times):
            return True
        return node.call is not None and (node.call.answer is not None or node.call.asked <= -PATIENCE)

    # --- time ----------------------------------------------------------------------------------------------------

    def _tick(self, fleet: Fleet) -> Fleet:
        """Let one tick pass. The kernel ends processes at once; everything else that is due may take its time."""
        phase = (fleet.phase + 1) % SLOW_EVERY if self.slow else 0
        nodes = (
            node if phase == 0 and number in self.slow else self._later(node) for number, node in enumerate(fleet.nodes)
        )
        return fleet._replace(nodes=tuple(nodes), phase=phase)

    def _later(self, node: Node) -> Node:
        oldest = -int(self.times.lease)  # what is older decides nothing else
        call = node.call
        if node.death != OFF and node.death <= 1:
            if self.kernel:
                return _restarted(node)
            node = node._replace(death=2)
        return node._replace(
            confirmed=max(node.confirmed - 1, -int(self.times.stop_after)) if node.standing is Standing.HOLDING else 0,
            death=node.death if node.death == OFF else node.death - 1,
            since=max(node.since - 1, oldest) if node.server is not None and not node.settled else 0,
            sights=tuple((life, beat, max(since - 1, oldest)) for life, beat, since in node.sights),
            call=None if call is None else call._replace(asked=max(call.asked - 1, oldest)),
        )


def _watch(node: Node) -> Watch:
    sights = {life: Sight(beat, since) for life, beat, since in node.sights}
    server = None if node.server is None else str(node.server)
    return Watch(server=server, since=node.since, settled=node.settled, sights=sights)


def _restarted(node: Node) -> Node:
    """Return the node whose process has ended, and begins again."""
    return Node(late=node.late)


def _put(fleet: Fleet, number: int, node: Node, **changes: Any) -> Fleet:
    nodes = (*fleet.nodes[:number], node, *fleet.nodes[number + 1 :])
    return fleet._replace(nodes=nodes, **changes)


def _before(after: Fleet, store: Store, call: Statement) -> Store:
    """Return what the store was before a commit, its beats counted as they are after it."""
    if call.what != "beat":
        return store
    return store._replace(beats=tuple((life, beat - (life == call.life)) for life, beat in store.beats))


@define
class LeaseReport:
    """What an exploration covered, and the shortest path to a violation, if there is one."""

    configurations: int = 0
    takeovers: int = 0
    """Configurations in which another life has the account than one before."""
    violation: tuple[str, ...] = ()


def explore(world: LeaseWorld, limit: int | None = None) -> LeaseReport:
    """Explore a world breadth first, up to ``limit`` configurations; return what was found."""
    first = world.first()
    reached: dict[Fleet, tuple[Fleet, str] | None] = {first: None}
    queue = deque([first])
    while queue and (limit is None or len(reached) < limit):
        fleet = queue.popleft()
        for what, after in world.successors(fleet):
            found = normalised(after)
            if found in reached:
                continue
            reached[found] = (fleet, what)
            if sum(node.works for node in found.nodes) > 1:
                return LeaseReport(len(reached), violation=_path(reached, found))
            queue.append(found)
    return LeaseReport(len(reached))


def _path(reached: dict[Fleet, tuple[Fleet, str] | None], fleet: Fleet) -> tuple[str, ...]:
    steps = []
    while (before := reached[fleet]) is not None:
        fleet, what = before
        steps.append(what)
    return tuple(reversed(steps))
