"""The check of ``storage.database``: whether it can be used, has this schema, and keeps what it acknowledges."""

import asyncio
from collections.abc import Iterator

from adapters.sqlite import StorageError
from engine.config import Config
from engine.doctor.findings import Finding


def check(config: Config) -> Iterator[Finding]:
    """Yield what is found of the PostgreSQL database, if the config names one. Nothing is written there."""
    if config.storage.database is None:
        return
    try:
        yield from asyncio.run(_look(config.storage.database))  # a thread of its own has no loop yet
    except StorageError as exc:
        yield Finding("database", False, str(exc))


async def _look(database: str) -> list[Finding]:
    from adapters.postgres import (  # noqa: PLC0415 - only such a config needs PostgreSQL's client
        SchemaTooOld,
        StoreAddress,
        StoreConnection,
        durability,
        require_schema,
    )

    address = StoreAddress.parse(database)
    connection = await StoreConnection.open(address, application="holdfast doctor")
    try:
        version = connection.raw.info.server_version // 10000
        found = [Finding("database", True, f"{address} answers (PostgreSQL {version}) and can be written to")]
        try:
            await require_schema(connection)
        except SchemaTooOld as exc:
            found.append(Finding("database", None, str(exc)))
        kept = await durability(connection)
    finally:
        connection.close()
    lasts = True if kept.keeps else False if kept.loses else None
    return [*found, Finding("database", lasts, kept.sentence, kept.remedy)]
