"""The alerts in the engine's database: stored with their incident, read at a start, whatever else has written there."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from attrs import evolve

from adapters.sqlite import GroupWriter, Statement, alert_schema, open_database
from adapters.sqlite.alert_schema import COLUMNS
from adapters.sqlite.outbox import KEPT, Outbox, row_of
from adapters.sqlite.schema import MIGRATIONS, migrate
from states.alerts import About, ChannelAlert, MessageKind
from tests.adapters.sqlite.support import TIMEOUTS

NOW = 1_700_000_000.0
ABOUT = About(id=7, kind="outage", since=NOW - 60, opened=NOW, accounts=("Ä",), accounts_total=1, detail="off")
ALERT = ChannelAlert(channel="json-1", about=ABOUT, message=MessageKind.OPENED, due=NOW)
INCIDENT = Statement("incident", "INSERT INTO incidents_of_test SELECT column1 FROM rows", width=1, order=30)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Outbox]:
    connection = open_database(path)
    migrate(connection, path)
    connection.execute("CREATE TABLE IF NOT EXISTS incidents_of_test (id INTEGER)")
    writer = GroupWriter(
        path=str(path), connection=connection, on_trouble=lambda failure, waiting: None, timeouts=TIMEOUTS
    )
    try:
        yield Outbox(path, writer)
    finally:
        await writer.aclose(10)


async def test_an_alert_is_read_as_it_was_stored(tmp_path: Path) -> None:
    """Each of its values, in a process of its own or in the same."""
    alert = evolve(ALERT, told=NOW - 5, messages=3, tries=2, message=MessageKind.REPEATED)
    async with opened(tmp_path / "engine.db") as outbox:
        await outbox.save([alert], NOW)
        assert (await outbox.load(NOW - 10)).alerts == (alert,)
    async with opened(tmp_path / "engine.db") as outbox:
        stored = await outbox.load(NOW - 10)
        assert (stored.alerts, stored.recent, stored.unreadable) == ((alert,), {"json-1": (NOW - 5,)}, 0)
        assert (await outbox.load(NOW)).recent == {}


async def test_the_last_state_of_an_alert_is_kept(tmp_path: Path) -> None:
    """Also where two states of one alert are in one transaction; one that is over is not read again."""
    async with opened(tmp_path / "engine.db") as outbox:
        await outbox.save([ALERT, evolve(ALERT, tries=1)], NOW)
        assert (await outbox.load(NOW)).alerts == (evolve(ALERT, tries=1),)
        await outbox.save([evolve(ALERT, message=None, due=None, about=evolve(ABOUT, closed=NOW))], NOW)
        assert (await outbox.load(NOW)).alerts == ()
        await outbox.save([evolve(ALERT, channel="b", dropped=True)], NOW)
        assert (await outbox.load(NOW)).alerts == ()


async def test_an_incident_and_its_alerts_are_one_transaction(tmp_path: Path) -> None:
    """Neither is there without the other, whenever the process dies."""
    path = tmp_path / "engine.db"
    async with opened(path) as outbox:
        await outbox.writer.write_together([(INCIDENT, (7,)), row_of(ALERT, NOW)])
        await outbox.flush()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute(
            "SELECT (SELECT count(*) FROM incidents_of_test), (SELECT count(*) FROM alerts)"
        ).fetchone() == (1, 1)


async def test_messages_of_one_digest_count_once(tmp_path: Path) -> None:
    """They have the same time, and were one message."""
    async with opened(tmp_path / "engine.db") as outbox:
        await outbox.save([evolve(ALERT, about=evolve(ABOUT, id=number), told=NOW) for number in range(5)], NOW)
        assert (await outbox.load(NOW - 1)).recent == {"json-1": (NOW,)}


async def test_alerts_that_have_long_been_over_are_deleted(tmp_path: Path) -> None:
    """What is open stays, however old it is."""
    over = evolve(ALERT, message=None, due=None, about=evolve(ABOUT, id=8, closed=NOW))
    path = tmp_path / "engine.db"
    async with opened(path) as outbox:
        await outbox.save([ALERT, over], NOW)
        await outbox.prune(NOW + KEPT)
        await outbox.flush()
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT count(*) FROM alerts").fetchone() == (2,)
        await outbox.prune(NOW + KEPT + 1)
        await outbox.flush()
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT incident FROM alerts").fetchall() == [(7,)]


@pytest.mark.parametrize("value", [None, "x", -1, 3.5, b"\xff", "{}", 1e300])
@pytest.mark.parametrize("column", [name for name in COLUMNS if name not in ("over", "changed")])
async def test_a_spoilt_row_is_counted_and_harms_no_other(tmp_path: Path, column: str, value: object) -> None:
    """Something else may have written anything into any column."""
    path = tmp_path / "engine.db"
    async with opened(path) as outbox:
        await outbox.save([ALERT, evolve(ALERT, channel="other")], NOW)
        await outbox.flush()
        with closing(sqlite3.connect(path)) as db:
            try:
                db.execute(f"UPDATE alerts SET {column} = ? WHERE channel = 'json-1'", (value,))
            except sqlite3.IntegrityError:
                return
            db.commit()
        stored = await outbox.load(0)
        assert evolve(ALERT, channel="other") in stored.alerts
        assert len(stored.alerts) + stored.unreadable == 2


async def test_a_file_of_the_schema_before_gets_the_table(tmp_path: Path) -> None:
    """An engine that comes from an older version has what it needs."""
    path = tmp_path / "engine.db"
    async with opened(path):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE alerts")
        db.execute("DROP INDEX jobs_held")  # of the schema after that
        db.execute("ALTER TABLE jobs DROP COLUMN held")
        db.execute(f"PRAGMA user_version = {MIGRATIONS.index(alert_schema.TABLES)}")
        db.commit()
    async with opened(path) as outbox:
        await outbox.save([ALERT], NOW)
        assert (await outbox.load(NOW)).alerts == (ALERT,)
