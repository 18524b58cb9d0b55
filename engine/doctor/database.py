"""The check of ``storage.database``: whether it can be used, has this schema, and keeps what it acknowledges."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from adapters.sqlite import StorageError
from engine.config import Config
from engine.doctor.findings import Finding

if TYPE_CHECKING:
    from adapters.postgres.session_keys import SessionKeys


def check(config: Config) -> Iterator[Finding]:
    """Yield what is found of the PostgreSQL database, if the config names one. Nothing is written there."""
    if config.storage.database is None:
        return
    try:
        yield from asyncio.run(
            _look(config.storage.database, config.storage.session_key)
        )  # a thread of its own has no loop yet
    except StorageError as exc:
        yield Finding("database", False, str(exc))


async def _look(database: str, session_key: str | None) -> list[Finding]:
    from adapters.postgres import (  # noqa: PLC0415 - only such a config needs PostgreSQL's client
        SchemaTooOld,
        StoreAddress,
        StoreConnection,
        durability,
        require_schema,
    )
    from adapters.postgres.session_keys import USED, SessionKeys  # noqa: PLC0415 - as above

    address = StoreAddress.parse(database)
    connection = await StoreConnection.open(address, application="holdfast doctor")
    try:
        version = connection.raw.info.server_version // 10000
        found = [Finding("database", True, f"{address} answers (PostgreSQL {version}) and can be written to")]
        try:
            await require_schema(connection)
            found += _judge_keys(SessionKeys.read(session_key), dict(map(tuple, await connection.execute(USED))))
        except SchemaTooOld as exc:
            found.append(Finding("database", None, str(exc)))
        kept = await durability(connection)
    finally:
        connection.close()
    lasts = True if kept.keeps else False if kept.loses else None
    return [*found, Finding("database", lasts, kept.sentence, kept.remedy)]


def _judge_keys(keys: "SessionKeys", used: Mapping[str, int]) -> list[Finding]:
    """Return what is found of the sessions: how many are encrypted with which session key, by its fingerprint."""
    if not used:
        return []
    unknown = [key_id for key_id in used if key_id and key_id not in keys.ids]
    parts = [f"{rows:,} {'encrypted with ' + key_id if key_id else 'not encrypted'}" for key_id, rows in used.items()]
    text = f"sessions in the database: {', '.join(parts)}"
    if unknown:
        return [Finding("database", False, text, f"name the session key {unknown[0]} in storage.session_key, too")]
    if keys.first and used.keys() - {keys.first}:
        return [Finding("database", None, text, "encrypt all with the first key: session rekey")]
    return [Finding("database", True, text)]
