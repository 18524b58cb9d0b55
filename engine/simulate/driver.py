"""The driver: the production decisions of a whole fleet, over a model of network and datacenter, in virtual time.

What decides is the engine's own: ``states.step``, the schedules, ``Turns`` (the connect limiter's arithmetic),
``OutageDetector``, ``ProbePlan`` (the network probe's) and ``AutoStagger``. What only acts is replaced: instead of
tasks and timers there is one heap of what comes to whom and when, and instead of sockets there are ``Conditions``.

    accounts = [AccountModel("Account 1"), AccountModel("Account 2", route="10.0.0.1:1080")]
    disturbances = [Disturbance(begin=60.0, end=90.0, kind=ModelKind.GONE, members=[1])]
    simulation = Simulation(accounts, config.states, config.fleet, disturbances, duration=600.0, keeps=True)
    lives = simulation.run().lives

Times of disturbances are seconds since ``begin``; those of lives are Unix seconds. The same arguments give the same
records. Probes that are answered are skipped (see ``answered``), which changes nothing.
"""

import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from heapq import heapify
from math import ceil
from typing import Final

from attrs import Factory, define, field, frozen

from engine.config.types import Fleet
from engine.fleet.outage_detector import OutageDetector
from engine.fleet.ports import DatacenterState
from engine.fleet.probe_plan import ProbePlan
from engine.fleet.stagger import AutoStagger
from engine.fleet.turns import Turns
from engine.simulate.account import (
    ASK,
    ELAPSED,
    HINT,
    NO_ATTEMPT,
    NO_TURN,
    RETRY,
    STABLE,
    START,
    SimulatedAccount,
)
from engine.simulate.agenda import ACCOUNT_MASK, KIND_BITS, KIND_MASK, Agenda, key_of
from engine.simulate.answered import AnsweredProbes
from engine.simulate.disturbances import Disturbance
from engine.simulate.limiter import SimulatedLimiter
from engine.simulate.link import events_of, loss_of
from engine.simulate.network import NetworkModel, SimulatedNetwork
from engine.simulate.network_probes import SimulatedProbes, answer_of
from engine.simulate.observed import LostAccounts, Observed, SimulatedLife
from engine.simulate.ticks import TICKS, ticks
from states import Event, Policy, State, begin, step
from states.effects import (
    ArmProbe,
    ArmStable,
    AskTurn,
    Close,
    Effect,
    HoldRequests,
    HoldWork,
    Open,
    Probe,
    Release,
    ReleaseWork,
    Wait,
)
from states.events import Elapsed, NetworkRestored, ProbeDue, Stable, Started, TurnGranted

BEGIN: Final = 1_767_225_600
"""Unix seconds at which a simulation begins if nothing else is said: the first second of 2026."""
CREDENTIALS: Final = "model"
"""The fingerprint of every account's credentials: nobody logs in."""
CLASSES: Final = 8
"""So many distances to the datacenter there are."""
IDLE: Final = frozenset({HoldWork, ReleaseWork, Release})
"""Effects that are nothing here."""
BETWEEN_REPORTS: Final = 1 << 13
"""Decisions between two calls of ``progress``."""


@frozen
class AccountModel:
    """An account of a simulation: its name, and the way by which it reaches the datacenter."""

    name: str
    route: str = "direct"


@define(eq=False)
class Simulation:
    """A fleet in virtual time; ``run`` it once. ``begin`` is in whole Unix seconds, ``duration`` in seconds."""

    models: Sequence[AccountModel]
    policy: Policy
    fleet: Fleet
    disturbances: Sequence[Disturbance] = ()
    duration: float = field(kw_only=True)
    network: NetworkModel = field(factory=NetworkModel, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    begin: int = field(default=BEGIN, kw_only=True)
    skips: bool = field(default=True, kw_only=True)
    """Whether answered probes are skipped."""
    keeps: bool = field(default=False, kw_only=True)
    """Whether ``observed`` has the life of each account."""
    progress: Callable[[float], bool] | None = field(default=None, kw_only=True)
    """Called now and then with the virtual seconds so far; returns whether to go on."""
    observed: Observed = field(init=False)
    accounts: list[SimulatedAccount] = field(init=False)
    detector: OutageDetector = field(init=False)
    probes: SimulatedProbes = field(init=False)
    agenda: Agenda = field(factory=Agenda, init=False)
    _rng: random.Random = field(default=Factory(lambda self: random.Random(self.seed), takes_self=True), init=False)
    _limiter: SimulatedLimiter = field(init=False)
    _plan: ProbePlan = field(init=False)
    _stagger: AutoStagger | None = field(init=False)
    _network: SimulatedNetwork = field(init=False)
    _answered: AnsweredProbes = field(init=False)
    _index: dict[str, int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        stagger = AutoStagger() if self.fleet.stagger == "auto" else self.fleet.stagger
        self._stagger = stagger if isinstance(stagger, AutoStagger) else None
        self._limiter = SimulatedLimiter(Turns(self.fleet.connects_at_once, stagger), self.agenda)
        self.detector = OutageDetector(self._limiter, self._notify, logs=False)
        self._plan = ProbePlan(
            self._route_of,
            self.detector.datacenter_answers,
            self._route_changed,
            self.policy.backoff.transport_flood,
            random.Random(self.seed + 1),
        )
        self.probes = SimulatedProbes(self._plan, self.agenda, self._ask_datacenter)
        self.accounts = [self._make(index, model) for index, model in enumerate(self.models)]
        self._index = {account.name: account.index for account in self.accounts}
        health = self.policy.healthy
        prove_every = ceil(health.prove_every * TICKS)
        self._answered = AnsweredProbes(self.accounts, ticks(health.probe_every), prove_every, self.begin)
        disturbances = sorted(self.disturbances, key=lambda each: each.begin)
        self._network = SimulatedNetwork(
            self.network, self.accounts, disturbances, self.agenda, self._answered, ticks(self.policy.timeout.nth(1))
        )
        lives = [SimulatedLife() for _ in self.accounts] if self.keeps else None
        lost = [LostAccounts(each) for each in disturbances]
        self.observed = Observed(len(self.accounts), ceil(self.duration), lost, self.begin, lives)

    def _make(self, index: int, model: AccountModel) -> SimulatedAccount:
        latency, spread = self.network.latency, self.network.spread
        place = self._rng.randrange(CLASSES) / (CLASSES - 1)
        rtt = ticks(latency * (1 - spread + 2 * spread * place))
        return SimulatedAccount(index, model.name, model.route, rtt, begin(None, now=float(self.begin)))

    @property
    def snapshots(self) -> list[tuple[str, object]]:
        """Return where each account is; after ``run``."""
        return [(account.name, account.snapshot) for account in self.accounts]

    def run(self) -> Observed:
        """Run to the end, or until ``progress`` says no, and return what was observed."""
        end = ticks(self.duration)
        self.agenda.keys = [key_of(0, account.index, START) for account in self.accounts]
        heapify(self.agenda.keys)
        if self._run_until(end):
            self.agenda.tick = end
            self.agenda.reached = key_of(end, -1, 0) - 1
        for account in self.accounts:
            if account.armed >= 0:
                self._network.unskip(account, self._network.conditions(account))
        self.observed.finish(self.agenda.tick)
        return self.observed

    def _run_until(self, end: int) -> bool:
        """Let everything happen before ``end``; return False if it was ended earlier."""
        agenda, network, detector, count = self.agenda, self._network, self.detector, 0
        while (key := agenda.next(end)) >= 0:
            if key:
                self._happens(key)
            if not detector.listens:
                network.sign = None
            elif network.sign is None and self.skips:
                network.seek_sign()
            count += 1
            if self.progress is not None and count % BETWEEN_REPORTS == 0 and not self.progress(agenda.seconds):
                return False
        return True

    # --- what comes to an account --------------------------------------------------------------------------------

    def _happens(self, key: int) -> None:
        """Let an account have what comes to it, unless that was called off."""
        account = self.accounts[(key >> KIND_BITS & ACCOUNT_MASK) - 1]
        match key & KIND_MASK:
            case 1 if account.report == key:
                account.report = 0
                self._hear(account)
            case 2 if account.loss == key:
                account.loss = account.report = 0
                self._end_attempt(account)
                self._take(account, loss_of(account))
            case 3 if account.due == key:
                account.due = 0
                self._take(account, ProbeDue(generation=account.snapshot.generation))
            case 4 if account.stable == key:
                account.stable = 0
                self._take(account, Stable(generation=account.snapshot.generation))
            case 5 if account.elapsed == key:
                account.elapsed = 0
                self._take(account, Elapsed(generation=account.snapshot.generation))
            case 6 if account.hint == key:
                account.hint = 0
                self._take(account, NetworkRestored())
            case 7 if account.grant == key:
                account.grant = 0
                self._take(account, TurnGranted(generation=account.snapshot.generation, credentials=CREDENTIALS))
            case 8:
                self._take(account, Started(credentials=CREDENTIALS))
            case 9 if account.grant == key:
                account.grant = 0
                self._limiter.ask(account)

    def _hear(self, account: SimulatedAccount) -> None:
        """Let an account hear of its attempt or probe."""
        if account.says == RETRY:
            self._network.attempt(account)
            return
        if account is self._network.sign:
            self._network.sign = None
        events = events_of(account, attempt=account.opening)
        self._end_attempt(account)
        for event in events:
            self._take(account, event)

    def _end_attempt(self, account: SimulatedAccount) -> None:
        if account.opening:
            account.opening, account.phase = False, NO_ATTEMPT
            self.observed.under_way -= 1

    def _take(self, account: SimulatedAccount, event: Event) -> None:
        """Decide, count, tell the observers, perform: in the order of the engine's runner."""
        before, observed, agenda = account.snapshot, self.observed, self.agenda
        decision = step(before, event, now=self.begin + agenda.tick / TICKS, rng=self._rng, policy=self.policy)
        after = account.snapshot = decision.snapshot
        observed.decisions += 1
        if not decision.record.quiet:
            observed.rows[agenda.tick // TICKS] += 1
            if observed.lives is not None:
                observed.lives[account.index].records.append(decision.record)
        self.detector.observe(account.name, decision)
        self._plan.observe(account.name, decision, agenda.tick / TICKS)
        if self._stagger is not None:
            self._stagger.observe(account.name, decision)
        if after.generation != before.generation:
            self._leave_state(account)
            reason = self._network.reason_for(account) if before.state is State.HEALTHY else -1
            observed.moved(account, before.state, after.state, agenda.tick, reason)
        for effect in decision.effects:
            self._perform(account, effect)

    def _leave_state(self, account: SimulatedAccount) -> None:
        """End what belongs to the state that is left: timers, turn, probe."""
        account.due = account.stable = account.elapsed = account.grant = account.report = 0
        if account.turn != NO_TURN:
            self._limiter.leave(account)

    def _perform(self, account: SimulatedAccount, effect: Effect) -> None:
        """Perform an effect. The others are alerts, and what concerns work or the session file, which is not there."""
        kind = type(effect)  # not ``match``, which would ask about each kind in turn, millions of times
        if kind in IDLE:
            return
        agenda = self.agenda
        if isinstance(effect, AskTurn):
            # a tick later, as in a task of its own: whatever happens now to others comes first
            account.grant = agenda.push(agenda.tick + 1, account.index, ASK)
        elif isinstance(effect, Open):
            self.observed.attempt_begins(account, agenda.tick)
            self._network.open(account, effect)
        elif isinstance(effect, ArmProbe):
            self._network.arm(account, skips=self.skips and not self.detector.listens)
        elif isinstance(effect, ArmStable):
            account.stable = agenda.push(agenda.tick + ticks(effect.delay), account.index, STABLE)
        elif isinstance(effect, Close):
            account.loss = 0
        elif isinstance(effect, Probe):
            self._network.probe(account, effect)
        elif isinstance(effect, Wait):
            account.elapsed = agenda.push(agenda.tick + ticks(effect.delay), account.index, ELAPSED)
        elif isinstance(effect, HoldRequests):
            self._network.hold(account, effect, self.begin)

    # --- what the fleet's parts ask for ------------------------------------------------------------------------------

    def _notify(self, names: Iterable[str], _: Event) -> None:
        """Send accounts the hint that the network is back, which is the only one that there is."""
        for name in names:
            account = self.accounts[self._index[name]]
            account.hint = self.agenda.push(self.agenda.tick, account.index, HINT)

    def _route_of(self, name: str) -> Hashable:
        return self.accounts[self._index[name]].route

    def _route_changed(self, route: Hashable) -> None:
        self.probes.changed(route)

    def _ask_datacenter(self, name: str) -> tuple[DatacenterState, float]:
        account = self.accounts[self._index[name]]
        return answer_of(self._network.conditions(account), account.rtt / TICKS)
