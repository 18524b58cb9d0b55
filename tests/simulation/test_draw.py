"""What a seed stands for: reproducible, as different as possible, affordable, and with time to heal."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import mean

import pytest

from adapters.sandbox import Fault
from engine.config.structure import build_reader
from engine.config.types import Fleet
from engine.config.work import WorkSection
from states.schedules import Policy
from tests.simulation.draw import MAX_INCIDENTS_A_DAY, draw
from tests.simulation.story import DAY, IncidentKind, Story
from tests.simulation.story_settings import healing_seconds

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(150)
STORIES = [draw(seed, 24) for seed in SEEDS]


def test_a_seed_gives_the_same_story_in_another_process() -> None:
    """Neither what was drawn before nor the order of hashes shows in a story."""
    code = "from tests.simulation.draw import draw; draw(3, 2); print(draw(7, 24).dump(), end='')"
    environment = {**os.environ, "PYTHONHASHSEED": "99"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == STORIES[7].dump()


def test_every_kind_of_incident_is_drawn_and_none_is_always_on() -> None:
    """A subset is switched on for each seed, so all kinds occur, and each is missing most of the time."""
    stories = Counter(kind for story in STORIES for kind in {incident.kind for incident in story.incidents})
    assert set(stories) == set(IncidentKind)
    assert max(stories.values()) < len(STORIES) * 0.7


def test_every_story_can_be_kept() -> None:
    """What is drawn is what is read back."""
    assert all(Story.load(story.dump()) == story for story in STORIES)


def test_every_fault_is_one_that_the_sandbox_takes() -> None:
    """No drawn value is out of the range of its fault."""
    for story in STORIES:
        for incident in story.incidents:
            if incident.kind.fault is not None:
                Fault(**incident.fault_options(), account="+9996620001")


def test_all_settings_are_ones_that_the_config_takes() -> None:
    """A run does not end with a sentence about its config."""
    reader = build_reader(ROOT, Path)
    for story in STORIES:
        config = story.config()
        reader.read(config["states"], Policy)
        reader.read(config.get("fleet", {}), Fleet)
        reader.read(config.get("work", {}), WorkSection)
        assert set(config) <= {"states", "fleet", "work", "storage"}


@pytest.mark.parametrize("hours", [2, 24])
def test_there_is_time_to_heal_after_the_last_incident(hours: float) -> None:
    """The judges' bound holds from the end of the last incident, so the story goes on for longer than that."""
    for seed in SEEDS:
        story = draw(seed, hours)
        if story.incidents:
            quiet = story.seconds - story.quiet_from
            assert quiet >= min(healing_seconds(story.settings), story.seconds / 2) - 1.5


def test_a_day_of_an_average_story_is_affordable() -> None:
    """A run costs about a millisecond for each request, and a thousand of them an hour on two cores."""
    probes = mean(
        story.accounts
        * (DAY / story.settings["states.healthy.probe_every"] + DAY / story.settings["states.healthy.prove_every"])
        for story in STORIES
    )
    updates = mean(story.accounts * story.workload.updates_per_day for story in STORIES)
    assert 2 <= mean(story.accounts for story in STORIES) <= 4
    assert probes + 3 * updates < 4000
    assert max(len(story.incidents) for story in STORIES) <= MAX_INCIDENTS_A_DAY


def test_one_aspect_does_not_disturb_another() -> None:
    """The same seed in another length has the same accounts and settings."""
    short = draw(11, 2)
    assert (short.accounts, short.settings) == (STORIES[11].accounts, STORIES[11].settings)
