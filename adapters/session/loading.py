"""How a session file becomes memory, whatever state it is in: it is completed, read from a copy, or set aside."""

import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from adapters.session import file as files
from adapters.session.backup import back_up, last_good, set_aside
from adapters.session.contents import Contents
from adapters.session.errors import NotADatabase, SessionDamaged, SessionEmpty, SessionWithoutKey
from adapters.session.schema import KEY_BYTES, NO_KEY, schema_of
from adapters.sqlite.errors import database_failure, unusable
from states.events import DatabaseCorrupt

MAX_READS: Final = 3
"""How often a file is read that is being changed."""


@frozen
class SessionLoader:
    """Reads one session file. Blocks.

    ``backups`` is where a copy goes before the file is upgraded, and where the last good one is looked for.
    """

    path: Path
    backups: Path
    name: str

    def load(self, *, writable: bool) -> tuple[Contents, files.StatStamp]:
        """Read the file, and return its stamp, too: what takes its place meanwhile is read, or not taken for read.

        Reading may itself change a file, such as one whose writer was killed; the next time it does not. One that is
        not ``writable`` is not completed. Raises ``SessionError`` and ``DatabaseUnusable``.
        """
        for _ in range(MAX_READS):
            stamp = files.stat_stamp(self.path)
            contents = self._read(writable)
            if files.stat_stamp(self.path) == stamp:
                break
        return contents, stamp

    def _read(self, writable: bool) -> Contents:
        try:
            return self._load(writable)
        except (SessionEmpty, NotADatabase) as exc:
            if (good := last_good(self.backups, self.name)) is None:
                raise
            what = str(exc).partition(";")[0]  # it was a session once, so the advice is another one
            raise SessionDamaged(f"{what}; the last good backup is {good.path}") from exc
        except sqlite3.Error as exc:
            if exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                with suppress(sqlite3.Error, OSError):
                    return self._load_copy()
            failure = database_failure(exc)
            if isinstance(failure, DatabaseCorrupt):
                raise self.set_aside(failure) from exc
            raise unusable(self.path, exc) or exc from exc
        except OSError as exc:
            raise unusable(self.path, exc) or exc from exc

    def _load(self, writable: bool) -> Contents:
        """Read the file; one that lacks something of the present schema is backed up and completed first."""
        with closing(files.connect(self.path, mode="rw", timeout=files.OPEN_TIMEOUT)) as database:
            database.execute("pragma query_only = on")  # a file that is not a session stays as it is
            schema = schema_of(database, self.path)
            key = files.load_identity(database, schema.columns).key
            if key and len(key) != KEY_BYTES:
                raise SessionWithoutKey(f"{self.path}: {NO_KEY}")
            if schema.statements and writable:
                if key:  # without a login there is nothing to lose
                    back_up(self.path, self.backups, name=self.name)
                database.execute("pragma query_only = off")
                files.upgrade(database, schema.statements)
                return files.load(database, bounded=True)
            return files.load(database, schema.columns, bounded=writable)

    def _load_copy(self) -> Contents:
        """Read a file that cannot be written, from a copy: SQLite reads a write-ahead log only where it can write.

        What changes from then on is in memory, and the writer says so. Raises as ``_load`` does.
        """
        with tempfile.TemporaryDirectory(prefix="holdfast-") as directory:
            copy = Path(directory, "copy.session")
            for suffix in ("", "-wal", "-journal"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{self.path}{suffix}", f"{copy}{suffix}")
            with closing(files.connect(copy, mode="rw", timeout=files.OPEN_TIMEOUT)) as database:
                schema_of(database, copy)
                return files.load(database)

    def set_aside(self, failure: DatabaseCorrupt) -> SessionDamaged:
        """Move the damaged file out of the way; return an error that says where it is and what could replace it."""
        try:
            where = f"was set aside as {set_aside(self.path).name}"
        except OSError as exc:
            where = f"could not be set aside ({exc.strerror})"
        good = last_good(self.backups, self.name)
        backup = f"the last good backup is {good.path}" if good else "there is no backup, so log in again"
        return SessionDamaged(f"{self.path}: {failure.detail}; it {where}; {backup}")
