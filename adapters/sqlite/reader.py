"""The read side of ``engine.db``: for commands, in a process of their own, with an engine running or without."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from attrs import define

from adapters.sqlite.codec import policy_key
from adapters.sqlite.connect import open_read_only, read_rows
from adapters.sqlite.errors import JournalMissing, naming_file, translating_errors
from adapters.sqlite.job_codec import is_legible
from adapters.sqlite.journal_queries import BEGINNINGS, COLUMNS, conditions
from adapters.sqlite.schema import SELECT_SNAPSHOTS, schema_version
from adapters.stores.journal_rows import (
    MOVES,
    StoredBeginning,
    StoredLife,
    StoredMove,
    beginning_from,
    entry_from,
)
from adapters.stores.records import RecordReader
from states.record import Entry
from states.snapshot import Snapshot, State

_PAGE_ROWS = 1000

_PRESENT_SINCE = 5
"""The schema that has which engine lives each account."""


@define(eq=False)
class JournalReader(RecordReader):
    """Reads the journal, never writes. Not for an event loop: each call reads the file.

    All methods raise ``DatabaseUnusable`` when the file cannot be read. A row that another version wrote, or something
    else has spoilt, raises ``Undecodable``; a reader with ``on_unreadable`` leaves it out, and goes on.
    """

    path: Path
    _connection: sqlite3.Connection
    _version: int

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the journal at ``path``. Raises ``JournalMissing``, ``JournalTooNew`` and ``DatabaseUnusable``."""
        missing = f"{path}: there is no journal yet; start the engine once, or check storage.directory in the config"
        if not path.exists():
            raise JournalMissing(missing)
        connection = open_read_only(path)
        try:
            if (version := schema_version(connection, path)) == 0:
                raise JournalMissing(missing)
        except BaseException:
            connection.close()
            raise
        return cls(path, connection, version)

    @property
    def place(self) -> str:
        """The path of the file."""
        return str(self.path)

    @property
    def is_gapless(self) -> bool:
        """Whether the numbers of all entries follow each other."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def read_transaction(self) -> Iterator[None]:
        """Let all reads of the block see the file at one moment, whatever is written and deleted meanwhile.

        Use it only to read as fast as possible: until the end of the block, the WAL cannot be emptied.
        """
        self._select("BEGIN")
        try:
            yield
        finally:
            self._select("ROLLBACK")

    def entries(
        self,
        *,
        accounts: Sequence[str] | None = None,
        state: State | None = None,
        event: str | None = None,
        since: float | None = None,
        until: float | None = None,
        failed_only: bool = False,
        limit: int | None = None,
        after_seq: int | None = None,
    ) -> Iterator[Entry]:
        """Yield the entries to which all filters apply, oldest first.

        ``accounts`` are exact names, ``state`` is the one that was entered, ``event`` an exact name. ``since`` is the
        first and ``until`` the first later time, in Unix seconds. ``failed_only`` selects errors, ``limit`` the last so
        many, ``after_seq`` those after an entry.
        """
        where, values = conditions(accounts, state, event, (since, until), failed_only)
        after_seq = after_seq or 0
        if since is not None and not after_seq:
            after_seq = self.first_since(since) - 1
        if limit is not None:
            newest = self._rows(f"{where} AND seq > ? ORDER BY seq DESC LIMIT ?", [*values, after_seq, max(0, limit)])
            yield from self._entries(reversed(newest))
            return
        # Page by page: a consumer that is slow, or stops at a pager, must not hold a transaction, and by it the WAL.
        while page := self._rows(f"{where} AND seq > ? ORDER BY seq LIMIT ?", [*values, after_seq, _PAGE_ROWS]):
            yield from self._entries(page)
            after_seq = page[-1][0]

    def snapshots(self) -> dict[str, tuple[Snapshot, int]]:
        """Return each account's snapshot and the ``seq`` of its last entry before it (0: none), by name."""
        return self._snapshots(self._select(SELECT_SNAPSHOTS))

    def snapshots_of(self, accounts: Iterable[str]) -> dict[str, tuple[Snapshot, int]]:
        """Return the same for these accounts alone, which takes no longer with many others."""
        some = "account IN (SELECT id FROM names WHERE name IN (SELECT value FROM json_each(?)))"
        return self._snapshots(
            self._select(
                f"SELECT (SELECT name FROM names WHERE id = account), snapshot, seq FROM snapshots WHERE {some}",
                [json.dumps(sorted(accounts))],
            )
        )

    def present(self, engine: str) -> set[str]:
        """Return the accounts whose stored snapshot was decided by the engine of this identity.

        An empty identity is nobody's. A file that an older version wrote last names no engine.
        """
        if not engine or self._version < _PRESENT_SINCE:
            return set()
        rows = self._select(
            "SELECT (SELECT name FROM names WHERE id = account) FROM present WHERE engine = ?", [engine]
        )
        return {name for (name,) in rows if is_legible(name)}

    def present_at_nodes(self) -> None:
        """Return nothing: this file is one engine's."""
        return

    def lives(self, account: str | None = None, *, from_life: int = 0) -> list[StoredLife]:
        """Return the lives of all accounts, or of one, from number ``from_life`` on, by account and number.

        The journal may no longer have all of a life, see ``StoredLife.pruned_to``.
        """
        # A file that an older version wrote last does not have these columns yet.
        pruned = "pruned_to, base" if self._version > 1 else "0, NULL"
        one = "" if account is None else "AND account = (SELECT id FROM names WHERE name = ?)"
        rows = self._select(
            f"""SELECT (SELECT name FROM names WHERE id = account) AS name, life, at,
            (SELECT policy FROM policies WHERE id = lives.policy), snapshot, {pruned}
            FROM lives WHERE life >= ? {one} ORDER BY name, life""",
            [from_life, *([] if account is None else [account])],
        )
        return self._lives(rows)

    def beginnings(self, after: int, since: float) -> list[tuple[int, StoredBeginning]]:
        """Return the lives that began at ``since`` (Unix seconds) or later, each with the number of its row.

        ``after`` leaves out those up to a row that was read before. What cannot be read is left out, too.
        """
        if self._version <= 1:
            return []
        rows = self._select(BEGINNINGS, [after, since])
        return [(row[0], found) for row in rows if (found := beginning_from(row)) is not None]

    def entry(self, seq: int) -> Entry | None:
        """Return the entry with this number, None if there is none."""
        with naming_file(self.path):
            return next((self._entry_from(row) for row in self._rows("seq = ?", [seq])), None)

    def newest(self, account: str | None, count: int, *, before: int | None = None) -> list[Entry]:
        """Return the last ``count`` entries of an account, or of all with None, newest first.

        ``before`` limits them to those with a smaller number.
        """
        where, values = conditions(None if account is None else [account], None, None, (None, None), False)
        if before is not None:
            where, values = f"{where} AND seq < ?", [*values, before]
        return list(self._entries(self._rows(f"{where} ORDER BY seq DESC LIMIT ?", [*values, count])))

    def after_healthy(self, account: str, count: int) -> list[Entry]:
        """Return the first ``count`` entries of an account after its last one that ended in ``healthy``, oldest first.

        It looks at no entry before that one.
        """
        mine = "account = (SELECT id FROM names WHERE name = ?)"
        healthy = "+target = (SELECT id FROM names WHERE name = 'healthy')"
        last = f"SELECT seq FROM journal WHERE {mine} AND {healthy} ORDER BY seq DESC LIMIT 1"
        where = f"{mine} AND seq > coalesce(({last}), 0) ORDER BY seq LIMIT ?"
        return list(self._entries(self._rows(where, [account, account, count])))

    def life_until(self, entry: Entry) -> list[Entry]:
        """Return the entries of the same life up to and including ``entry``, oldest first."""
        account = "account = (SELECT id FROM names WHERE name = ?)"
        other = self._select(
            f"SELECT seq FROM journal WHERE {account} AND seq < ? AND +life <> ? ORDER BY seq DESC LIMIT 1",
            [entry.account, entry.seq, entry.life],
        )
        first = other[0][0] if other else 0
        rows = self._rows(f"{account} AND seq > ? AND seq <= ? ORDER BY seq", [entry.account, first, entry.seq])
        return list(self._entries(rows))

    def first_since(self, since: float) -> int:
        """Return the lowest ``seq`` written at ``since`` (Unix seconds) or later; the next free one if there is none.

        An index finds it, so a long journal takes no longer. Clocks can be set back: some entries after it may be
        older.
        """
        # The plus sign keeps SQLite from walking the whole journal in the order of seq until an entry fits.
        found = self._select("SELECT min(+seq) FROM journal WHERE at >= ?", [since])[0][0]
        return self.last_seq() + 1 if found is None else int(found)

    def moves(self, first: int = 1) -> Iterator[StoredMove]:
        """Yield all entries from number ``first`` on as moves, oldest first."""
        names = self._names()
        while page := self._select(f"{MOVES} WHERE seq >= ? ORDER BY seq LIMIT ?", [first, _PAGE_ROWS]):
            for row in page:
                if (move := self._move(names, row)) is not None:
                    yield move
            first = page[-1][0] + 1

    def moves_after(self, after_seq: int, first: int = 1) -> Iterator[StoredMove]:
        """Yield the entries from number ``first`` on that come after ``after_seq`` as moves, oldest first."""
        return self.moves(max(first, after_seq + 1))

    def last_moves(self, before: int) -> dict[str, StoredMove]:
        """Return each account's last entry before number ``before`` as a move, by name."""
        names = self._names()
        found = {}
        for (account,) in self._select("SELECT account FROM snapshots"):
            for row in self._select(
                f"{MOVES} WHERE account = ? AND seq < ? ORDER BY seq DESC LIMIT 1", [account, before]
            ):
                if (move := self._move(names, row)) is not None:
                    found[move.account] = move
        return found

    def last_seen(self) -> dict[str, float]:
        """Return when each account last had an event (Unix seconds), routine included, by name."""
        rows = self._select("SELECT (SELECT name FROM names WHERE id = account), at FROM snapshots")
        return {name: at for name, at in rows if is_legible(name) and isinstance(at, int | float)}

    def accounts(self) -> list[str]:
        """Return the names of all accounts that the journal knows, sorted."""
        return [name for name, _, _ in self._select(SELECT_SNAPSHOTS) if is_legible(name)]

    def logins(self) -> dict[str, tuple[str, int | None]]:
        """Return the fingerprint of each account's key, and its user if known, as the last start or stop found them."""
        if not self._has("logins"):
            return {}
        rows = self._select("SELECT (SELECT name FROM names WHERE id = account), login, user FROM logins")
        return {
            name: (login, user if isinstance(user, int) else None)
            for name, login, user in rows
            if is_legible(name) and is_legible(login)
        }

    def former_names(self) -> list[tuple[float, str, str]]:
        """Return until when (Unix seconds) an account had another name, that name, and the next one; oldest first."""
        if not self._has("renames"):
            return []
        rows = self._select("SELECT at, former, name FROM renames ORDER BY rowid")
        return [row for row in rows if isinstance(row[0], int | float) and is_legible(row[1]) and is_legible(row[2])]

    def _has(self, table: str) -> bool:
        """Return whether there is such a table: an older version, or another program, may have written the file."""
        return bool(self._select("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", [table]))

    def last_seq(self) -> int:
        """Return the ``seq`` of the newest entry, 0 when there is none."""
        return int(self._select("SELECT coalesce(max(seq), 0) FROM journal")[0][0])

    def first_seq(self) -> int:
        """Return the ``seq`` of the oldest entry, 0 when there is none."""
        return int(self._select("SELECT coalesce(min(seq), 0) FROM journal")[0][0])

    def oldest(self, count: int) -> list[tuple[int, float]]:
        """Return ``seq`` and ``at`` of the ``count`` oldest entries; the newest of all is never among them.

        An entry whose ``at`` is no number is left out: something else has written it.
        """
        return self._select(
            "SELECT seq, at FROM journal WHERE seq < (SELECT max(seq) FROM journal) "
            "AND typeof(at) IN ('real', 'integer') ORDER BY seq LIMIT ?",
            [count],
        )

    def seqs_by_life(self, last: int) -> dict[tuple[str, int], list[int]]:
        """Return the numbers of the entries up to ``last``, by account and life."""
        found: dict[tuple[str, int], list[int]] = {}
        for seq, account, life in self._select(
            "SELECT seq, (SELECT name FROM names WHERE id = account), life FROM journal WHERE seq <= ? ORDER BY seq",
            [last],
        ):
            if is_legible(account) and isinstance(life, int):
                found.setdefault((account, life), []).append(seq)
        return found

    def count(self, account: str, life: int) -> int:
        """Return how many entries a life has, those included that cannot be read."""
        query = "SELECT count(*) FROM journal WHERE account = (SELECT id FROM names WHERE name = ?) AND life = ?"
        return int(self._select(query, [account, life])[0][0])

    def has_entry_after(self, account: str, life: int, after_seq: int) -> bool:
        """Return whether ``life`` has an entry after ``after_seq``; entries of two lives are never mixed."""
        rows = self._select(
            """SELECT life FROM journal WHERE account = (SELECT id FROM names WHERE name = ?) AND seq > ?
            ORDER BY seq LIMIT 1""",
            [account, after_seq],
        )
        return rows == [(life,)]

    def _neighbours(self, side: str, order: str, entry: Entry, count: int) -> list[tuple[Any, ...]]:
        account = "account = (SELECT id FROM names WHERE name = ?)"
        return self._rows(f"{account} AND seq {side} ? ORDER BY seq {order} LIMIT ?", [entry.account, entry.seq, count])

    def _names(self) -> dict[int, str]:
        return {number: name for number, name in self._select("SELECT id, name FROM names") if is_legible(name)}

    def _entry_from(self, row: tuple[Any, ...]) -> Entry:
        return entry_from(row, self._policy_of)

    def _stored_policies(self, key: str) -> dict[str, str]:
        return {policy_key(text): text for (text,) in self._select("SELECT policy FROM policies") if is_legible(text)}

    def _rows(self, rest: str, values: list[Any]) -> list[tuple[Any, ...]]:
        return self._select(f"SELECT {COLUMNS} FROM journal WHERE {rest}", values)

    def _select(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with translating_errors(self.path):
            return read_rows(self._connection, sql, values)
