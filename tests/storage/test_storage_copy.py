"""``storage copy``: the real command between real files and a real database."""

import base64
import json
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import anyio
import psycopg
import pytest
from telethon.sessions import SQLiteSession

from adapters.postgres.journal_retention import prune
from adapters.session import OwnerLock
from adapters.sqlite.connect import open_database
from adapters.sqlite.schema import MIGRATIONS, VERSION, migrate
from adapters.storage_copy.tables import LEFT_OUT_COLUMNS, LEFT_OUT_OF_POSTGRES, LEFT_OUT_OF_SQLITE, TABLES
from adapters.system import EngineLock
from engine.cli import app
from engine.config import load
from states import Policy
from states.events import Started
from tests.adapters.session.support import rows as rows_of
from tests.adapters.session.support import telethons
from tests.states.harness import AccountDriver
from tests.storage.copied_fleets import RandomFleet, config, contents
from tests.storage.incident_stores import SqliteIncidents
from tests.storage.job_stores import SqliteJobs
from tests.storage.part_stores import SqliteParts
from tests.storage.postgres_incidents import PostgresIncidentDatabase
from tests.storage.postgres_jobs import PostgresJobsDatabase
from tests.storage.postgres_parts import PostgresParts
from tests.storage.postgres_store import PostgresStore
from tests.storage.stores import SqliteStore
from tests.storage.story import FAILS, live, tell_lives
from tests.storage.told_fleet import said, tell_fleet
from tests.timeouts import TIMEOUT


def copy(*words: object) -> int:
    """Run the command; return its exit code."""
    try:
        app(["storage", "copy", *map(str, words)])
    except SystemExit as left:
        return int(left.code or 0) if not isinstance(left.code, str) else 1
    return 0


def fill(config: Path, seed: int = 1) -> Path:
    """Fill the ``engine.db`` of a config; return it."""
    path = config.parent / "data" / "engine.db"
    RandomFleet(seed).fill(path)
    return path


def address_of(config: Path) -> str:
    """Return the address of the database of a config."""
    address = load(config).storage.database
    assert address is not None
    return address


def ask(config: Path, question: str) -> list[Any]:
    """Return what the database of a config says."""
    with psycopg.connect(address_of(config), autocommit=True) as connection:
        cursor = connection.execute(question.encode())
        return cursor.fetchall() if cursor.description else []


def marks(config: Path) -> dict[str, str | None]:
    """Return the accounts that have a login in a database, and where it was taken to."""
    return dict(ask(config, "SELECT name, taken_to FROM sessions JOIN accounts ON id = account ORDER BY 1"))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A config of files."""
    return config(tmp_path / "old" / "old.yaml", "A", "Account 1")


@pytest.fixture
def new(tmp_path: Path, store_url: str) -> Path:
    """A config of a database."""
    return config(tmp_path / "new" / "new.yaml", "A", "Account 1", database=store_url)


@pytest.fixture
def back(tmp_path: Path) -> Iterator[Path]:
    """A config of other files."""
    return config(tmp_path / "back" / "back.yaml", "A", "Account 1")


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20))])
def test_all_rows_are_the_same_after_the_way_there_and_back(old: Path, new: Path, back: Path, seed: int) -> None:
    """Every table, with whatever its columns can have; also the numbers that were given last."""
    RandomFleet(seed, rows=(3, 30)[seed % 2], first=(1, 5000)[seed % 3 == 0]).fill(old.parent / "data/engine.db")
    before = contents(old.parent / "data/engine.db")
    assert copy(old, new) == 0
    assert contents(old.parent / "data/engine.db") == before
    assert copy(new, back) == 0
    assert contents(back.parent / "data/engine.db") == before


def test_every_table_is_copied_or_left_out_for_a_reason(store_url: str, tmp_path: Path) -> None:
    """A table or column that somebody adds to one of the stores is copied, or named with the reason why not."""
    query = """SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables
        USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"""
    with psycopg.connect(store_url) as connection:
        postgres = set(connection.execute(query))
    with closing(open_database(tmp_path / "engine.db")) as file:
        migrate(file, tmp_path / "engine.db")
        query = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
        sqlite = {(table, column) for table, column in file.execute(query) if table != "sqlite_sequence"}
    copied = {table.name for table in TABLES}
    assert copied | LEFT_OUT_OF_SQLITE.keys() == {table for table, _ in sqlite}
    assert copied | LEFT_OUT_OF_POSTGRES.keys() == {table for table, _ in postgres}
    assert not copied & (LEFT_OUT_OF_SQLITE.keys() | LEFT_OUT_OF_POSTGRES.keys())
    named = {(t.name, name) for t in TABLES for c in t.columns for name in (c.name, c.postgres.strip('"'))}
    left_out = {tuple(name.split(".")) for name in LEFT_OUT_COLUMNS}
    assert {each for each in sqlite | postgres if each[0] in copied} - named == left_out


def test_each_login_changes_sides(old: Path, new: Path, back: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that was copied has a name that no program opens; rows that were copied are marked."""
    fill(old)
    telethons(old.parent / "A.session", b"1" * 256, entities=3)
    assert copy(old, new, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["sessions"] == ["A"]
    assert "1" * 20 not in said.out + said.err
    [aside] = old.parent.glob("*.session*")
    assert aside.name.startswith("A.session.brought-")
    assert rows_of(aside) == [1, 2, 3]
    assert marks(new) == {"A": None}
    assert copy(new, back) == 0
    [file] = back.parent.glob("*.session")
    assert rows_of(file) == [1, 2, 3]
    with closing(SQLiteSession(str(file))) as session:
        assert session.auth_key.key == b"1" * 256
    assert marks(new) == {"A": f"{back.parent / 'A.session'} on {socket.gethostname()}"}
    assert ask(new, "SELECT withheld_until = 'infinity' FROM accounts WHERE name = 'A'") == [(True,)]


@pytest.mark.parametrize("first", ["files", "database"])
def test_every_command_says_the_same(first: str, old: Path, new: Path, back: Path, empty_store_url: str) -> None:
    """A fleet that real parts have written: what is read of it is the same after each way, and each way back."""
    data = old.parent / "data"
    if first == "files":
        way = [old, new, back]
        told = SqliteStore(data), SqliteJobs(data / "engine.db"), SqliteIncidents(data / "engine.db"), SqliteParts(data)
    else:
        third = config(back.parent.parent / "third" / "third.yaml", "A", "Account 1", database=empty_store_url)
        way = [new, back, third]
        url = address_of(new)
        told = (
            PostgresStore(url), PostgresJobsDatabase(url), PostgresIncidentDatabase(url), PostgresParts(url)
        )  # fmt: skip
    anyio.run(tell_fleet, *told)
    if first == "database":
        told[1].execute("UPDATE nodes SET state = 'dead'")
    before = said(way[0])
    assert [question for question, text in before.items() if text[0] != "0"] == ["incidents --json"]  # one is open
    for source, target in pairwise(way):
        assert copy(source, target) == 0
        assert said(target) == before


def test_logins_are_encrypted_there_and_not_here(old: Path, new: Path, back: Path) -> None:
    """With a session key in the config of the database; without it, nothing is read or written."""
    fill(old)
    telethons(old.parent / "A.session", b"1" * 256, entities=3)
    key = base64.b64encode(b"k" * 32).decode()
    keyed = config(
        new.with_name("keyed.yaml"), "A", "Account 1", database=address_of(new), more=f"  session_key: {key}\n"
    )
    assert copy(old, keyed) == 0
    assert ask(new, "SELECT length(key), key_id <> '' FROM sessions") == [(284, True)]
    assert copy(new, back) == 1
    assert marks(new) == {"A": None}
    assert copy(keyed, back) == 0
    with closing(SQLiteSession(str(back.parent / "A.session"))) as session:
        assert session.auth_key.key == b"1" * 256


def test_a_node_goes_on_where_the_engine_was(old: Path, new: Path) -> None:
    """Numbers go on after the last one, and open incidents are those of the node of the config."""
    data = old.parent / "data"
    file = data / "engine.db"
    anyio.run(tell_fleet, SqliteStore(data), SqliteJobs(file), SqliteIncidents(file), SqliteParts(data))
    assert copy(old, new) == 0
    assert ask(new, "SELECT nextval('journal_seq') > (SELECT max(seq) FROM journal)") == [(True,)]
    alike = ask(new, "SELECT DISTINCT length(alike) FROM incidents WHERE closed IS NULL")
    assert alike == [(32,)]
    assert ask(new, "SELECT DISTINCT node FROM incident_parts") == [(load(new).node.known_as,)]


def test_what_is_not_read_back_as_it_was_written_is_not_there(
    old: Path, new: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trigger in the database changes a row on its way: it is told, and nothing is committed."""
    fill(old, seed=5)
    ask(new, "CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.trace := ''x''; RETURN NEW; END'")
    ask(new, "CREATE TRIGGER odd BEFORE INSERT ON job_traces FOR EACH ROW EXECUTE FUNCTION odd()")
    assert copy(old, new) == 1
    assert "the table job_traces is not read back as it was written" in capsys.readouterr().err
    assert ask(new, "SELECT (SELECT count(*) FROM names), (SELECT count(*) FROM job_traces)") == [(0, 0)]


# --- what is refused, before anything is written ----------------------------------------------------------------------


def test_the_configs_must_fit(old: Path, new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of files, two of databases, one with an account too few, no file to copy: each is a sentence."""
    fill(old)
    other = config(tmp_path / "other.yaml", "A")
    few = config(tmp_path / "few.yaml", "Account 1", database=load(new).storage.database)
    telethons(old.parent / "A.session", b"1" * 256)
    asked = [
        ((old,), 2, "name two configs"),
        ((old, other), 2, "neither config has storage.database: for files use 'backup' and 'restore'"),
        ((new, few), 2, "both configs have storage.database: from one database to another use PostgreSQL's pg_dump"),
        ((old, few), 1, "the account A has a login, and the config to copy to has no such account; add it there"),
        ((other, new), 1, "engine.db: there is no journal to copy; check storage.directory in the config"),
    ]
    for words, code, sentence in asked:
        assert copy(*words) == code
        assert sentence in capsys.readouterr().err
    assert marks(new) == {}


def test_neither_side_may_be_in_use(old: Path, new: Path, back: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An engine on the directory, a program with a session, a node that beats."""
    fill(old)
    telethons(old.parent / "A.session", b"1" * 256)
    with EngineLock(old.parent / "data/engine.lock").held(0.0):
        assert copy(old, new) == 3
    assert "runs an engine on this data already" in capsys.readouterr().err
    lock = OwnerLock(old.parent / "A.session")
    lock.acquire()
    assert copy(old, new) == 3
    lock.release()
    assert "A.session" in capsys.readouterr().err
    with beating(new):
        for words in ((old, new), (new, back), (old, new, "--check")):
            assert copy(*words) == 3
            assert "the node n on h runs on this database; stop all nodes first" in capsys.readouterr().err
    assert (old.parent / "A.session").exists()


@contextmanager
def beating(config: Path) -> Iterator[None]:
    """Let a node live for the block, which beats all the time."""
    ask(config, "INSERT INTO nodes (id, name, host, epoch, lease) VALUES (5, 'n', 'h', 1, 60)")
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.05):
            ask(config, "UPDATE nodes SET beat = beat + 1")

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(TIMEOUT)


def test_the_life_of_a_node_that_was_killed_is_ended(old: Path, new: Path) -> None:
    """It is waited for as long as its lease is."""
    before = contents(fill(old))
    ask(new, "INSERT INTO nodes (id, name, host, epoch, lease) VALUES (5, 'n', 'h', 1, 0.1)")
    assert copy(old, new) == 0
    assert ask(new, "SELECT state FROM nodes") == [("dead",)]
    assert before


def test_nothing_is_mixed(old: Path, new: Path, back: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A database with one row, an ``engine.db``, a session file that is there: nothing is written beside them."""
    fill(old)
    telethons(old.parent / "A.session", b"1" * 256)
    ask(new, "INSERT INTO job_traces VALUES (1, '')")
    assert copy(old, new) == 1
    assert "the database is not empty (see its table job_traces), and nothing is mixed" in capsys.readouterr().err
    ask(new, "DELETE FROM job_traces")
    assert copy(old, new) == 0
    assert copy(old, new) == 1
    assert "the database is not empty" in capsys.readouterr().err
    assert copy(new, old) == 1
    assert "engine.db: there is a database already, and nothing is mixed" in capsys.readouterr().err
    telethons(back.parent / "A.session", b"2" * 256)
    assert copy(new, back) == 1
    assert "A.session: there is a file already, and it is not overwritten; move it away" in capsys.readouterr().err
    assert marks(new) == {"A": None}
    assert not list((back.parent / "data").glob("engine.db*"))


HOSTILE: Final = {
    "UPDATE jobs SET detail = 'a' || char(0) || 'b'": "jobs (id 1): detail has a NUL character",
    "UPDATE messages SET text = CAST(x'ff41' AS TEXT)": ": text has bytes that are no UTF-8",
    "UPDATE names SET name = 'A' || char(0) WHERE name = 'A'": "account has a NUL character",
    "UPDATE jobs SET priority = 'high'": "jobs (id 1): priority is a value of another type (str)",
    "UPDATE jobs SET priority = 1.5": "jobs (id 1): priority is a value of another type (float)",
    "UPDATE jobs SET data = x'00'": "jobs (id 1): data is a value of another type (bytes)",
    "UPDATE snapshots SET account = 99 WHERE account = (SELECT min(account) FROM snapshots)": "account is missing",
    "UPDATE journal SET at = 9e999": "journal (seq 1): at is no time (inf)",
    "UPDATE usernames SET name = name || hex(randomblob(4000))": "usernames: the database does not take a row",
}
"""What another program may have done to a file, and what is said."""


def test_what_cannot_be_stored_is_named(old: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Table, row and column, in one sentence, and nothing was written."""
    file = fill(old, seed=5)
    whole = file.read_bytes()
    for statement, sentence in HOSTILE.items():
        file.write_bytes(whole)
        spoil(file, statement)
        assert copy(old, new) == 1, statement
        said = capsys.readouterr().err
        assert sentence in said
        assert "nothing was copied" in said
    assert ask(new, "SELECT count(*) FROM names") == [(0,)]


def test_characters_can_be_replaced(old: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the person says so: in texts and in names, and how many rows had them is told."""
    file = fill(old, seed=5)
    for statement in list(HOSTILE)[:3]:
        spoil(file, statement)
    assert copy(old, new, "--replace") == 0
    said = capsys.readouterr().out
    for table in ("jobs", "messages", "logins"):
        assert f"{table}: in " in said
    assert {detail for (detail,) in ask(new, "SELECT detail FROM jobs")} == {"a\ufffdb"}
    assert {text for (text,) in ask(new, "SELECT text FROM messages")} == {"\ufffdA"}
    assert ask(new, "SELECT name FROM names WHERE id = 1") == [("A\ufffd",)]


def spoil(file: Path, statement: str) -> None:
    """Do to a file what another program might."""
    with closing(sqlite3.connect(file)) as other, other:
        other.execute(statement)


def test_a_check_writes_nothing(old: Path, new: Path, back: Path, empty_store_url: str) -> None:
    """Neither rows nor tables nor files nor marks; it says no where the copy would."""
    before = contents(fill(old))
    telethons(old.parent / "A.session", b"1" * 256)
    bare = config(old.parent.parent / "bare.yaml", "A", "Account 1", database=empty_store_url)
    assert copy(old, bare, "--check") == 0
    assert ask(bare, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert copy(old, new, "--check") == 0
    assert (marks(new), ask(new, "SELECT count(*) FROM names")) == ({}, [(0,)])
    assert contents(old.parent / "data/engine.db") == before
    assert copy(old, new) == 0
    assert copy(old, new, "--check") == 1
    assert copy(new, back, "--check") == 0
    assert (marks(new), sorted(back.parent.iterdir())) == ({"A": None}, [back])


def test_a_file_of_an_older_schema_is_upgraded_first(old: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As at each start, with a copy of it; ``--check`` says so and changes nothing."""
    path = old.parent / "data" / "engine.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        for step in MIGRATIONS[:9]:
            for statement in step:
                file.execute(statement)
        file.execute("INSERT INTO jobs (kind, data, added) VALUES ('k', '{}', 1.0)")
        file.execute("PRAGMA user_version = 9")
    assert copy(old, new, "--check") == 1
    assert f"the database has schema 9, and {VERSION} is copied" in capsys.readouterr().err
    assert copy(old, new) == 0
    assert ask(new, "SELECT id, kind FROM jobs") == [(1, "k")]
    assert list((path.parent / "backups").glob("engine.db-schema-9-*"))


# --- killed, and again -----------------------------------------------------------------------------------------------

KILLED: Final = (
    ("adapters.storage_copy.postgres_side", "PostgresSide.commit", 1),
    ("adapters.storage_copy.logins", "put_aside", 1),
    ("adapters.storage_copy.logins", "put_aside", 2),
    ("adapters.storage_copy.logins", "free_logins", 1),
    ("adapters.storage_copy.logins", "mark_logins", 1),
    ("adapters.storage_copy.logins", "place_file", 1),
    ("adapters.storage_copy.logins", "place_file", 2),
    ("adapters.storage_copy.sqlite_side", "SqliteSide.finish", 1),
)
"""Where a copy is killed: before this call of this function."""
PROGRAM: Final = """
import os, sys, importlib, operator
module, name, number, *words = sys.argv[1:]
*holder, last = name.split(".")
place = importlib.import_module(module)
place = operator.attrgetter(".".join(holder))(place) if holder else place
real, calls = getattr(place, last), []
def killed(*given, **named):
    calls.append(1)
    if len(calls) == int(number):
        os._exit(9)
    return real(*given, **named)
setattr(place, last, killed)
from engine.cli import app
app(["storage", "copy", *words])
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", KILLED, ids=lambda place: f"{place[1]}-{place[2]}")
def test_a_copy_that_was_killed_goes_on(old: Path, new: Path, back: Path, place: tuple[str, str, int]) -> None:
    """There and back, each killed at that place; given again, all is as it would have been, and each login once."""
    before = contents(fill(old))
    for number, name in enumerate(("A", "Account 1"), 1):
        telethons(old.parent / f"{name}.session", bytes([number]) * 256, entities=number)
    for source, target in ((old, new), (new, back)):
        words = [sys.executable, "-c", PROGRAM, place[0], place[1], str(place[2]), str(source), str(target)]
        code = subprocess.run(words, capture_output=True, timeout=TIMEOUT, check=False).returncode
        assert code in {0, 9}
        usable = [path.stem for path in (source if target is new else target).parent.glob("*.session")]
        free = [name for name, taken_to in marks(new).items() if taken_to is None]
        assert not set(usable) & set(free), "two programs could use one login"
        assert code == 0 or copy(source, target) == 0
    assert contents(back.parent / "data/engine.db") == before
    assert sorted(path.name for path in back.parent.glob("*.session*")) == ["A.session", "Account 1.session"]
    assert not list(old.parent.glob("*.session"))


# --- numbers of the journal ------------------------------------------------------------------------------------------


def test_numbers_with_gaps_become_numbers_without(new: Path, back: Path) -> None:
    """In the order of the journal; what was deleted of a life still comes before its first record."""
    anyio.run(_tell_with_gaps, PostgresStore(address_of(new)))
    ask(new, "UPDATE nodes SET state = 'dead'")
    told = said(new)["log --json"].splitlines()
    assert copy(new, back) == 0
    after = said(back)
    numbers = [json.loads(line.removeprefix("0 "))["seq"] for line in after["log --json"].splitlines()]
    assert numbers == list(range(numbers[0], numbers[0] + len(told)))
    for one, other in zip(told, after["log --json"].splitlines(), strict=True):
        assert json.loads(one.removeprefix("0 ")) | {"seq": 0} == json.loads(other.removeprefix("0 ")) | {"seq": 0}
    assert json.loads(after["log replay --json"][2:])["agrees"]
    with closing(sqlite3.connect(back.parent / "data/engine.db")) as file:
        [(pruned,)] = file.execute("SELECT max(pruned_to) FROM lives")
    assert 0 < pruned < numbers[0]


async def _tell_with_gaps(store: PostgresStore) -> None:
    async with store.journal() as written:
        await tell_lives(written)
        store.spoil("SELECT setval('journal_seq', 1000)")
        first = AccountDriver(Policy())
        await live(written, "c", first, (Started(), *FAILS))
        await written.flush()
    assert prune(store.address, store.begin_node(), 1_000_004.0)
