"""Exhaustive exploration of the real ``step``: every reachable configuration, and every event in every form.

There are three kinds of properties: *always* (``properties.ALWAYS``, of every decision), *sometimes* (each rule is
taken, each state is entered) and *eventually* (in a benign world every configuration gets to ``healthy``,
``auth_failed`` or the end of ``shutting_down``). A violation comes with the shortest list of events that leads to it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from attrs import define, field, frozen

from engine.verify.properties import ALWAYS, Always, too_long
from engine.verify.world import (
    ALERT_AFTER,
    GENERATION,
    LINK,
    NOW,
    SET_BY,
    Bounds,
    Configuration,
    apply_decision,
    enumerate_events,
    let_pass,
    next_benign_event,
    time_of,
)
from states import EVENTS, ROWS, Event, Policy, Row, State, Step, begin, step
from states.events import ClockJumped
from states.schedules import Backoff, BackoffSchedules, FileBackoff, Patience, Suspicion, Then

Decide = Callable[..., Step]
"""``states.step.step``, or a mutant of it."""
Observe = Callable[[Policy, Configuration, Event, Step, Configuration], None]
"""Is told of each decision that the world can bring about: policy, configuration, event, decision, configuration after.
It is told of late events only as often as they are tried."""


def _build_policy(then: Then) -> Policy:
    """Return a policy whose schedules stop growing after two failures, which keeps the configurations few."""
    growing = Backoff(first=10, factor=12, cap=120, tries=2, then=then)
    return Policy(
        connecting=Patience(patience=(60.0, 75.0)),
        reconnecting=Patience(patience=(60.0, 75.0)),
        timeout=Suspicion(patience=(10.0, 20.0, 40.0)),
        backoff=BackoffSchedules(
            network=growing,
            server=growing,
            database=FileBackoff(first=5, factor=1, cap=5, jitter=0, tries=2, then=then, alert_after=ALERT_AFTER),
            auth_key=Backoff(first=5, factor=180, cap=900, tries=2, then=then),
            transport_flood=Backoff(first=30, factor=30, cap=900, tries=2),
            unexpected=growing,
        ),
    )


POLICIES: tuple[Policy, ...] = (_build_policy(Then.KEEP_TRYING), _build_policy(Then.PARK))
"""Both values of ``then``, each with every kind of schedule."""


@frozen
class _Extreme:
    """A random number at one end of the jitter."""

    value: float

    def random(self) -> float:
        """Return the number."""
        return self.value


LOW, HIGH = _Extreme(0.0), _Extreme(1 - 2**-53)


@frozen
class Violation:
    """A property that does not hold, and the shortest path to where it fails."""

    property: str
    what: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        steps = "\n".join(f"  {number}. {text}" for number, text in enumerate(self.path, 1))
        return f"{self.property}: {self.what}\n{steps}"


@define
class VerificationReport:
    """What the exploration covered, and the violations that it found."""

    configurations: int = 0
    decisions: int = 0
    pairs: set[tuple[State, type[Event]]] = field(factory=set)
    rules: set[str] = field(factory=set)
    states: set[State] = field(factory=set)
    findings: list[Violation] = field(factory=list)


@define
class Explorer:
    """Explores one policy, breadth first: the first path to a configuration is therefore a shortest one."""

    policy: Policy
    decide: Decide = step
    properties: Sequence[Always] = ALWAYS
    max_findings: int = 5
    observe: Observe | None = None
    report: VerificationReport = field(factory=VerificationReport)
    _bounds: Bounds = field(init=False)
    _reached_from: dict[Configuration, tuple[Configuration | None, str]] = field(factory=dict, init=False)
    """For each configuration the one before it, and the event that led from there."""
    _late: set[tuple[State, str, bool, str]] = field(factory=set, init=False)
    """Late and impossible events that were tried, by what the rules look at."""

    def __attrs_post_init__(self) -> None:
        self._bounds = Bounds.of(self.policy)

    def run(self) -> VerificationReport:
        """Explore all reachable configurations, and return the report."""
        first = Configuration(self._bounds.normalise(begin(None, now=NOW)))
        self._reached_from[first] = (None, "a new account")
        queue = deque([first])
        while queue and len(self.report.findings) < self.max_findings:
            config = queue.popleft()
            self.report.states.add(config.snapshot.state)
            for reached, event in self._successors(config):
                if reached not in self._reached_from:
                    self._reached_from[reached] = (
                        config,
                        _describe(event) if event else "(a new life begins, or time passes)",
                    )
                    queue.append(reached)
        self.report.configurations = len(self._reached_from)
        if not self.report.findings:
            self._check_eventually()
        return self.report

    def _successors(self, config: Configuration) -> Iterator[tuple[Configuration, Event | None]]:
        for event, possible in enumerate_events(config):
            # Rules that look at nothing else drop late and impossible events: once for each state is enough.
            if not (possible and is_current(event, config)):
                form = (config.snapshot.state, config.link, config.snapshot.parked, _describe(event))
                if form in self._late:
                    continue
                self._late.add(form)
            reached = self._decide(config, event, possible=possible)
            if possible:
                yield reached, event
        if config.started:  # the process is killed, or the account is resumed: a new life from the stored snapshot
            for now in (NOW, NOW - SET_BY):  # nobody knows by how much the clock was set meanwhile
                begun = begin(config.snapshot, now=now)
                if (wrong := too_long(begun, now)) is not None:
                    self.report.findings.append(
                        Violation("always waits_keep_their_length", wrong, (*self._path_to(config), "a new life"))
                    )
            yield Configuration(self._bounds.normalise(begin(config.snapshot, now=NOW))), None
        if (later := let_pass(config)) is not None:
            yield later, None

    def _decide(self, config: Configuration, event: Event, *, possible: bool) -> Configuration:
        decision = self.decide(config.snapshot, event, now=time_of(event), rng=LOW, policy=self.policy)
        self.report.decisions += 1
        self.report.pairs.add((config.snapshot.state, type(event)))
        self.report.rules.add(decision.record.rule)
        reached = apply_decision(config, event, decision, self._bounds)
        if possible:
            if self.observe is not None:
                self.observe(self.policy, config, event, decision, reached)
            self._check_always(config, event, decision, reached)
            if decision.record.draw is not None:
                other = self.decide(config.snapshot, event, now=NOW, rng=HIGH, policy=self.policy)
                self._check_always(config, event, other, apply_decision(config, event, other, self._bounds))
        return reached

    def _check_always(self, config: Configuration, event: Event, decision: Step, reached: Configuration) -> None:
        for holds in self.properties:
            wrong = holds(config, event, decision, reached, self.policy)
            if wrong is not None and len(self.report.findings) < self.max_findings:
                last = f"{_describe(event)} → {reached.snapshot.state}, by {decision.record.rule}"
                self.report.findings.append(
                    Violation(f"always {holds.__name__}", wrong, (*self._path_to(config), last))
                )

    def _check_eventually(self) -> None:
        """Follow the benign world from every configuration; a cycle or a dead end is a violation."""
        good: set[Configuration] = set()
        for config in self._reached_from:
            path: list[Configuration] = []
            at = config
            while at not in good and at not in path:
                path.append(at)
                event = next_benign_event(at)
                if event is None:
                    break
                decision = self.decide(at.snapshot, event, now=NOW, rng=LOW, policy=self.policy)
                at = apply_decision(at, event, decision, self._bounds)
            if at in good or (next_benign_event(at) is None and _is_at_rest(at)):
                good.update(path)
            elif len(self.report.findings) < self.max_findings:
                what = f"from {config.snapshot.state} a benign world leads nowhere"
                self.report.findings.append(Violation("eventually at rest", what, self._path_to(config)))

    def _path_to(self, config: Configuration) -> tuple[str, ...]:
        steps: list[str] = []
        at: Configuration | None = config
        while at is not None:
            before, event = self._reached_from[at]
            steps.append(f"{event} → {at.snapshot.state}")
            at = before
        return tuple(reversed(steps))


def _is_at_rest(config: Configuration) -> bool:
    """Return whether the account is where a benign world should bring it; a config may let it end up parked."""
    return config.finished or config.snapshot.parked or config.snapshot.state in (State.HEALTHY, State.AUTH_FAILED)


def is_current(event: Event, config: Configuration) -> bool:
    """Return whether an event belongs to this visit and this link, or to none."""
    generation, link = getattr(event, "generation", GENERATION), getattr(event, "link", 0)
    return generation == config.snapshot.generation and link in (0, config.snapshot.link)


def _describe(event: Event) -> str:
    """Return an event's name, and what distinguishes its form from the others."""
    notes = [str(note) for note in _distinctions(event) if note]
    return type(event).__name__ + (f"({', '.join(notes)})" if notes else "")


def _distinctions(event: Event) -> Iterator[object]:
    generation, link = getattr(event, "generation", None), getattr(event, "link", None)
    if generation is not None and generation != GENERATION:
        yield "of an earlier visit"
    if link is not None and link != LINK:
        yield "of an earlier link" if link else "of the account"
    yield getattr(event, "what", None)
    if isinstance(event, ClockJumped):
        yield f"by {event.seconds:+g} s, slept {event.slept}"


def verify(
    policies: Sequence[Policy] = POLICIES,
    decide: Decide = step,
    rows: Sequence[Row] = ROWS,
    observe: Observe | None = None,
) -> VerificationReport:
    """Explore all policies and return one report; the *sometimes* properties are checked over all of them together."""
    total = VerificationReport()
    for policy in policies:
        report = Explorer(policy, decide, observe=observe).run()
        total.configurations += report.configurations
        total.decisions += report.decisions
        total.pairs |= report.pairs
        total.rules |= report.rules
        total.states |= report.states
        total.findings += report.findings
    if not total.findings:
        total.findings += [
            Violation("sometimes", f"the rule {name} is never taken", ())
            for name in sorted({row.name for row in rows} - total.rules)
        ]
        total.findings += [
            Violation("sometimes", f"the state {state} is never entered", ())
            for state in State
            if state not in total.states
        ]
        total.findings += [
            Violation("sometimes", f"{event.__name__} never comes in {state}", ())
            for state in State
            for event in EVENTS
            if (state, event) not in total.pairs
        ]
    return total
