"""Since when an account is in trouble: as its decisions are made, and as the journal has it."""

from pathlib import Path

import pytest

from adapters.sqlite import JournalReader, JournalWriter
from engine.console.account_status import AccountStatus
from engine.journal.troubles import Troubles, trouble_since
from states import Event, Snapshot, State
from states.events import (
    ClockJumped,
    Closed,
    Connected,
    Elapsed,
    NetworkLost,
    Started,
    StopRequested,
    TurnGranted,
)
from tests.states.harness import NOW, AccountDriver

HEALTHY = [Started(), TurnGranted(generation=0), Connected()]
STOPPED = [StopRequested(), Closed(generation=0)]
LOST = [NetworkLost(), Elapsed(generation=0), TurnGranted(generation=0), NetworkLost()]
STORIES: dict[str, tuple[list[Event], float | None]] = {
    "healthy": (HEALTHY, None),
    "never healthy": (HEALTHY[:2], NOW + 1),
    "lost, and lost again": ([*HEALTHY, *LOST], NOW + 4),
    "healthy again": ([*HEALTHY, *LOST, Elapsed(generation=0), TurnGranted(generation=0), Connected()], None),
    "stopped while healthy": ([*HEALTHY, *STOPPED], None),
    "stopped in trouble": ([*HEALTHY, *LOST, *STOPPED], NOW + 4),
}
"""Events of one life, and since when its account is in trouble then."""


@pytest.mark.parametrize("story", STORIES)
def test_decisions_say_since_when(story: str) -> None:
    """The trouble begins with the first decision that leaves ``healthy``, and ends with the next that enters it."""
    events, since = STORIES[story]
    driver, troubles = AccountDriver(), Troubles()
    for event in events:
        troubles.observe("A", driver.take(event))
    assert troubles.began.get("A") == since


@pytest.mark.parametrize("story", STORIES)
async def test_the_journal_says_the_same(tmp_path: Path, story: str) -> None:
    """What is read from the file agrees with what was observed."""
    events, since = STORIES[story]
    driver = AccountDriver()
    journal = await JournalWriter.open(tmp_path / "engine.db", on_trouble=lambda *_: None)
    await journal.begin_life("A", driver.now, driver.policy, driver.snapshot)
    for event in events:
        made = driver.take(event)
        if not made.record.quiet:
            await journal.write("A", made.record, made.snapshot)
    assert await journal.aclose(5) == 0
    with JournalReader.open(tmp_path / "engine.db") as reader:
        assert trouble_since(reader.after_healthy("A", 4)) == since
        assert reader.after_healthy("B", 4) == []


def test_a_start_begins_the_trouble_of_what_was_stopped_healthy() -> None:
    """The time in which no engine ran is nobody's trouble."""
    driver, troubles = AccountDriver(), Troubles()
    for event in (*HEALTHY, *STOPPED):
        troubles.observe("A", driver.take(event))
    next_life = AccountDriver()
    next_life.now = NOW + 1000
    troubles.observe("A", next_life.take(Started()))
    assert troubles.began == {"A": NOW + 1001}


def test_a_trouble_goes_on_over_a_restart() -> None:
    """What the journal has is older than this engine, and counts until the account was healthy once."""
    driver, troubles = AccountDriver(), Troubles()
    troubles.observe("A", driver.take(Started()))
    troubles.remember({"A": NOW - 500, "B": NOW - 7})
    assert troubles.began == {"A": NOW - 500, "B": NOW - 7}
    for event in HEALTHY[1:]:
        troubles.observe("A", driver.take(event))
    troubles.remember({"A": NOW - 500})
    assert troubles.began == {"B": NOW - 7}


def test_it_moves_with_a_clock_that_is_set() -> None:
    """How long ago it was stays the same."""
    driver, troubles = AccountDriver(), Troubles()
    for event in (*HEALTHY, NetworkLost(), ClockJumped(seconds=3600.0, slept=0.0)):
        troubles.observe("A", driver.take(event))
    assert troubles.began == {"A": NOW + 4 + 3600}


@pytest.mark.parametrize(
    ("at", "since"),
    [
        (AccountStatus(Snapshot(state=State.BACKOFF)), 5.0),
        (AccountStatus(Snapshot(state=State.HEALTHY)), None),
        (AccountStatus(Snapshot(state=State.SHUTTING_DOWN, paused=True)), None),
        (AccountStatus(Snapshot(state=State.BACKOFF), present=False), None),
        (AccountStatus(None), None),
    ],
)
def test_only_a_known_trouble_is_told(at: AccountStatus, since: float | None) -> None:
    """Nothing is said of an account that is healthy, rests, or of which nothing is known."""
    troubles = Troubles()
    troubles.began["A"] = 5.0
    assert troubles.since("A", at) == since
