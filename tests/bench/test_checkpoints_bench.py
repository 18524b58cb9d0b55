"""The benchmark of checkpoints does what it says it times. Nothing here looks at a clock."""

from pathlib import Path

from tests.bench.checkpoints_stores import GROUP, MESSAGES, POSTGRES, SQLITE, Rates, rate, table
from tests.postgres.server import PostgresServer
from tests.storage.job_stores import sqlite_jobs
from tests.storage.postgres_jobs import postgres_jobs


async def test_each_checkpoint_is_stored_with_its_messages(tmp_path: Path, postgres: PostgresServer) -> None:
    """In both stores, of all jobs at once: the first message of each mark and the two after it."""
    with sqlite_jobs(tmp_path) as file, postgres_jobs(postgres) as database:
        for store in (file, database):
            assert await rate(store, messages=3, at_once=2, seconds=0.05) > 0
            ((messages,),) = store.rows("SELECT count(*) FROM messages")
            marks = [done for (done,) in store.rows("SELECT done FROM jobs WHERE state = 'running'")]
            assert len(marks) == 2
            assert messages == sum(3 * (done + 1) for done in marks)


def test_ratios_are_of_one_round_each() -> None:
    """The median of them is shown: one slow round of the machine decides nothing."""
    keys = [(name, some, jobs) for name in (SQLITE, POSTGRES) for some in MESSAGES for jobs in (1, GROUP)]
    rates: Rates = {key: [1.0, 2.0, 9.0] for key in keys} | {(POSTGRES, 1, GROUP): [3.0, 6.0, 9.0]}
    targets = table(rates).targets
    assert [each.found for each in targets[:3]] == [3.0, 3.0, 3.0]
    assert [targets[0].kept, targets[3].kept] == [True, False]
