"""The statements of sessions in PostgreSQL, and how their rows become the values of a session file's and back.

Telegram's texts are foreign: one may have a NUL, which PostgreSQL cannot store, or any length, which no index can have.
So they are stored in another form, see ``as_text``, and found by their first characters.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from psycopg import Error

from adapters.postgres.session_keys import KEY, TEMPORARY_KEY, SessionKeys
from adapters.session.contents import (
    MAX_ENTITIES,
    NAME,
    PHONE,
    SELF,
    Changes,
    Contents,
    Identity,
    as_stored,
    key_fingerprint,
)

MAX_TEXT: Final = 4_096
"""Characters of the longest text that is stored. Telegram's own names have 64."""
MAX_STATES: Final = 100_000
MAX_FILES: Final = 100_000
"""Rows of one account that are read; nobody has so many channels."""
MAX_HOLDERS: Final = 100
"""Entities with one username that are read; those that were seen last count."""
PAGE: Final = 1_000
"""Entities with one phone or name that are read at a time, until one is found that memory does not have."""
_MAX: Final = 2**63

OWNED: Final = """
    SELECT a.id, a.owner, a.epoch, n.state, n.name, n.host, s.account IS NOT NULL, s.taken_to
    FROM accounts a LEFT JOIN nodes n ON n.id = a.owner LEFT JOIN sessions s ON s.account = a.id WHERE a.name = %s"""
"""Whose an account is, and whether it has a session."""

IDENTITY: Final = """SELECT dc_id, address, port, key, takeout_id, temporary_key, login, key_id, account
    FROM sessions WHERE account = %s"""
LOGIN: Final = """
    SELECT s.login, s.dc_id, s.address, s.port, e.hash
    FROM accounts a JOIN sessions s ON s.account = a.id LEFT JOIN session_entities e ON e.account = a.id AND e.id = 0
    WHERE a.name = %s"""
_COLUMNS: Final = "SELECT id, hash, username, phone, name, seen FROM session_entities WHERE account = %s"
ENTITIES: Final = f"{_COLUMNS} LIMIT {MAX_ENTITIES + 1}"
OWN_ENTITIES: Final = f"""{_COLUMNS} AND (id = {SELF}
    OR id = (SELECT hash FROM session_entities WHERE account = %s AND id = {SELF}))"""
ENTITY_PAGE: Final = f"{_COLUMNS} AND id > %s ORDER BY id LIMIT %s"
STATES: Final = f"SELECT id, pts, qts, date, seq FROM session_states WHERE account = %s LIMIT {MAX_STATES}"
FILES: Final = f"SELECT md5, size, type, id, hash FROM session_files WHERE account = %s LIMIT {MAX_FILES}"

BY_ID: Final = f"{_COLUMNS} AND id = ANY(%s::bigint[])"
_IS: Final = "AND left({0}, 100) = left(%s, 100) AND {0} = %s"
BY_USERNAME: Final = f"""{_COLUMNS} {_IS.format("username")}
    ORDER BY seen DESC NULLS LAST, id DESC LIMIT {MAX_HOLDERS}"""
BY_TEXT: Final = {
    column: f"{_COLUMNS} {_IS.format(name)} AND id > %s ORDER BY id LIMIT {PAGE}"
    for column, name in ((PHONE, "phone"), (NAME, "name"))
}

LIVING: Final = "SELECT id FROM nodes WHERE id = ANY(%s::bigint[]) AND state <> 'dead' ORDER BY id FOR KEY SHARE"
"""The fence: a death waits until this transaction has ended, and what comes after a death finds no row."""
OWNERS: Final = """
    SELECT a.id, a.owner, a.epoch, s.login, s.taken_to FROM accounts a LEFT JOIN sessions s ON s.account = a.id
    WHERE a.id = ANY(%s::bigint[]) ORDER BY a.id FOR SHARE OF a"""
"""Who owns the accounts. ``FOR KEY SHARE`` would let a change of the owner pass."""

WRITE_IDENTITY: Final = """
    INSERT INTO sessions (account, dc_id, address, port, key, takeout_id, temporary_key, login, key_id)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (account) DO UPDATE SET dc_id = excluded.dc_id, address = excluded.address, port = excluded.port,
        key = excluded.key, takeout_id = excluded.takeout_id, temporary_key = excluded.temporary_key,
        login = excluded.login, key_id = excluded.key_id, changed_at = clock_timestamp()"""
WRITE_ENTITIES: Final = """
    INSERT INTO session_entities (account, id, hash, username, phone, name, seen)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[])
    ON CONFLICT (account, id) DO UPDATE SET hash = excluded.hash, username = excluded.username,
        phone = excluded.phone, name = excluded.name, seen = excluded.seen"""
WRITE_STATES: Final = """
    INSERT INTO session_states (account, id, pts, qts, date, seq)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::float8[], %s::bigint[])
    ON CONFLICT (account, id) DO UPDATE SET pts = excluded.pts, qts = excluded.qts, date = excluded.date,
        seq = excluded.seq"""
WRITE_FILES: Final = """
    INSERT INTO session_files (account, md5, size, type, id, hash)
    SELECT * FROM unnest(%s::bigint[], %s::bytea[], %s::bigint[], %s::int[], %s::bigint[], %s::bigint[])
    ON CONFLICT (account, md5, size, type) DO UPDATE SET id = excluded.id, hash = excluded.hash"""

Statement = tuple[str, list[Any]]
"""SQL and its values."""


_ESCAPE: Final = "\ue000"
_ODD: Final = re.compile("[\0\ud800-\udfff\ue000]")
_ESCAPED: Final = re.compile("\ue000([0-9a-f]{4})")


def as_text(value: Any) -> str | None:
    """Return a text as PostgreSQL can store it; None also for one that is too long to be stored.

    What it cannot have, NUL and halves of characters, stands there as U+E000 and four hex digits.
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    return None if len(text) > MAX_TEXT else _ODD.sub(lambda found: f"{_ESCAPE}{ord(found[0]):04x}", text)


def from_text(stored: str | None) -> str | None:
    """Return the text that ``as_text`` was given."""
    if stored is None or _ESCAPE not in stored:
        return stored
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), stored)


def identity_of(row: tuple[Any, ...], keys: SessionKeys, where: str) -> Identity:
    """Return the account's row; see ``IDENTITY``. ``where`` is store and account. Raises ``SessionKeyUnusable``."""
    dc_id, address, port, key, takeout_id, temporary_key, _, key_id, account = row
    return Identity(
        dc_id,
        from_text(address),
        port,
        keys.opened(account, KEY, key_id, bytes(key), where),
        takeout_id,
        keys.opened(account, TEMPORARY_KEY, key_id, bytes(temporary_key), where),
    )


def identity_values(account: int, mine: Identity, keys: SessionKeys) -> list[Any]:
    """Return the values of ``WRITE_IDENTITY``."""
    login = key_fingerprint(mine.key)
    where = (mine.dc_id, as_text(mine.address), mine.port)
    key, temporary_key = keys.sealed(account, KEY, mine.key), keys.sealed(account, TEMPORARY_KEY, mine.temporary_key)
    key_id = keys.first if key or temporary_key else ""
    return [account, *where, key, mine.takeout_id, temporary_key, login, key_id]


def entity_of(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return an entity as a session file has it: its phone is a number."""
    number, access_hash, username, phone, name, seen = row
    return number, access_hash, from_text(username), as_stored(PHONE, from_text(phone)), from_text(name), seen


def contents_of(
    identity: Identity, entities: Iterable[tuple[Any, ...]], states: Any, files: Any, *, complete: bool
) -> Contents:
    """Return what the rows of an account hold."""
    return Contents(
        identity,
        {row[0]: row[1:] for row in map(entity_of, entities)},
        {row[0]: row[1:] for row in states},
        {(bytes(row[0]), *row[1:3]): row[3:] for row in files},
        complete=complete,
        bounded=True,
    )


_NUMBERS: Final = {"entities": (0, 1), "states": (0, 1, 2, 4), "files": (1, 2, 3, 4)}
"""Which values of a row are numbers and must be."""


def storable(name: str, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return those rows (entities, states or files) whose numbers have room: a program may have put anything there."""
    places = _NUMBERS[name]
    return [row for row in rows if all(isinstance(row[each], int) and -_MAX <= row[each] < _MAX for each in places)]


def stored_entity(account: int, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return an account's entity as the row that PostgreSQL stores; see ``entity_of``."""
    number, access_hash, username, phone, name, seen = row
    seen = seen if isinstance(seen, int) and -_MAX <= seen < _MAX else None
    return account, number, access_hash, as_text(username), as_text(phone), as_text(name), seen


def _state_row(account: int, row: tuple[Any, ...]) -> tuple[Any, ...]:
    number, pts, qts, date, seq = row
    return account, number, pts, qts, float(date), seq


def _file_row(account: int, row: tuple[Any, ...]) -> tuple[Any, ...]:
    return account, *row


def refusal_text(exc: Error) -> str:
    """Return why the server does not take a row. Its own text can quote it."""
    if exc.diag.constraint_name == "sessions_by_login":
        return (
            "another account of the database has the same login, and Telegram destroys a key that two connections use; "
            "log this one in by itself"
        )
    return f"the database does not take the session ({exc.diag.constraint_name or type(exc).__name__})"


_GROUPS: Final[tuple[tuple[str, str, Callable[[int, tuple[Any, ...]], tuple[Any, ...]]], ...]] = (
    ("entities", WRITE_ENTITIES, stored_entity),
    ("states", WRITE_STATES, _state_row),
    ("files", WRITE_FILES, _file_row),
)


def writes_of(changes: Iterable[tuple[int, Changes]], keys: SessionKeys) -> list[Statement]:
    """Return the statements that write the changes of several accounts, each account being there once."""
    changes = list(changes)
    found: list[Statement] = [
        (WRITE_IDENTITY, identity_values(account, each.identity, keys)) for account, each in changes if each.identity
    ]
    for name, sql, to_row in _GROUPS:
        rows = [to_row(account, row) for account, each in changes for row in storable(name, getattr(each, name))]
        if rows:
            found.append((sql, [list(column) for column in zip(*rows, strict=True)]))
    return found
