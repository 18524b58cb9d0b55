"""What jobs store of chats and boxes becomes the same rows in each store, whatever comes in which order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.postgres.ledger_statements import compaction
from adapters.sqlite.jobs import ReadHistory
from adapters.sqlite.ledger_schema import COMPACT
from adapters.sqlite.messages import Deletion, Message, Stored
from states.ledger import HoleCause, Interval, LedgerRow
from tests.postgres.server import PostgresServer
from tests.storage.job_stores import NOW, JobsUnderTest, new, sqlite_jobs, stored
from tests.storage.postgres_jobs import postgres_jobs

numbers, later = st.integers(1, 3), st.floats(0, 9).map(lambda seconds: NOW + seconds)
messages = st.builds(
    Message,
    chat=st.just(-5), id=numbers, at=st.just(NOW), text=st.text("ab", max_size=2), sender=st.none() | numbers,
    owner=st.sampled_from(["", "A"]), edited=st.none() | later, version=st.none() | numbers,
    raw=st.none() | st.just("{}"),
)  # fmt: skip
deletions = st.builds(Deletion, chat=st.just(-5), id=numbers, at=later, owner=st.sampled_from(["", "A"]))
intervals = st.builds(lambda after, length: Interval(after, after + length), st.integers(0, 9), st.integers(1, 5))
ledger_rows = st.builds(
    LedgerRow,
    user=st.sampled_from([1, 2]), login=st.sampled_from(["x", "y"]), box=st.sampled_from([0, 7]), interval=intervals,
    cause=st.none() | st.sampled_from(HoleCause), since=later, until=later, first_id=st.none() | numbers,
    last_id=st.none() | numbers,
)  # fmt: skip
histories = st.none() | st.builds(ReadHistory, chat=st.just(-5), after=numbers, at=later, from_at=st.none() | later)
stories = st.lists(st.tuples(st.lists(messages | deletions | ledger_rows, max_size=6), histories), max_size=8)

QUESTIONS = (
    "SELECT owner, chat, id, at, sender, text, edited, deleted, raw, version FROM messages ORDER BY 1, 2, 3",
    "SELECT chat, id, at FROM message_deletions ORDER BY chat, id",
    "SELECT {user}, box, login, after, upto, since, until, first_id, last_id FROM ledger ORDER BY 1, 2, 3, 4",
    "SELECT {user}, box, after, cause, upto, since, until FROM ledger_holes ORDER BY 1, 2, 3, 4",
    "SELECT {user}, chat, source, after_id, upto_id, at, from_at FROM ledger_fills ORDER BY 1, 2, 3",
)


def interval(after: int, upto: int, first: int | None, cause: HoleCause | None = None) -> LedgerRow:
    """Return an interval of a box, whose first message is this one."""
    return LedgerRow(
        user=1, login="x", box=7, interval=Interval(after, upto), cause=cause, since=NOW, until=NOW, first_id=first,
        last_id=first,
    )  # fmt: skip


SET_BACK = [
    ([interval(0, 4, 3), interval(5, 9, None)], None),
    ([interval(0, 4, 2)], None),
    ([interval(2, 3, None, HoleCause.RENUMBERED)], None),
]
"""A box whose numbers were set back into an interval that was handled."""


async def written(
    store: JobsUnderTest, told: list[list[tuple[list[Stored], Any]]], user: str, compact: Sequence[Any] = ()
) -> list[Any]:
    """Return what a store has after each story, from nothing; ``compact`` is written at its end."""
    found = []
    async with store.engine() as engine:
        await engine.add([new()])
        for story in told:
            for table in ("messages", "message_deletions", "ledger", "ledger_holes", "ledger_fills"):
                store.execute(f"DELETE FROM {table}")
            for batch, history in story:
                await engine.keep(stored(store), _apart(batch), (), history)
                await engine.flush()
            if compact:
                writer: Any = engine
                await writer.writer.write_together(compact)
                await engine.flush()
            found.append([store.rows(question.format(user=user)) for question in QUESTIONS])
    return found


def _apart(batch: list[Stored]) -> list[Stored]:
    """Leave out what no job stores together: two deletions of one message at different times."""
    seen: set[Any] = set()
    return [
        each
        for each in batch
        if not isinstance(each, Deletion) or ((each.owner, each.id) not in seen and not seen.add((each.owner, each.id)))  # type: ignore[func-returns-value]
    ]


@pytest.mark.slow
async def test_what_is_kept_becomes_the_same_rows(tmp_path: Path, postgres: PostgresServer) -> None:
    """Messages, edits, deletions, intervals, holes and what was read later: SQLite's rows are PostgreSQL's."""
    told: list[Any] = [SET_BACK]

    @settings(max_examples=25, database=None)
    @given(stories)
    def collect(story: Any) -> None:
        told.append(story)

    collect()
    with sqlite_jobs(tmp_path) as file, postgres_jobs(postgres) as database:
        first, second = await written(file, told, "user"), await written(database, told, "user_id")
    for story, one, other in zip(told, first, second, strict=True):
        assert one == other, story


ledgers = st.lists(st.tuples(st.lists(ledger_rows, min_size=1, max_size=9), st.none()), min_size=1, max_size=5)


@pytest.mark.slow
async def test_what_is_compacted_becomes_the_same_rows(tmp_path: Path, postgres: PostgresServer) -> None:
    """Intervals of several users, boxes and logins, which touch, overlap or do not."""
    told: list[Any] = []

    @settings(max_examples=40, database=None)
    @given(ledgers)
    def collect(story: Any) -> None:
        told.append(story)

    collect()
    with sqlite_jobs(tmp_path) as file, postgres_jobs(postgres) as database:
        first = await written(file, told, "user", COMPACT)
        second = await written(database, told, "user_id", [*compaction(1), *compaction(2)])
    for story, one, other in zip(told, first, second, strict=True):
        assert one == other, story
