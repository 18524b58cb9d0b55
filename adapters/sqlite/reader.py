"""The read side of ``engine.db``: for commands, in a process of their own, beside a running engine or without one."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from attrs import define, frozen

from adapters.sqlite.codec import decode_body, decode_policy, decode_snapshot
from adapters.sqlite.connect import open_read_only
from adapters.sqlite.errors import JournalMissing, Undecodable, reading, unusable
from adapters.sqlite.journal import SELECT_SNAPSHOTS
from adapters.sqlite.schema import schema_version
from states.events import EVENTS, Failure
from states.schedules import Policy
from states.snapshot import Snapshot, State
from states.step import Entry

_PAGE_ROWS = 1000

_COLUMNS = """seq, at, (SELECT name FROM names WHERE id = account), life, (SELECT name FROM names WHERE id = source),
    (SELECT name FROM names WHERE id = event), (SELECT name FROM names WHERE id = target),
    (SELECT name FROM names WHERE id = rule), attempt, failures, delay, draw, deadline, dwell, body"""

_FAILURES = tuple(event.__name__ for event in EVENTS if issubclass(event, Failure))


@frozen(kw_only=True)
class Life:
    """One life of an account: when it began (Unix seconds), with which policy and snapshot."""

    account: str
    life: int
    at: float
    policy: Policy
    snapshot: Snapshot


@define(eq=False)
class JournalReader:
    """Reads the journal, never writes. Not for an event loop: each call reads the file.

    All methods raise ``DatabaseUnusable`` when the file cannot be read and ``Undecodable`` for what another version
    wrote and this one cannot read.
    """

    path: Path
    _connection: sqlite3.Connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the journal at ``path``. Raises ``JournalMissing``, ``JournalTooNew`` and ``DatabaseUnusable``."""
        missing = f"{path}: there is no journal yet; start the engine once, or check storage.directory in the config"
        if not path.exists():
            raise JournalMissing(missing)
        connection = open_read_only(path)
        try:
            if schema_version(connection, path) == 0:
                raise JournalMissing(missing)
        except BaseException:
            connection.close()
            raise
        return cls(path, connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entries(
        self,
        *,
        accounts: Sequence[str] | None = None,
        state: State | None = None,
        event: str | None = None,
        since: float | None = None,
        failed_only: bool = False,
        limit: int | None = None,
        after_seq: int = 0,
    ) -> Iterator[Entry]:
        """Yield the entries to which all filters apply, oldest first.

        ``accounts`` are exact names, ``state`` one that was entered, ``event`` an exact name, ``since`` Unix seconds;
        ``failed_only`` asks for errors, ``limit`` for the last so many, ``after_seq`` for what is newer than an entry.
        """
        where, values = self._conditions(accounts, state, event, since, failed_only)
        if limit is not None:
            newest = self._rows(f"{where} AND seq > ? ORDER BY seq DESC LIMIT ?", [*values, after_seq, max(0, limit)])
            yield from self._entries(reversed(newest))
            return
        # Page by page: a reader that is slow, or stops at a pager, must not hold a transaction, and by it the WAL.
        while page := self._rows(f"{where} AND seq > ? ORDER BY seq LIMIT ?", [*values, after_seq, _PAGE_ROWS]):
            yield from self._entries(page)
            after_seq = page[-1][0]

    def snapshots(self) -> dict[str, tuple[Snapshot, int]]:
        """Return each account's snapshot and the ``seq`` of its last entry before it (0: none), by name."""
        rows = self._select(SELECT_SNAPSHOTS)
        with reading(self.path):
            return {name: (decode_snapshot(text), seq) for name, text, seq in rows}

    def lives(self) -> list[Life]:
        """Return all lives of all accounts, by account and number."""
        rows = self._select("""SELECT (SELECT name FROM names WHERE id = account) AS name, life, at,
            (SELECT policy FROM policies WHERE id = lives.policy), snapshot FROM lives ORDER BY name, life""")
        with reading(self.path):
            return [
                Life(account=name, life=life, at=at, policy=decode_policy(policy), snapshot=decode_snapshot(snapshot))
                for name, life, at, policy, snapshot in rows
            ]

    def accounts(self) -> list[str]:
        """Return the names of all accounts that the journal knows, sorted."""
        return [name for name, _, _ in self._select(SELECT_SNAPSHOTS)]

    def last_seq(self) -> int:
        """Return the ``seq`` of the newest entry, 0 when there is none."""
        return int(self._select("SELECT coalesce(max(seq), 0) FROM journal")[0][0])

    def _conditions(
        self, accounts: Sequence[str] | None, state: State | None, event: str | None, since: float | None, failed: bool
    ) -> tuple[str, list[Any]]:
        """Return the condition and its values. A ``+`` keeps SQLite from any index but the one that is meant."""
        numbers = "(SELECT id FROM names WHERE name IN (SELECT value FROM json_each(?)))"
        conditions: list[tuple[str, Any]] = []
        if accounts is not None and len(set(accounts)) == 1:
            conditions.append(("account = (SELECT id FROM names WHERE name = ?)", accounts[0]))
        elif accounts is not None:
            conditions.append((f"+account IN {numbers}", json.dumps(list(accounts))))
        if state is not None:
            conditions.append(("target = (SELECT id FROM names WHERE name = ?) AND source <> target", state.value))
        if event is not None:
            conditions.append(("event = (SELECT id FROM names WHERE name = ?)", event))
        if failed:
            conditions.append((f"event IN {numbers}", json.dumps(_FAILURES)))
        if since is not None:
            conditions.append(("at >= ?", since))
        return " AND ".join(["true", *(text for text, _ in conditions)]), [value for _, value in conditions]

    def _entries(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[Entry]:
        for row in rows:
            with reading(self.path):
                entry = _entry(row)
            yield entry

    def _rows(self, rest: str, values: list[Any]) -> list[tuple[Any, ...]]:
        return self._select(f"SELECT {_COLUMNS} FROM journal WHERE {rest}", values)

    def _select(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as exc:
            if (error := unusable(self.path, exc)) is None:
                raise
            raise error from exc


def _entry(row: tuple[Any, ...]) -> Entry:
    seq, at, account, life, source, event, target, rule, attempt, failures, delay, draw, deadline, dwell, body = row
    try:
        return Entry(
            seq=seq, account=account, life=life, at=at, source=State(source), event=event, rule=rule,
            target=State(target), attempt=attempt, failures=failures, delay=delay, draw=draw, deadline=deadline,
            dwell=dwell, **decode_body(body),
        )  # fmt: skip
    except ValueError as exc:
        raise Undecodable(f"entry {seq} of the journal cannot be read ({exc}); use the version that wrote it") from exc
