"""What can be wrong with an archive, or with the place that it is to be restored to; each is one sentence."""

import errno
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Final

from adapters.sqlite.errors import StorageError

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where nothing more can be written."""


class ArchiveError(StorageError):
    """Base of the errors of archives. Nothing was changed, unless the sentence says so."""


class BadArchive(ArchiveError):
    """The file is no archive of this program, is damaged, or asks for what no archive of it asks for."""


class ArchiveTooNew(ArchiveError):
    """A newer version wrote the archive, or the database in it."""


class DataInUse(ArchiveError):
    """Another program uses a file that is to be replaced."""


class RestoreUnfinished(ArchiveError):
    """A restore was interrupted: the data is of two moments until it is repeated."""


class Unsettled(ArchiveError):
    """Logins changed again and again while they were copied."""


class ForeignOwner(ArchiveError):
    """The place belongs to another user, to whom what is written would not belong."""


def is_full(exc: BaseException | None) -> bool:
    """Return whether an error, or what caused it, is that nothing more can be written."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno in FULL:
            return True
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            return True
        exc = exc.__cause__
    return False


def room_of(path: Path) -> str:
    """Return how much can be written where a path is, for a sentence."""
    parent = next(each for each in path.absolute().parents if each.is_dir())
    return f"{os.fspath(parent)} has {shutil.disk_usage(parent).free:,} bytes free"
