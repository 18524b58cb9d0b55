"""Followed chats through chaos and ``kill -9``; ``python -m tests.soak.follow`` does the same for five minutes."""

from contextlib import closing
from pathlib import Path

import pytest

from adapters.sandbox import Sandbox
from adapters.sqlite import open_database
from adapters.sqlite.schema import migrate
from tests.soak import follow

PLAN = follow.FollowPlan(accounts=2, channels=5, posts=600, seconds=12.0, kills=2, seed=1)


@pytest.mark.slow
async def test_the_table_is_what_the_datacenter_remembers(tmp_path: Path) -> None:
    """Two kills, lost pushes, edits and deletions: nothing missed, doubled or different, and ``prove`` agrees."""
    figures = await follow.run(tmp_path, PLAN)
    assert (figures.missed, figures.doubled, figures.different) == (0, 0, 0)
    assert (figures.posts, figures.complete, figures.lives) == (600, 5, 3)


def test_the_same_seed_is_the_same_run() -> None:
    """What a run found can be run again: moments, steps and jobs depend on the seed alone."""
    again = follow.FollowPlan(accounts=2, channels=5, posts=600, seconds=12.0, kills=2, seed=1)
    assert (PLAN.moments(), PLAN.steps(), PLAN.jobs()) == (again.moments(), again.steps(), again.jobs())


async def test_a_difference_is_counted(tmp_path: Path) -> None:
    """A message that is missing, and one with another text, are told."""
    plan = follow.FollowPlan(accounts=1, channels=1, posts=3)
    file = tmp_path / "engine.db"
    async with Sandbox() as dc:
        channel = await dc.create_channel("news000", "News")
        for text in ("one", "two", "three"):
            await dc.post("news000", text)
        with closing(open_database(file)) as db:
            migrate(db, file)
            for number, text in ((1, "one"), (2, "other")):
                row = (-follow.MARK - channel, number, text)
                db.execute("INSERT INTO messages (owner, chat, id, at, text, job) VALUES ('', ?, ?, 0, ?, 1)", row)
        stored, missed, doubled, different, said = follow.differences(dc, plan, file)
    assert (stored, missed, doubled, different) == (2, 1, 0, 1)
    assert len(said) == 2
