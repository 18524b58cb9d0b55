"""Runs the pasts of a fleet again: the engine's own decisions, in virtual time, in the world that was.

What decides is what decides in the engine: ``step`` and the schedules for each account, the arithmetic of turns, the
outage detector and the plan of the network probe. What is met is the past: an attempt meets what ``AccountWorld`` says.
A healthy account costs nothing until its link fails.

The driver of ``engine.simulate`` is another one, and what they can share they share: ``Agenda``, ``SimulatedLimiter``
and ``SimulatedProbes``. What is left differs in each part. There, everything comes to an account from a model of the
network: one timer of each kind, a link with packets, answered probes that are skipped; all have one policy and one
life. Here, accounts have lives that begin and end, a policy and random numbers for each, and what comes to them is on
record, at times that are no whole ticks; there are no links and no probes but those that a loss needs. One driver would
ask at each step which of the two it is.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import define, field, frozen

from engine.fleet.outage_detector import OutageDetector
from engine.fleet.ports import DatacenterState
from engine.fleet.probe_plan import ProbePlan
from engine.fleet.stagger import AutoStagger
from engine.fleet.turns import Turns
from engine.simulate.agenda import ACCOUNT_MASK, KIND_BITS, Agenda
from engine.simulate.limiter import SimulatedLimiter
from engine.simulate.network_probes import SimulatedProbes
from engine.simulate.ticks import TICKS
from engine.whatif.happenings import (
    AccountPast,
    EventGiven,
    Happening,
    LifeBegan,
    LifeEnded,
    LinkLost,
    Meter,
    News,
)
from engine.whatif.world import QUICK_REFUSAL, AccountWorld
from states import Event, Policy, Snapshot, State, Step, begin, step
from states.effects import ArmStable, AskTurn, Open, Probe, Wait
from states.events import (
    Elapsed,
    ProbeAnswered,
    Stable,
    StopRequested,
    TimedOut,
    TurnGranted,
)

NEVER: Final = 1 << 60
"""A tick beyond every time."""
BETWEEN_REPORTS: Final = 1 << 12
"""Steps between two reports of how far the time is."""


class Draws:
    """Random numbers for jitter: those that were drawn then, as long as there are some, and then others."""

    def __init__(self, then: Iterable[float], others: random.Random) -> None:
        self._then, self._others = deque(then), others

    def random(self) -> float:
        """Return the next number from [0, 1)."""
        return self._then.popleft() if self._then else self._others.random()


@frozen(kw_only=True)
class Settings:
    """The settings under which the past is run again. ``policy`` None is the one that each life had."""

    policy: Policy | None
    at_once: int
    stagger: float | AutoStagger


@define(eq=False)
class _Account:
    index: int
    name: str
    past: AccountPast
    world: AccountWorld
    rng: Any
    policy: Policy
    snapshot: Snapshot
    turn: int = 0
    """Whether it waits for a turn, or has one; the limiter's."""
    grant: int = 0
    """Where its turn stands in the agenda; the limiter's."""
    next: int = 0
    """The first happening that has not come yet."""
    alive: bool = False
    since: float | None = None
    """When its link fell silent, if it did."""
    meter: Meter = field(factory=Meter)
    parked: bool = False


@define(eq=False)
class Rerun:
    """One run. ``worst`` chooses the world. ``then`` uses the random numbers that were drawn then.

    What the network probe found then, it finds in each run. Whatever else it may find is random, and left out of a run
    with the numbers of ``then``.
    """

    pasts: Mapping[str, AccountPast]
    worlds: Mapping[str, AccountWorld]
    routes: Mapping[str, Hashable]
    news: Sequence[News]
    settings: Settings
    worst: bool
    rng: random.Random
    then: bool = False
    latency: float = 0.0
    """Seconds from a decision to the question for a turn."""
    observer: Callable[[str, Step], None] | None = None
    decisions: int = field(default=0, init=False)
    minutes: dict[int, int] = field(factory=dict, init=False)
    """Attempts by minute."""
    _agenda: Agenda = field(factory=Agenda, init=False)
    _base: int = field(default=0, init=False)
    """Where the agenda begins."""
    _accounts: dict[str, _Account] = field(factory=dict, init=False)
    _bright: dict[str, _Account] = field(factory=dict, init=False)
    """The healthy accounts whose links carry something."""
    _last_loss: float = field(default=float("-inf"), init=False)
    _detector: OutageDetector = field(init=False)
    _stagger: AutoStagger | None = field(init=False)
    _limiter: SimulatedLimiter = field(init=False)
    _plan: ProbePlan = field(init=False)
    _probes: SimulatedProbes = field(init=False)
    _sign_due: bool = field(default=False, init=False)

    def run(self, advance: Callable[[float], None] = lambda _: None) -> dict[str, Meter]:
        """Run all of it; return what came of each account. ``advance`` is told how far the time is, now and then."""
        begun = min((past.happenings[0].at for past in self.pasts.values() if past.happenings), default=0.0)
        self._base = math.floor(begun)
        stagger = self.settings.stagger
        self._stagger = stagger if isinstance(stagger, AutoStagger) else None
        self._limiter = SimulatedLimiter(Turns(self.settings.at_once, stagger), self._agenda)
        self._detector = OutageDetector(self._limiter, self._notify, logs=False)
        self._plan = ProbePlan(
            self._route_of, self._detector.datacenter_answers, self._look, rng=random.Random(self.rng.random())
        )
        self._probes = SimulatedProbes(self._plan, self._agenda, self._ask)
        for name, past in self.pasts.items():
            draws = Draws(past.draws, self.rng) if self.then else self.rng
            policy = self.settings.policy or Policy()
            account = _Account(len(self._accounts), name, past, self.worlds[name], draws, policy, Snapshot())
            self._accounts[name] = account
            self._schedule_next(account)
        for news in self.news:
            self._at(news.at, partial(self._tell, news))
        self._go_on(advance)
        for account in self._accounts.values():
            account.meter.stop(self.now)
        return {name: account.meter for name, account in self._accounts.items()}

    def _go_on(self, advance: Callable[[float], None]) -> None:
        accounts, agenda, count = list(self._accounts.values()), self._agenda, 0
        while (key := agenda.next(NEVER)) >= 0:
            if key:
                account = accounts[(key >> KIND_BITS & ACCOUNT_MASK) - 1]
                if account.grant == key:
                    account.grant = 0
                    self._take_turn(account)
            count += 1
            if count % BETWEEN_REPORTS == 0:
                advance(self.now)

    @property
    def parked(self) -> int:
        """How many accounts were parked at the end."""
        return sum(account.parked for account in self._accounts.values())

    # --- time ------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The time, as in the pasts."""
        return self._base + self._agenda.tick / TICKS

    def _at(self, time: float, work: Callable[[float], None]) -> None:
        self._agenda.call_at(time - self._base, work)

    # --- what happens from outside ---------------------------------------------------------------------------------

    def _schedule_next(self, account: _Account) -> None:
        happenings = account.past.happenings
        while account.next < len(happenings):
            each = happenings[account.next]
            account.next += 1
            if isinstance(each, LifeBegan | LifeEnded | LinkLost | EventGiven):
                at = each.since if isinstance(each, LinkLost) else each.at
                self._at(at, partial(self._happen, account, each))
                return

    def _happen(self, account: _Account, each: Happening, _: float) -> None:
        match each:
            case LifeBegan():
                self._begin(account, each)
            case LifeEnded() if account.alive:
                account.parked = account.snapshot.parked
                self._decide(account, StopRequested())
                account.alive = False
            case LinkLost() if account.alive:
                self._lose(account, each)
            case EventGiven() if account.alive:
                self._decide(account, each.event)
            case _:
                pass
        self._schedule_next(account)

    def _tell(self, news: News, _: float) -> None:
        """Let the network probe find the datacenter, as it did then."""
        waiting = [name for name in news.accounts if self._accounts[name].snapshot.waits_for_network]
        self._plan.heard(news.accounts)
        if waiting:
            self._detector.datacenter_answers(waiting)

    def _begin(self, account: _Account, life: LifeBegan) -> None:
        account.alive, account.since = True, None
        account.policy = self.settings.policy or life.policy
        if life.follows and account.snapshot.life:
            account.snapshot = begin(account.snapshot, now=self.now)
        else:
            account.snapshot = life.start
        account.meter.note(account.snapshot.state, self.now)
        if life.event is not None:
            self._decide(account, life.event)
            return
        self._decide(account, ProbeAnswered())  # so that others know that it is there
        if not account.snapshot.stable:
            generation = account.snapshot.generation
            due = account.snapshot.since + account.policy.healthy.stable_after
            self._at(due, partial(self._timer, account, Stable(generation=generation)))

    def _lose(self, account: _Account, loss: LinkLost) -> None:
        """Let a link fail: at once, or when a probe shows that it is silent."""
        if account.snapshot.state not in (State.HEALTHY, State.TIMEOUT):
            return
        link = account.snapshot.link
        if account.since is None:
            account.since = loss.since
        self._bright.pop(account.name, None)
        after = account.policy.timeout.nth(1) if loss.silent else loss.at - loss.since
        self._at(loss.since + after, partial(self._lost, account, loss.event, link))

    def _lost(self, account: _Account, event: Event, link: int, _: float) -> None:
        if account.alive and account.snapshot.link == link:
            self._hear_of_others()
            self._decide(account, event)

    # --- decisions -------------------------------------------------------------------------------------------------

    def _decide(self, account: _Account, event: Event) -> None:
        before, now = account.snapshot, self.now
        decision = step(before, event, now=now, rng=account.rng, policy=account.policy)
        self.decisions += 1
        account.snapshot = after = decision.snapshot
        self._observe(account, decision)
        if after.generation != before.generation:
            account.meter.note(after.state, now, account.since)
            if account.turn:
                account.grant = 0
                self._limiter.leave(account)
            if after.state is State.HEALTHY:
                account.since = None
                self._bright[account.name] = account
            elif after.state is not State.TIMEOUT:
                account.since = None
                self._bright.pop(account.name, None)
        for effect in decision.effects:
            self._perform(account, effect)

    def _observe(self, account: _Account, decision: Step) -> None:
        if self.observer is not None:
            self.observer(account.name, decision)
        self._detector.observe(account.name, decision)
        self._plan.observe(account.name, decision, self._agenda.seconds)
        if self._stagger is not None:
            self._stagger.observe(account.name, decision)
        if self._detector.suspected and self._bright and not self._sign_due:
            self._sign_due = True
            self._at(self.now + self._pause_of_signs(), self._give_sign)

    def _perform(self, account: _Account, effect: object) -> None:
        if isinstance(effect, AskTurn):
            self._at(self.now + self.latency, partial(self._ask_turn, account, effect.generation))
        elif isinstance(effect, Open):
            self._open(account, effect)
        elif isinstance(effect, Wait):
            self._at(effect.deadline, partial(self._timer, account, Elapsed(generation=effect.generation)))
        elif isinstance(effect, ArmStable):
            self._at(self.now + effect.delay, partial(self._timer, account, Stable(generation=effect.generation)))
        elif isinstance(effect, Probe) and account.snapshot.state is State.TIMEOUT:
            self._probe(account, effect)

    def _timer(self, account: _Account, event: Elapsed | Stable, _: float) -> None:
        if account.alive and account.snapshot.generation == event.generation:
            self._decide(account, event)

    def _ask_turn(self, account: _Account, generation: int, _: float) -> None:
        if account.alive and account.snapshot.generation == generation and not account.turn:
            self._limiter.ask(account)

    def _take_turn(self, account: _Account) -> None:
        if account.alive:
            self._decide(account, TurnGranted(generation=account.snapshot.generation))

    def _open(self, account: _Account, effect: Open) -> None:
        account.meter.attempts += 1
        minute = int(self.now // 60)
        self.minutes[minute] = self.minutes.get(minute, 0) + 1
        met = account.world.attempt(self.now, effect.patience, worst=self.worst, then=self.then)
        self._at(self.now + met.seconds, partial(self._met, account, met.event, effect.link))

    def _met(self, account: _Account, event: Event, link: int, _: float) -> None:
        if account.alive and account.snapshot.link == link:
            self._decide(account, event)

    def _probe(self, account: _Account, effect: Probe) -> None:
        answered = account.world.answer(self.now, effect.patience, worst=self.worst)
        event: Event = TimedOut(what="probe") if answered is None else ProbeAnswered(proof=effect.proof)
        after = effect.patience if answered is None else answered
        silences = account.snapshot.silences
        self._at(self.now + after, partial(self._probed, account, event, effect.link, silences))

    def _probed(self, account: _Account, event: Event, link: int, silences: int, _: float) -> None:
        at = account.snapshot
        if account.alive and at.link == link and at.state is State.TIMEOUT and at.silences == silences:
            self._decide(account, event)

    # --- what accounts learn from each other -----------------------------------------------------------------------

    def _notify(self, names: Iterable[str], event: Event) -> None:
        for name in names:
            self._at(self.now, partial(self._hint, self._accounts[name], event))

    def _hint(self, account: _Account, event: Event, _: float) -> None:
        if account.alive:
            self._decide(account, event)

    def _pause_of_signs(self) -> float:
        """Return how long it takes until any of the accounts that are up has a probe answered."""
        return next(iter(self._bright.values())).policy.healthy.probe_every / len(self._bright)

    def _hear_of_others(self) -> None:
        """Let an account that is up have answered since the last loss, if there was time for it."""
        if self._bright and self.now - self._last_loss > self._pause_of_signs():
            self._sign()
        self._last_loss = self.now

    def _give_sign(self, _: float) -> None:
        self._sign_due = False
        if self._detector.suspected and self._bright:
            self._sign()

    def _sign(self) -> None:
        account = next(iter(self._bright.values()))
        self._decide(account, ProbeAnswered(link=account.snapshot.link))

    def _route_of(self, name: str) -> Hashable:
        return self.routes.get(name)

    def _look(self, route: Hashable) -> None:
        self._probes.changed(route)

    def _ask(self, name: str) -> tuple[DatacenterState, float]:
        """Return what a probe of an account's route finds: whether anybody gets through on it now."""
        if self.then:
            return "dark", 0.0  # what the probe found then, and when, is on record
        route = self._route_of(name)
        accounts = self._accounts
        up = any(accounts[each].world.is_open(self.now, worst=self.worst) for each in self._plan.waiting.get(route, ()))
        if self.worst:  # the look may come while only others get through: the attempt that it brings is in vain
            up = up or any(self._route_of(each) == route for each in self._bright)
        return ("answers", QUICK_REFUSAL) if up else ("dark", 0.0)
