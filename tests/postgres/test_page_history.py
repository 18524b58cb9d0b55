"""The page's history from a database that many nodes write: as a reader has it that comes when all is written."""

from contextlib import closing

import psycopg

from adapters.postgres.journal_reader import StoreRecords
from engine.web.page.history import History
from states import Policy, begin
from tests.storage.postgres_store import PostgresStore
from tests.storage.story import walk

COLUMNS = "at, account, number, life, dwell, source, event, target, rule, counts, body"


async def test_what_commits_late_is_in_the_history(store_url: str) -> None:
    """A life and a record of another node that were overtaken by later ones are neither missed nor taken twice."""
    store, history, fresh, steps = PostgresStore(store_url), History(), History(), walk(20)
    async with store.journal() as journal:
        with StoreRecords.open(store.address) as reader:
            await journal.begin_life("a", 1000.0, Policy(), begin(None, now=1000.0))
            for made in steps:
                await journal.write("a", made.record, made.snapshot)
            await journal.flush()
            history.read(reader, 1100.0)
            with closing(psycopg.connect(store.url)) as late:
                late.execute(
                    "INSERT INTO lives (account, life, at, policy, snapshot)"
                    " SELECT account, 2, at + 30, policy, snapshot FROM lives"
                )
                late.execute(
                    f"INSERT INTO journal ({COLUMNS}) SELECT at + 40, account, number + 100, 2, 5, source, event,"
                    " target, rule, counts, body FROM journal ORDER BY seq LIMIT 3"
                )
                await journal.begin_life("b", 1001.0, Policy(), begin(None, now=1001.0))
                for made in steps:
                    await journal.write("b", made.record, made.snapshot)
                await journal.flush()
                history.read(reader, 1100.0)
                before = history.past()
                late.commit()
            history.read(reader, 1100.0)
            fresh.read(reader, 1100.0)
    assert set(before) == {"a"}, "what follows waits for it"
    assert history.past() == fresh.past()
    assert set(fresh.past()) == {"a", "b"}
    assert len(fresh.past()["a"].spans) > len(before["a"].spans)
