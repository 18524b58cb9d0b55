"""What a running engine asks of the jobs in its file costs the same however many there are."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite import job_schema
from adapters.sqlite.connect import open_database
from adapters.sqlite.jobs import NewJob, _queues, add
from adapters.sqlite.queue import Statement, sql_for

FEW, MANY = 200, 5000
NOW = 1000.0
LATER = 2000.0

Ask = Callable[[sqlite3.Connection], object]


def filled(path: Path, jobs: int) -> sqlite3.Connection:
    """Open a file with so many jobs of two kinds that are ready, for any account and for one, and as many that wait."""
    names, times = (None, "Account 1"), (None, LATER)
    add(
        path,
        [
            NewJob(kind=kind, data={}, account=names[number % 2], due=due)
            for number in range(jobs // 4)
            for kind in ("collect", "send")
            for due in times
        ],
    )
    return open_database(path)


def steps(database: sqlite3.Connection, ask: Ask) -> int:
    """Return how many instructions of its own SQLite needs for an answer."""
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return 0

    database.set_progress_handler(counted, 1)
    ask(database)
    database.set_progress_handler(None, 0)
    return count


def told(sql: str, *values: object) -> Ask:
    """Return a question that is one statement."""
    return lambda database: database.execute(sql, values).fetchall()


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda database: list(_queues(database)), id="queues"),
        pytest.param(told(job_schema.NEXT_DUE), id="next due"),
        pytest.param(told(job_schema.SELECT_READY, "send", "", 8), id="ready"),
        pytest.param(told(sql_for(job_schema.DUE, 1), NOW), id="whose time has come"),
        pytest.param(told(sql_for(job_schema.RECOVER, 1), "why"), id="recover"),
        pytest.param(told(job_schema.COUNTS), id="counts"),
        pytest.param(told(job_schema.COUNT_OLD, NOW), id="what is old"),
        pytest.param(told(sql_for(job_schema.PRUNE_JOBS, 1), NOW), id="old ones leave"),
    ],
)
def test_a_question_costs_the_same_among_many(ask: Ask, tmp_path: Path) -> None:
    """SQLite does as many steps among five thousand jobs as among two hundred, give or take a page of an index."""
    found = []
    for jobs in (FEW, MANY):
        with closing(filled(tmp_path / f"{jobs}.db", jobs)) as database:
            found.append(steps(database, ask))
    assert found[1] <= found[0] * 1.2, found


def test_each_lane_is_found_once(tmp_path: Path) -> None:
    """All kinds and accounts that have ready jobs, in order; those of jobs that wait are none."""
    with closing(filled(tmp_path / "x.db", FEW)) as database:
        add(tmp_path / "x.db", [NewJob(kind="join", data={}, account="Account 2", due=LATER)])
        assert list(_queues(database)) == [
            ("collect", None), ("collect", "Account 1"), ("send", None), ("send", "Account 1"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [value for value in vars(job_schema).values() if isinstance(value, Statement)],
    ids=lambda statement: statement.name,
)
def test_no_statement_goes_through_the_queue(statement: Statement, tmp_path: Path) -> None:
    """What is written costs as much among a million jobs as among ten: each finds its jobs by number or by their time.

    Jobs that ran when an engine died are found by their state, which no others have then.
    """
    add(tmp_path / "engine.db", [NewJob(kind="send", data={})])
    with closing(open_database(tmp_path / "engine.db")) as connection:
        question = f"EXPLAIN QUERY PLAN {sql_for(statement, 1)}"
        plan = [row[3] for row in connection.execute(question, [None] * statement.width)]
    wide = [step for step in plan if step == "SCAN jobs" or "jobs_by_state" in step]
    assert wide == (["SEARCH jobs USING INDEX jobs_by_state (state=?)"] if statement is job_schema.RECOVER else [])
