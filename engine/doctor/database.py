"""The check of ``storage.database``: whether it can be used, has this schema, and keeps what it acknowledges."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import anyio

from adapters.sqlite import StorageError
from engine.config import Config
from engine.doctor.findings import Finding

if TYPE_CHECKING:  # only such a config needs PostgreSQL's client
    from adapters.postgres import StoreAddress, StoreConnection
    from adapters.postgres.session_keys import SessionKeys

NAME: Final = "database"
SERVER_TIMEOUT: Final = 4.0
"""Seconds for one of several servers."""
NOTICED_RATE: Final = 0.03
REFUSED_RATE: Final = 0.15
"""By which part clocks may differ: the lease tolerates 25 %, of two nodes and of what time adds to that."""


def check(config: Config) -> Iterator[Finding]:
    """Yield what is found of the PostgreSQL database, if the config names one. Nothing is written there."""
    if config.storage.database is None:
        return
    try:
        yield from asyncio.run(
            _look(config.storage.database, config.storage.session_key)
        )  # a thread of its own has no loop yet
    except StorageError as exc:
        yield Finding(NAME, False, str(exc))


async def _look(database: str, session_key: str | None) -> list[Finding]:
    from adapters.postgres import StoreAddress, StoreConnection  # noqa: PLC0415 - only such a config needs the client
    from adapters.postgres.session_keys import SessionKeys  # noqa: PLC0415 - as above

    address = StoreAddress.parse(database)
    found = [each async for each in _servers(address)]
    try:
        connection = await StoreConnection.open(address, application="holdfast doctor")
    except StorageError as exc:
        return [*found, Finding(NAME, False, str(exc))]
    try:
        keys = SessionKeys.read(session_key)
        return [*found, *[each async for each in _of_connection(address, connection, keys)]]
    finally:
        connection.close()


async def _servers(address: "StoreAddress") -> AsyncIterator[Finding]:
    """Look at each server of an address that has several: a failover must find one that answers."""
    if address.hosts == 1:
        return
    from adapters.postgres import StoreConnection, StoreTimeouts  # noqa: PLC0415 - as above
    from adapters.postgres.checks import connection_facts  # noqa: PLC0415

    times = StoreTimeouts(connect=SERVER_TIMEOUT / 2, query=SERVER_TIMEOUT / 2)
    for one in address.each():
        try:
            with anyio.fail_after(SERVER_TIMEOUT):
                connection = await StoreConnection.open(
                    one, application="holdfast doctor", timeouts=times, writes=False
                )
                try:
                    facts = await connection_facts(connection)
                finally:
                    connection.close()
        except (StorageError, TimeoutError) as exc:
            text = f"one server of several: {exc}" if isinstance(exc, StorageError) else f"{one} does not answer"
            yield Finding(NAME, None, text)
        else:
            what = "a standby, which only reads" if facts.is_standby else "a primary"
            yield Finding(NAME, True, f"one server of several: {one} answers, and is {what}")
    if not address.asks_for_writable:
        text = "the address has several servers, and may lead to one that only reads"
        yield Finding(NAME, None, text, "add '?target_session_attrs=read-write' to storage.database")


async def _of_connection(
    address: "StoreAddress", connection: "StoreConnection", keys: "SessionKeys"
) -> AsyncIterator[Finding]:
    from adapters.postgres import SchemaTooOld, durability, require_schema  # noqa: PLC0415 - as above
    from adapters.postgres.checks import clock_rate_error, connection_facts  # noqa: PLC0415
    from adapters.postgres.session_keys import USED  # noqa: PLC0415

    version = connection.raw.info.server_version // 10000
    yield Finding(NAME, True, f"{address} answers (PostgreSQL {version}) and can be written to")
    try:
        await require_schema(connection)
        for each in _judge_keys(keys, dict(map(tuple, await connection.execute(USED)))):
            yield each
    except SchemaTooOld as exc:
        yield Finding(NAME, None, str(exc))
    except StorageError as exc:
        yield Finding(NAME, False, str(exc))
    kept = await durability(connection)
    lasts = True if kept.keeps else False if kept.loses else None
    yield Finding(NAME, lasts, kept.sentence, kept.remedy)
    facts = await connection_facts(connection)
    if facts.encoding != "UTF8":
        text = f"its encoding is {facts.encoding}, which lacks letters that messages and names have"
        yield Finding(
            NAME, False, text, "make a database with 'createdb --encoding UTF8 --template template0', and use that"
        )
    if not facts.keeps_settings:
        text = "each statement may come to another session, as with a pooler in transaction mode: deadlines do not hold"
        yield Finding(NAME, False, text, "name the server itself in storage.database, or a pooler in session mode")
    yield _of_clocks(await clock_rate_error(connection))


def _of_clocks(error: float) -> Finding:
    if error <= NOTICED_RATE:
        return Finding("clock rate", True, "this machine's clock goes as fast as that of the database's server")
    text = (
        f"the clocks of this machine and of the database's server differ by {error:.0%} in rate; one of them is wrong"
    )
    remedy = "leases rest on how fast the machines' clocks go: see the clock source of the (virtual) machine"
    return Finding("clock rate", None if error <= REFUSED_RATE else False, text, remedy)


def _judge_keys(keys: "SessionKeys", used: Mapping[str, int]) -> list[Finding]:
    """Return what is found of the sessions: how many are encrypted with which session key, by its fingerprint."""
    if not used:
        return []
    unknown = [key_id for key_id in used if key_id and key_id not in keys.ids]
    parts = [f"{rows:,} {'encrypted with ' + key_id if key_id else 'not encrypted'}" for key_id, rows in used.items()]
    text = f"sessions in the database: {', '.join(parts)}"
    if unknown:
        return [Finding(NAME, False, text, f"name the session key {unknown[0]} in storage.session_key, too")]
    if keys.first and used.keys() - {keys.first}:
        return [Finding(NAME, None, text, "encrypt all with the first key: session rekey")]
    return [Finding(NAME, True, text)]
