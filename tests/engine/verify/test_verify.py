"""The exhaustive check: it holds of the rules that run, and it finds what is wrong with others."""

import json
import random
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from engine.cli import app
from engine.verify import POLICIES, Explorer, VerificationReport, verify
from states import EVENTS, ROWS, Event, Snapshot, State, Step, step
from states.effects import (
    AlertDatabase,
    AlertExhausted,
    AskTurn,
    Effect,
    HoldWork,
    Open,
    Probe,
    ReleaseWork,
    Wait,
)
from states.events import (
    CredentialsReplaced,
    DatabaseRecovered,
    DatabaseUnavailable,
    Elapsed,
    NetworkLost,
    NetworkRestored,
    RetryRequested,
    StopRequested,
)

Decide = Callable[..., Step]


@pytest.fixture(scope="module")
def report() -> VerificationReport:
    """Explore the policy with fewer configurations, once for all tests of the real machine."""
    return Explorer(POLICIES[1]).run()


@pytest.fixture(scope="module")
def whole_report() -> VerificationReport:
    """Explore both policies, for tests that are slow anyway."""
    return verify()


def test_every_property_holds(report: VerificationReport) -> None:
    """Nothing is found in any configuration that can be reached where tries come to an end."""
    assert [str(finding) for finding in report.findings] == []
    assert len(report.states) == len(State)
    assert len(report.pairs) == len(State) * len(EVENTS)


@pytest.mark.slow
def test_every_property_holds_for_both_policies(
    whole_report: VerificationReport, capsys: pytest.CaptureFixture[str]
) -> None:
    """States, events and pairs that were covered are all that ``diagram --format json`` lists, and so are the rules."""
    report = whole_report
    assert [str(finding) for finding in report.findings] == []
    with pytest.raises(SystemExit):
        app(["diagram", "--format", "json"])
    drawn = json.loads(capsys.readouterr().out)
    assert len(report.states) == len(drawn["states"])
    assert len({event for _, event in report.pairs}) == len(drawn["events"])
    assert len(report.pairs) == len(drawn["states"]) * len(drawn["events"])
    assert len(report.rules) == len(drawn["rules"]) == len(ROWS)


def test_it_explores_more_than_the_pairs(report: VerificationReport) -> None:
    """Counters, timers, links and turns make configurations: far more than there are pairs."""
    assert report.configurations > 10 * len(State) * len(EVENTS)


def broken(change: Callable[[Snapshot, Event, Step], Step]) -> Decide:
    """Return ``step`` with a mistake in it."""

    def decide(snapshot: Snapshot, event: Event, **given: Any) -> Step:
        return change(snapshot, event, step(snapshot, event, **given))

    return decide


def without(kind: type[Effect], decision: Step) -> Step:
    """Return a decision that forgets one kind of effect."""
    return attrs.evolve(decision, effects=tuple(effect for effect in decision.effects if not isinstance(effect, kind)))


def two_links(_: Snapshot, event: Event, decision: Step) -> Step:
    if isinstance(event, NetworkRestored) and decision.snapshot.state is State.HEALTHY:
        return attrs.evolve(decision, effects=(Open(link=99, attempt=1, patience=1.0),))
    return decision


def busy_after_stop(snapshot: Snapshot, _: Event, decision: Step) -> Step:
    if snapshot.state is State.SHUTTING_DOWN:
        return attrs.evolve(decision, effects=(*decision.effects, HoldWork()))
    return decision


def stop_refused(snapshot: Snapshot, event: Event, decision: Step) -> Step:
    return attrs.evolve(decision, snapshot=snapshot, effects=()) if isinstance(event, StopRequested) else decision


def sends_when_dead(_: Snapshot, __: Event, decision: Step) -> Step:
    if decision.snapshot.state is State.AUTH_FAILED:
        return attrs.evolve(decision, effects=(*decision.effects, Probe(link=0, proof=True, patience=1.0)))
    return decision


def retried_when_dead(snapshot: Snapshot, event: Event, decision: Step) -> Step:
    if snapshot.state is State.AUTH_FAILED and isinstance(event, NetworkRestored):
        return step(snapshot, CredentialsReplaced(), now=decision.record.at, rng=random.Random(1), policy=POLICIES[0])
    return decision


def waits_for_ever(_: Snapshot, __: Event, decision: Step) -> Step:
    return without(Wait, decision)


def asks_no_turn(_: Snapshot, __: Event, decision: Step) -> Step:
    return without(AskTurn, decision)


def no_probe(_: Snapshot, __: Event, decision: Step) -> Step:
    return without(Probe, decision)


def works_in_doubt(_: Snapshot, __: Event, decision: Step) -> Step:
    return without(HoldWork, decision)


def waits_too_long(_: Snapshot, __: Event, decision: Step) -> Step:
    longer = [attrs.evolve(e, delay=e.delay * 10) if isinstance(e, Wait) else e for e in decision.effects]
    return attrs.evolve(decision, effects=tuple(longer))


def cuts_floods_short(snapshot: Snapshot, event: Event, decision: Step) -> Step:
    flooded = snapshot.state is State.BACKOFF and snapshot.cause is not None and snapshot.cause.event == "FloodWait"
    if flooded and isinstance(event, NetworkRestored):
        other = attrs.evolve(snapshot, cause=attrs.evolve(snapshot.cause, event="NetworkLost"))
        return step(other, event, now=decision.record.at, rng=random.Random(1), policy=POLICIES[0])
    return decision


def raises_no_alert(_: Snapshot, event: Event, decision: Step) -> Step:
    if isinstance(event, NetworkLost):
        return attrs.evolve(decision, snapshot=attrs.evolve(decision.snapshot, exhausted=True))
    return decision


def releases_early(_: Snapshot, __: Event, decision: Step) -> Step:
    if decision.snapshot.state is State.CONNECTING:
        return attrs.evolve(decision, effects=(*decision.effects, ReleaseWork()))
    return decision


def late_timers_count(snapshot: Snapshot, event: Event, decision: Step) -> Step:
    """Let a timer of an earlier visit do what one of this visit would."""
    if isinstance(event, Elapsed) and event.generation != snapshot.generation:
        current = attrs.evolve(event, generation=snapshot.generation)
        return step(snapshot, current, now=decision.record.at, rng=random.Random(1), policy=POLICIES[0])
    return decision


def never_told(_: Snapshot, __: Event, decision: Step) -> Step:
    """Forget the alert and its mark."""
    quiet = attrs.evolve(decision.snapshot, exhausted=False)
    return attrs.evolve(without(AlertExhausted, decision), snapshot=quiet)


def tells_of_the_file_again(_: Snapshot, event: Event, decision: Step) -> Step:
    """Raise the alert at every report."""
    if isinstance(event, DatabaseUnavailable) and decision.snapshot.database is not None:
        alert = AlertDatabase(detail="", action=None)
        return attrs.evolve(decision, effects=(*without(AlertDatabase, decision).effects, alert))
    return decision


def counts_the_file_as_told(_: Snapshot, __: Event, decision: Step) -> Step:
    """Forget the alert, not its mark."""
    return without(AlertDatabase, decision)


def never_tells_of_the_file(_: Snapshot, __: Event, decision: Step) -> Step:
    """Forget the alert and its mark."""
    if (known := decision.snapshot.database) is None:
        return decision
    quiet = attrs.evolve(decision.snapshot, database=attrs.evolve(known, told=False))
    return attrs.evolve(without(AlertDatabase, decision), snapshot=quiet)


def file_stays_bad(snapshot: Snapshot, event: Event, decision: Step) -> Step:
    """Ignore that a session file is written again."""
    if isinstance(event, DatabaseRecovered):
        return attrs.evolve(decision, snapshot=attrs.evolve(decision.snapshot, database=snapshot.database))
    return decision


def file_is_forgotten(_: Snapshot, event: Event, decision: Step) -> Step:
    """Let a lost link make a session file good."""
    if isinstance(event, NetworkLost):
        return attrs.evolve(decision, snapshot=attrs.evolve(decision.snapshot, database=None))
    return decision


def deaf_to_commands(snapshot: Snapshot, event: Event, decision: Step) -> Step:
    """Ignore a command that asks for an attempt."""
    return attrs.evolve(decision, snapshot=snapshot, effects=()) if isinstance(event, RetryRequested) else decision


@pytest.mark.parametrize(
    ("mistake", "property"),
    [
        (two_links, "one_connection"),
        (busy_after_stop, "stop_is_final"),
        (stop_refused, "stop_is_final"),
        (sends_when_dead, "dead_is_silent"),
        (retried_when_dead, "dead_is_silent"),
        (waits_for_ever, "waits_end"),
        (asks_no_turn, "waits_end"),
        (no_probe, "waits_end"),
        (works_in_doubt, "work_only_when_healthy"),
        (releases_early, "work_only_when_healthy"),
        (waits_too_long, "delays_fit"),
        (cuts_floods_short, "floods_are_floors"),
        (raises_no_alert, "alerted_once"),
        (tells_of_the_file_again, "file_alerted_once"),
        (counts_the_file_as_told, "file_alerted_once"),
        (never_tells_of_the_file, "file_alerted_in_time"),
        (file_stays_bad, "file_trouble_ends"),
        (file_is_forgotten, "file_trouble_ends"),
        (late_timers_count, "late_is_nothing"),
        (never_told, "tries_are_kept"),
        (deaf_to_commands, "retry_is_obeyed"),
    ],
)
def test_a_mistake_is_found_with_the_way_there(mistake: Callable[..., Step], property: str) -> None:
    """Each property fails of a machine that breaks it, and the finding tells the events that lead there."""
    found = Explorer(POLICIES[0], broken(mistake), max_findings=1).run().findings
    assert [finding.property for finding in found] == [f"always {property}"]
    assert found[0].path[0].startswith("a new account")


def test_the_way_is_a_shortest_one() -> None:
    """A mistake that the first failure shows is told with a start and that failure, and nothing else."""
    found = Explorer(POLICIES[0], broken(waits_for_ever), max_findings=1).run().findings
    assert [text.split("(")[0].split(" ")[0] for text in found[0].path] == ["a", "Started", "DatabaseLocked"]


def test_a_circle_is_not_a_rest() -> None:
    """A machine that answers every success with another attempt never comes to rest, and that is found."""

    def restless(_: Snapshot, event: Event, decision: Step) -> Step:
        if type(event).__name__ != "Connected":
            return decision
        asked = AskTurn(generation=decision.snapshot.generation)
        back = attrs.evolve(decision.snapshot, state=State.RECONNECTING, link=0)
        return attrs.evolve(decision, snapshot=back, effects=(HoldWork(), asked))

    explorer = Explorer(POLICIES[0], broken(restless), properties=(), max_findings=1)
    assert [finding.property for finding in explorer.run().findings] == ["eventually at rest"]


def test_what_is_never_taken_is_named() -> None:
    """Rules, states and pairs that the exploration did not meet are findings of *sometimes*."""
    found = verify(policies=())
    assert {finding.property for finding in found.findings} == {"sometimes"}
    assert len(found.findings) == len(ROWS) + len(State) + len(State) * len(EVENTS)
    assert found.findings[0].what == f"the rule {min(row.name for row in ROWS)} is never taken"


def test_the_command_prints_what_it_covered(
    capsys: pytest.CaptureFixture[str], report: VerificationReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``verify --json`` has the counts, and ``verify`` says them in words; both leave with 0."""
    monkeypatch.setattr("engine.cli.verify.explore", lambda **_: report)
    monkeypatch.setattr("engine.cli.verify.usual_cases", lambda: ())
    with pytest.raises(SystemExit) as left:
        app(["verify", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert not left.value.code
    assert (told["states"], told["events"], told["pairs"]) == (7, 34, 238)
    assert told["configurations"] == report.configurations
    assert told["findings"] == []
    with pytest.raises(SystemExit) as left:
        app(["verify"])
    assert not left.value.code
    assert "238 of 238 pairs" in capsys.readouterr().out


def test_a_finding_fails_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A property that does not hold is printed with its way, and the exit code is 1."""
    explorer = Explorer(POLICIES[0], broken(waits_for_ever), max_findings=1)
    monkeypatch.setattr("engine.cli.verify.explore", lambda **_: explorer.run())
    monkeypatch.setattr("engine.cli.verify.usual_cases", lambda: ())
    with pytest.raises(SystemExit) as left:
        app(["verify"])
    assert left.value.code == 1
    assert "❌ always waits_end" in capsys.readouterr().out
