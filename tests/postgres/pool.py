"""Databases with the schema of this version that are used again, for a new copy costs ten times as much.

A database that comes back gets another name, so that whoever still knows the former one finds nothing there, and then
loses its rows but for those of the schema itself. It is deleted when anything else than rows has changed in it.
"""

import atexit
import contextlib
import functools
import time
from collections.abc import Iterator
from typing import Final

import psycopg
from psycopg import sql

from tests.postgres.server import PostgresServer
from tests.postgres.template import template_of
from tests.timeouts import TIMEOUT

MAX_BYTES: Final = 4 * 2**20
"""Of its tables, which keep what was deleted."""
_OWN: Final = ">= 16384"
"""The numbers of what is not PostgreSQL's own."""
_CATALOGS: Final = (
    *(f"pg_{name} WHERE oid {_OWN}" for name in ("class", "constraint", "proc", "rewrite", "type")),
    f"pg_attribute WHERE attrelid {_OWN}",
    f"pg_index WHERE indrelid {_OWN}",
    f"pg_statistic WHERE starelid {_OWN}",
    "pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
    *("pg_attrdef", "pg_default_acl", "pg_event_trigger", "pg_extension", "pg_largeobject_metadata"),
    *("pg_namespace", "pg_policy", "pg_publication", "pg_statistic_ext", "pg_trigger"),
)
_ROWS: Final = " UNION ALL ".join(
    f"SELECT concat_ws(' ', tableoid, ctid, xmin) AS version FROM {each}" for each in _CATALOGS
)
_SCHEMA: Final = f"""
    SELECT count(*), sum(hashtextextended(version, 0)), (
        SELECT concat_ws(' ', datdba, datistemplate, datallowconn, datconnlimit, datacl) FROM pg_database
        WHERE datname = current_database())
    FROM ({_ROWS})"""
"""The versions of the rows that describe the schema: whatever changes it writes new ones."""
_BYTES: Final = f"SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE oid {_OWN} AND relkind IN ('r', 't')"
_TABLES: Final = f"SELECT oid::regclass::text FROM pg_class WHERE oid {_OWN} AND relkind = 'r'"
_NUMBERS: Final = "SELECT format('SELECT setval(%L, %s, false)', seqrelid::regclass, seqstart) FROM pg_sequence"
_FIRST_ROWS: Final = """
    SELECT format('INSERT INTO {0} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_recordset(NULL::{0}, %L)',
        jsonb_agg(to_jsonb(it))) FROM {0} AS it HAVING count(*) > 0"""
_DISCONNECT: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


class DatabasePool:
    """The databases of one server that wait for the next test: as many as one test has had at once."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._link = psycopg.connect(server.url(), autocommit=True)  # one for all: to connect costs as much as the rest
        self._idle = [self._copy()]
        with self._connect(self._idle[0]) as connection:
            self._schema = read_schema(connection)
            tables = [table for (table,) in connection.execute(_TABLES)]
            queries = [_NUMBERS, *(_FIRST_ROWS.format(table) for table in tables)]
            statements = [statement for query in queries for (statement,) in connection.execute(query.encode())]
        self._empty = "; ".join([*(f"DELETE FROM {table}" for table in tables), *statements]).encode()

    def close(self) -> None:
        """Leave the server alone."""
        self._link.close()

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Lend a database for the length of the block: its name."""
        name = self._idle.pop() if self._idle else self._copy()
        try:
            yield name
        finally:
            self._take_back(name)

    def _copy(self) -> str:
        return self._server.clone(template_of(self._server))

    def _connect(self, database: str) -> psycopg.Connection:
        # As a replica it fires no trigger: neither those that count rows, nor those that keep references.
        return psycopg.connect(
            self._server.url(database), autocommit=True, options="-c session_replication_role=replica"
        )

    def _take_back(self, name: str) -> None:
        try:
            self._disconnect(name)
            name = self._rename(name)
            with self._connect(name) as connection:
                connection.execute(self._empty)
                [(size,)] = connection.execute(_BYTES)
                usable = size <= MAX_BYTES and read_schema(connection) == self._schema
        except psycopg.Error:  # no such table, or only reading is allowed
            usable = False
        if usable:
            self._idle.append(name)
        else:
            self._server.drop(name)

    def _disconnect(self, name: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while self._link.execute(_DISCONNECT, (name,)).fetchall():
            assert time.monotonic() < deadline, "a connection does not end"
            time.sleep(0.001)

    def _rename(self, name: str) -> str:
        new = self._server.new_name()
        self._link.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new)))
        return new


def read_schema(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    """Return what becomes another value whenever anything but rows changes in the database."""
    return connection.execute(_SCHEMA.encode()).fetchall()


@functools.cache
def pool_of(server: PostgresServer) -> DatabasePool:
    """Return the pool of the server that the tests of this process share."""
    pool = DatabasePool(server)
    atexit.register(pool.close)
    return pool
