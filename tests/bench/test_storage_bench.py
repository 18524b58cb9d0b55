"""The storage benchmark stores what it counts, and compares like with like. Nothing here judges by a clock."""

import gc
import sqlite3
from collections import Counter
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from adapters.sqlite import open_database
from engine.app.run import COLLECTIONS
from tests.bench.storage import busy, path, processes, producers
from tests.bench.table import Table, Target

EVENTS, LINES = 13, 7
"""Of a life's first events, and the lines that the engine logs of them: a connection has one, a loss two."""


def ask(file: Path, question: str) -> list[tuple[object, ...]]:
    """Return what a database answers to another connection."""
    with closing(sqlite3.connect(file)) as database:
        return database.execute(question).fetchall()


def with_its_library(name: str) -> None:
    """Skip what needs the group ``bench``, where it is not installed."""
    if "aiosqlite" in name:
        pytest.importorskip("aiosqlite")


@pytest.mark.parametrize("name", producers.CONTENDERS)
async def test_every_operation_that_was_counted_is_there(name: str, tmp_path: Path) -> None:
    """A row is in its file before its producer goes on: another connection sees it at once."""
    with_its_library(name)
    file = tmp_path / "x.db"
    async with producers.CONTENDERS[name](file) as put:
        for number in range(5):
            await put(number)
            assert ask(file, "select value from numbers order by rowid") == [(value,) for value in range(number + 1)]


async def test_the_rate_of_producers_counts_rows(tmp_path: Path) -> None:
    """``rate`` compares what it counted with the file by itself, and has counted something."""
    assert await producers.rate(producers.ours, tmp_path / "x.db", producers=10, seconds=0.05) > 0


def test_each_round_of_each_contender_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No contender writes into what another left behind, not even in the second round; the table has a row for each."""
    monkeypatch.delitem(producers.CONTENDERS, "aiosqlite")
    table = producers.run(tmp_path, counts=(1, 2), seconds=0.02, rounds=2)
    assert [row[0] for row in table.rows] == list(producers.CONTENDERS)
    assert len(list(tmp_path.glob("*.db"))) == 2 * 2 * len(producers.CONTENDERS)


@pytest.mark.parametrize("pragmas", [(), producers.GUIDE], ids=["as it comes", "guide"])
def test_synchronous_is_full_everywhere(pragmas: tuple[str, ...], tmp_path: Path) -> None:
    """No contender is faster because its last commits could be lost with the power."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as theirs, closing(open_database(tmp_path / "y.db")) as ours:
        for pragma in pragmas:
            theirs.execute(pragma)
        for database in (theirs, ours):
            assert database.execute("pragma synchronous").fetchone() == (2,)


@pytest.mark.parametrize("name", path.CONTENDERS)
async def test_every_event_of_the_path_is_durable(name: str, tmp_path: Path) -> None:
    """The whole path: when ``take`` returns, the event is in the database, each account's latest state beside it."""
    with_its_library(name)
    tables = ("journal", "snapshots") if name == "Holdfast" else ("log", "latest")
    async with path.CONTENDERS[name](tmp_path) as take:
        [file] = tmp_path.glob("*.db")
        for count, event in enumerate(islice(path.life(), EVENTS), 1):
            await take("Account 1", event)
            await take("Account 2", event)
            assert [ask(file, f"select count(*) from {table}") for table in tables] == [[(count * 2,)], [(2,)]]


@pytest.mark.parametrize(
    ("name", "log", "lines"),
    [
        ("Holdfast", "logs/engine.log", LINES),
        ("Holdfast with aiosqlite", "logs/engine.log", LINES),
        ("a Machine per account, `sqlite3` as it comes, stdlib logging", "naive.log", EVENTS),
    ],
)
async def test_the_path_is_logged(name: str, log: str, lines: int, tmp_path: Path) -> None:
    """No line is dropped. The engine has three for five events, where the naive program has one for each."""
    with_its_library(name)
    async with path.CONTENDERS[name](tmp_path) as take:
        for event in islice(path.life(), EVENTS):
            await take("Account 1", event)
    assert len((tmp_path / log).read_text().splitlines()) == lines


def test_the_path_is_measured_as_run_sets_its_process_up() -> None:
    """The benchmark's thresholds of the garbage collector are those of ``run``, and only while it measures."""
    before = gc.get_threshold()
    with path.set_up_as_run():
        assert gc.get_threshold() == path.COLLECTIONS == COLLECTIONS
    assert gc.get_threshold() == before


def test_both_machines_walk_the_same_way(tmp_path: Path) -> None:
    """The law and the naive machine are in the same state after each event, and no event is ignored."""
    accounts: dict[str, list[object]] = {}
    naive = path.Machine(
        states=[state.value for state in path.State], transitions=path.TRANSITIONS, initial="connecting"
    )
    for event in islice(path.life(), 200):
        record = path.decided(accounts, "Account 1", event).record  # type: ignore[attr-defined]
        naive.trigger(record.event)
        assert (record.target.value, record.quiet) == (naive.state, False)


def test_both_ways_of_a_busy_loop_store_the_same_rows(tmp_path: Path) -> None:
    """One statement for a batch and ``executemany`` leave the same table behind."""
    found = []
    for name, store in busy.CONTENDERS.items():
        with closing(open_database(tmp_path / f"{store.__name__}.db")) as database:
            database.execute(busy.MAKE)
            store(database)
            found.append((name, database.execute("select * from people").fetchall()))
    assert [rows for _, rows in found] == [busy.ROWS, busy.ROWS]


def test_batches_beside_a_busy_loop_are_stored_in_turn(tmp_path: Path) -> None:
    """Each contender has stored each of its batches, and the loop has computed meanwhile."""
    found = busy.batches(tmp_path, 2)
    assert [len(found[name]) for name in (busy.OURS, busy.THEIRS)] == [2, 2]
    for file in ("busy-one.db", "busy-many.db"):
        assert ask(tmp_path / file, "select count(*) from people") == [(2 * busy.BATCH,)]
    assert all(batch.seconds > 0 and 0 <= batch.kept <= 1 for each in found.values() for batch in each)


def test_the_batches_that_count_are_those_that_were_disturbed_least() -> None:
    """Whatever they took: what the machine did to a batch decides, not how the batch went."""
    calm = [busy.Batch(seconds, kept=0.9, disturbed=0.01) for seconds in (0.3, 0.9, 0.6)]
    crowded = [busy.Batch(0.01, kept=0.5, disturbed=0.8) for _ in range(9)]
    assert busy.undisturbed([*crowded, *calm]) == calm
    ours = [busy.Batch(batch.seconds / 6, batch.kept, batch.disturbed) for batch in calm]
    table = busy.table({busy.OURS: [*ours, *crowded], busy.THEIRS: [*crowded, *calm]})
    assert [row[:3] for row in table.rows] == [[busy.OURS, "5,000", "6"], [busy.THEIRS, "833", "1"]]
    assert [target.kept for target in table.targets] == [True]


@pytest.mark.parametrize("name", processes.CONTENDERS)
def test_processes_lose_nothing(name: str, tmp_path: Path) -> None:
    """Each commit of each process is one row of its own number, and no process has an error."""
    outcomes = processes.together(name, tmp_path / "x.db", writers=2, seconds=0.2)
    rows = Counter(value for (value,) in ask(tmp_path / "x.db", "select value from numbers"))
    assert [outcome.errors for outcome in outcomes] == [0, 0]
    assert sorted(rows.values()) == sorted(outcome.commits for outcome in outcomes if outcome.commits)


def test_a_missed_target_is_told() -> None:
    """A bound is kept at the bound itself, and the table says which were not."""
    assert Target("x", 40.0, least=40).kept
    assert not Target("x", 39.9, least=40).kept
    assert not Target("x", 1.5, most=1.4).kept
    lines = Table("Title", ["", "per second"], [["ours", "1"]], [Target("x", 39.9, least=40, against="y")]).lines()
    assert lines[:5] == ["**Title**", "", "|  | per second |", "|---|---:|", "| ours | 1 |"]
    assert "- ❌ x, against y: 39.9 × (target: ≥ 40 ×)" in lines
