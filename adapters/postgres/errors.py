"""What can be wrong with a PostgreSQL store: one sentence with the remedy, and the typed event for the machine.

The code of an error (SQLSTATE) decides. A connection that fails has none in libpq, so there the server's words do, and
what is not known by them is quoted. No message holds a password: addresses come as ``StoreAddress.shown``, and what
others wrote is shortened and redacted.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from attrs import frozen

from adapters.redaction import redacted
from adapters.sqlite.errors import StorageError, WriterFenced

if TYPE_CHECKING:
    import psycopg

    from states.events import DatabaseLocked, DatabaseUnavailable

_MAX_QUOTED: Final = 300


class StoreError(StorageError):
    """Base of the errors of a PostgreSQL store."""


class StoreUnusable(StoreError):
    """The store does not answer, or refuses; ``failure`` is the same as a typed event.

    ``uncertain`` is true where a write was under way that may have been committed: only reading tells.
    """

    def __init__(
        self, sentence: str, failure: "DatabaseUnavailable | DatabaseLocked", *, uncertain: bool = False
    ) -> None:
        super().__init__(sentence)
        self.failure = failure
        self.uncertain = uncertain


class DriverMissing(StoreError):
    """psycopg is not installed, which only this store needs."""


class BadAddress(StoreError):
    """The address of a store cannot be used."""


class SchemaTooNew(StoreError):
    """A newer version has written the store, whose schema this one does not know."""


class SchemaTooOld(StoreError):
    """The store lacks tables that this version needs."""


class StoreUnused(SchemaTooOld):
    """No engine has made its tables in the database yet."""


class NodeNameTaken(StoreError):
    """Another life of a node with this name, ``life``, is not over; ``beat`` is the last one that ``server`` has of it.

    It may be one that this host had before a crash: whoever sees no other beat for a lease may declare it dead.
    """

    def __init__(self, sentence: str, *, life: int, beat: int, server: str) -> None:
        super().__init__(sentence)
        self.life = life
        self.beat = beat
        self.server = server


class LeasesDiffer(StoreError):
    """Another node that is not over has a lease of another length, so one would declare the other dead too early."""


class CannotMove(StoreError):
    """An account cannot go to that node."""


class AccountElsewhere(StoreError):
    """This node does not own the account, so what it would store of it is not taken."""


class Fenced(StoreError, WriterFenced):
    """The life of this node has ended in the store, so nothing that it writes is taken any more."""


@frozen
class _Cause:
    """What went wrong, and what a person can do about it."""

    what: str
    remedy: str
    locked: bool = False
    """Whether it passes by itself, as the lock of another program does."""


_READ_ONLY: Final = _Cause(
    "the server only reads, for it is a standby or its disk is full",
    "name all servers in the address and add '?target_session_attrs=read-write'",
)
_LOGIN: Final = _Cause(
    "the server refuses this user or password",
    "mend them in storage.database, or in the variable that it names (a % of the password is %25 there)",
)
_NO_DATABASE: Final = _Cause("the server has no such database", "create it with 'createdb', or mend the name")
_RIGHTS: Final = _Cause("this user may not do that in the database", "make it the owner of the database")
_FULL: Final = _Cause("the server has no room left", "give it disk space or memory")
_CONNECTIONS: Final = _Cause(
    "the server takes no more connections", "raise its max_connections, or end what holds them", locked=True
)
_GOING: Final = _Cause("the server is starting or stopping", "it is tried again", locked=True)
_BUSY: Final = _Cause("another program holds what is needed", "end what blocks it: see pg_stat_activity", locked=True)
_SLOW: Final = _Cause("the server took too long", "see what keeps it busy: pg_stat_activity", locked=True)
_LOST: Final = _Cause("the connection is lost", "check the server and the network")
_NO_TABLES: Final = _Cause(
    "the tables of the database are not there, or are others",
    "wait if a dump is being restored; else bring them back from a backup, or mend search_path and the database's name",
)
_IDLE: Final = _Cause("the server ended a transaction in which nothing happened for too long", "it is tried again")

_BY_CODE: Final = {
    "25006": _READ_ONLY,
    "25P03": _IDLE,
    "28000": _LOGIN,
    "28P01": _LOGIN,
    "3D000": _NO_DATABASE,
    "3F000": _NO_TABLES,
    "42501": _RIGHTS,
    "42703": _NO_TABLES,
    "42704": _NO_TABLES,
    "42883": _NO_TABLES,
    "42P10": _NO_TABLES,  # ON CONFLICT before a restore has made the indexes
    "42P01": _NO_TABLES,
    "53300": _CONNECTIONS,
    "53400": _CONNECTIONS,
    "55P03": _BUSY,
    "57014": _SLOW,
    "57P01": _GOING,
    "57P02": _GOING,
    "57P03": _GOING,
    "57P05": _IDLE,
}
_BY_CLASS: Final = {"08": _LOST, "40": _BUSY, "53": _FULL, "57": _GOING, "58": _FULL}

_BY_WORDS: Final = (
    (re.compile(r"password authentication failed|no password supplied|authentication failed"), _LOGIN),
    (re.compile(r'role ".*" does not exist|is not permitted to log in'), _LOGIN),
    (
        re.compile(r"no pg_hba\.conf entry"),
        _Cause("the server admits nobody from this host, user and database", "add a line to its pg_hba.conf"),
    ),
    (re.compile(r'database ".*" does not exist'), _NO_DATABASE),
    (re.compile(r"permission denied for database"), _RIGHTS),
    (re.compile(r"too many (?:clients|connections)|remaining connection slots"), _CONNECTIONS),
    (re.compile(r"the database system is|not yet accepting connections"), _GOING),
    (re.compile(r"session is read-only|server is in hot standby mode"), _READ_ONLY),
    (
        re.compile(r"could not translate host name|Name or service not known|failed to resolve host"),
        _Cause("the host's name is not known", "mend it in storage.database, or see to the name service"),
    ),
    (
        re.compile(r"Connection refused|No such file or directory"),
        _Cause("no server listens there", "start PostgreSQL, or mend host and port in storage.database"),
    ),
    (re.compile(r"timeout expired"), _Cause("the server does not answer", "check the server and the network")),
    (
        re.compile(r"received invalid response|but received [^A-Za-z]*[A-Z]\b|expected authentication request"),
        _Cause("what answers there is no PostgreSQL", "mend host and port in storage.database"),
    ),
    (re.compile(r"certificate|SSL|TLS"), _Cause("no secure connection comes about", "mend sslmode and sslrootcert")),
)


@contextmanager
def translating_store_errors(shown: str, *, uncertain: bool = False) -> Iterator[None]:
    """Turn psycopg's errors into ``StoreUnusable``; those that mean a bug stay as they are.

    ``shown`` is the address without its password; ``uncertain`` says that a lost connection leaves a write open.
    """
    from psycopg import Error  # noqa: PLC0415 - the errors can be named where it is not installed

    try:
        yield
    except Error as exc:
        if (error := store_unusable(shown, exc, uncertain=uncertain)) is None:
            raise
        raise error from None  # what psycopg says may quote the address


def store_unusable(shown: str, exc: "psycopg.Error", *, uncertain: bool = False) -> StoreUnusable | None:
    """Return the error that tells a person what is wrong with the store at ``shown``, None when ``exc`` means a bug."""
    from psycopg import OperationalError  # noqa: PLC0415 - as above

    code = exc.sqlstate or ""
    cause = _BY_CODE.get(code) or _BY_CLASS.get(code[:2])
    if cause is not None:
        # What a server refuses it has not done; but it may have, when it says that it ends the connection.
        ended = code[:2] in ("08", "57")
        return unusable(shown, cause.what, cause.remedy, locked=cause.locked, uncertain=uncertain and ended)
    if code or not isinstance(exc, OperationalError):
        return None
    words = str(exc)
    for pattern, known in _BY_WORDS:
        if pattern.search(words):
            return unusable(shown, known.what, known.remedy, locked=known.locked)
    return unusable(shown, f"{_LOST.what} ({_quoted(words)})", _LOST.remedy, uncertain=uncertain)


def unusable(shown: str, what: str, remedy: str, *, locked: bool = False, uncertain: bool = False) -> StoreUnusable:
    """Return the error for a store that cannot be used: ``what`` happened, and what to do (``remedy``)."""
    from states.events import DatabaseLocked, DatabaseUnavailable  # noqa: PLC0415 - a command may need none of them

    failure = (DatabaseLocked if locked else DatabaseUnavailable)(detail=what)
    return StoreUnusable(f"{shown}: {what}; {remedy}", failure, uncertain=uncertain)


def _quoted(words: str) -> str:
    """Return another program's words: on one line, shortened, without what looks like a secret."""
    line = " ".join(redacted(words).split())
    return line if len(line) <= _MAX_QUOTED else line[:_MAX_QUOTED] + "…"
