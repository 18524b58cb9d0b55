"""The schema of a store: applied once by whoever comes first, refused when a newer version has been there."""

import anyio
import pytest

from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreConnection
from adapters.postgres.errors import SchemaTooNew, SchemaTooOld
from adapters.postgres.migrate import migrate, migrations, require_schema


async def connect(url: str) -> StoreConnection:
    return await StoreConnection.open(StoreAddress.parse(url), application="test")


async def test_nodes_that_start_together_apply_each_file_once(empty_store_url: str) -> None:
    """One applies them, and the others wait for it and find nothing to do."""
    applied: list[int] = []

    async def start() -> None:
        connection = await connect(empty_store_url)
        applied.extend(each.version for each in await migrate(connection))
        await require_schema(connection)
        connection.close()

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(start)
    assert applied == [each.version for each in migrations()]


async def test_a_file_that_fails_leaves_the_schema_as_it_was(
    empty_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files are one transaction, and the number of a schema never says more than is there."""
    from adapters.postgres import migrate as module

    connection = await connect(empty_store_url)
    broken = (*migrations(), module.Migration(9999, "broken", "CREATE TABLE half (x int); SELECT 1 / 0"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "migrations", lambda: broken)
        with pytest.raises(Exception, match="division by zero"):
            await migrate(connection)
    assert await connection.execute("SELECT to_regclass('nodes'), to_regclass('half')") == [(None, None)]
    assert await migrate(connection) == migrations()
    connection.close()


async def test_a_store_of_a_newer_version_is_refused(store_url: str) -> None:
    """Neither a node nor a command touches tables that it does not know."""
    connection = await connect(store_url)
    await connection.execute("INSERT INTO schema_versions (version, name) VALUES (9000, 'later')")
    for use in (migrate, require_schema):
        with pytest.raises(SchemaTooNew, match=r"schema 9000, this version knows \d+\); update holdfast on this host$"):
            await use(connection)
    connection.close()


async def test_a_store_of_an_older_version_is_named(store_url: str) -> None:
    """A command that only reads does not upgrade it under the nodes that use it; a node does."""
    connection = await connect(store_url)
    await connection.execute("DELETE FROM schema_versions WHERE version = %s", (migrations()[-1].version,))
    await connection.execute("INSERT INTO schema_versions (version, name) VALUES (0, 'earlier')")
    with pytest.raises(SchemaTooOld, match="start a node of this version, which upgrades it"):
        await require_schema(connection)
    connection.close()


async def test_a_database_that_no_engine_has_used_is_named(empty_store_url: str) -> None:
    """It may be the wrong one, so a command says so, and does not make tables in it."""
    connection = await connect(empty_store_url)
    with pytest.raises(SchemaTooOld, match="no engine has used this database yet"):
        await require_schema(connection)
    assert await connection.execute("SELECT to_regclass('schema_versions')") == [(None,)]
    connection.close()
