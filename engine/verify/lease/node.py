"""A node of the leases' world: its process, what it knows, its statements under way, and what it can do next.

Times are ticks of the node's own clock, counted from the present, which is 0. A node has one connection for its lives
and beats, and another one for deaths and claims; of what it has given up, one statement may still be committed.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from attrs import frozen

from engine.verify.lease.store import NOBODY, OLD, LeaseStatement
from states import lease
from states.lease import (
    ArmDeadlines,
    AskLife,
    BeatConfirmed,
    BeatDue,
    BeatRefused,
    BeatSight,
    Claim,
    DeclareDead,
    DisarmDeath,
    DropAccounts,
    EndLife,
    HoldEffect,
    HoldEvent,
    HoldStanding,
    LeaseTimes,
    LeaveRequested,
    LifeGiven,
    LinksGone,
    NodeHold,
    NodeWatch,
    NoteSettled,
    SendBeat,
    StoreAnswered,
    StoreLost,
)

OFF: Final = 99
"""Ticks until the kernel ends a process, where its timer is not armed."""
NO_SERVER: Final = -1
ACCOUNT: Final = frozenset({"account"})
BEGINNING, HOLDING, CLOSING, LEFT = HoldStanding


@frozen(kw_only=True)
class LeaseLaw:
    """By what the nodes decide: ``states.lease``, or a mutant of it."""

    times: LeaseTimes
    patience: int
    """For how many ticks a node waits for the answer to a beat; later ones it does not hear."""
    kernel: bool = True
    """Whether the kernel ends a process at its deadline."""
    decide_hold: Callable[..., tuple[NodeHold, tuple[HoldEffect, ...]]] = lease.decide_hold
    decide_watch: Callable[..., tuple[NodeWatch, tuple[lease.WatchEffect, ...]]] = lease.decide_watch
    begin_claim: Callable[..., Claim | None] = lease.begin_claim
    claim_counts: Callable[..., bool] = lease.claim_counts

    @property
    def stop_after(self) -> int:
        """After how many ticks links are aborted."""
        return int(self.times.stop_after)

    @property
    def oldest(self) -> int:
        """The time before which nothing decides anything else: no answer is older than the patience."""
        return -int(self.times.lease) - self.patience


class LeaseNode(NamedTuple):
    """A node. It *works* while it has the account's link open, or has not yet been told to close it."""

    standing: HoldStanding = BEGINNING
    leaving: bool = False
    life: int = NOBODY
    confirmed: int = 0
    death: int = OFF
    """Ticks until the kernel ends the process."""
    server: int = NO_SERVER
    since: int = 0
    settled: bool = False
    sights: tuple[tuple[int, int, int], ...] = ()
    """Life, beat, and since when it is seen."""
    deaths: tuple[tuple[int, int], ...] = ()
    """The lives to be declared dead, each with the beat that is the condition."""
    note: bool = False
    """Whether it is to note that the server is settled."""
    works: bool = False
    wants: int = NOBODY
    """The life that it has asked for, under a number of its own: to ask again is to ask for the same one."""
    ends: int = NOBODY
    """The life that it is to end in the store."""
    call: LeaseStatement | None = None
    """A life, a beat, or the end of a life."""
    work: LeaseStatement | None = None
    """A death, a claim, or a note that the server is settled."""
    late: LeaseStatement | None = None
    """A statement that it has given up, and that may still be committed."""

    def hold(self) -> NodeHold:
        """Return its hold, as the law has it."""
        return NodeHold(standing=self.standing, life=self.life, confirmed=self.confirmed, leaving=self.leaving)

    def watch(self) -> NodeWatch:
        """Return its watch, as the law has it."""
        sights = {life: BeatSight(beat, since) for life, beat, since in self.sights}
        server = None if self.server == NO_SERVER else str(self.server)
        return NodeWatch(server=server, since=self.since, settled=self.settled, sights=sights)

    def statements(self) -> Iterator[LeaseStatement]:
        """Yield what may still be committed."""
        for each in (self.call, self.work, self.late):
            if each is not None and each.answer is None and each.what != "void":
                yield each

    def lives(self) -> Iterator[int]:
        """Yield every life of which it speaks."""
        yield from (self.life, self.wants, self.ends)
        yield from (life for life, *_ in (*self.sights, *self.deaths))
        for each in (self.call, self.work, self.late):
            if each is not None:
                yield from (each.life, each.of)
                yield from (life for life, _ in (each.answer.others if each.answer else ()))


def decide(node: LeaseNode, event: HoldEvent, law: LeaseLaw) -> tuple[LeaseNode, tuple[HoldEffect, ...]]:
    """Return the node after an event of its hold, and the effects. It closes its links later, but drops at once."""
    hold, effects = law.decide_hold(node.hold(), event, 0, law.times)
    confirmed = int(hold.confirmed) if hold.standing is HOLDING else 0
    node = node._replace(standing=hold.standing, leaving=hold.leaving, life=hold.life, confirmed=confirmed)
    for effect in effects:
        match effect:
            case ArmDeadlines(death=death):
                node = node._replace(death=int(death))
            case DisarmDeath():
                node = node._replace(death=OFF)
            case DropAccounts():
                node = node._replace(works=False)
            case EndLife(life):
                node = node._replace(ends=life)
    return node, effects


def is_due(node: LeaseNode, law: LeaseLaw) -> bool:
    """Return whether a process that is not stopped does something before more time passes."""
    if node.standing is CLOSING or (node.standing is HOLDING and not node.hold().may_act(0, law.times)):
        return True
    return node.call is not None and node.call.asked <= -law.patience


def local_steps(node: LeaseNode, law: LeaseLaw, *, lates: bool, leaves: bool) -> Iterator[tuple[str, LeaseNode]]:
    """Yield what a node can do by itself."""
    if node.standing is HOLDING and not node.hold().may_act(0, law.times):
        yield "its stop timer fires", decide(node, BeatDue(), law)[0]
    if node.standing is CLOSING or (node.standing is HOLDING and node.leaving):
        yield "its links are gone", decide(node._replace(works=False), LinksGone(), law)[0]
    if leaves and not node.leaving:
        yield "is to leave", decide(node, LeaveRequested(), law)[0]
    call = node.call
    if call is not None and call.answer is not None and not call.fresh:
        yield f"hears of its {call.what}", hear(node, law)
    if call is not None and (call.what == "void" or call.asked <= -law.patience):
        lost = _watched(node._replace(call=None), StoreLost(), law)
        yield f"gives up its {call.what}", lost
        if lates and node.late is None and call.answer is None and call.what != "void":
            yield f"gives up its {call.what} too early", lost._replace(late=_timeless(call))
    if node.work is not None and node.work.answer is not None and not node.work.fresh:
        yield "hears of its claim", hear_claim(node, law)


def asks(node: LeaseNode, law: LeaseLaw) -> Iterator[tuple[str, str, LeaseNode]]:
    """Yield what a node can ask the store for, but for a life: a name, the statement's place, the asking node."""
    if node.call is None and node.ends:
        yield "ends its life", "call", node._replace(ends=NOBODY, call=LeaseStatement("end", node.ends, fresh=True))
    elif node.call is None and (node.standing is not HOLDING or node.confirmed < 0 or node.server == NO_SERVER):
        after, effects = decide(node, BeatDue(), law)  # at most once in a tick, but for the first
        if SendBeat(node.life) in effects:
            beat = LeaseStatement("beat", node.life, beat=int(node.works), fresh=True)
            yield "beats", "call", after._replace(call=beat)
    if node.work is not None or node.standing is not HOLDING:
        return
    for life, seen in node.deaths:
        left = tuple(each for each in node.deaths if each[0] != life)
        death = LeaseStatement("death", node.life, life, seen, node.server, fresh=True)
        yield "declares a life dead", "work", node._replace(deaths=left, work=death)
    if node.note:
        note = LeaseStatement("settle", node.life, server=node.server, fresh=True)
        yield "notes that the server is settled", "work", node._replace(note=False, work=note)
    if not node.works and (claim := law.begin_claim(node.hold(), node.watch(), 0, law.times)) is not None:
        wish = LeaseStatement("claim", claim.life, server=_number(claim.server), fresh=True)
        yield "claims", "work", node._replace(work=wish)


def ask_life(node: LeaseNode, number: int, law: LeaseLaw) -> LeaseNode | None:
    """Return the node that asks for a life, under this number if it has chosen none; None if it asks for none now."""
    if node.call is not None or node.ends:
        return None
    after, effects = decide(node, BeatDue(), law)
    ends = next((effect.ends for effect in effects if isinstance(effect, AskLife)), None)
    if ends is None:
        return None
    wants = node.wants or number
    return after._replace(wants=wants, call=LeaseStatement("life", wants, of=ends, fresh=True))


def hear(node: LeaseNode, law: LeaseLaw) -> LeaseNode:
    """Return the node after the answer to its life or beat."""
    call = node.call
    assert call is not None
    assert call.answer is not None
    answer = call.answer
    node = node._replace(call=None)
    if call.what == "life":
        return decide(node._replace(wants=NOBODY), LifeGiven(life=call.life, asked=call.asked), law)[0]
    if not answer.done:
        return decide(node, BeatRefused(life=call.life), law)[0]
    lost = ACCOUNT if call.beat and not answer.mine else frozenset[str]()
    node = decide(node, BeatConfirmed(life=call.life, asked=call.asked, unconfirmed=lost), law)[0]
    if node.standing is not HOLDING or node.life != call.life:
        return node
    seen = StoreAnswered(asked=call.asked, server=str(answer.server), beats=dict(answer.others), settled=answer.settled)
    node = _watched(node, seen, law)
    if answer.settled:
        node = node._replace(since=0)  # it decides nothing any more
    if answer.mine and not node.leaving and node.hold().may_act(0, law.times):
        node = node._replace(works=True)
    return node


def hear_claim(node: LeaseNode, law: LeaseLaw) -> LeaseNode:
    """Return the node after the grant of its claim."""
    asked = node.work
    assert asked is not None
    claim = Claim(life=asked.life, server=str(asked.server), asked=asked.asked)
    granted = law.claim_counts(claim, node.hold(), node.watch(), 0, law.times)
    return node._replace(work=None, works=node.works or (granted and not node.leaving))


def _watched(node: LeaseNode, event: StoreAnswered | StoreLost, law: LeaseLaw) -> LeaseNode:
    watch, effects = law.decide_watch(node.watch(), event, 0, law.times)
    return node._replace(
        server=_number(watch.server),
        since=int(watch.since),
        settled=watch.settled,
        sights=tuple(sorted((life, seen.beat, int(seen.since)) for life, seen in watch.sights.items())),
        deaths=tuple((each.life, each.beat) for each in effects if isinstance(each, DeclareDead)),
        note=any(isinstance(each, NoteSettled) for each in effects),
    )


def with_statement(node: LeaseNode, place: str, asked: LeaseStatement | None) -> LeaseNode:
    """Return the node with another statement in a place: ``call``, ``work`` or ``late``."""
    match place:
        case "call":
            return node._replace(call=asked)
        case "work":
            return node._replace(work=asked)
    return node._replace(late=asked)


def restarted(node: LeaseNode, *, lates: bool) -> Iterator[LeaseNode]:
    """Yield the node whose process has ended and begins again: perhaps one of its statements is committed later."""
    yield LeaseNode()
    if lates:
        yield from {LeaseNode(late=_timeless(each)): None for each in node.statements()}


def cut_off(node: LeaseNode) -> LeaseNode:
    """Return the node whose server is gone: what was not committed never will be."""
    call, work = node.call, node.work
    if call is not None and call.answer is None:
        call = LeaseStatement("void", NOBODY, asked=call.asked)
    if work is not None and work.answer is None:
        work = None
    return node._replace(call=call, work=work, late=None)


def let_pass(node: LeaseNode, law: LeaseLaw, *, lates: bool) -> tuple[LeaseNode, ...]:
    """Return what a node may be after a tick of its clock. The kernel ends a process in time, whatever it does."""
    death = node.death
    if death != OFF:
        death -= 1
        if death <= 0 and law.kernel:
            return tuple(restarted(node, lates=lates))
        death = max(death, 1)
    told = node.settled and node.since == 0
    return (
        node._replace(
            death=death,
            confirmed=max(node.confirmed - 1, -law.stop_after) if node.standing is HOLDING else 0,
            since=0 if told or node.server == NO_SERVER else max(node.since - 1, law.oldest),
            sights=tuple((life, beat, max(since - 1, law.oldest)) for life, beat, since in node.sights),
            call=_older(node.call, law),
            work=_older(node.work, law),
        ),
    )


def _older(asked: LeaseStatement | None, law: LeaseLaw) -> LeaseStatement | None:
    if asked is None:
        return None
    match asked.what:
        case "beat" if asked.asked <= -law.patience:
            return LeaseStatement("void", NOBODY, asked=-law.patience)
        case "beat" | "void" | "end":
            oldest = -law.patience
        case "life":
            oldest = -max(law.stop_after, law.patience)
        case "claim":
            oldest = -law.stop_after
        case _:
            oldest = 0
    return asked._replace(asked=max(asked.asked - 1, oldest), fresh=False)


def _number(server: str | None) -> int:
    return NO_SERVER if server is None else int(server)


def _timeless(asked: LeaseStatement) -> LeaseStatement:
    return asked._replace(asked=0, fresh=False)


def after_beat(node: LeaseNode, life: int) -> LeaseNode:
    """Return the node after a beat of another life: what it knows is a beat older."""

    def older(pairs: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        return tuple((each, max(beat - 1, OLD) if each == life else beat) for each, beat in pairs)

    def of_statement(asked: LeaseStatement | None) -> LeaseStatement | None:
        if asked is None:
            return None
        if asked.what == "death" and asked.of == life:
            asked = asked._replace(beat=max(asked.beat - 1, OLD))
        if asked.answer is not None and asked.answer.others:
            asked = asked._replace(answer=asked.answer._replace(others=older(asked.answer.others)))
        return asked

    return node._replace(
        sights=tuple((each, max(beat - 1, OLD) if each == life else beat, since) for each, beat, since in node.sights),
        deaths=older(node.deaths),
        call=of_statement(node.call),
        work=of_statement(node.work),
        late=of_statement(node.late),
    )


def own_lives(node: LeaseNode, living: int) -> tuple[int, ...]:
    """Return the node's own lives that are of importance, its present one first. ``living`` is a bit mask."""
    holds = node.standing in (HOLDING, CLOSING)
    found = [node.life] if holds or living >> node.life & 1 else []
    found.append(node.wants)
    ended = [node.ends]
    for each in (node.call, node.work, node.late):
        if each is not None:
            (ended if each.what == "end" else found).append(each.life)
            if each.what == "life":
                ended.append(each.of)
    found += [life for life in ended if living >> life & 1]
    return tuple(life for life in dict.fromkeys(found) if life != NOBODY)


def renumbered(node: LeaseNode, names: dict[int, int]) -> LeaseNode:
    """Return the node with other numbers of lives. What it knows of lives without a number is left out."""

    def of_statement(asked: LeaseStatement | None) -> LeaseStatement | None:
        if asked is None or (asked.what == "death" and asked.of not in names):
            return None
        answer = asked.answer
        if answer is not None:
            others = tuple(sorted((names[life], beat) for life, beat in answer.others if life in names))
            answer = answer._replace(others=others)
        return asked._replace(life=names.get(asked.life, NOBODY), of=names.get(asked.of, NOBODY), answer=answer)

    return node._replace(
        life=names.get(node.life, NOBODY),
        wants=names[node.wants],
        ends=names.get(node.ends, NOBODY),
        sights=tuple(sorted((names[life], beat, since) for life, beat, since in node.sights if life in names)),
        deaths=tuple(sorted((names[life], beat) for life, beat in node.deaths if life in names)),
        call=of_statement(node.call),
        work=of_statement(node.work),
        late=of_statement(node.late),
    )
