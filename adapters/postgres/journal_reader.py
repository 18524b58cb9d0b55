"""The read side of the journal on PostgreSQL: for commands and worker threads, as ``adapters.sqlite.reader``.

Records of one account are in the order of their numbers, and those of all in the order of ``(tx, seq)``. Whoever
follows (``after_seq``) gets only those below the oldest transaction that is not over, behind which nothing appears any
more. All others get what is committed.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Self

from attrs import define

from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import BlockingStore, blocking_store
from adapters.postgres.journal_queries import ACCOUNT, BEGINNINGS, COLUMNS, ENDED, SNAPSHOTS, conditions, name_of
from adapters.sqlite.codec import decode_snapshot
from adapters.sqlite.errors import Undecodable
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

_PAGE_ROWS: Final = 1000


@define(eq=False)
class StoreRecords(RecordReader):
    """Reads the journal, never writes. Not for an event loop: each call asks the server, for a bounded time.

    All methods raise ``StoreUnusable`` when that fails. A row that another version wrote, or something else has spoilt,
    raises ``Undecodable``; with ``on_unreadable`` it is left out.
    """

    address: StoreAddress
    store: BlockingStore
    _stack: ExitStack

    @classmethod
    def open(cls, address: StoreAddress) -> Self:
        """Connect. Raises ``StoreUnusable``, ``SchemaTooOld`` and ``SchemaTooNew``."""
        with ExitStack() as stack:
            store = stack.enter_context(blocking_store(address))
            return cls(address, store, stack.pop_all())

    @property
    def place(self) -> str:
        """The address of the store, without its password."""
        return str(self.address)

    @property
    def is_gapless(self) -> bool:
        """Whether the numbers of all entries follow each other: only those of one account do."""
        return False

    def close(self) -> None:
        """Close the connection."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def read_transaction(self) -> Iterator[None]:
        """Let all reads of the block see the store at one moment, whatever is written and deleted meanwhile.

        Use it only to read as fast as possible: the server ends it when nothing is asked for some seconds.
        """
        self._select("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            self._select("ROLLBACK")

    # --- entries ------------------------------------------------------------------------------------------------------

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
        many. ``after_seq`` follows after an entry: none is missed, none comes twice.
        """
        where, values = conditions(accounts, state, event, (since, until), failed_only)
        if since is not None:
            where, values = f"{where} AND seq >= %s", [*values, self.first_since(since)]
        if after_seq is not None:
            place, more = self._after("journal", "seq", after_seq)
            where, values = f"{where} AND {ENDED} AND {place}", [*values, *more]
        if limit is not None:
            newest = self._rows(f"{where} ORDER BY tx DESC, seq DESC LIMIT %s", [*values, max(0, limit)])
            yield from self._entries(reversed(newest))
            return
        # Page by page: a consumer that is slow, or stops at a pager, must not hold a transaction. Behind a page, only
        # what is below the oldest transaction that is not over stays as it is. What is above comes at once, at the end.
        [(bound,)] = self._select("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        last: list[Any] = ["0", -1]
        while page := self._rows(
            f"{where} AND tx < %s::xid8 AND (tx, seq) > (%s::xid8, %s) ORDER BY tx, seq LIMIT %s",
            [*values, bound, *last, _PAGE_ROWS],
        ):
            yield from self._entries(page)
            last = [page[-1][-1], page[-1][0]]
        yield from self._entries(self._rows(f"{where} AND tx >= %s::xid8 ORDER BY tx, seq", [*values, bound]))

    def _after(self, table: str, number: str, seq: int) -> tuple[str, list[Any]]:
        """Return the condition that a row comes after the one with this number, which may have been deleted."""
        rows = self._select(f"SELECT tx::text FROM {table} WHERE {number} = %s", [seq]) if seq else []
        return (f"(tx, {number}) > (%s::xid8, %s)", [rows[0][0], seq]) if rows else (f"{number} > %s", [seq])

    def entry(self, seq: int) -> Entry | None:
        """Return the entry with this number, None if there is none. Raises ``Undecodable``."""
        for row in self._rows("seq = %s", [seq]):
            try:
                return self._entry_from(row)
            except Undecodable as exc:
                raise Undecodable(f"{self.address}: {exc}") from exc
        return None

    def newest(self, account: str | None, count: int, *, before: int | None = None) -> list[Entry]:
        """Return the last ``count`` entries of an account, or of all with None, newest first.

        ``before`` limits them to those with a smaller number.
        """
        where, values = conditions(None if account is None else [account], None, None, (None, None), False)
        if before is not None:
            where, values = f"{where} AND seq < %s", [*values, before]
        order = "seq" if account is None else "number"
        return list(self._entries(self._rows(f"{where} ORDER BY {order} DESC LIMIT %s", [*values, count])))

    def _neighbours(self, side: str, order: str, entry: Entry, count: int) -> list[tuple[Any, ...]]:
        place = "(SELECT number FROM journal WHERE seq = %s)"
        return self._rows(
            f"{ACCOUNT} AND number {side} {place} ORDER BY number {order} LIMIT %s", [entry.account, entry.seq, count]
        )

    def after_healthy(self, account: str, count: int) -> list[Entry]:
        """Return the first ``count`` entries of an account after its last one that ended in ``healthy``, oldest first.

        It looks at no entry before that one.
        """
        healthy = "target = (SELECT id FROM names WHERE name = 'healthy')"
        last = f"SELECT number FROM journal WHERE {ACCOUNT} AND {healthy} ORDER BY number DESC LIMIT 1"
        where = f"{ACCOUNT} AND number > coalesce(({last}), 0) ORDER BY number LIMIT %s"
        return list(self._entries(self._rows(where, [account, account, count])))

    def life_until(self, entry: Entry) -> list[Entry]:
        """Return the entries of the same life up to and including ``entry``, oldest first."""
        place = "(SELECT number FROM journal WHERE seq = %s)"
        other = f"SELECT number FROM journal WHERE {ACCOUNT} AND number < {place} AND life <> %s"
        first = self._select(f"{other} ORDER BY number DESC LIMIT 1", [entry.account, entry.seq, entry.life])
        where = f"{ACCOUNT} AND number > %s AND number <= {place} ORDER BY number"
        return list(self._entries(self._rows(where, [entry.account, first[0][0] if first else 0, entry.seq])))

    def first_since(self, since: float) -> int:
        """Return the lowest ``seq`` written at ``since`` (Unix seconds) or later; a free one if there is none."""
        hour = "SELECT min(seq) FROM journal_hours WHERE hour >= floor(%s / 3600)"
        found = f"SELECT seq FROM journal WHERE seq >= ({hour}) AND at >= %s ORDER BY seq LIMIT 1"
        rows = self._select(f"SELECT ({found}), (SELECT coalesce(max(seq), 0) FROM journal)", [since, since])
        return int(rows[0][1] + 1 if rows[0][0] is None else rows[0][0])

    def first_seq(self) -> int:
        """Return the lowest ``seq`` of an entry, 0 when there is none."""
        return int(self._select("SELECT coalesce(min(seq), 0) FROM journal")[0][0])

    def last_seq(self) -> int:
        """Return the ``seq`` of the last entry in the order of all that a follower may have; 0 when there is none."""
        rows = self._select(f"SELECT seq FROM journal WHERE {ENDED} ORDER BY tx DESC, seq DESC LIMIT 1")
        return int(rows[0][0]) if rows else 0

    def oldest(self, count: int) -> list[tuple[int, float]]:
        """Return ``seq`` and ``at`` of the ``count`` oldest entries; the newest of all is never among them."""
        newest = f"SELECT tx, seq FROM journal WHERE {ENDED} ORDER BY tx DESC, seq DESC LIMIT 1"
        return self._select(
            f"SELECT seq, at FROM journal WHERE (tx, seq) < ({newest}) ORDER BY tx, seq LIMIT %s", [count]
        )

    def seqs_by_life(self, seqs: Sequence[int]) -> dict[tuple[str, int], list[int]]:
        """Return the numbers of these entries, by account and life, each in the account's order."""
        found: dict[tuple[str, int], list[int]] = {}
        for seq, account, life in self._select(
            f"SELECT seq, {name_of('account')}, life FROM journal WHERE seq = ANY(%s) ORDER BY seq", [list(seqs)]
        ):
            found.setdefault((account, life), []).append(seq)
        return found

    def count(self, account: str, life: int) -> int:
        """Return how many entries a life has, those included that cannot be read."""
        query = f"SELECT count(*) FROM journal WHERE {ACCOUNT} AND life = %s"
        return int(self._select(query, [account, life])[0][0])

    def has_entry_after(self, account: str, life: int, after_seq: int) -> bool:
        """Return whether ``life`` has an entry after ``after_seq``; entries of two lives are never mixed."""
        query = f"SELECT life FROM journal WHERE {ACCOUNT} AND seq > %s ORDER BY number LIMIT 1"
        return self._select(query, [account, after_seq]) == [(life,)]

    # --- moves --------------------------------------------------------------------------------------------------------

    def moves(self, first: int = 1) -> Iterator[StoredMove]:
        """Yield all entries from number ``first`` on as moves, by number."""
        names: dict[int, str] = {}
        while page := self._select(f"{MOVES} WHERE seq >= %s ORDER BY seq LIMIT %s", [first, _PAGE_ROWS]):
            yield from self._moves(names, page)
            first = page[-1][0] + 1

    def moves_after(self, after_seq: int, first: int = 1) -> Iterator[StoredMove]:
        """Yield the entries from number ``first`` on that follow after ``after_seq`` as moves; none is missed."""
        names: dict[int, str] = {}
        place, values = self._after("journal", "seq", after_seq)
        while page := self._select(
            f"{MOVES} WHERE seq >= %s AND {ENDED} AND {place} ORDER BY tx, seq LIMIT %s", [first, *values, _PAGE_ROWS]
        ):
            yield from self._moves(names, page)
            place, values = self._after("journal", "seq", page[-1][0])

    def _moves(self, names: dict[int, str], page: Sequence[tuple[Any, ...]]) -> Iterator[StoredMove]:
        """Yield what can be read of rows of ``MOVES``; ``names`` are those that are known, and are added to."""
        if not all({account, *rest} <= names.keys() for _, account, _, _, _, *rest in page):
            names.update(self._names())
        for row in page:
            if (move := self._move(names, row)) is not None:
                yield move

    def last_moves(self, before: int) -> dict[str, StoredMove]:
        """Return each account's last entry before number ``before`` as a move, by name."""
        last = f"""SELECT last.* FROM snapshots CROSS JOIN LATERAL (
            {MOVES} WHERE account = snapshots.account AND seq < %s ORDER BY number DESC LIMIT 1) AS last"""
        rows, names = self._select(last, [before]), self._names()
        return {move.account: move for row in rows if (move := self._move(names, row)) is not None}

    def _names(self) -> dict[int, str]:
        return dict(self._select("SELECT id, name FROM names"))

    # --- accounts -----------------------------------------------------------------------------------------------------

    def snapshots(self) -> dict[str, tuple[Snapshot, int]]:
        """Return each account's snapshot and the ``seq`` of its last entry before it (0: none), by name."""
        return self._snapshots(self._select(f"{SNAPSHOTS} ORDER BY 1"))

    def snapshots_of(self, accounts: Iterable[str]) -> dict[str, tuple[Snapshot, int]]:
        """Return the same for these accounts alone, which takes no longer with many others."""
        some = "account IN (SELECT id FROM names WHERE name = ANY(%s))"
        return self._snapshots(self._select(f"{SNAPSHOTS} WHERE {some}", [sorted(accounts)]))

    def present(self, engine: str) -> set[str]:
        """Return the accounts whose stored snapshot was decided by the engine of this identity.

        An empty identity is nobody's.
        """
        if not engine:
            return set()
        rows = self._select(f"SELECT {name_of('account')} FROM present WHERE engine = %s", [engine])
        return {name for (name,) in rows}

    def present_at_nodes(self) -> set[str]:
        """Return the accounts whose stored snapshot was decided in the life of a node that owns them."""
        rows = self._select(
            """SELECT names.name FROM present JOIN names ON names.id = present.account
                JOIN accounts ON accounts.name = names.name
                JOIN nodes ON nodes.id = accounts.owner AND nodes.state <> 'dead'
                WHERE present.engine = nodes.id::text"""
        )
        return {name for (name,) in rows}

    def lives(self, account: str | None = None, *, from_life: int = 0) -> list[StoredLife]:
        """Return the lives of all accounts, or of one, from number ``from_life`` on, by account and number.

        The journal may no longer have all of a life, see ``StoredLife.pruned_to``.
        """
        one = "" if account is None else f"AND {ACCOUNT}"
        rows = self._select(
            f"""SELECT {name_of("account")}, life, at, (SELECT policy FROM policies WHERE key = lives.policy), snapshot,
            pruned_to, base FROM lives WHERE life >= %s {one} ORDER BY 1, 2""",
            [from_life, *([] if account is None else [account])],
        )
        return self._lives(rows)

    def beginnings(self, after: int, since: float) -> list[tuple[int, StoredBeginning]]:
        """Return the lives that began at ``since`` (Unix seconds) or later, each with the number of its row.

        ``after`` leaves out those up to a row that was read before. What cannot be read is left out, too, and what may
        not be the last that has its place: numbers are given before their transactions are over.
        """
        place, values = self._after("lives", "id", after)
        where, found = f"at >= %s AND {ENDED} AND {place} ORDER BY tx, id", []
        for number, name, life, at, snapshot, base in self._select(f"{BEGINNINGS} WHERE {where}", [since, *values]):
            try:
                begun, kept = decode_snapshot(snapshot), None if base is None else decode_snapshot(base)
            except Undecodable:
                continue
            row = (number, name, life, at, begun.state, begun.last_success, kept and kept.state, kept and kept.since)
            if (made := beginning_from(row)) is not None:
                found.append((number, made))
        return found

    def last_seen(self) -> dict[str, float]:
        """Return when each account last had an event (Unix seconds), routine included, by name."""
        return dict(self._select(f"SELECT {name_of('account')}, at FROM snapshots"))

    def accounts(self) -> list[str]:
        """Return the names of all accounts that the journal knows, sorted."""
        return [name for (name,) in self._select(f"SELECT {name_of('account')} FROM snapshots ORDER BY 1")]

    def logins(self) -> dict[str, tuple[str, int | None]]:
        """Return the fingerprint of each account's key, and its user if known, as the last start or stop found them."""
        rows = self._select(f"""SELECT {name_of("account")}, login, "user" FROM logins""")
        return {name: (login, user) for name, login, user in rows}

    def former_names(self) -> list[tuple[float, str, str]]:
        """Return until when (Unix seconds) an account had another name, that name, and the next one; oldest first."""
        return self._select("SELECT at, former, name FROM renames ORDER BY id")

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _entry_from(self, row: tuple[Any, ...]) -> Entry:
        *names, dwell, counts, body, _, _ = row
        return entry_from((*names, *_counts_from(row[0], counts), dwell, body), self._policy_of)

    def _stored_policies(self, key: str) -> dict[str, str]:
        return dict(self._select("SELECT key, policy FROM policies WHERE key = %s", [key]))

    def _rows(self, rest: str, values: list[Any]) -> list[tuple[Any, ...]]:
        return self._select(f"SELECT {COLUMNS} FROM journal WHERE {rest}", values)

    def _select(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.store.rows(sql, values)


def _counts_from(seq: int, text: str) -> tuple[Any, ...]:
    """Return attempt, failures, delay, draw and deadline of a record. Raises ``Undecodable``."""
    try:
        found = json.loads(text)
        if isinstance(found, list) and len(found) == 5:
            return tuple(found)
    except (ValueError, RecursionError):
        pass
    raise Undecodable(f"entry {seq} of the journal cannot be read (its counts are none); restore a backup")
