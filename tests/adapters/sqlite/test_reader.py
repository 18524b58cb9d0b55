"""The read side of the journal: each filter, and that none reads more than it must."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from adapters.sqlite import JournalMissing, JournalReader, Undecodable, open_database
from adapters.sqlite.schema import VERSION
from states import Entry, Policy, Snapshot, State
from states.events import AccountLimited, AuthRejected, Connected, Event, NetworkLost, Stable
from tests.adapters.sqlite.support import a_journal, decide

STORY: tuple[tuple[str, Event], ...] = (
    ("a", Connected(link=1)),  # 1: connecting → healthy
    ("b", NetworkLost(link=1, detail="gone")),  # 2: connecting → backoff
    ("a", Stable(generation=1)),  # 3: stays healthy
    ("c", AuthRejected(link=1)),  # 4: connecting → auth_failed
    ("a", AccountLimited(link=1)),  # 5: stays healthy
    ("a", NetworkLost(link=1)),  # 6: healthy → reconnecting
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the story; entry n happened at n × 10 seconds."""
    path = tmp_path_factory.mktemp("reader") / "engine.db"

    async def write() -> None:
        snapshots: dict[str, Snapshot] = {}
        async with a_journal(path) as journal:
            for number, (account, event) in enumerate(STORY, start=1):
                before = snapshots.get(account, Snapshot(link=1, links=1, attempt=1))
                made = decide(before, event, number * 10.0)
                snapshots[account] = made.snapshot
                await journal.write(account, made.record, made.snapshot)

    anyio.run(write)
    return path


@pytest.fixture
def reader(path: Path) -> Iterator[JournalReader]:
    """Open the story."""
    with JournalReader.open(path) as reader:
        yield reader


def seqs(entries: Iterator[Entry]) -> list[int]:
    """Return the numbers of entries."""
    return [entry.seq for entry in entries]


def test_all_oldest_first(reader: JournalReader) -> None:
    """Without a filter all entries come, oldest first."""
    assert seqs(reader.entries()) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("accounts", "expected"),
    [
        (["a"], [1, 3, 5, 6]),
        (["b", "c"], [2, 4]),
        (["b", "b"], [2]),
        (["nobody"], []),
        (["nobody", "b"], [2]),
        ([], []),
    ],
)
def test_accounts(reader: JournalReader, accounts: list[str], expected: list[int]) -> None:
    """Entries of exactly these accounts come, none when none is asked for."""
    assert seqs(reader.entries(accounts=accounts)) == expected


@pytest.mark.parametrize(
    ("state", "expected"), [(State.HEALTHY, [1]), (State.BACKOFF, [2]), (State.AUTH_FAILED, [4]), (State.TIMEOUT, [])]
)
def test_state_is_one_that_was_entered(reader: JournalReader, state: State, expected: list[int]) -> None:
    """Staying in a state is not entering it."""
    assert seqs(reader.entries(state=state)) == expected


@pytest.mark.parametrize(("event", "expected"), [("NetworkLost", [2, 6]), ("Stable", [3]), ("Network", [])])
def test_event(reader: JournalReader, event: str, expected: list[int]) -> None:
    """Events are found by their exact names."""
    assert seqs(reader.entries(event=event)) == expected


def test_since(reader: JournalReader) -> None:
    """A time is its own lower bound."""
    assert seqs(reader.entries(since=40.0)) == [4, 5, 6]


def test_failed_only(reader: JournalReader) -> None:
    """Only errors come."""
    assert seqs(reader.entries(failed_only=True)) == [2, 4, 5, 6]


@pytest.mark.parametrize(("limit", "expected"), [(2, [5, 6]), (0, []), (100, [1, 2, 3, 4, 5, 6])])
def test_limit_is_the_last_ones(reader: JournalReader, limit: int, expected: list[int]) -> None:
    """The newest so many come, still oldest first."""
    assert seqs(reader.entries(limit=limit)) == expected


def test_after_seq(reader: JournalReader) -> None:
    """Only newer entries come."""
    assert seqs(reader.entries(after_seq=4)) == [5, 6]


def test_filters_combine(reader: JournalReader) -> None:
    """All filters apply together."""
    assert seqs(reader.entries(accounts=["a"], failed_only=True, since=20.0, after_seq=1, limit=1)) == [6]


def test_pages(reader: JournalReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal longer than a page is read whole and in order."""
    monkeypatch.setattr("adapters.sqlite.reader._PAGE_ROWS", 2)
    assert seqs(reader.entries()) == [1, 2, 3, 4, 5, 6]
    assert seqs(reader.entries(accounts=["a"])) == [1, 3, 5, 6]


def test_entry(reader: JournalReader) -> None:
    """An entry has what the record had."""
    entry = list(reader.entries())[1]
    assert (entry.account, entry.life, entry.at, entry.source, entry.target) == ("b", 0, 20.0, "connecting", "backoff")
    assert (entry.event, entry.detail, entry.payload["detail"]) == ("NetworkLost", "gone", "gone")
    assert entry.deadline == pytest.approx(20.0 + (entry.delay or 0))


def test_overview(reader: JournalReader) -> None:
    """Accounts, last numbers and snapshots are known without reading the entries."""
    assert reader.accounts() == ["a", "b", "c"]
    assert reader.last_seq() == 6
    snapshots = reader.snapshots()
    assert {name: seq for name, (_, seq) in snapshots.items()} == {"a": 6, "b": 2, "c": 4}
    assert snapshots["c"][0].state is State.AUTH_FAILED
    assert reader.lives() == []


@pytest.mark.parametrize(
    ("query", "plan"),
    [
        ({"accounts": ["a"], "limit": 50}, "SEARCH journal USING INDEX journal_by_account (account=? AND rowid>?)"),
        ({"accounts": ["a"]}, "SEARCH journal USING INDEX journal_by_account (account=? AND rowid>?)"),
        ({"after_seq": 5}, "SEARCH journal USING INTEGER PRIMARY KEY (rowid>?)"),
        (
            {"after_seq": 5, "accounts": ["a", "b"], "failed_only": True},
            "SEARCH journal USING INTEGER PRIMARY KEY (rowid>?)",
        ),
        ({"limit": 50}, "SEARCH journal USING INTEGER PRIMARY KEY (rowid>?)"),
        ({"since": 30.0}, "SEARCH journal USING COVERING INDEX journal_by_time (at>?)"),
    ],
)
def test_no_scan(reader: JournalReader, query: dict[str, object], plan: str) -> None:
    """The last of one account and the tail after a number are found by an index, without sorting."""
    asked: list[str] = []
    reader._connection.set_trace_callback(asked.append)
    list(reader.entries(**query))  # type: ignore[arg-type]
    reader._connection.set_trace_callback(None)
    steps = [row[3] for row in reader._connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]
    assert plan in steps
    assert not any("SCAN journal" in step or "TEMP B-TREE" in step for step in steps)


def test_since_begins_where_the_index_says(reader: JournalReader) -> None:
    """The first entry of a time is found without a scan, and then the entries are read from there on."""
    assert [reader.first_since(at) for at in (0.0, 40.0, 41.0, 1e9)] == [1, 4, 5, 7]
    asked: list[str] = []
    reader._connection.set_trace_callback(asked.append)
    list(reader.entries(since=40.0))
    reader._connection.set_trace_callback(None)
    assert [text for text in asked if "AND +at >= 40.0 AND seq > 3 " in text]


def test_an_entry_and_its_neighbours(reader: JournalReader) -> None:
    """Neighbours are of the same account, oldest first."""
    entry = reader.entry(3)
    assert entry is not None
    assert reader.entry(7) is None
    assert seqs(iter(reader.before(entry, 5))) == [1]
    assert seqs(iter(reader.after(entry, 1))) == [5]
    assert seqs(iter(reader.life_until(entry))) == [1, 3]


def test_moves(reader: JournalReader) -> None:
    """Moves are the entries without what is slow to read."""
    moves, entries = list(reader.moves(2)), list(reader.entries(after_seq=1))
    for name in ("seq", "account", "life", "at", "dwell", "source", "target", "event"):
        assert [getattr(move, name) for move in moves] == [getattr(entry, name) for entry in entries]
    assert {name: move.seq for name, move in reader.last_moves(5).items()} == {"a": 3, "b": 2, "c": 4}
    assert reader.last_seen() == {"a": 60.0, "b": 20.0, "c": 40.0}


def test_read_transaction(path: Path, reader: JournalReader) -> None:
    """What another program writes meanwhile is not seen before the end of the block."""
    with closing(open_database(path)) as other:
        with reader.read_transaction():
            assert reader.last_seq() == 6
            other.execute("INSERT INTO journal SELECT 7, at, account, life, source, event, target, rule, attempt, "
                          "failures, delay, draw, deadline, dwell, body FROM journal WHERE seq = 6")  # fmt: skip
            assert reader.last_seq() == 6
        assert reader.last_seq() == 7
        other.execute("DELETE FROM journal WHERE seq = 7")


async def test_a_journal_of_the_first_schema(tmp_path: Path) -> None:
    """It can be read before any engine has updated it, and keeps what it has when one does."""
    path = tmp_path / "engine.db"
    made = decide(Snapshot(link=1, links=1, attempt=1, life=1), Connected(link=1), 1.0)
    async with a_journal(path) as journal:
        await journal.begin_life("a", 0.0, Policy(), Snapshot(life=1))
        await journal.write("a", made.record, made.snapshot)
    with closing(open_database(path)) as connection:
        connection.execute("DROP INDEX journal_by_time")
        connection.execute("ALTER TABLE lives DROP COLUMN pruned_to")
        connection.execute("ALTER TABLE lives DROP COLUMN base")
        for table in ("jobs", "job_counts", "job_charges", "job_results", "messages"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 1")
    with JournalReader.open(path) as reader:
        old = (reader.lives(), list(reader.entries(since=1.0)))
        assert len(old[1]) == 1
    async with a_journal(path):
        pass
    with JournalReader.open(path) as reader:
        assert (reader.lives(), list(reader.entries(since=1.0))) == old
        assert reader._connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_unreadable_value_names_the_file(tmp_path: Path) -> None:
    """A snapshot that this version cannot read is one sentence with the path."""
    path = tmp_path / "engine.db"

    async def write() -> None:
        made = decide(Snapshot(link=1, links=1, attempt=1), Connected(link=1), 1.0)
        async with a_journal(path) as journal:
            await journal.write("a", made.record, made.snapshot)

    anyio.run(write)
    with closing(open_database(path)) as connection:
        connection.execute("UPDATE snapshots SET snapshot = 'x'")
    with (
        JournalReader.open(path) as reader,
        pytest.raises(
            Undecodable, match=r"engine\.db: a stored snapshot cannot be read.*use the version that wrote it"
        ),
    ):
        reader.snapshots()


@pytest.mark.parametrize("exists", [False, True])
def test_missing(tmp_path: Path, exists: bool) -> None:
    """Where no engine has written yet, one sentence says so, and nothing is created."""
    if exists:
        open_database(tmp_path / "engine.db").close()
    with pytest.raises(JournalMissing, match=r"engine\.db: there is no journal yet; start the engine"):
        JournalReader.open(tmp_path / "engine.db")
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".db"] == (["engine.db"] if exists else [])
