"""The schema of a store: numbered SQL files, each applied once, all that are missing in one transaction.

A file is never changed once it was released: what comes next is a new file. Rows of ``schema_versions`` say which were
applied. Whoever applies them holds a lock on that table, so that nodes that start together do it one after the other;
an advisory lock would do nothing where a pooler or another database stands behind the address.
"""

import re
from functools import cache
from importlib import resources
from typing import Final

from attrs import frozen
from psycopg.errors import DuplicateObject, DuplicateTable, UniqueViolation

from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreConnection
from adapters.postgres.errors import SchemaTooNew, SchemaTooOld, StoreUnused

MIGRATION_TIMEOUT: Final = 120.0
"""Seconds for one file of SQL, and for another node that is applying them."""
_FILE: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_MAKE: Final = """
    CREATE TABLE IF NOT EXISTS schema_versions (
        version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
_IS_THERE: Final = "SELECT to_regclass('schema_versions') IS NOT NULL"
_APPLIED: Final = "SELECT version FROM schema_versions ORDER BY version"


@frozen
class Migration:
    """One file of SQL."""

    version: int
    name: str
    sql: str


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all files of this version, in their order."""
    found = [
        Migration(int(match[1]), match[2], file.read_text(encoding="utf-8"))
        for file in (resources.files("adapters.postgres") / "schema").iterdir()
        if (match := _FILE.fullmatch(file.name))
    ]
    found.sort(key=lambda each: each.version)
    assert len({each.version for each in found}) == len(found), "two files have one number"
    return tuple(found)


async def migrate(connection: StoreConnection) -> tuple[Migration, ...]:
    """Bring the schema up to this version, and return what was applied.

    Raises ``SchemaTooNew``, and ``StoreUnusable`` when the user may not, or another one holds the tables for too long.
    """
    await _make_table(connection)
    if not _missing(connection.address, await _applied(connection)):
        return ()
    async with connection.transaction():
        for setting in ("statement_timeout", "lock_timeout"):
            await connection.execute("SELECT set_config(%s, %s, true)", (setting, f"{MIGRATION_TIMEOUT:.0f}s"))
        # Conflicts with itself, and lets others read which version this is.
        await connection.execute(
            "LOCK TABLE schema_versions IN SHARE ROW EXCLUSIVE MODE", timeout=MIGRATION_TIMEOUT + 5
        )
        missing = _missing(connection.address, await _applied(connection))
        for each in missing:
            await connection.execute(each.sql, timeout=MIGRATION_TIMEOUT + 5)
            await connection.execute(
                "INSERT INTO schema_versions (version, name) VALUES (%s, %s)", (each.version, each.name)
            )
    return missing


async def require_schema(connection: StoreConnection) -> None:
    """Do nothing when the schema is this version's. Raises ``SchemaTooNew`` and ``SchemaTooOld``."""
    [[is_there]] = await connection.execute(_IS_THERE)
    require_versions(connection.address, await _applied(connection) if is_there else frozenset())


def require_versions(address: StoreAddress, applied: frozenset[int]) -> None:
    """Do nothing when these files make up this version's schema. Raises ``SchemaTooNew`` and ``SchemaTooOld``."""
    if not applied:
        raise StoreUnused(
            f"{address}: no engine has used this database yet; start a node on it with 'run', after 'session bring', "
            "or mend its name"
        )
    if missing := _missing(address, applied):
        raise SchemaTooOld(
            f"{address}: an older version has written this database (schema {max(applied)}, this version "
            f"needs {missing[-1].version}); start a node of this version, which upgrades it"
        )


def _missing(address: StoreAddress, applied: frozenset[int]) -> tuple[Migration, ...]:
    """Return what is to be applied yet. Raises ``SchemaTooNew``."""
    newest = migrations()[-1].version
    if max(applied, default=0) > newest:
        raise SchemaTooNew(
            f"{address}: a newer version has written this database (schema {max(applied)}, this version "
            f"knows {newest}); update holdfast on this host"
        )
    return tuple(each for each in migrations() if each.version not in applied)


async def _applied(connection: StoreConnection) -> frozenset[int]:
    return frozenset(version for (version,) in await connection.execute(_APPLIED))


async def _make_table(connection: StoreConnection) -> None:
    for tries_left in (4, 3, 2, 1, 0):
        try:
            await connection.execute(_MAKE)
        except (
            UniqueViolation,
            DuplicateTable,
            DuplicateObject,
        ):  # two that create it at once: 'IF NOT EXISTS' is no lock
            if not tries_left:
                raise
        else:
            return
