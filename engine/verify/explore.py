"""Exhaustive exploration of the real ``step``: every configuration that can be reached, every event in every form.

Three kinds of properties: *always* (``properties.ALWAYS``, of every decision), *sometimes* (each rule is taken, each
state is entered), *eventually* (in a friendly world every configuration gets to ``healthy``, ``auth_failed`` or the end
of ``shutting_down``). A failing one comes with the shortest list of events that leads there.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from attrs import define, field, frozen

from engine.verify.properties import ALWAYS, Always
from engine.verify.world import ALERT_AFTER, GENERATION, LINK, NOW, Bounds, Configuration, after, benign, forms
from states import EVENTS, ROWS, Event, Policy, Row, State, Step, begin, step
from states.schedules import Backoff, BackoffSchedules, FileBackoff, Patience, Suspicion, Then

Decide = Callable[..., Step]
"""``states.step.step``, or a mutant of it."""


def _small(then: Then) -> Policy:
    """Return a policy whose schedules stop to grow after two failures, so that the configurations stay few."""
    growing = Backoff(first=10, factor=12, cap=120, tries=2, then=then)
    fixed = Backoff(first=5, factor=1, cap=5, jitter=0, tries=2, then=then)
    return Policy(
        connecting=Patience(patience=(60.0, 75.0)),
        reconnecting=Patience(patience=(60.0, 75.0)),
        timeout=Suspicion(patience=(10.0, 20.0, 40.0)),
        backoff=BackoffSchedules(
            network=growing,
            server=growing,
            database=FileBackoff(first=5, factor=1, cap=5, jitter=0, tries=2, then=then, alert_after=ALERT_AFTER),
            auth_key=fixed,
            transport_flood=Backoff(first=30, factor=30, cap=900, tries=2),
            unexpected=growing,
        ),
    )


POLICIES: tuple[Policy, ...] = (_small(Then.KEEP_TRYING), _small(Then.PARK))
"""Both ways of going on; every kind of schedule in each."""


@frozen
class _Extreme:
    """A draw at one end of the jitter."""

    value: float

    def random(self) -> float:
        """Return it."""
        return self.value


LOW, HIGH = _Extreme(0.0), _Extreme(1 - 2**-53)


@frozen
class Violation:
    """A property that does not hold, and the shortest way there."""

    property: str
    what: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        way = "\n".join(f"  {number}. {text}" for number, text in enumerate(self.path, 1))
        return f"{self.property}: {self.what}\n{way}"


@define
class VerificationReport:
    """What was covered, and what was found."""

    configurations: int = 0
    decisions: int = 0
    pairs: set[tuple[State, type[Event]]] = field(factory=set)
    rules: set[str] = field(factory=set)
    states: set[State] = field(factory=set)
    findings: list[Violation] = field(factory=list)


@define
class Explorer:
    """Explores one policy, breadth first, so that the first way to a configuration is a shortest one."""

    policy: Policy
    decide: Decide = step
    properties: Sequence[Always] = ALWAYS
    most_findings: int = 5
    report: VerificationReport = field(factory=VerificationReport)
    _bounds: Bounds = field(init=False)
    _came: dict[Configuration, tuple[Configuration | None, str]] = field(factory=dict, init=False)
    _late: set[tuple[State, str, bool, str]] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self._bounds = Bounds.of(self.policy)

    def run(self) -> VerificationReport:
        """Explore everything, and return what was found."""
        born = Configuration(self._bounds.normal(begin(None, now=NOW)))
        self._came[born] = (None, "a new account")
        queue = deque([born])
        while queue and len(self.report.findings) < self.most_findings:
            config = queue.popleft()
            self.report.states.add(config.snapshot.state)
            for reached, event in self._successors(config):
                if reached not in self._came:
                    self._came[reached] = (config, _named(event) if event else "(a new life begins)")
                    queue.append(reached)
        self.report.configurations = len(self._came)
        if not self.report.findings:
            self._check_eventually()
        return self.report

    def _successors(self, config: Configuration) -> Iterator[tuple[Configuration, Event | None]]:
        for event, possible in forms(config):
            # What is late, or cannot be, is dropped by rules that look at nothing else: once for each state will do.
            if not (possible and _present(event, config)):
                form = (config.snapshot.state, config.link, config.snapshot.parked, _named(event))
                if form in self._late:
                    continue
                self._late.add(form)
            reached = self._decided(config, event, possible=possible)
            if possible:
                yield reached, event
        if config.started:  # the process is killed, or the account is resumed: a new life with what was stored
            yield Configuration(self._bounds.normal(begin(config.snapshot, now=NOW))), None

    def _decided(self, config: Configuration, event: Event, *, possible: bool) -> Configuration:
        decision = self.decide(config.snapshot, event, now=NOW, rng=LOW, policy=self.policy)
        self.report.decisions += 1
        self.report.pairs.add((config.snapshot.state, type(event)))
        self.report.rules.add(decision.record.rule)
        reached = after(config, event, decision, self._bounds)
        if possible:
            self._check_always(config, event, decision, reached)
            if decision.record.draw is not None:
                other = self.decide(config.snapshot, event, now=NOW, rng=HIGH, policy=self.policy)
                self._check_always(config, event, other, after(config, event, other, self._bounds))
        return reached

    def _check_always(self, config: Configuration, event: Event, decision: Step, reached: Configuration) -> None:
        for holds in self.properties:
            wrong = holds(config, event, decision, reached, self.policy)
            if wrong is not None and len(self.report.findings) < self.most_findings:
                way = (*self._way(config), f"{_named(event)} → {reached.snapshot.state}, by {decision.record.rule}")
                self.report.findings.append(Violation(f"always {holds.__name__}", wrong, way))

    def _check_eventually(self) -> None:
        """Follow the friendly world from every configuration; a circle or a dead end is a finding."""
        good: set[Configuration] = set()
        for config in self._came:
            path: list[Configuration] = []
            at = config
            while at not in good and at not in path:
                path.append(at)
                event = benign(at)
                if event is None:
                    break
                decision = self.decide(at.snapshot, event, now=NOW, rng=LOW, policy=self.policy)
                at = after(at, event, decision, self._bounds)
            if at in good or (benign(at) is None and _rests(at)):
                good.update(path)
            elif len(self.report.findings) < self.most_findings:
                what = f"from {config.snapshot.state} a friendly world leads nowhere"
                self.report.findings.append(Violation("eventually at rest", what, self._way(config)))

    def _way(self, config: Configuration) -> tuple[str, ...]:
        steps: list[str] = []
        at: Configuration | None = config
        while at is not None:
            before, how = self._came[at]
            steps.append(f"{how} → {at.snapshot.state}")
            at = before
        return tuple(reversed(steps))


def _rests(config: Configuration) -> bool:
    """Say whether the account is where a friendly world should get it; parked waits for a person, by its config."""
    return config.finished or config.snapshot.parked or config.snapshot.state in (State.HEALTHY, State.AUTH_FAILED)


def _present(event: Event, config: Configuration) -> bool:
    """Say whether an event is of this visit and this link, or of none."""
    generation, link = getattr(event, "generation", GENERATION), getattr(event, "link", 0)
    return generation == config.snapshot.generation and link in (0, config.snapshot.link)


def _named(event: Event) -> str:
    """Return an event with what tells its form."""
    marks = [str(value) for name, value in _shown(event) if value]
    return type(event).__name__ + (f"({', '.join(marks)})" if marks else "")


def _shown(event: Event) -> Iterator[tuple[str, object]]:
    generation, link = getattr(event, "generation", None), getattr(event, "link", None)
    if generation is not None and generation != GENERATION:
        yield "generation", "of an earlier visit"
    if link is not None and link != LINK:
        yield "link", "of an earlier link" if link else "of the account"
    yield "what", getattr(event, "what", None)


def verify(
    policies: Sequence[Policy] = POLICIES, decide: Decide = step, rows: Sequence[Row] = ROWS
) -> VerificationReport:
    """Explore all policies and return one report; *sometimes* is asked of all of them together."""
    total = VerificationReport()
    for policy in policies:
        report = Explorer(policy, decide).run()
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
