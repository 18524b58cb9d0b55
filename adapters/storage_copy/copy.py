"""``storage copy``: everything that an engine has stored, from files into a database or back, and each login once.

1. Whatever could use either side is kept away: locks of the directory and of the session files, and a lock on the table
   of nodes, none of whose lives may go on.
2. All rows are read, and what the other store cannot have is refused. Nothing was written until now.
3. They are written where nobody sees them: in one transaction, or into files that have not got their names yet.
4. They are read back and compared, and only then they are there.
5. The logins change sides; see ``logins.py``. Killed at any moment, the same call goes on.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from os.path import lexists
from pathlib import Path

from attrs import frozen

from adapters.postgres.address import StoreAddress
from adapters.postgres.errors import SchemaTooOld
from adapters.postgres.session_keys import PLAIN, SessionKeys
from adapters.sqlite.connect import open_database
from adapters.sqlite.schema import migrate
from adapters.storage_copy import logins
from adapters.storage_copy.errors import CopyDiffers, CopyRefused
from adapters.storage_copy.nodes import end_silent_lives
from adapters.storage_copy.passes import CopyPasses, CopyReport
from adapters.storage_copy.postgres_side import PostgresSide
from adapters.storage_copy.rows import Progress, clean_text
from adapters.storage_copy.sqlite_side import SqliteSide


@frozen(kw_only=True)
class FilesOfFleet:
    """The side of files: ``engine.db``, and the session file of each account."""

    database: Path
    sessions: Mapping[str, Path]


@frozen(kw_only=True)
class DatabaseOfFleet:
    """The side of PostgreSQL: the accounts of its config with their patterns of hosts, its node, its session keys."""

    address: StoreAddress
    hosts: Mapping[str, str]
    node: str
    keys: SessionKeys = PLAIN

    def opened(self) -> AbstractContextManager[PostgresSide]:
        """Begin a transaction; see ``PostgresSide.opened``."""
        return PostgresSide.opened(self.address, node=self.node, keys=self.keys)


def copy_to_database(
    source: FilesOfFleet, target: DatabaseOfFleet, *, progress: Progress, check: bool = False, replace: bool = False
) -> CopyReport:
    """Copy files into a database. The caller holds the lock of the directory. Blocks.

    With ``check`` it only looks whether that can be done. Raises ``StorageError`` and ``OSError``; all is then as it
    was, unless the sentence says otherwise.
    """
    passes = CopyPasses(progress, replace)
    report = passes.report
    end_silent_lives(target.address, progress, check=check)
    with logins.locked_files(source.sessions) as (found, report.without_login):
        _have_a_home(found, target)
        if not check:
            _upgrade(source.database)
        with SqliteSide.reading(source.database) as files:
            if check:
                _look_at(target)
                passes.scan(files, str(source.database))
                _look_at_logins(found, report)
                return report
            with target.opened() as database:
                database.refuse_living()
                if marks := logins.unfinished_marks(database):
                    _go_on(passes, files, database, source, marks)
                else:
                    _refuse_filled(database)
                    _fill_database(passes, files, database, target, found)
                    database.commit()
        _change_sides(target, found, report)
    return report


def _have_a_home(found: list[logins.FileLogin], target: DatabaseOfFleet) -> None:
    for login in found:
        if login.account not in target.hosts:
            raise CopyRefused(
                f"{login.path}: the account {login.account} has a login, and the config to copy to has no such "
                "account; add it there"
            )


def _upgrade(path: Path) -> None:
    """Bring a file to the schema of this version, as each start does: a copy of it is kept."""
    if lexists(path):
        connection = open_database(path)
        try:
            migrate(connection, path)
        finally:
            connection.close()


def _look_at(target: DatabaseOfFleet) -> None:
    with suppress(SchemaTooOld), target.opened() as database:  # the copy makes its tables, or upgrades them
        if not logins.unfinished_marks(database):
            _refuse_filled(database)


def _refuse_filled(database: PostgresSide) -> None:
    if (table := database.filled_table()) is not None:
        raise CopyRefused(
            f"{database.address}: the database is not empty (see its table {table}), and nothing is mixed; name "
            "another one, or drop this one and create it anew"
        )


def _look_at_logins(found: list[logins.FileLogin], report: CopyReport) -> None:
    for login in found:
        report.sessions[login.account] = len(logins.checked_contents(login.account, login.path).entities)


def _fill_database(
    passes: CopyPasses,
    files: SqliteSide,
    database: PostgresSide,
    target: DatabaseOfFleet,
    found: list[logins.FileLogin],
) -> None:
    place = str(files.path)
    digests = passes.scan(files, place)
    database.add_names(_storable(files.names()))
    database.add_accounts(dict.fromkeys(_storable(files.accounts()), "") | dict(target.hosts))
    passes.write(files, database, place)
    database.tell_alike()
    database.set_greatest(files.greatest())
    passes.compare(database, str(target.address), digests)
    for number, login in enumerate(found, 1):
        passes.report.sessions[login.account] = logins.write_login(database, login)
        passes.progress("writing sessions", number)


def _storable(names: Iterable[str]) -> list[str]:
    """Return names as the rows that were checked have them; what else there is, no row has."""
    return list(dict.fromkeys(map(clean_text, names)))


def _go_on(
    passes: CopyPasses,
    files: SqliteSide,
    database: PostgresSide,
    source: FilesOfFleet,
    marks: Mapping[str, str],
) -> None:
    """See that an earlier copy has written all of it. Raises ``CopyRefused`` if it was one of other files."""
    passes.report.went_on = True
    for account, mark in marks.items():
        if account not in source.sessions or logins.mark_of(source.sessions[account]) != mark:
            raise CopyRefused(
                f"{database.address}: a copy of other files is not finished (the session of {account} was {mark}); "
                "finish that one first"
            )
    digests = passes.scan(files, str(source.database))
    try:
        passes.compare(database, str(database.address), digests)
    except CopyDiffers as exc:
        raise CopyRefused(
            f"{exc}; an earlier copy was not finished, and one of both sides has been used since: move the session "
            "files that are left by 'session bring', or drop the database and begin anew"
        ) from None


def _change_sides(target: DatabaseOfFleet, found: list[logins.FileLogin], report: CopyReport) -> None:
    """Put the files aside whose logins the database has, and let nodes use those."""
    with target.opened() as database:
        marks = logins.unfinished_marks(database)
        for login in found:
            if login.account in marks:
                logins.put_aside(login)
        logins.free_logins(database, marks)
        report.sessions = {account: report.sessions.get(account, 0) for account in marks}
        database.commit()


# --- out of the database ---------------------------------------------------------------------------------------------


def copy_to_files(
    source: DatabaseOfFleet, target: FilesOfFleet, *, progress: Progress, check: bool = False, replace: bool = False
) -> CopyReport:
    """Copy a database into files. The caller holds the lock of the directory. Blocks. See ``copy_to_database``."""
    passes = CopyPasses(progress, replace)
    report = passes.report
    if lexists(target.database):
        raise CopyRefused(
            f"{target.database}: there is a database already, and nothing is mixed; name another storage.directory, or "
            "move it away"
        )
    end_silent_lives(source.address, progress, check=check)
    with source.opened() as database:
        if not check:
            database.refuse_living()
        _refuse_unfinished(database)
        found, report.elsewhere = logins.stored_logins(database, target.sessions)
        database.prepare_numbers()
        digests = passes.scan(database, str(source.address))
        report.renumbered = database.numbering.changed
        if check:
            report.sessions = dict.fromkeys((login.account for login in found), 0)
            return report
        with SqliteSide.filling(target.database) as files, _unfinished(found):
            files.add_names(database.names())
            passes.write(database, files, str(source.address))
            files.set_greatest(database.greatest())
            passes.compare(files, str(target.database), digests)
            for number, login in enumerate(found, 1):
                report.sessions[login.account] = logins.fill_file(database, login)
                progress("writing sessions", number)
            logins.mark_logins(database, found)
            database.commit()
            for login in found:
                logins.place_file(login)
            files.finish()
    return report


@contextmanager
def _unfinished(found: list[logins.StoredLoginRow]) -> Iterator[None]:
    try:
        yield
    finally:
        logins.remove_unfinished(found)


def _refuse_unfinished(database: PostgresSide) -> None:
    for account, mark in logins.unfinished_marks(database).items():
        raise CopyRefused(
            f"{database.address}: a copy into this database is not finished (the session of {account} was {mark}); "
            "finish that one first"
        )
