"""Whether ``engine.db`` was overwritten in its place while workers had it open (``cp other.db engine.db``).

Such a file keeps its inode. Its header has another mark (``PRAGMA application_id``) than the one that the parent of the
workers has drawn when it had the file for itself; a copy that workers put in the place of a lost file has the same. A
copy that was made since then is not told apart: an engine alone draws another mark each time it moves its log, but of
several workers each would take the others' marks for foreign ones.

The header is read through a descriptor that stays open as long as the file is there: closing any descriptor of a
database drops the locks that this process holds on it.
"""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from attrs import define, field

from adapters.sqlite.connect import open_read_only
from adapters.sqlite.open_file import identity, mark_of_header

_HEADER_BYTES: Final = 100


@define(eq=False)
class HeaderWatch:
    """Looks at the header of a file. Its methods block, for moments."""

    path: Path
    _descriptor: int | None = field(default=None, init=False)
    _file: tuple[int, int] | None = field(default=None, init=False)
    _marks: set[int] = field(factory=set, init=False)
    """The marks that the header may have: that of the file and, until its log is moved, the one before."""

    def look(self) -> bool:
        """Return whether the file was overwritten since the last look; what cannot be read now was not."""
        with suppress(OSError, sqlite3.Error):
            found = identity(self.path)
            if found is None:
                return False
            if found != self._file or self._descriptor is None:
                self.close()
                self._descriptor, self._file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), found
            mark = mark_of_header(os.pread(self._descriptor, _HEADER_BYTES, 0))
            if mark is None or mark in self._marks:
                return False
            overwritten, self._marks = bool(self._marks), {mark}
            if not overwritten:
                with closing(open_read_only(self.path)) as connection:
                    self._marks.add(connection.execute("PRAGMA application_id").fetchone()[0])
            return overwritten
        return False

    def close(self) -> None:
        """Close it; at the end, or when the file is another one."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
