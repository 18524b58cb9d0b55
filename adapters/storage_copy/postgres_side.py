"""The database as one side of a copy: all is read or written in one transaction, of which nobody sees the half."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import floor
from typing import Any, Final, Self

import psycopg
from attrs import define, field

from adapters.postgres import incident_statements as of_incidents
from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import BlockingStore, blocking_store
from adapters.postgres.errors import translating_store_errors
from adapters.postgres.session_keys import PLAIN, USED, SessionKeys
from adapters.sqlite.codec import policy_key
from adapters.sqlite.errors import Undecodable
from adapters.storage_copy.errors import CopyRefused
from adapters.storage_copy.numbering import JournalNumbering
from adapters.storage_copy.rows import plain_real
from adapters.storage_copy.tables import (
    ALERTS,
    INCIDENTS,
    JOURNAL,
    LIVES,
    MEMBERS,
    POLICIES,
    RENAMES,
    SNAPSHOTS,
    TABLES,
    CopiedColumn,
    CopiedTable,
    Row,
)
from adapters.stores.incidents import incident_from

APPLICATION: Final = "holdfast storage copy"
_FETCH: Final = 5_000
"""Rows that are in memory at once."""
_SILENCE: Final = 600.0
"""Seconds without a byte after which the server is given up: of very many rows some statements take long."""
_NO_LIFE: Final = 0
"""The number of a life that no node has."""
_TYPES: Final = {
    "int": "int8", "real": "float8", "text": "text", "bool": "bool", "blob": "bytea", "name": "int4", "account": "int8",
}  # fmt: skip
_BEGIN: Final = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    # No node begins a life meanwhile. It is taken before the first look, which decides what all later ones see.
    "LOCK TABLE nodes IN SHARE MODE",
)


@define(eq=False)
class PostgresSide:
    """The database, in one transaction."""

    address: StoreAddress
    store: BlockingStore
    node: str = ""
    """The node that goes on with the incidents that are open."""
    keys: SessionKeys = PLAIN
    """By which the keys of sessions are encrypted."""
    numbering: JournalNumbering = field(factory=JournalNumbering, init=False)
    """How the records that are read are numbered."""
    _names: dict[int, str] = field(factory=dict, init=False)
    _ids: dict[str, int] = field(factory=dict, init=False)
    _accounts: dict[str, int] = field(factory=dict, init=False)

    @classmethod
    @contextmanager
    def opened(cls, address: StoreAddress, *, node: str = "", keys: SessionKeys = PLAIN) -> Iterator[Self]:
        """Begin the transaction, which is rolled back at the end of the block unless ``commit`` was called.

        Raises ``StoreError``, also if sessions are encrypted with a session key that is not among these.
        """
        with (
            blocking_store(address, application=APPLICATION, silence=_SILENCE) as store,
            translating_store_errors(address.shown),
        ):
            for statement in _BEGIN:
                store.rows(statement)
            keys.check(address, dict(store.rows(USED)))
            side = cls(address, store, node, keys)
            side._read_names()
            yield side

    def commit(self) -> None:
        """Commit the transaction."""
        self.store.rows("COMMIT")

    def _read_names(self) -> None:
        self._names = dict(self._cursor("SELECT id, name FROM names ORDER BY id"))
        self._ids = {name: number for number, name in self._names.items()}
        self._accounts = dict(map(tuple, self._cursor("SELECT name, id FROM accounts")))

    def _cursor(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, of which few are in memory."""
        with self.store.raw.cursor("copied", binary=True) as cursor:
            cursor.itersize = _FETCH
            yield from cursor.execute(query.encode())

    def refuse_living(self) -> None:
        """Raise ``CopyRefused`` if a node has begun a life since it was last looked."""
        for name, host in self.store.rows("SELECT name, host FROM nodes WHERE state <> 'dead'"):
            raise CopyRefused(f"{self.address}: the node {name!s:.64} on {host!s:.64} has just started; stop all nodes")

    def filled_table(self) -> str | None:
        """Return a table that has rows; None if all that is copied is empty."""
        for name in (*(table.name for table in TABLES), "sessions"):
            if self.store.rows(f"SELECT EXISTS (SELECT FROM {name})")[0][0]:
                return name
        return None

    # --- reading -----------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return all names."""
        return list(self._names.values())

    def greatest(self) -> dict[str, int]:
        """Return the greatest number that each of these tables has given: of ``jobs`` and ``incidents``."""
        jobs = "SELECT greatest((SELECT last FROM job_numbers), (SELECT coalesce(max(id), 0) FROM jobs))"
        incidents = f"""SELECT greatest(({of_incidents.LAST_NUMBER}), (SELECT coalesce(max(id), 0) FROM incidents),
            (SELECT coalesce(max(number), 0) FROM incident_parts))"""
        return {"jobs": self.store.rows(jobs)[0][0], "incidents": self.store.rows(incidents)[0][0]}

    def prepare_numbers(self) -> None:
        """See with which number the journal begins, if it is copied to a store whose numbers have no gaps."""
        [(first, pruned)] = self.store.rows(
            "SELECT (SELECT min(seq) FROM journal), EXISTS (SELECT FROM lives WHERE pruned_to > 0)"
        )
        self.numbering = JournalNumbering.beginning(first, pruned=pruned)

    def read(self, table: CopiedTable) -> Iterator[Row]:
        """Yield the rows of a table."""
        makers = [(place, made) for place, each in enumerate(table.columns) if (made := self._maker(each))]
        for row in self._read_rows(table):
            cells = list(row)
            for place, made in makers:
                cells[place] = made(cells[place])
            yield tuple(cells)

    def _read_rows(self, table: CopiedTable) -> Iterator[Row]:
        if table is JOURNAL:
            yield from self.numbering.records(self.address, self._cursor(_SELECT_JOURNAL))
        elif table is LIVES:
            yield from self.numbering.lives(self._cursor(_SELECT_LIVES))
        elif table is SNAPSHOTS:
            yield from self.numbering.snapshots(self._cursor("SELECT account, seq, at, snapshot FROM snapshots"))
        elif table is MEMBERS:
            yield from self._cursor(_SELECT_MEMBERS)
        else:
            yield from self._cursor(_select(table))

    def _maker(self, column: CopiedColumn) -> Any:
        if column.kind == "real":
            return plain_real
        return self._names.get if column.kind == "name" else None

    # --- writing -----------------------------------------------------------------------------------------------------

    def add_names(self, names: Iterable[str]) -> None:
        """Have these names in the database."""
        with self._copy("names", {"name": "text"}) as add:
            for name in names:
                if name not in self._ids:
                    add((name,))
        self._read_names()

    def add_accounts(self, hosts: Mapping[str, str]) -> None:
        """Have these accounts, each with its pattern of hosts."""
        self.store.rows(
            """INSERT INTO accounts (name, hosts) SELECT * FROM unnest(%s::text[], %s::text[])
            ON CONFLICT (name) DO NOTHING""",
            (list(hosts), list(hosts.values())),
        )
        self._read_names()

    def account(self, name: str) -> int:
        """Return the number of an account."""
        return self._accounts[name]

    def write(self, table: CopiedTable, rows: Iterable[Row]) -> None:
        """Add rows to a table."""
        if table is JOURNAL:
            self._write_journal(rows)
        elif table is LIVES:
            self._write_lives(rows)
        elif table is SNAPSHOTS:
            self._write_snapshots(rows)
        elif table is POLICIES:
            with self._copy(table.name, {"key": "text", "policy": "text"}) as add:
                for (policy,) in rows:
                    add((policy_key(policy), policy))
        elif table is MEMBERS:
            types = {"part": "int8", "slot": "text", "name": "text", "until": "float8"}
            with self._copy(table.name, types) as add:
                for row in rows:
                    add(row)
        elif table is INCIDENTS:
            self._write_incidents(rows)
        elif table is ALERTS:
            with self._copy(table.name, _types(table) | {"number": "int8"}) as add:
                for row in rows:
                    add((*row, row[0]))
        else:
            with self._copy(table.name, _types(table)) as add:
                for row in self._numbered(table, rows):
                    add(row)

    def _numbered(self, table: CopiedTable, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield rows with numbers in place of names and accounts."""
        places = [(n, self._ids) for n, each in enumerate(table.columns) if each.kind == "name"]
        places += [(n, self._accounts) for n, each in enumerate(table.columns) if each.kind == "account"]
        if not places:
            yield from rows
            return
        for row in rows:
            cells = list(row)
            for place, numbers in places:
                cells[place] = numbers[cells[place]]
            yield tuple(cells)

    def _write_journal(self, rows: Iterable[Row]) -> None:
        hours: dict[int, int] = {}
        counts = self.numbering.counted
        types = {
            "seq": "int8", "tx": "int8", "at": "float8", "account": "int4", "number": "int8", "life": "int8",
            "dwell": "float8", "source": "int4", "event": "int4", "target": "int4", "rule": "int4", "counts": "text",
            "body": "text",
        }  # fmt: skip  # tx is as eight bytes what a number is
        with self._copy("journal", types) as add:
            for row in self._numbered(JOURNAL, rows):
                seq, at, account, life, source, event, target, rule, *numbers, dwell, body = row
                counts[account] = number = counts.get(account, 0) + 1
                hour = floor(at / 3600)
                hours[hour] = min(seq, hours.get(hour, seq))
                text = json.dumps(numbers)
                add((seq, 0, at, account, number, life, dwell, source, event, target, rule, text, body))
        with self._copy("journal_hours", {"hour": "int8", "node": "int8", "seq": "int8"}) as add:
            for hour, seq in hours.items():
                add((hour, _NO_LIFE, seq))

    def _write_lives(self, rows: Iterable[Row]) -> None:
        types = {**_types(LIVES)}
        place = [column.name for column in LIVES.columns].index("policy")
        with self._copy("lives", types) as add:
            for row in self._numbered(LIVES, rows):
                add((*row[:place], policy_key(row[place]), *row[place + 1 :]))

    def _write_snapshots(self, rows: Iterable[Row]) -> None:
        counts = self.numbering.counted
        with self._copy("snapshots", _types(SNAPSHOTS) | {"number": "int8"}) as add:
            for row in self._numbered(SNAPSHOTS, rows):
                add((*row, counts.get(row[0], 0)))

    def _write_incidents(self, rows: Iterable[Row]) -> None:
        """Add incidents, each with one part: that of the node that goes on with it, if it is open."""
        parts: list[Row] = []
        with self._copy("incidents", _types(INCIDENTS) | {"alike": "text"}) as add:
            for row in rows:
                add((*row, ""))
                parts.append((row[0], row[0], self.node, _NO_LIFE, row[4], row[5], row[6], row[7]))
        types = {
            "number": "int8", "incident": "int8", "node": "text", "life": "int8", "severity": "text", "since": "float8",
            "opened": "float8", "closed": "float8",
        }  # fmt: skip
        with self._copy("incident_parts", types) as add:
            for part in parts:
                add(part)

    def tell_alike(self) -> None:
        """Note of each open incident by what other nodes know it, which its accounts are a part of."""
        names: dict[int, list[str]] = {}
        opened = self.store.rows(f"{of_incidents.SELECT} WHERE closed IS NULL")
        for incident, name in self.store.rows(of_incidents.ACCOUNTS, ([row[0] for row in opened],)):
            names.setdefault(incident, []).append(name)
        for row in opened:
            try:
                alike = of_incidents.alike(incident_from(row, tuple(sorted(names.get(row[0], ())))))
            except Undecodable:
                alike = str(row[0])  # no other node sees the same
            self.store.rows("UPDATE incidents SET alike = %s WHERE id = %s", (alike, row[0]))

    def set_greatest(self, numbers: Mapping[str, int]) -> None:
        """Let the tables go on counting after these numbers, and the journal after its last record."""
        self.store.rows("UPDATE job_numbers SET last = %s", (numbers["jobs"],))
        if last := numbers["incidents"]:
            first = (last - 1) // of_incidents.RANGE * of_incidents.RANGE
            self.store.rows("INSERT INTO incident_ranges (first, node, last) VALUES (%s, '', %s)", (first, last))
        self.store.rows(
            """SELECT setval('journal_seq', greatest(1, (SELECT max(seq) FROM journal),
                (SELECT max(pruned_to) FROM lives), (SELECT max(seq) FROM snapshots)))"""
        )

    @contextmanager
    def quietly(self, what: str) -> Iterator[None]:
        """Turn what the server refuses into a sentence, without its own, which can quote a row."""
        try:
            yield
        except (psycopg.IntegrityError, psycopg.DataError, psycopg.errors.ProgramLimitExceeded) as exc:
            raise CopyRefused(
                f"{self.address}: {what}: the database does not take a row "
                f"({exc.diag.constraint_name or type(exc).__name__}); nothing was copied"
            ) from None

    @contextmanager
    def _copy(self, table: str, types: Mapping[str, str]) -> Iterator[Any]:
        """Add rows to a table of PostgreSQL; the block is given what adds one."""
        query = f"COPY {table} ({', '.join(types)}) FROM STDIN (FORMAT BINARY)"
        with self.quietly(f"the table {table}"), self.store.raw.cursor() as cursor, cursor.copy(query.encode()) as copy:
            copy.set_types(list(types.values()))
            yield copy.write_row


def _types(table: CopiedTable) -> dict[str, str]:
    """Return the columns of a table with their types, as they are written."""
    return {column.postgres: _TYPES[column.kind] for column in table.columns}


def _select(table: CopiedTable) -> str:
    """Return the query for the rows of a table that has the same columns in both stores."""
    columns = ", ".join(
        f"(SELECT name FROM accounts WHERE id = {table.name}.account)" if each.kind == "account" else each.postgres
        for each in table.columns
    )
    order = {"rowid": " ORDER BY id", "": ""}.get(table.order, f" ORDER BY {table.order}")
    return f"SELECT {columns} FROM {table.name}{order}"


_SELECT_JOURNAL: Final = """SELECT seq, at, account, life, source, event, target, rule, counts, dwell, body, number
    FROM journal ORDER BY tx, seq"""
_SELECT_LIVES: Final = """SELECT account, life, at, (SELECT policies.policy FROM policies WHERE key = lives.policy),
    snapshot, pruned_to, base FROM lives ORDER BY id"""
_SELECT_MEMBERS: Final = """SELECT incident, slot, name, CASE WHEN bool_and(until IS NOT NULL) THEN max(until) END
    FROM incident_members JOIN incident_parts ON part = number GROUP BY 1, 2, 3"""
assert RENAMES.order == LIVES.order == "rowid"
