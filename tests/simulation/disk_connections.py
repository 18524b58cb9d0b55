"""The connections to databases on a disk: who waits before a commit, and what is left of a dead process."""

import sqlite3
import weakref
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

if TYPE_CHECKING:
    from tests.simulation.disk import Disk

_connect: Final = sqlite3.connect


class DiskConnection(sqlite3.Connection):
    """A connection that lets its disk wait before it commits, outside of SQLite: other greenlets may run meanwhile."""

    disk: "Disk | None" = None
    cursors: "weakref.WeakSet[sqlite3.Cursor] | None" = None
    """Those in use: the statement of one keeps a connection open that was closed."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Run a statement."""
        if self.disk is not None and self.disk.before_commit is not None and sql[:6].upper() == "COMMIT":
            self.disk.before_commit()
        cursor = super().execute(sql, *parameters)
        if self.cursors is None:
            self.cursors = weakref.WeakSet()
        self.cursors.add(cursor)
        return cursor

    def commit(self) -> None:
        """Commit."""
        if self.disk is not None and self.disk.before_commit is not None:
            self.disk.before_commit()
        super().commit()


@define(eq=False)
class DiskConnections:
    """The connections that were opened while a disk was installed."""

    disk: "Disk"
    _open: dict[int, tuple[str, "weakref.ref[DiskConnection]"]] = field(factory=dict, init=False)
    """The connections and the paths of their files, by their ``id``: in the order in which they were opened."""
    _abandoned: list[DiskConnection] = field(factory=list, init=False)

    def install(self) -> None:
        """Stand in for ``sqlite3.connect``."""
        setattr(sqlite3, "connect", self._connect)  # noqa: B010  # it has overloads, and this one takes what they take

    def remove(self) -> None:
        """Give ``sqlite3`` its function back."""
        sqlite3.connect = _connect

    def abandon(self) -> None:
        """Take over the connections to frozen files, so that they are closed when that does no harm.

        Nothing of SQLite is called here.
        """
        for number, (path, found) in list(self._open.items()):
            connection = found()
            if connection is not None and self.disk.is_place_frozen(path):
                del self._open[number]
                self._abandoned.append(connection)

    def close_abandoned(self) -> None:
        """Close what was taken over; nobody may be using it."""
        for connection in self._abandoned:
            for cursor in tuple(connection.cursors or ()):
                cursor.close()
            sqlite3.Connection.close(connection)
        self._abandoned.clear()

    def _connect(self, *arguments: Any, **options: Any) -> Any:
        options.setdefault("factory", DiskConnection)
        options["check_same_thread"] = False  # the connections of a dead process are closed by another thread
        connection = _connect(*arguments, **options)
        if isinstance(connection, DiskConnection):
            connection.disk = self.disk
            path = sqlite3.Connection.execute(connection, "PRAGMA database_list").fetchone()[2]
            number = id(connection)
            found = weakref.ref(connection, lambda _: self._open.pop(number, None))
            self._open[number] = path, found
        return connection
