"""The recovery benchmark measures what it says. Nothing here judges by a clock."""

from math import inf, isinf

import anyio
import pytest
from attrs import evolve

from adapters.sandbox import FaultKind
from tests.bench.harness import Outcome
from tests.bench.programs import Bare, Holdfast
from tests.bench.recovery import QUICK, QUICK_POLICY, prepared, run
from tests.bench.recovery_faults import LONG, QUIET, STORMS
from tests.bench.recovery_table import behind, markdown
from tests.timeouts import TIMEOUT

[RESET] = [row for row in QUIET if row.key == "reset"]
[STORM] = [row for row in STORMS if row.key == "accept-then-close"]
[REFUSED] = [row for row in LONG if row.key == "refused"]
ANSWERED = Outcome(seconds=1.0, over=False, tries=1, accepted=1)


@pytest.mark.slow
async def test_both_programs_come_back_from_each_reset_with_one_connection() -> None:
    """A row, end to end: each program is hurt as often as the scale says, and is counted alone."""
    async with prepared(QUICK_POLICY) as harness:
        found = await run(harness, evolve(QUICK, strokes=2, bound=TIMEOUT), only=["reset"])
    assert list(found) == ["reset"]
    assert set(found["reset"]) == {"Holdfast", "Bare"}
    for outcomes in found["reset"].values():
        assert [(one.over, one.tries, one.accepted) for one in outcomes] == [(False, 1, 1)] * 2
        assert not any(isinf(one.seconds) for one in outcomes)


@pytest.mark.slow
async def test_a_program_hears_and_each_port_counts_alone() -> None:
    """A message reaches the handlers of both kinds of program, and what one account does is not counted for another."""
    async with prepared(QUICK_POLICY) as harness, harness.subject(Holdfast) as ours, harness.subject(Bare) as theirs:
        for subject in (ours, theirs):
            await subject.begin()
            await subject.push("hello")
        await theirs.hurt(FaultKind.RESET)
        assert not isinf((await theirs.answered(TIMEOUT)).seconds)
        with anyio.fail_after(TIMEOUT):
            while not (ours.program.heard and theirs.program.heard):
                await anyio.sleep(0.01)
        assert [text for _, text in ours.program.heard] == ["hello"]
        assert ((await ours.outcome(inf)).accepted, (await theirs.outcome(inf)).accepted) == (0, 1)


@pytest.mark.slow
async def test_a_frozen_relay_keeps_the_connection_and_lets_new_ones_through() -> None:
    """A half-open link: the engine finds out and comes back by one new connection."""
    async with prepared(QUICK_POLICY) as harness, harness.subject(Holdfast, relayed=True) as subject:
        await subject.program.settle()
        await subject.begin()
        subject.relay.freeze()
        outcome = await subject.answered(TIMEOUT)
    assert (outcome.tries, outcome.accepted, isinf(outcome.seconds)) == (1, 1, False)


def test_the_engine_is_behind_when_it_is_slower_or_tries_more_often() -> None:
    """The judgement: equal is fine, and so is the slack of a row; more of either is told."""

    def verdict(ours: Outcome, theirs: Outcome) -> str:
        return behind(RESET, {"Holdfast": [ours], "Bare": [theirs]}) or ""

    assert not verdict(ANSWERED, ANSWERED)
    assert not verdict(evolve(ANSWERED, seconds=0.05), evolve(ANSWERED, seconds=0.01))
    assert "needs 70 ms" in verdict(evolve(ANSWERED, seconds=0.07), evolve(ANSWERED, seconds=0.01))
    assert "more often" in verdict(evolve(ANSWERED, tries=2), ANSWERED)
    assert not verdict(evolve(ANSWERED, tries=2), evolve(ANSWERED, seconds=inf))
    assert "not get there" in verdict(evolve(ANSWERED, seconds=inf), evolve(ANSWERED, seconds=inf))


def test_what_the_network_probe_sends_is_shown_beside_the_tries() -> None:
    """What the engine asks without its account is in the table and in a ratio of its own, and counts in the verdict."""
    found = {STORM.key: {"Holdfast": [evolve(ANSWERED, probes=12)], "Bare": [evolve(ANSWERED, tries=26)]}}
    line = markdown([STORM], found, QUICK)[-1]
    assert "| 1 + 12 probes | 26 | 26; 2 with the probes |" in line
    assert not behind(STORM, found[STORM.key])
    found[STORM.key]["Bare"] = [evolve(ANSWERED, tries=12)]
    assert "probes included" in (behind(STORM, found[STORM.key]) or "")


def test_where_few_connections_are_promised_the_time_is_not_judged() -> None:
    """A refused port: slower is the price of rare probes and no verdict; more connections than Telethon's is one."""
    late = {"Holdfast": [evolve(ANSWERED, seconds=16.0, probes=7)], "Bare": [evolve(ANSWERED, seconds=0.5, tries=28)]}
    assert REFUSED.paced
    assert not behind(REFUSED, late)
    assert "probes included" in (behind(REFUSED, {**late, "Bare": [evolve(ANSWERED, tries=7)]}) or "")
    assert "not get there" in (behind(REFUSED, {**late, "Holdfast": [evolve(ANSWERED, seconds=inf)]}) or "")
    assert [row.key for row in (*QUIET, *LONG, *STORMS) if row.paced] == ["refused"]


def test_every_row_has_a_name_of_its_own() -> None:
    """`--only` can name each row."""
    keys = [row.key for row in (*QUIET, *LONG, *STORMS)]
    assert len(set(keys)) == len(keys)
