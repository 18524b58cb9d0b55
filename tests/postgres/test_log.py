"""The commands that read the journal, on a PostgreSQL database: they open it by the config, wherever it is."""

import json
from pathlib import Path

import anyio
import pytest

from engine.app.records import open_records
from engine.cli.log import log
from engine.cli.log_explain import explain
from engine.cli.log_follow import FollowedJournal
from engine.cli.log_replay import replay
from engine.cli.log_stats import stats
from engine.config import load_outline
from states import Policy
from states.events import Started
from tests.postgres.test_journal import session
from tests.states.harness import AccountDriver
from tests.storage.postgres_store import PostgresStore
from tests.storage.story import FAILS, live
from tests.timeouts import TIMEOUT

CONFIG = """
telegram: {{api_id: 1, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}}
storage: {{directory: data, database: "{url}"}}
accounts: [{{name: a, session: a.session}}, {{name: b, session: b.session}}]
"""


@pytest.fixture
def store(store_url: str) -> PostgresStore:
    """Return an empty store."""
    return PostgresStore(store_url)


@pytest.fixture
async def config(store: PostgresStore, tmp_path: Path) -> Path:
    """Return a config of the store, in which two nodes have written, and a number is missing."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(url=store.url), "utf-8")
    async with store.journal(engine="one") as one, store.journal(engine="two") as two:
        await live(one, "a", AccountDriver(Policy()), (Started(), *FAILS))
        await one.flush()
        store.spoil("SELECT nextval('journal_seq')")  # a transaction that was rolled back takes a number with it
        await live(two, "b", AccountDriver(Policy()), (Started(), *FAILS * 2))
        await two.flush()
    return path


def test_an_outline_has_the_database(config: Path, store: PostgresStore) -> None:
    """And shows neither it nor its password."""
    outline = load_outline(config)
    assert outline.database == store.url
    assert store.url not in repr(outline)
    with open_records(outline) as records:
        assert records.accounts() == ["a", "b"]
        assert not records.is_gapless


def test_log(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All records are printed, and those of one account."""
    log(config, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["account"] for line in lines] == ["a"] * 4 + ["b"] * 7
    log(config, account="b", number=2, as_json=True)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == lines[-2:]
    explain(str(lines[5]["seq"]), str(config), as_json=True)
    assert json.loads(capsys.readouterr().out)


def test_stats(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both accounts have their figures."""
    stats(config, as_json=True)
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["accounts"]] == ["a", "b"]


def test_a_replay_agrees(config: Path, store: PostgresStore, capsys: pytest.CaptureFixture[str]) -> None:
    """A number that nobody has is no missing record; a record that is not what the law decides is one that differs."""
    replay(config, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["agrees"], found["records"], found["accounts"]) == (True, 11, 2)
    store.spoil("UPDATE journal SET dwell = dwell + 1 WHERE number = 3")
    with pytest.raises(SystemExit):
        replay(config, as_json=True)
    assert json.loads(capsys.readouterr().out)["difference"]["field"] == "dwell"


def test_a_replay_misses_a_record(config: Path, store: PostgresStore, capsys: pytest.CaptureFixture[str]) -> None:
    """The last record of an account cannot be taken away unnoticed."""
    store.spoil("DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)")
    with pytest.raises(SystemExit):
        replay(config, as_json=True)
    assert json.loads(capsys.readouterr().out)["difference"]["field"] == "seq"


async def test_a_replay_follows(config: Path, store: PostgresStore) -> None:
    """It checks what is written from now on, and waits for what commits late."""
    outline = load_outline(config)
    followed = FollowedJournal(outline.directory / "engine.db", None, json=True, records=lambda: open_records(outline))
    followed.open()
    try:
        driver = AccountDriver(Policy())
        async with store.journal() as journal:
            with session(store) as late:
                late.execute("SELECT pg_current_xact_id()")
                await live(journal, "c", driver, (Started(), *FAILS))
                await journal.flush()
                assert followed.step() == (False, None)
                assert followed.report(None).records == 0
            await follow_until(followed, 4)
            store.spoil("UPDATE journal SET dwell = dwell + 1 WHERE seq = (SELECT max(seq) FROM journal)")
            made = driver.take(FAILS[0])
            await journal.write("c", made.record, made.snapshot)
            await journal.flush()
            await follow_until(followed, 5)  # without a difference: what was read is not read again
    finally:
        followed.close()


async def follow_until(followed: FollowedJournal, records: int) -> None:
    """Follow until so many records were checked: a transaction that ends may do so a moment later in the server."""
    with anyio.fail_after(TIMEOUT):
        while followed.report(None).records < records:
            assert followed.step() == (False, None)
            await anyio.sleep(0.01)
    assert followed.report(None).records == records
