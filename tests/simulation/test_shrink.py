"""Shrinking keeps what a failure needs, leaves out the rest, and is bounded; the runs are only imagined."""

from collections.abc import Callable

import pytest

from tests.simulation.draw import draw
from tests.simulation.shrink import MAX_RUNS, ShrunkStory, shrink
from tests.simulation.story import Incident, IncidentKind, JobOrder, Story, Workload

KILL, RESET = IncidentKind.PROCESS_KILL, IncidentKind.NETWORK_RESET


def long_story() -> Story:
    """Return a story with many incidents, among them a reset of account 3 and, later, a kill."""
    others = [
        Incident(at=300.0 + 977 * n, kind=IncidentKind.NETWORK_DRIP, seconds=47.3, account=n % 5 + 1) for n in range(40)
    ]
    needed = [
        Incident(at=12345.678, kind=RESET, account=3, times=3, request="updates.*"),
        Incident(at=20202.02, kind=KILL, seconds=333.3),
    ]
    return Story(
        seed=5,
        hours=24,
        accounts=5,
        settings={"fleet.stagger": 2, "states.healthy.probe_every": 90, "work.per_account": 2},
        incidents=tuple(sorted([*others, *needed], key=lambda each: each.at)),
        workload=Workload(
            updates_per_day=100,
            followers=2,
            jobs=tuple(JobOrder(at=100.0 * n, kind="steps", account=n % 5 + 1, count=7, steps=3) for n in range(12)),
        ),
    )


def killed_after_reset(story: Story) -> bool:
    """Fail as an engine would that is killed after a reset, if there is a job, and a setting."""
    kinds = [incident.kind for incident in story.incidents]
    right_order = RESET in kinds and KILL in kinds and kinds.index(RESET) < kinds.index(KILL)
    return right_order and bool(story.workload.jobs) and "fleet.stagger" in story.settings


def shrunk(fails: Callable[[Story], bool], max_runs: int = MAX_RUNS) -> ShrunkStory:
    return shrink(long_story(), fails, max_runs=max_runs)


def test_what_the_failure_needs_is_all_that_is_left() -> None:
    """Two incidents, one job and one setting of many are left, for one account, in a short time."""
    found = shrunk(killed_after_reset)
    story = found.story
    assert [incident.kind for incident in story.incidents] == [RESET, KILL]
    assert dict(story.settings) == {"fleet.stagger": 2}
    assert (story.accounts, len(story.workload.jobs), story.workload.followers) == (1, 1, 0)
    assert story.workload.jobs[0].count == story.workload.jobs[0].steps == 1
    assert story.hours < 0.5
    assert found.complete
    assert found.runs < MAX_RUNS


def test_values_become_simple() -> None:
    """A reader sees no number that does not matter."""
    reset, kill = shrunk(killed_after_reset).story.incidents
    assert (reset.account, reset.times, reset.request) == (None, 1, None)
    assert kill.seconds <= 10
    assert all(at % 10 == 0 for at in (reset.at, kill.at))


def test_values_that_matter_stay() -> None:
    """A failure that needs a long incident keeps it long, and that of one account its account."""

    def fails(story: Story) -> bool:
        return any(each.kind is KILL and each.seconds > 300 for each in story.incidents) and story.accounts >= 2

    story = shrunk(fails).story
    assert (story.accounts, len(story.incidents)) == (2, 1)
    assert story.incidents[0].seconds == 330


def test_a_failure_that_needs_nothing_becomes_an_empty_story() -> None:
    """What always fails is a minute of one account."""
    found = shrunk(lambda story: True)
    assert found.story == Story(seed=5, hours=60 / 3600)
    assert found.runs < 30


def test_the_same_story_shrinks_to_the_same() -> None:
    """Nothing in it is left to chance."""
    assert shrunk(killed_after_reset) == shrunk(killed_after_reset)


def test_no_story_is_run_twice_and_none_that_is_no_simpler() -> None:
    """A run costs seconds, so what was answered once is not asked again."""
    asked: list[str] = []

    def fails(story: Story) -> bool:
        asked.append(story.dump())
        return killed_after_reset(story)

    shrunk(fails)
    assert len(asked) == len(set(asked))
    assert long_story().dump() not in asked


@pytest.mark.parametrize("most", [0, 1, 17])
def test_the_number_of_runs_is_bounded(most: int) -> None:
    """What was found by then is returned, and it fails."""
    found = shrunk(killed_after_reset, max_runs=most)
    assert found.runs == most
    assert not found.complete
    assert killed_after_reset(found.story)


def test_the_time_is_bounded() -> None:
    """When the time is over, no other run begins."""
    runs: list[Story] = []

    def fails(story: Story) -> bool:
        runs.append(story)
        return killed_after_reset(story)

    shrink(long_story(), fails, out_of_time=lambda: len(runs) >= 5)
    assert len(runs) == 5


def test_a_failure_that_comes_and_goes_ends_all_the_same() -> None:
    """A story that is changed draws other numbers, so a failure may be gone; what is returned has failed once."""
    seen: list[Story] = []

    def fails(story: Story) -> bool:
        if len(story.dump()) % 3:
            seen.append(story)
            return True
        return False

    found = shrunk(fails)
    assert found.story in seen


@pytest.mark.parametrize("seed", range(20))
def test_drawn_stories_shrink_to_valid_ones(seed: int) -> None:
    """No step leaves an incident of an account that is gone, or one after the end: a Story refuses these."""
    story = draw(seed, 24)
    found = shrink(story, lambda each: len(each.incidents) >= min(2, len(story.incidents)))
    assert len(found.story.incidents) == min(2, len(story.incidents))
    assert Story.load(found.story.dump()) == found.story
