"""Every column of every table, spoilt in turn: it costs what its row is about, and ends neither run nor command."""

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from adapters.sandbox import Sandbox
from adapters.sqlite.schema import TABLES
from engine import Engine
from tests.engine.commands import runs
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

BAD: tuple[Any, ...] = (
    "{",  # no JSON, and no number
    "[7]",  # JSON of a wrong shape
    None,
    "9" * 400,
    '{"state":"half \\ud83d","since":"soon","credentials":7}',
    '{"state":"asleep"}',
    b"\xff\x00",
    "caf\udce9",  # stored as text that is not UTF-8
    -1e300,
)
"""One for each row; the last row of a table stays as it is."""
PHONES = tuple(f"+99966200{number:02}" for number in range(len(BAD) + 1))
WITHOUT_ROWID = (
    "job_counts", "job_charges", "job_results", "messages", "incident_members", "alerts", "ledger_holes",
    "message_deletions", "remote_cursors", "usernames",
)  # fmt: skip
JOB_TABLES = {"jobs", "job_counts", "job_charges", "job_results", "job_traces", "messages"}
JOB_COMMANDS = (["status"], ["jobs", "list"], ["jobs", "list", "--json"], ["jobs", "show", "2"])
COMMANDS = (
    ["status", "--json"], ["log"], ["log", "stats"], ["log", "replay"], ["diagram", "--heat"], ["session", "backup"],
    ["doctor"], ["incidents"], ["incidents", "--open", "--json"],
)  # fmt: skip
CHAT = "-1000000000007"
OWN_COMMANDS = {
    **dict.fromkeys(
        ("ledger", "ledger_holes", "ledger_fills"),
        (["status", "--verbose"], ["prove", "--chat", CHAT], ["prove", "--chat", CHAT, "--json"]),
    ),
    "message_deletions": (["export", "--chat", CHAT, "--format", "jsonl"], ["export", "--chat", CHAT]),
    "remote_cursors": (["status"], ["status", "--json"]),
    "remote_updates": (["status"], ["status", "--json"]),
}
"""The commands that read a table of which the others know nothing."""
MORE_ROWS = """
    INSERT INTO jobs (kind, account, data, added, due, worker, checkpoint, result, state)
        VALUES ('send', '', '{{"to": "me", "text": "x"}}', 1.0, {due}, 'Account 1', '{{}}', '1', '{state}');
    INSERT INTO job_charges (job, until, kind, account, length) VALUES ({n}, 4102444800.0, 'send', 'Account {n}', 60.0);
    INSERT INTO job_results VALUES ({n}, 1, '1');
    INSERT INTO job_traces VALUES ({n}, 'trace');
    INSERT INTO messages (owner, chat, id, at, sender, text, job) VALUES ('', 1, {n}, 1.0, 7, 'text', {n});
    INSERT INTO renames VALUES (1.0, 'Old {n}', 'Account {n}');
    INSERT INTO file_moves VALUES ('old{n}', 'new{n}');
    INSERT INTO incidents (id, kind, cause, fleet, severity, since, opened, closed, acked, detail)
        VALUES ({n}, 'needs_person', 'log_in', 0, 'critical', 1.0, 1.0, NULL, NULL, 'detail');
    INSERT INTO alerts VALUES ({n}, 'exec-1', NULL, NULL, 1.0, 1, 0, 0, 1.0, '{{}}');
    INSERT INTO incident_members VALUES ({n}, 'person', 'Account {n}', NULL);
    INSERT OR REPLACE INTO ledger VALUES ({n}, 7, 'login {n}', {n}, {n} + 1, 1.0, 2.0, {n}, {n});
    INSERT OR REPLACE INTO ledger_holes VALUES ({n}, 7, {n} + 1, 'too_long', {n} + 2, 2.0, 3.0);
    INSERT OR REPLACE INTO ledger_fills VALUES ({n}, -1000000000007, 'job {n}', {n}, {n} + 9, 1.0, 2.0);
    INSERT OR REPLACE INTO message_deletions VALUES (-1000000000007, {n}, 1.0);
    INSERT OR REPLACE INTO remote_updates VALUES ('Account {n}', {n}, 1.0, {n}, 'mark {n}', x'00');
    INSERT OR REPLACE INTO remote_cursors VALUES ('Account {n}', 'reports', 'feed', {n}, 1.0);
    INSERT OR REPLACE INTO usernames VALUES ('name{n}', 7, '', 1.0);
    INSERT OR REPLACE INTO username_lookups VALUES ({n}, '[1.0]');
"""


def columns(path: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def spoil(path: Path, table: str, column: str) -> None:
    """Put another bad value into each row but the last, or into the only one."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints = 1")
        key = "rowid" if table not in WITHOUT_ROWID else None
        names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        rows = db.execute(f"SELECT {key or ', '.join(names)} FROM {table}").fetchall()
        for number, row in enumerate(rows[:-1] or rows):
            where = f"{key} = ?" if key else " AND ".join(f"{name} IS ?" for name in names)
            value = BAD[number % len(BAD)]
            bad = "CAST(? AS TEXT)" if isinstance(value, str) else "?"
            cell = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
            try:
                db.execute(f"UPDATE {table} SET {column} = {bad} WHERE {where}", (cell, *row))
            except sqlite3.IntegrityError:
                continue  # a second row with the same value, or not possible in this column


async def prepare(harness: EngineHarness) -> None:
    """Run the engine once, fill the tables that it left empty, and take the constraints away."""
    await run(harness)
    path = harness.directory / "data" / "engine.db"
    (path.parent / "backups").mkdir(mode=0o700)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for n in range(1, len(PHONES) + 1):
            state = ("queued", "done", "failed", "cancelled", "running")[n % 5]
            due = "4102444800.0" if n % 5 == 0 else "NULL"
            db.executescript(MORE_ROWS.format(n=n, state=state, due=due))
        db.execute("PRAGMA writable_schema = 1")
        nullable = "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'"
        db.execute(f"{nullable} AND sql NOT LIKE '%WITHOUT ROWID%'")
    shutil.copytree(harness.directory, harness.directory / "template", ignore=lambda *_: ["template", "logs"])


async def run(harness: EngineHarness) -> list[str]:
    """Run the engine until every account is healthy; return the errors in its log."""
    with capture_logs() as said:
        async with Engine.from_config(harness.config) as engine:
            with anyio.fail_after(TIMEOUT):
                while any(not at.healthy for at in engine.fleet.statuses.values()):
                    await anyio.sleep(0.01)
    errors = [each for each in said if each["log_level"] == "error"]
    return [f"{each}" for each in errors if each["event"] != "loop_stalled"]  # that is a busy machine's


QUICK = ("snapshots", "renames", "job_counts")
"""Tables that a plain run of the tests spoils; the others are among the slow tests."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "table", [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in sorted(TABLES)]
)
async def test_a_spoilt_column_ends_nothing(
    harness: EngineHarness, table: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command has a documented exit code; an engine starts, every account becomes healthy, and it stops."""
    command = runs(capsys=capsys, within=harness.directory, monkeypatch=monkeypatch)
    faults: list[Any] = []
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        await prepare(harness)
        data = harness.directory / "data"
        for column in columns(data / "engine.db", table):
            shutil.rmtree(data)
            shutil.copytree(harness.directory / "template" / "data", data)
            spoil(data / "engine.db", table, column)
            try:
                for words in OWN_COMMANDS.get(table, JOB_COMMANDS if table in JOB_TABLES else COMMANDS):
                    code, _, err = await anyio.to_thread.run_sync(partial(command, *words))
                    if code not in (0, 1, 2, 3) or "Traceback" in err:
                        faults.append((column, words, code, err))
                faults += [(column, said) for said in await run(harness)]
            except Exception as exc:  # so that one look shows all columns
                faults.append((column, repr(exc), getattr(exc, "exceptions", ())))
    assert not faults, "\n".join(map(str, faults))
