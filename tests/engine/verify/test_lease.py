"""The leases, explored: no world has two owners, each comes to have one, and every mistake of the list is found."""

import json

import pytest
from attrs import evolve

from engine.cli import app
from engine.verify import VerificationReport
from engine.verify.lease import (
    ALWAYS_ONE,
    NEVER_TWO,
    LeaseCase,
    LeaseWorld,
    explore_leases,
    thorough_cases,
    usual_cases,
)
from engine.verify.lease.explore import AT_ONCE, PATIENT, TIMES
from engine.verify.lease.store import StoreRules
from states.lease import LeaseTimes
from tests.engine.harness import ROOT
from tests.engine.verify.lease_mutants import LeaseMutant, beats_again, lease_mutants

USUAL, THOROUGH, MUTANTS = usual_cases(), thorough_cases(), lease_mutants()
OF_THE_LIST = (
    "a deadline that is counted from the answer",
    "a death without the beat's condition",
    "a stopped process without the kernel's timer",
    "a fenced life that beats again",
    "observations that are kept over a failover",
)
"""The mutants of the facts."""
EVERYWHERE = {"claims: claim committed and heard", "claims: claim refused", "its links are gone"}
TAKEOVER = "declares a life dead: death committed"
HAPPEN: dict[str, set[str]] = {
    "a process is stopped": {TAKEOVER, "tick passes, 0 stopped"},
    "a statement or an answer is late": {
        TAKEOVER,
        "beats, which takes its time",
        "s beat committed and heard",
        "hears of its beat",
        "hears of its claim",
        "gives up its beat",
        "declares a life dead: death refused",
        "beats: beat refused and heard",
    },
    "a clock is slow": {TAKEOVER},
    "the store fails over, and forgets a commit": {
        TAKEOVER,
        "e store fails over",
        "claims: claim committed and heard, to be forgotten",
        f"{TAKEOVER}, to be forgotten",
        "notes that the server is settled: settle committed",
        "beats: beat refused and heard",
    },
    "nodes leave": {TAKEOVER, "is to leave", "ends its life: end committed"},
    "beats are lost": set(),
}
"""What must happen in each world, or nothing is proven by it; without the numbers of nodes."""


def named(case: LeaseCase | LeaseMutant) -> str:
    return case.name


# --- the law ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("case", USUAL, ids=named)
def test_no_trouble_makes_two_owners_or_none(case: LeaseCase) -> None:
    """One kind of trouble in all of its forms; and what it is about does happen."""
    report = explore_leases(case.world, limit=case.limit, silent=case.silent)
    assert report.finding is None, str(report.finding)
    assert report.whole is (case.limit is None)
    assert {what[2:] for what in report.happened} >= EVERYWHERE | HAPPEN[case.name]


@pytest.mark.slow
@pytest.mark.parametrize("case", THOROUGH[:5], ids=named)
def test_no_troubles_together_make_two_owners_or_none(case: LeaseCase) -> None:
    """Any number of stops; late statements of all lives; a kill with what it leaves; a failover; three nodes."""
    report = explore_leases(case.world, limit=case.limit, silent=case.silent)
    assert report.finding is None, str(report.finding)
    assert report.whole


# --- its mutants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", MUTANTS, ids=named)
def test_a_mutant_is_caught(mutant: LeaseMutant) -> None:
    """Each mistake breaks the property that it is known to break, in as many steps as ``docs/leases.md`` says."""
    finding = explore_leases(mutant.world).finding
    assert finding is not None
    print(f"{mutant.name}: {len(finding.path)} steps")
    assert (finding.property, len(finding.path)) == (mutant.breaks, mutant.steps)


def test_the_list_of_the_facts_is_among_them() -> None:
    """All five, by name, and as breaches of safety."""
    assert tuple(mutant.name for mutant in MUTANTS[:5]) == OF_THE_LIST
    assert {mutant.breaks for mutant in MUTANTS[:5]} == {NEVER_TWO}


def test_the_page_has_every_mutant() -> None:
    """With its steps, and no other one."""
    page = (ROOT / "docs/leases.md").read_text("utf-8")
    table = page.split("| mistake | steps |")[1].split("\n\n")[0].splitlines()[2:]
    assert table == [
        f"| {each.name} | {each.steps}{' (no owner)' if each.breaks == ALWAYS_ONE else ''} |" for each in MUTANTS
    ]


def test_a_counterexample_can_be_read() -> None:
    """A step is a sentence, and a node keeps its name from the first to the last one."""
    mutant = next(each for each in MUTANTS if each.name == "a claim without the server's condition")
    assert str(explore_leases(mutant.world).finding).splitlines() == [
        "never two owners that may send: 7 steps",
        "  1. 0 asks for a life: life committed and heard",
        "  2. 0 beats: beat committed and heard",
        "  3. 1 asks for a life: life committed and heard",
        "  4. 1 beats: beat committed and heard",
        "  5. 0 claims: claim committed and heard, to be forgotten",
        "  6. the store fails over",
        "  7. 1 claims: claim committed and heard",
    ]


def test_either_half_of_the_fence_is_enough() -> None:
    """A node that beats again, and a store that takes beats of the dead, make two owners only together."""
    assert explore_leases(LeaseWorld(law=evolve(AT_ONCE, decide_hold=beats_again))).finding is None
    assert explore_leases(LeaseWorld(law=AT_ONCE, rules=StoreRules(beat_needs_life=False))).finding is None


def test_a_process_that_is_never_stopped_needs_no_kernel() -> None:
    """Its own timer closes the links in time; the kernel's is for those that are stopped, or blocked."""
    assert explore_leases(LeaseWorld(law=evolve(AT_ONCE, kernel=False))).finding is None


# --- the world -------------------------------------------------------------------------------------------------------


def test_the_clocks_are_as_far_apart_as_the_times_allow() -> None:
    """In ticks as in seconds: five of the watcher's take four of a slow clock."""
    slow = next(case.world for case in USUAL if case.name == "a clock is slow")
    assert slow.slow_every / (slow.slow_every - 1) == TIMES.tolerance == LeaseTimes().tolerance


def test_worlds_that_are_alike_have_the_same_future() -> None:
    """The one that stands for many can do whatever each of them can."""
    world = LeaseWorld(law=PATIENT, stops=None, delays=None, failovers=1, leaves=True, lives=7)
    reached = [world.first()]
    for at in reached:  # which grows
        known = set(reached)
        reached += [after for _, after in world.successors(at) if after not in known]
        if len(reached) > 3_000:
            break
    some = reached[::5]
    assert len({world.canonical(at) for at in some}) < len(some)
    for at in some:
        alike = world.canonical(at)
        assert world.canonical(alike) == alike
        assert world.workers(alike) == world.workers(at)
        futures = [{world.canonical(after) for _, after in world.successors(each)} for each in (at, alike)]
        assert futures[0] == futures[1]


# --- the command -----------------------------------------------------------------------------------------------------

TINY = LeaseCase(name="nothing", world=LeaseWorld(law=AT_ONCE), limit=50, silent=False)


@pytest.fixture
def _only_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.cli.verify.explore", lambda **_: VerificationReport())
    monkeypatch.setattr("engine.cli.verify.usual_cases", lambda: (TINY,))
    monkeypatch.setattr("engine.cli.verify.thorough_cases", lambda: (evolve(TINY, name="more"),))


@pytest.mark.usefixtures("_only_tiny")
def test_verify_explores_the_leases(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it covered, in words and in JSON, and with ``--thorough`` covers more."""
    with pytest.raises(SystemExit) as left:
        app(["verify"])
    assert not left.value.code
    printed = capsys.readouterr().out
    assert "leases, 2 nodes, nothing: the nearest 5" in printed
    assert f"✅ {NEVER_TWO}, and {ALWAYS_ONE}" in printed
    with pytest.raises(SystemExit) as left:
        app(["verify", "--json", "--thorough"])
    assert not left.value.code
    told = json.loads(capsys.readouterr().out)["leases"]
    assert [each["name"] for each in told] == ["nothing", "more"]
    assert told[0] == {
        "name": "nothing", "nodes": 2, "configurations": told[0]["configurations"], "moves": told[0]["moves"],
        "whole": False, "finding": None,
    }  # fmt: skip


@pytest.mark.usefixtures("_only_tiny")
def test_a_finding_about_leases_fails_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is printed with its way, and the exit code is 1."""
    broken = LeaseCase(
        name="broken", world=LeaseWorld(law=AT_ONCE, failovers=1, rules=StoreRules(claim_needs_server=False))
    )
    monkeypatch.setattr("engine.cli.verify.usual_cases", lambda: (broken,))
    with pytest.raises(SystemExit) as left:
        app(["verify"])
    assert left.value.code == 1
    printed = capsys.readouterr().out
    assert "❌ leases, broken: never two owners that may send: 7 steps" in printed
    assert "7. 1 claims" in printed
    assert "✅ never" not in printed
