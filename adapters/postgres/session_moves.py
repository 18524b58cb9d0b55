"""Sessions on their way into a store and out of it, so that at no time two programs can use one login.

``bring``: own the file; commit its rows, marked as taken to that file; read them back; give the file a name that no
script uses; only then let nodes use the rows.
``take``: note in the store where the session goes, which from then on nobody there uses; only then write the file.
Killed anywhere between, the same call goes on where it was. No login is ever deleted: a file that was brought keeps its
content under its new name, and rows that were taken stay, marked.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from psycopg import Error

from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import BlockingStore, blocking_store
from adapters.postgres.connect import StoreConnection
from adapters.postgres.live_rows import taken_away
from adapters.postgres.migrate import migrate
from adapters.postgres.session_contents import (
    every_row,
    read_session_file,
    read_session_rows,
    session_writes,
    write_session_file,
)
from adapters.postgres.session_keys import PLAIN, USED, SessionKeys
from adapters.postgres.session_sql import (
    IDENTITY,
    STATES,
    identity_of,
    refusal_text,
    storable,
)
from adapters.postgres.withheld import withheld
from adapters.session import file as files
from adapters.session.backup import BROUGHT, set_aside
from adapters.session.contents import Contents, Identity, key_fingerprint
from adapters.session.errors import NotASession, SessionError, SessionNotSaved
from adapters.session.login_claim import LoginClaim
from adapters.session.owner import OwnerLock
from adapters.session.schema import check_is_file
from adapters.sqlite.connect import create_directories

MAX_SHOWN: Final = 500
"""Characters of the place where a session was taken to."""
"""What is added to the name of a file whose session is in a store now."""

_ACCOUNT: Final = "INSERT INTO accounts (name) VALUES (%s) ON CONFLICT (name) DO NOTHING"
_LOOK: Final = """
    SELECT a.id, n.state, n.name, n.host, s.login, s.taken_to
    FROM accounts a LEFT JOIN nodes n ON n.id = a.owner LEFT JOIN sessions s ON s.account = a.id
    WHERE a.name = %s FOR UPDATE OF a"""
_COUNTS: Final = """
    SELECT (SELECT count(*) FROM session_entities WHERE account = %s),
        (SELECT count(*) FROM session_files WHERE account = %s)"""
UNFINISHED: Final = "'session bring' is not finished; give it again"
"""What stands in a store of a login whose file still has its name."""
_FINISH: Final = """WITH freed AS (UPDATE sessions SET taken_to = NULL, changed_at = clock_timestamp()
        WHERE taken_to = %s AND account = (SELECT id FROM accounts WHERE name = %s) RETURNING account)
    UPDATE accounts SET withheld_until = NULL FROM freed WHERE id = account RETURNING id"""
_TAKEN: Final = """SELECT name, taken_to FROM accounts JOIN sessions ON account = accounts.id
    WHERE taken_to IS NOT NULL"""
_AWAY: Final = "UPDATE sessions SET taken_to = %s, changed_at = clock_timestamp() WHERE account = %s"
_FREED: Final = "UPDATE accounts SET owner = NULL, epoch = epoch + 1, withheld_until = 'infinity' WHERE id = %s"
_REPLACED: Final = (
    """INSERT INTO replaced_logins (account, dc_id, address, port, key, login, taken_to, key_id)
        SELECT account, dc_id, address, port, key, login, taken_to, key_id FROM sessions WHERE account = %s""",
    "DELETE FROM session_entities WHERE account = %s",
    "DELETE FROM session_states WHERE account = %s",
    "DELETE FROM session_files WHERE account = %s",
)
"""What becomes of a login that was taken out when another one comes in its place: it is kept, and what it knew is in
the file to which it was taken."""
_OF_FORMER_NAME: Final = "SELECT account FROM sessions WHERE login = %s AND taken_to = %s AND account <> %s FOR UPDATE"
"""(login, place, account): of which other account this login was taken out to this very file. Nobody uses it there, and
so it may go on under another name."""
PATIENCE: Final = 45.0
"""Seconds that the node that owns an account has to give it up."""


@frozen
class Brought:
    """A session that is in a store now."""

    account: str
    aside: Path
    """The file, under the name that it has from now on."""
    entities: int
    known: bool
    """Whether the store had the session already: it has what was changed since, and nothing was written."""


@frozen
class _Found:
    """What the store has of an account; see ``_LOOK``."""

    account: int
    state: str | None
    node: str | None
    host: str | None
    login: str | None
    taken_to: str | None

    @property
    def owner(self) -> str | None:
        """The node that owns the account and lives; None if there is none."""
        if self.state in (None, "dead"):
            return None
        return f"node {self.node!s:.64} on {self.host!s:.64}"


async def prepare_store(address: StoreAddress) -> None:
    """Have the tables of this version in a store. Raises ``StoreError``."""
    connection = await StoreConnection.open(address, application="holdfast session bring")
    try:
        await migrate(connection)
    finally:
        connection.close()


def bring(
    address: StoreAddress, account: str, path: Path, keys: SessionKeys = PLAIN, *, patience: float = PATIENCE
) -> Brought:
    """Move a session file of Telethon's into a store, as the session of this account. Blocks.

    A node that owns the account gives it up before, for which it has ``patience`` seconds, and the nodes may have it
    when the file has its other name, under which it keeps its content and no program opens it. Raises ``SessionError``
    for a file that another program uses, that is no session or has no login, or that belongs to another account of the
    store; ``StorageError``, and ``OSError``. The file is then where it was.
    """
    if not path.exists():
        if _finish(address, account, path):
            return Brought(account, _aside_of(path), 0, True)
        raise NotASession(f"{path}: there is no such session file; check its path")
    check_is_file(path)
    lock = OwnerLock(path)
    lock.acquire()
    try:
        mine = read_session_file(path)
        claim = LoginClaim(account, path)
        claim.take(key_fingerprint(mine.identity.key))
        try:
            with withheld(address, account, patience=patience):
                known = _store(address, account, path, mine, keys)
                _compare(address, account, path, mine, keys, exactly=not known)
                aside = set_aside(path, BROUGHT)
                files.sync_directory(path.parent)
                _finish(address, account, path)
        finally:
            claim.release()
    finally:
        lock.release()
    return Brought(account, aside, len(mine.entities), known)


def take(
    address: StoreAddress, account: str, path: Path, keys: SessionKeys = PLAIN, *, patience: float = PATIENCE
) -> int:
    """Write an account's session into a new file of Telethon's; return how many users and chats it has. Blocks.

    The file is for this user alone. A node that owns the account gives it up before, for which it has ``patience``
    seconds. From then on nobody uses the session in the store, until ``bring`` brings the file back. Raises
    ``SessionError`` if a node still owns the account, if it has no login, or was taken elsewhere;
    ``FileExistsError``, for no file is overwritten; ``StorageError``, and other ``OSError``.
    """
    if os.path.lexists(path):
        raise FileExistsError(17, "file exists", str(path))
    create_directories(path.parent)
    to = place_of(path)
    if len(to) > MAX_SHOWN or not to.isprintable():
        raise NotASession("the path is too long, or cannot be printed; name another one")
    with (
        withheld(address, account, patience=patience),
        blocking_store(address, application="holdfast session take") as store,
    ):
        keys.check(address, dict(store.rows(USED)))  # before the session is marked
        number = _mark_taken(store, account, to)
        contents = read_session_rows(store, number, keys, account)
    write_session_file(path, contents)
    return len(contents.entities)


def unfinished(address: StoreAddress, paths: Mapping[str, Path]) -> list[str]:
    """Return the accounts whose session files have another name already, and that nodes cannot use yet.

    ``paths`` are the session files of accounts. Blocks. Raises ``StorageError``.
    """
    with blocking_store(address, application="holdfast session bring") as store:
        taken = dict(store.rows(_TAKEN))
    return [name for name, path in paths.items() if taken.get(name) == _unfinished(path) and not os.path.lexists(path)]


# --- into the store --------------------------------------------------------------------------------------------------


def _store(address: StoreAddress, account: str, path: Path, mine: Contents, keys: SessionKeys) -> bool:
    """Commit the rows; return whether they were there already."""
    login = key_fingerprint(mine.identity.key)
    with blocking_store(address, application="holdfast session bring") as store, _refusing(path), store.transaction():
        store.rows(_ACCOUNT, (account,))
        found = _Found(*store.rows(_LOOK, (account,))[0])
        if found.login == login and found.taken_to is None:
            return True
        if found.owner is not None:
            raise _owned(store, account, found)
        if found.login and found.login != login and found.taken_to is None:
            raise SessionError(
                f"{path}: the account {account} has another login in the database, which is not overwritten; take that "
                "one out first with 'session take'"
            )
        if found.login and found.login != login:
            for statement in _REPLACED:
                store.rows(statement, (found.account,))
        for (former,) in store.rows(_OF_FORMER_NAME, (login, place_of(path), found.account)):
            for statement in (*_REPLACED, "DELETE FROM sessions WHERE account = %s"):
                store.rows(statement, (former,))
        for statement, values in session_writes(found.account, mine, keys):
            store.rows(statement, values)
        store.rows(_AWAY, (_unfinished(path), found.account))
        store.rows(_FREED, (found.account,))
    return False


def _finish(address: StoreAddress, account: str, path: Path) -> bool:
    """Let nodes use a session whose file has another name now; return whether that was left to be done."""
    with blocking_store(address, application="holdfast session bring") as store:
        return bool(store.rows(_FINISH, (_unfinished(path), account)))


def _unfinished(path: Path) -> str:
    """Return what stands in the store as long as the file has its name."""
    return f"{place_of(path)} ({UNFINISHED})"


def place_of(path: Path) -> str:
    """Return what a store says of a file to which a session was taken: path and host, in characters that it has."""
    text = f"{os.path.abspath(path)} on {socket.gethostname()}"
    return text.encode("utf-8", "backslashreplace").decode()


def _aside_of(path: Path) -> Path:
    """Return the name that a file got last which was brought; that of the file if there is none."""
    found = [each for each in path.parent.iterdir() if each.name.startswith(f"{path.name}.{BROUGHT}-")]
    return max(found, default=path)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn what the server refuses into a sentence, without its own, which can quote a row with its key."""
    try:
        yield
    except Error as exc:
        raise SessionError(f"{path}: {refusal_text(exc)}") from None


def _compare(
    address: StoreAddress, account: str, path: Path, mine: Contents, keys: SessionKeys, *, exactly: bool
) -> None:
    """Read back what was committed; raise ``SessionNotSaved`` unless the login is there and, ``exactly``, all else."""
    with blocking_store(address, application="holdfast session bring") as store:
        number = store.rows("SELECT id FROM accounts WHERE name = %s", (account,))[0][0]
        identity = identity_of(store.rows(IDENTITY, (number,))[0], keys, f"{address} ({account})")
        same = identity.key == mine.identity.key
        if exactly:
            found = {row[0]: row for row in store.rows(STATES, (number,))}
            written = every_row(mine)
            wanted = (len(storable("entities", written.entities)), len(storable("files", written.files)))
            same = same and _address(identity) == _address(mine.identity)
            same = same and store.rows(_COUNTS, (number, number))[0] >= wanted
            same = same and all(found.get(row[0], ())[:3] == row[:3] for row in storable("states", written.states))
    if not same:
        raise SessionNotSaved(
            f"{path}: the database does not give back what was written to it, so the file stays; look for what else "
            "writes to its tables"
        )


def _address(identity: Identity) -> tuple[Any, ...]:
    return identity.dc_id, identity.address, identity.port


# --- out of the store ------------------------------------------------------------------------------------------------


def _owned(store: BlockingStore, account: str, found: _Found) -> SessionError:
    """Return the error for an account that a node has claimed all the same."""
    return SessionError(
        f"{store.address}: {found.owner} owns the account {account} and may be connected with it, so nothing was done; "
        "give the command again"
    )


def _mark_taken(store: BlockingStore, account: str, to: str) -> int:
    """Commit that the session goes there; return the account's number."""
    with store.transaction():
        rows = store.rows(_LOOK, (account,))
        found = _Found(*rows[0]) if rows else None
        if found is None or not found.login:
            raise SessionError(f"{store.address}: the account {account} has no login in the database")
        if found.owner is not None:
            raise _owned(store, account, found)
        if found.taken_to is not None and found.taken_to != to:
            raise SessionError(
                f"{taken_away(f'{store.address} ({account})', found.taken_to)}; if it is lost, name that same path "
                "there, and it is written once more"
            )
        store.rows(_AWAY, (to, found.account))
        store.rows(_FREED, (found.account,))
    return found.account
