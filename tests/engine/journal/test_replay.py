"""``log replay``: the journal is what the rules make of it, or the first record that is not is named."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from adapters.sqlite import JournalWriter
from states import EVENTS, Event, Policy, State
from states.events import (
    Closed,
    Connected,
    Elapsed,
    NetworkLost,
    Started,
    TurnGranted,
    UpdatesConfirmed,
    UpdatesStalled,
)
from tests.engine.journal.conftest import Run, next_life, write_life
from tests.states.harness import AccountDriver, sample


def damage(path: Path, *statements: str) -> None:
    """Change the journal by hand."""
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def test_a_true_journal_agrees(run: Run, path: Path) -> None:
    """Every record of every life is replayed, a quiet step that was left out does no harm, and the exit code is 0."""
    code, out, _ = run("replay", "--json")
    assert code == 0
    assert json.loads(out) == {
        "agrees": True, "records": 15, "lives": 4, "accounts": 3, "skipped_records": 0, "skipped_lives": 0,
        "difference": None,
    }  # fmt: skip
    code, out, _ = run("replay")
    assert (code, out) == (0, "✅ The replay agrees with the journal: 15 records of 4 lives of 3 accounts\n")


def test_one_account_alone(run: Run, path: Path) -> None:
    """``--account`` replays that account and no other."""
    code, out, _ = run("replay", "--account", "News 1", "--json")
    told = json.loads(out)
    assert (code, told["records"], told["lives"], told["accounts"]) == (0, 9, 2, 1)


@pytest.mark.parametrize(
    ("change", "seq", "field"),
    [
        ("UPDATE journal SET delay = delay + 0.001 WHERE seq = 9", 9, "delay"),
        ("UPDATE journal SET draw = draw + 0.001 WHERE seq = 9", 9, "delay"),
        ("UPDATE journal SET deadline = NULL WHERE seq = 9", 9, "deadline"),
        ("UPDATE journal SET attempt = 7 WHERE seq = 8", 8, "attempt"),
        ("UPDATE journal SET failures = 7 WHERE seq = 12", 12, "failures"),
        ("UPDATE journal SET dwell = dwell + 1 WHERE seq = 3", 3, "dwell"),
        ("UPDATE journal SET at = at + 1 WHERE seq = 8", 8, "deadline"),
        ("UPDATE journal SET target = source WHERE seq = 3", 3, "target"),
        ("UPDATE journal SET source = target WHERE seq = 3", 3, "source"),
        ("UPDATE journal SET rule = (SELECT rule FROM journal WHERE seq = 1) WHERE seq = 3", 3, "rule"),
        ("UPDATE journal SET life = 9 WHERE seq = 14", 14, "life"),
        ("""UPDATE journal SET body = replace(body, 'AskTurn', 'Open') WHERE seq = 1""", 1, "effects"),
        ("""UPDATE journal SET body = replace(body, '"generation"', '"number"') WHERE seq = 8""", 8, "payload"),
        ("DELETE FROM journal WHERE seq = 4", 4, "seq"),
        ("DELETE FROM journal WHERE seq = 15", 15, "seq"),
    ],
)
def test_a_damaged_record_is_named(run: Run, path: Path, change: str, seq: int, field: str) -> None:
    """Whatever was changed by hand, the replay stops at that record, says the field, and the exit code is 1."""
    damage(path, change)
    code, out, _ = run("replay", "--json")
    found = json.loads(out)["difference"]
    assert (code, found["seq"], found["field"]) == (1, seq, field)
    code, out, _ = run("replay")
    assert code == 1
    assert f"Record {seq} " in out


def test_a_damaged_snapshot_is_named(run: Run, path: Path) -> None:
    """The state that is stored beside the journal must be the one that the journal leads to."""
    damage(path, """UPDATE snapshots SET snapshot = replace(snapshot, '"failures":1', '"failures":2') WHERE seq = 9""")
    code, out, _ = run("replay", "--json")
    found = json.loads(out)["difference"]
    assert (code, found["seq"], found["field"]) == (1, 9, "the stored snapshot: failures")


def test_a_life_must_begin_where_the_one_before_ended(run: Run, path: Path) -> None:
    """A second life whose start was changed by hand is a difference, too."""
    damage(path, """UPDATE lives SET snapshot = replace(snapshot, '"links":1', '"links":5') WHERE life = 2""")
    code, out, _ = run("replay", "--json")
    found = json.loads(out)["difference"]
    assert (code, found["seq"], found["field"]) == (1, 13, "the start of life 2: links")


def test_a_record_that_cannot_be_read_is_named(run: Run, path: Path) -> None:
    """A body that is not JSON is one sentence with the entry's number."""
    damage(path, "UPDATE journal SET body = 'x' WHERE seq = 5")
    code, _, err = run("replay")
    assert code == 1
    assert "entry 5 of the journal" in err


async def every_event(path: Path, states: Sequence[State]) -> None:
    """Write a life that meets every event in every state that it can get to."""
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None)
    for state in states:
        for kind in EVENTS:
            driver = AccountDriver(Policy())
            way = {
                State.CONNECTING: [Started(), TurnGranted(generation=0)],
                State.HEALTHY: [Started(), TurnGranted(generation=0), Connected()],
                State.BACKOFF: [Started(), TurnGranted(generation=0), NetworkLost()],
            }[state]
            await write_life(journal, f"{state} {kind.__name__}", driver, way)
            for event in (sample(kind, driver.snapshot), Elapsed(generation=0), Closed(generation=0)):
                made = driver.take(event)
                await journal.write(f"{state} {kind.__name__}", made.record, made.snapshot)
    await journal.aclose(5)


async def test_every_event_replays(run: Run, path: Path, tmp_path: Path) -> None:
    """Each class of event goes through the journal and comes out of the replay as it went in."""
    path.unlink()
    await every_event(path, (State.CONNECTING, State.HEALTHY, State.BACKOFF))
    code, out, _ = run("replay", "--json")
    assert (code, json.loads(out)["accounts"]) == (0, 3 * len(EVENTS))


async def test_missing_updates_replay_over_a_restart(run: Run, path: Path) -> None:
    """Asked for, a fresh client, told, asked for again without a record, and a new life in which nobody is told again.

    What the journal leaves out moves nothing that the rest depends on.
    """
    path.unlink()
    seen = UpdatesStalled(detail="channel 5 (3 missing)", behind=("channel 5: 3",), since=5.0)
    arriving: list[Event] = [TurnGranted(generation=0), Connected()]
    in_vain = evolve(seen, asked=True)
    first = [Started(), *arriving, seen, in_vain, *arriving, seen, in_vain, seen, in_vain]
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None)
    lives = [AccountDriver(Policy())]
    lives += [next_life(lives[0])] if await _written(journal, lives[0], first) else []
    await _written(journal, lives[1], [Started(), *arriving, seen, in_vain, UpdatesConfirmed(), seen])
    await journal.aclose(5)
    code, out, _ = run("replay", "--json")
    told = json.loads(out)
    assert (code, told["agrees"], told["lives"]) == (0, True, 2)
    assert told["records"] == 9 + 5, "two quiet decisions of each life are left out"
    assert lives[1].snapshot.stall is not None
    assert not lives[1].snapshot.stall.told, "after all was there, it is a new trouble"


async def _written(journal: JournalWriter, driver: AccountDriver, events: Sequence[Event]) -> bool:
    """Write a life as the runner does, without routine; return whether a person was told in it."""
    await journal.begin_life("News 1", driver.now, driver.policy, driver.snapshot)
    told = 0
    for event in events:
        made = driver.take(event)
        told += "AlertStalled" in made.record.effects
        if not made.record.quiet:
            await journal.write("News 1", made.record, made.snapshot)
    return told == 1


def test_an_unknown_account_is_answered_with_the_nearest(run: Run, path: Path) -> None:
    """The suggestion names what exists."""
    code, out, err = run("replay", "--account", "Newz 1")
    assert (code, out) == (2, "")
    assert "did you mean 'News 1'?" in err
