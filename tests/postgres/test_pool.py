"""Databases that are used again are to the next test as new ones."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.postgres.pool import DatabasePool, read_schema
from tests.postgres.server import PostgresServer
from tests.postgres.template import template_of

_ID = "SELECT oid FROM pg_database WHERE datname = current_database()"
_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"


@pytest.fixture
def pool(postgres: PostgresServer) -> Iterator[DatabasePool]:
    """Return a pool of this test."""
    it = DatabasePool(postgres)
    yield it
    it.close()


def contents(connection: psycopg.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows and numbers of a database."""
    tables = connection.execute(_TABLES).fetchall()
    rows = {table: connection.execute(f"SELECT * FROM {table}".encode()).fetchall() for (table,) in tables}
    return rows | {"sequences": connection.execute("SELECT * FROM pg_sequences ORDER BY sequencename").fetchall()}


def test_what_a_test_wrote_is_gone(pool: DatabasePool, postgres: PostgresServer) -> None:
    """All rows, also those that others refer to, and numbers; and those are back that the schema itself has."""
    with pool.database() as name, psycopg.connect(postgres.url(name), autocommit=True) as connection:
        [first] = connection.execute(_ID)
        connection.execute("""
            INSERT INTO nodes (id, name, host, epoch, lease) VALUES (1, 'a', 'b', 1, 1);
            INSERT INTO accounts (name, owner) SELECT number, 1 FROM generate_series(1, 3) AS number;
            INSERT INTO remote_updates SELECT id, 1, 0, 0, '', '' FROM accounts;
            INSERT INTO jobs (id, kind, data, state, added) VALUES (1, 'k', '{}', 'queued', 0);
            INSERT INTO names (name) VALUES ('a'); SELECT nextval('journal_seq');
            UPDATE job_numbers SET last = 7; DELETE FROM incident_order; DELETE FROM schema_versions""")
        assert connection.execute("SELECT count(*) FROM job_counts").fetchone() == (1,)  # a trigger writes it
    new = postgres.clone(template_of(postgres))
    with pool.database() as name, psycopg.connect(postgres.url(name)) as connection:
        assert connection.execute(_ID).fetchall() == [first]
        with psycopg.connect(postgres.url(new)) as other:
            assert contents(connection) == contents(other)
    postgres.drop(new)


def test_whoever_is_still_connected_hurts_nobody(
    pool: DatabasePool, postgres: PostgresServer, request: pytest.FixtureRequest
) -> None:
    """The next test finds none of its locks, and it cannot come back."""
    with pool.database() as former:
        left = psycopg.connect(postgres.url(former))
        request.addfinalizer(left.close)
        [first] = left.execute(_ID)
        left.execute("LOCK TABLE nodes, accounts; SELECT pg_advisory_lock(1); LISTEN x")
    with pool.database() as name, psycopg.connect(postgres.url(name)) as connection:
        assert connection.execute(_ID).fetchall() == [first]
        assert connection.execute("SELECT pg_try_advisory_lock(1)").fetchall() == [(True,)]
        connection.execute("LOCK TABLE nodes NOWAIT")
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        assert connection.execute(others, (name,)).fetchall() == [(0,)]
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(postgres.url(former))


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE more (x int)",
        "DROP TABLE job_traces",
        "ALTER DATABASE {name} SET default_transaction_read_only = on",
        "ALTER DATABASE {name} CONNECTION LIMIT 0",
        "INSERT INTO messages SELECT 'a', 1, n, 0, 1, repeat('x', 1000), 1 FROM generate_series(1, 8000) AS n",
    ],
)
def test_a_database_that_is_no_longer_as_new_is_not_used_again(
    pool: DatabasePool, postgres: PostgresServer, change: str
) -> None:
    """Also where nobody can connect or write any more, and where much was deleted."""
    with pool.database() as former, psycopg.connect(postgres.url(former), autocommit=True) as connection:
        [first] = connection.execute(_ID)
        connection.execute(change.format(name=former).encode())
    with pool.database() as name, psycopg.connect(postgres.url(name)) as connection:
        assert connection.execute(_ID).fetchall() != [first]
    assert postgres.execute(f"SELECT count(*) FROM pg_database WHERE oid = {first[0]}") == [(0,)]


def test_each_change_of_the_schema_is_seen(pool: DatabasePool, postgres: PostgresServer) -> None:
    """Whatever one says of what there is beside the rows."""
    function = "FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
    changes = [
        "CREATE INDEX ON jobs (data)", "DROP INDEX jobs_held", "ALTER TABLE jobs ALTER data DROP NOT NULL",
        "ALTER TABLE jobs ALTER data SET DEFAULT ''", "ALTER TABLE jobs ADD CHECK (id > 0)", "TRUNCATE jobs",
        "ALTER TABLE jobs DISABLE TRIGGER job_added", f"CREATE {function}", "GRANT SELECT ON jobs TO public",
        f"CREATE {function}; CREATE TRIGGER change BEFORE INSERT ON jobs EXECUTE FUNCTION change()",
        "DROP FUNCTION fence", "CREATE VIEW more AS SELECT 1", "CREATE SEQUENCE more", "CREATE SCHEMA more",
        "CREATE TYPE more AS ENUM ()", "CREATE TEMP TABLE more (x int)", "ALTER SEQUENCE journal_seq INCREMENT 2",
        "INSERT INTO jobs (id, kind, data, state, added) VALUES (1, 'k', '{}', 'queued', 0); ANALYZE jobs",
        "SELECT lo_create(0)", "ALTER DATABASE {name} SET work_mem = '1MB'", "ALTER TABLE jobs SET (fillfactor = 10)",
        "CREATE ROLE more; ALTER ROLE more IN DATABASE {name} SET work_mem = '1MB'",
        "GRANT ALL ON DATABASE {name} TO public",
    ]  # fmt: skip
    with pool.database() as name, psycopg.connect(postgres.url(name)) as connection:
        schema = read_schema(connection)
        for change in changes:
            connection.execute(change.format(name=name).encode() if "{name}" in change else change.encode())
            assert read_schema(connection) != schema, change
            connection.rollback()
            assert read_schema(connection) == schema, f"the schema is as before without {change}"
