"""The alerts in ``engine.db``: what is peculiar to a file; ``tests/storage/test_outbox.py`` has the rest."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from attrs import evolve

from adapters.sqlite import GroupWriter, alert_schema, open_database
from adapters.sqlite.alert_schema import COLUMNS
from adapters.sqlite.outbox import Outbox
from adapters.sqlite.schema import MIGRATIONS, migrate
from states.alerts import About, ChannelAlert, MessageKind
from tests.adapters.sqlite.support import TIMEOUTS

NOW = 1_700_000_000.0
ABOUT = About(id=7, kind="outage", since=NOW - 60, opened=NOW, accounts=("Ä",), accounts_total=1, detail="off")
ALERT = ChannelAlert(channel="json-1", about=ABOUT, message=MessageKind.OPENED, due=NOW)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Outbox]:
    connection = open_database(path)
    migrate(connection, path)
    writer = GroupWriter(
        path=str(path), connection=connection, on_trouble=lambda failure, waiting: None, timeouts=TIMEOUTS
    )
    try:
        yield Outbox(path, writer)
    finally:
        await writer.aclose(10)


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
