"""Policies that change under a life: each decision is replayed and explained by the one that made it."""

import json
from pathlib import Path

from adapters.sqlite import JournalReader, JournalWriter
from states import Policy
from states.events import Connected, Elapsed, NetworkLost, Started, TurnGranted
from states.schedules import Backoff, BackoffSchedules
from tests.engine.journal.conftest import Run, next_life, write_life
from tests.states.harness import AccountDriver

SLOW = Policy(backoff=BackoffSchedules(network=Backoff(first=100, cap=1000, jitter=0)))
LOST = NetworkLost(detail="connection reset")
FURTHER = [Elapsed(generation=0), TurnGranted(generation=0), LOST]


async def changed(path: Path) -> AccountDriver:
    """Write a life of News 2 that begins with the usual policy, and in which another decides the last records."""
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None)
    driver = AccountDriver(Policy())
    await write_life(journal, "News 2", driver, [Started(), TurnGranted(generation=0), LOST])
    driver.policy = SLOW
    journal.use_policy("News 2", SLOW)
    for event in FURTHER:
        made = driver.take(event)
        await journal.write("News 2", made.record, made.snapshot)
    assert await journal.aclose(5) == 0
    return driver


async def test_a_replay_knows_which_policy_made_a_decision(run: Run, path: Path) -> None:
    """A wait by the schedule of before and one by that of after agree both, also with the properties asked."""
    path.unlink()
    await changed(path)
    code, out, _ = run("replay", "--json")
    assert (code, json.loads(out)["agrees"], json.loads(out)["records"]) == (0, True, 6)


async def test_an_explanation_does_its_sum_with_the_policy_of_the_record(run: Run, path: Path) -> None:
    """The wait of the last record is explained by the schedule that gave it."""
    path.unlink()
    await changed(path)
    code, out, _ = run("explain", "6")
    assert code == 0
    assert "200" in out
    with JournalReader.open(path) as reader:
        entries = list(reader.entries())
    assert [entry.policy for entry in entries] == [None] * 3 + [SLOW] * 3
    assert entries[-1].delay == 200


async def test_the_next_life_begins_with_its_own_policy(run: Run, path: Path) -> None:
    """What a life's beginning says holds for its records; none of them names a policy."""
    path.unlink()
    driver = await changed(path)
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None)
    journal.use_policy("News 2", Policy())
    again = next_life(driver)
    again.policy = SLOW
    way = [Started(), Elapsed(generation=0), TurnGranted(generation=0), Connected()]
    await write_life(journal, "News 2", again, way)
    assert await journal.aclose(5) == 0
    with JournalReader.open(path) as reader:
        assert {entry.policy for entry in reader.entries() if entry.life == again.snapshot.life} == {None}
    assert run("replay")[0] == 0
