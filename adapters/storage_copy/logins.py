"""Sessions in a copy: at no moment can two programs use one login.

Into the database: the rows are committed as taken away, which nobody there uses; then each file gets a name that no
program opens; only then the rows are free. Out of it: the files are complete under names that no program opens; the
rows are marked as taken to them; only then the files get their names.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from adapters.postgres.session_contents import (
    every_row,
    fill_session_file,
    place_session_file,
    read_session_file,
    read_session_rows,
    session_writes,
    unfinished_file,
)
from adapters.postgres.session_moves import place_of
from adapters.postgres.session_sql import entity_of, storable, stored_entity
from adapters.session import file as files
from adapters.session.backup import BROUGHT, set_aside
from adapters.session.contents import Contents, Identity, key_fingerprint
from adapters.session.errors import SessionWithoutKey
from adapters.session.login_claim import LoginClaim
from adapters.session.owner import OwnerLock
from adapters.session.schema import check_is_file
from adapters.sqlite.connect import create_directories
from adapters.storage_copy.errors import CopyDiffers, CopyRefused, NotStorable
from adapters.storage_copy.postgres_side import PostgresSide

UNFINISHED: Final = "a copy that is not finished; give 'storage copy' again"
"""What stands in a database of a login whose file still has its name."""
_MARK: Final = """WITH marked AS (
        UPDATE sessions SET taken_to = %s, changed_at = clock_timestamp() WHERE account = %s RETURNING account)
    UPDATE accounts SET withheld_until = 'infinity' FROM marked WHERE id = account"""
_FREE: Final = """WITH freed AS (UPDATE sessions SET taken_to = NULL, changed_at = clock_timestamp()
        WHERE account = %s AND taken_to = %s RETURNING account)
    UPDATE accounts SET withheld_until = NULL FROM freed WHERE id = account"""
_STORED: Final = """SELECT a.name, a.id, s.login, s.taken_to FROM sessions s JOIN accounts a ON a.id = s.account
    WHERE s.login <> '' ORDER BY a.id"""


@frozen
class FileLogin:
    """An account's session file, which this process has locked."""

    account: str
    path: Path
    login: str
    """The fingerprint of its key."""
    mark: str
    """What stands in the database as long as the file has its name."""


@frozen
class StoredLoginRow:
    """A login in the database, and the file that it is to have."""

    account: str
    number: int
    login: str
    path: Path
    mark: str
    """Where it goes."""


# --- into the database -----------------------------------------------------------------------------------------------


@contextmanager
def locked_files(sessions: Mapping[str, Path]) -> Iterator[tuple[list[FileLogin], list[str]]]:
    """Lock all session files for the block; yield those with a login, and the accounts that have none.

    Raises ``SessionHeld`` for one that a program uses, and ``CopyRefused`` for two with one login.
    """
    found: list[FileLogin] = []
    without: list[str] = []
    owners: dict[str, str] = {}
    with ExitStack() as stack:
        for account, path in sessions.items():
            if not os.path.lexists(path):
                without.append(account)
                continue
            check_is_file(path)
            lock = OwnerLock(path)
            lock.acquire()
            stack.callback(lock.release)
            try:
                login = key_fingerprint(read_session_file(path).identity.key)
            except SessionWithoutKey:
                without.append(account)
                continue
            if login in owners:
                raise CopyRefused(
                    f"{path}: {account} and {owners[login]} have the same login, and Telegram destroys a key that two "
                    "connections use; log one of them in by itself"
                )
            owners[login] = account
            claim = LoginClaim(account, path)
            claim.take(login)  # whether another program of this machine has it
            claim.release()
            found.append(FileLogin(account, path, login, mark_of(path)))
        yield found, without


def checked_contents(account: str, path: Path) -> Contents:
    """Return what a session file holds, as the database gives it back. Raises ``NotStorable``."""
    contents = read_session_file(path)
    stored = _as_stored(contents)
    every, rows = every_row(contents), every_row(stored)
    for name in ("entities", "states", "files"):
        before, after = getattr(every, name), getattr(rows, name)
        if len(before) != len(after) or (name == "entities" and any(map(_has_lost, before, after))):
            raise NotStorable(
                f"{path}: the session of {account} has {name} with numbers or texts beyond what PostgreSQL can store; "
                "nothing was copied: it is not Telethon's own file"
            )
    return stored


def _as_stored(contents: Contents) -> Contents:
    """Return contents as they come back from the database, which has neither odd numbers nor endless texts."""
    every = every_row(contents)
    entities = [entity_of(stored_entity(0, row)[1:]) for row in storable("entities", every.entities)]
    states = [(row[0], row[1], row[2], float(row[3]), row[4]) for row in storable("states", every.states)]
    return Contents(
        contents.identity,
        {row[0]: row[1:] for row in entities},
        {row[0]: row[1:] for row in states},
        {(bytes(row[0]), *row[1:3]): row[3:] for row in storable("files", every.files)},
    )


def _has_lost(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Return whether an entity has lost a text; when it was seen last may be anything, and is then not known."""
    return any(one is not None and other is None for one, other in zip(before[:-1], after[:-1], strict=True))


def write_login(side: PostgresSide, login: FileLogin) -> int:
    """Write the rows of a session, marked as those of a file that still has its name; return its users and chats.

    What is there is read back. Raises ``CopyDiffers``.
    """
    contents, number = checked_contents(login.account, login.path), side.account(login.account)
    with side.quietly(login.account):
        for statement, values in session_writes(number, contents, side.keys):
            side.store.rows(statement, values)
        side.store.rows(_MARK, (login.mark, number))
    if not same(read_session_rows(side.store, number, side.keys, login.account), contents):
        raise CopyDiffers(f"{side.address}: the session of {login.account} is not read back as it was written")
    return len(contents.entities)


def same(one: Contents, other: Contents) -> bool:
    """Return whether two sessions hold the same."""
    return (
        _identity(one.identity) == _identity(other.identity)
        and one.entities == other.entities
        and one.states == other.states
        and one.files == other.files
    )


def _identity(mine: Identity) -> tuple[Any, ...]:
    return mine.dc_id, mine.address, mine.port, mine.key, mine.takeout_id, mine.temporary_key


def put_aside(login: FileLogin) -> None:
    """Give a file whose login is in the database a name that no program opens; it keeps its content."""
    set_aside(login.path, BROUGHT)
    files.sync_directory(login.path.parent)


def free_logins(side: PostgresSide, marks: Mapping[str, str]) -> None:
    """Let nodes use the logins of accounts, whose files have another name now."""
    for account, mark in marks.items():
        side.store.rows(_FREE, (side.account(account), mark))


def unfinished_marks(side: PostgresSide) -> dict[str, str]:
    """Return the accounts whose files an unfinished copy has not put aside, each with its mark."""
    return {name: taken_to for name, _, _, taken_to in side.store.rows(_STORED) if UNFINISHED in (taken_to or "")}


def mark_of(path: Path) -> str:
    """Return the mark of a file that is not put aside yet."""
    return f"{place_of(path)} ({UNFINISHED})"


# --- out of the database ---------------------------------------------------------------------------------------------


def stored_logins(
    side: PostgresSide, sessions: Mapping[str, Path]
) -> tuple[list[StoredLoginRow], list[tuple[str, str]]]:
    """Return the logins of the database that can go to files, and the accounts whose login was taken elsewhere.

    Raises ``CopyRefused`` for an account without a place, or whose place is taken.
    """
    found: list[StoredLoginRow] = []
    elsewhere: list[tuple[str, str]] = []
    for account, number, login, taken_to in side.store.rows(_STORED):
        mark = place_of(sessions[account]) if account in sessions else ""
        if taken_to is not None and taken_to != mark:
            elsewhere.append((account, taken_to))
            continue
        if account not in sessions:
            raise CopyRefused(
                f"{side.address}: the account {account} has a login, and the config to copy to has no such account; "
                "add it there"
            )
        path = sessions[account]
        if os.path.lexists(path) and not (taken_to == mark and _login_of(path) == login):
            raise CopyRefused(f"{path}: there is a file already, and it is not overwritten; move it away")
        found.append(StoredLoginRow(account, number, login, path, mark))
    return found, elsewhere


def _login_of(path: Path) -> str | None:
    try:
        return key_fingerprint(read_session_file(path).identity.key)
    except SessionWithoutKey:
        return None


def fill_file(side: PostgresSide, login: StoredLoginRow) -> int:
    """Write a session file under a name that no program opens; return its users and chats. Raises ``CopyDiffers``."""
    if os.path.lexists(login.path):  # it has its name already
        return len(read_session_file(login.path).entities)
    contents = read_session_rows(side.store, login.number, side.keys, login.account)
    create_directories(login.path.parent)
    unfinished = unfinished_file(login.path)
    fill_session_file(unfinished, login.path, contents)
    if not same(_as_stored(read_session_file(unfinished)), contents):
        raise CopyDiffers(f"{login.path}: the session of {login.account} is not read back as it was written")
    return len(contents.entities)


def mark_logins(side: PostgresSide, logins: Sequence[StoredLoginRow]) -> None:
    """Note in the database where the logins go, after which no node uses them."""
    for login in logins:
        side.store.rows(_MARK, (login.mark, login.number))


def place_file(login: StoredLoginRow) -> None:
    """Give a session file its name."""
    if not os.path.lexists(login.path):
        place_session_file(unfinished_file(login.path), login.path)


def remove_unfinished(logins: Sequence[StoredLoginRow]) -> None:
    """Delete the files that have not got their names."""
    for login in logins:
        files.remove(unfinished_file(login.path))
