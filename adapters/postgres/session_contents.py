"""Whole sessions on their way between a file of Telethon's and the rows of a store."""

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from adapters.postgres.blocking import BlockingStore
from adapters.postgres.session_keys import SessionKeys
from adapters.postgres.session_sql import ENTITY_PAGE, FILES, IDENTITY, STATES, entity_of, identity_of, writes_of
from adapters.session import file as files
from adapters.session.backup import open_recovered
from adapters.session.contents import Changes, Contents
from adapters.session.errors import SessionWithoutKey
from adapters.session.schema import KEY_BYTES, NO_KEY, schema_of
from adapters.sqlite.errors import translating_errors

CHUNK: Final = 5_000
"""Entities that are written by one statement, and read by one."""


def read_session_file(path: Path) -> Contents:
    """Return all that a session file holds; its lock is held. Raises ``SessionError`` and ``DatabaseUnusable``."""
    with translating_errors(path), closing(open_recovered(path)) as database:
        schema = schema_of(database, path)
        contents = files.load(database, schema.columns)
    if not contents.identity.key:
        raise SessionWithoutKey(f"{path}: the session holds no login, so there is nothing to bring")
    if len(contents.identity.key) != KEY_BYTES:
        raise SessionWithoutKey(f"{path}: {NO_KEY}")
    return contents


def session_writes(account: int, mine: Contents, keys: SessionKeys) -> Iterator[tuple[str, Any]]:
    """Yield the statements that write everything, a bounded number of rows at a time."""
    every = every_row(mine)
    yield from writes_of([(account, evolve(every, entities=[]))], keys)
    for begin in range(0, len(every.entities), CHUNK):
        yield from writes_of([(account, Changes(None, every.entities[begin : begin + CHUNK], [], [], 0))], keys)


def read_session_rows(store: BlockingStore, account: int, keys: SessionKeys, name: str) -> Contents:
    """Return all that a store has of an account's session. Raises ``StoreUnusable`` and ``SessionKeyUnusable``."""
    entities: dict[int, Any] = {}
    after = -(2**63)
    while page := store.rows(ENTITY_PAGE, (account, after, CHUNK)):
        entities |= {row[0]: row[1:] for row in map(entity_of, page)}
        after = page[-1][0]
    return Contents(
        identity_of(store.rows(IDENTITY, (account,))[0], keys, f"{store.address} ({name})"),
        entities,
        {row[0]: row[1:] for row in store.rows(STATES, (account,))},
        {(bytes(row[0]), *row[1:3]): row[3:] for row in store.rows(FILES, (account,))},
    )


def write_session_file(path: Path, contents: Contents) -> None:
    """Create a session file of Telethon's, whole or not at all. Raises ``DatabaseUnusable`` and ``OSError``."""
    unfinished = unfinished_file(path)
    try:
        fill_session_file(unfinished, path, contents)
        place_session_file(unfinished, path)
    finally:
        with suppress(OSError):
            files.remove(unfinished)


def unfinished_file(path: Path) -> Path:
    """Return the name that a session file has until it is complete."""
    return path.with_name(f".{path.name}.take")


def fill_session_file(unfinished: Path, path: Path, contents: Contents) -> None:
    """Write a whole session under a name that no program opens. Raises ``DatabaseUnusable`` and ``OSError``."""
    files.remove(unfinished)  # one that was killed may have left half of it
    files.create(unfinished)
    with (
        translating_errors(path),
        closing(files.connect(unfinished, mode="rw", timeout=files.OPEN_TIMEOUT)) as database,
    ):
        files.write(database, every_row(contents), (b"",))


def place_session_file(unfinished: Path, path: Path) -> None:
    """Give a session file its name. Raises ``FileExistsError`` and other ``OSError``."""
    if os.path.lexists(path):
        raise FileExistsError(17, "file exists", str(path))
    files.free_place(path)
    unfinished.rename(path)
    files.sync_directory(path.parent)


def every_row(contents: Contents) -> Changes:
    """Return all that there is as rows to write."""

    def flat(rows: Iterable[tuple[Any, Any]]) -> list[tuple[Any, ...]]:
        return [(number, *row) for number, row in rows]

    sent = [(*key, *value) for key, value in contents.files.items()]
    return Changes(contents.identity, flat(contents.entities.items()), flat(contents.states.items()), sent, 1)
