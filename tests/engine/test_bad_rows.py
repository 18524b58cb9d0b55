"""Values that cannot be stored are refused when a job is added, and no reader ends at one bad row in the file."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from adapters.sqlite import JournalReader, JournalWriter
from adapters.sqlite.jobs import NewJob, add
from engine.app.job_registry import JobRegistry
from engine.config import load
from engine.work.kinds import BadJob, unstorable
from states.events import Connected, Event, NetworkLost, Started, TurnGranted
from tests.engine.commands import Run, runs, write_stories
from tests.timeouts import TIMEOUT

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: A, session: a}
  - {name: B, session: b}
"""
STORY: tuple[Event, ...] = (Started(), TurnGranted(generation=0), Connected(), NetworkLost(detail="reset"))


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


UNSTORABLE: Mapping[str, Any] = {
    "half an emoji": {"text": "half \ud83d"},
    "the other half": {"text": "\udd0c"},
    "a byte of a file name": {"text": "caf\udce9"},
    "half a character within": {"a": [{"b": "\udc00"}]},
    "half a character in a key": {"a": {"\ud800": 1}},
    "NUL": {"text": "a\0b"},
    "a huge number": {"n": 10**30},
    "a number of 5000 digits": {"n": 10**5000},
    "NaN": {"n": float("nan")},
    "infinity": {"n": [float("-inf")]},
    "a key that is no text": {"a": {1: 2}},
    "a set": {"a": {1, 2}},
    "bytes": {"a": b"x"},
    "too deep": {"a": nested(200)},
    "much too deep": {"a": nested(100_000)},
    "too long": {"a": "x" * 1_100_000},
}


@pytest.mark.parametrize("name", UNSTORABLE)
def test_a_value_that_cannot_be_stored_is_refused(name: str, tmp_path: Path) -> None:
    """The library says where the value is, in one short sentence."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    registry = JobRegistry.of(load(tmp_path / "config.yaml"))
    registry.kinds.by_name["any"] = registry.kinds.named("send").__class__("any", registry.kinds.named("send").function)
    with pytest.raises(BadJob) as refused:
        registry.check("any", UNSTORABLE[name], None)
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


def test_what_can_be_stored_is_not_refused() -> None:
    """Whole characters, ids of Telegram, levels that people use."""
    value = {"text": "📰 Ж \n\t\u202e", "id": -1001234567890, "n": [1.5, None, True], "deep": nested(40)}
    assert unstorable(value) is None
    assert unstorable(json.loads(json.dumps(value))) is None


@pytest.mark.parametrize("due", [float("nan"), float("inf"), 1e300, -1e300])
def test_a_time_that_is_none_is_refused(due: float, tmp_path: Path) -> None:
    """A job cannot wait for it, and no reader could show it."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    with pytest.raises(BadJob):
        JobRegistry.of(load(tmp_path / "config.yaml")).check("send", {"to": "@x", "text": "y"}, None, 0, due)


@pytest.fixture
async def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command beside a journal of two accounts and five jobs."""
    await write_stories(tmp_path, CONFIG, {"A": STORY, "B": STORY})
    add(tmp_path / "data" / "engine.db", [NewJob(kind="send", data={"to": "@x", "text": f"{n}"}) for n in range(5)])
    return runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


def change(directory: Path, sql: str) -> None:
    """Spoil the file, as another program could."""
    with closing(sqlite3.connect(directory / "data" / "engine.db", isolation_level=None)) as db:
        db.execute(sql)


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "send", "data": {"to": "@x", "text": "half \\ud83d"}}',
        '{"kind": "send", "data": {"to": "@x", "text": "a\\u0000b"}}',
        '{"kind": "send", "data": {"to": "@x", "text": NaN}}',
        '{"kind": "send", "data": {"to": %s, "text": ""}}' % ("9" * 6000),
        '{"kind": "send", "data": %s}' % ('{"a":' * 50_000),
        '{"kind": "send\\ud83d", "data": {}}',
        '{"kind": "send", "account": "A\\ud83d", "data": {"to": "@x", "text": "y"}}',
    ],
)
def test_a_file_with_such_a_value_adds_nothing(run: Run, tmp_path: Path, line: str) -> None:
    """The fault is told with its line, and the file's other jobs are not added."""
    (tmp_path / "jobs").write_text('{"kind": "send", "data": {"to": "@x", "text": "y"}}\n' + line, "utf-8")
    code, out, err = run("jobs", "add", "--file", "jobs")
    assert (code, out) == (2, "")
    assert "jobs:2: " in err
    assert run("jobs", "add", "send", "to=@x", "text=half \ud83d")[0] == 2
    assert len(run("jobs", "list", "--json")[1].splitlines()) == 5


BAD_JOBS = {
    "half an emoji": """UPDATE jobs SET data = '{"to": "@x", "text": "half \\ud83d"}' WHERE id = 2""",
    "no JSON": "UPDATE jobs SET data = '{' WHERE id = 2",
    "no object": "UPDATE jobs SET data = '[1]' WHERE id = 2",
    "a blob": "UPDATE jobs SET data = x'ff00' WHERE id = 2",
    "bytes that are not UTF-8": "UPDATE jobs SET detail = CAST(x'ff41' AS TEXT) WHERE id = 2",
    "text for a number": "UPDATE jobs SET added = 'soon', priority = 'high' WHERE id = 2",
    "an endless time": "UPDATE jobs SET due = 9e999, began = 1e300 WHERE id = 2",
    "deep JSON": "UPDATE jobs SET data = '" + '{"a":' * 20_000 + "' WHERE id = 2",
    "a bad result": "INSERT INTO job_results VALUES (2, 1, '{')",
    "a bad checkpoint": "UPDATE jobs SET checkpoint = '\"x' WHERE id = 2",
    "an odd error": "UPDATE jobs SET error = '[1, {}]' WHERE id = 2",
}


@pytest.mark.parametrize("name", BAD_JOBS)
def test_the_other_jobs_are_listed(run: Run, tmp_path: Path, name: str) -> None:
    """All five have a line, in order, also the one that cannot be read; commands on the others work."""
    change(tmp_path, BAD_JOBS[name])
    code, out, _ = run("jobs", "list", "--json")
    assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (0, [1, 2, 3, 4, 5])
    code, out, _ = run("jobs", "list")
    assert (code, [int(line.split()[0]) for line in out.splitlines()]) == (0, [1, 2, 3, 4, 5])
    for options in ((), ("--json",)):
        assert run("jobs", "show", "2", *options)[0] in (0, 1)
        assert run("jobs", "show", "3", *options)[0] == 0
    assert run("status")[0] == 3
    assert run("jobs", "cancel", "2", "3")[0] in (0, 1)
    assert '"state": "cancelled"' in run("jobs", "show", "3", "--json")[1]


async def test_a_job_that_cannot_be_read_holds_up_no_other(run: Run, tmp_path: Path) -> None:
    """The engine reads the jobs behind it, and the bad one is failed, with the reason."""
    change(tmp_path, "UPDATE jobs SET data = '{', priority = 9 WHERE id = 2")
    with anyio.fail_after(TIMEOUT):
        journal = await JournalWriter.open(tmp_path / "data" / "engine.db", on_trouble=lambda *_: None)
        ready = await journal.jobs.ready("send", None, 3)
        await journal.jobs.flush()
        again = await journal.jobs.ready("send", None, 3)
        await journal.jobs.aclose()
        await journal.aclose(5)
    assert [job.id for job in ready] == [1, 3]
    assert [job.id for job in again] == [1, 3, 4]
    with closing(sqlite3.connect(tmp_path / "data" / "engine.db")) as db:
        assert db.execute("SELECT state, detail LIKE '%cannot be read%' FROM jobs WHERE id = 2").fetchone() == (
            "failed",
            1,
        )


BAD_ENTRIES = {
    "no JSON": "UPDATE journal SET body = 'x' WHERE seq = 2",
    "a blob": "UPDATE journal SET body = x'ff' WHERE seq = 2",
    "bytes that are not UTF-8": "UPDATE journal SET body = CAST(x'ff41' AS TEXT) WHERE seq = 2",
    "deep JSON": "UPDATE journal SET body = '" + "[" * 20_000 + "' WHERE seq = 2",
    "numbers for text": """UPDATE journal SET body = '{"detail": 7, "cause": [1]}' WHERE seq = 2""",
    "no such state": "UPDATE journal SET source = (SELECT id FROM names WHERE name = 'Started') WHERE seq = 2",
    "nobody": "UPDATE journal SET account = 999 WHERE seq = 2",
    "text for a time": "UPDATE journal SET at = 'then' WHERE seq = 2",
    "text for a number": "UPDATE journal SET dwell = 'long', delay = 'x' WHERE seq = 2",
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_the_other_entries_are_read(run: Run, tmp_path: Path, name: str) -> None:
    """Each has its line, replay and statistics go on, and say that one was left out."""
    change(tmp_path, BAD_ENTRIES[name])
    code, out, _ = run("log", "--json")
    assert (code, [json.loads(line)["seq"] for line in out.splitlines()]) == (0, list(range(1, 9)))
    assert "unreadable" in json.loads(out.splitlines()[1])
    code, out, _ = run("log")
    assert (code, [int(line.split()[0]) for line in out.splitlines()]) == (0, list(range(1, 9)))
    code, out, err = run("log", "replay")
    assert (code, "❌" in out, "1 row of the journal cannot be read" in err) == (1, False, True), (out, err)
    assert run("log", "stats")[0] == 0
    assert run("log", "explain", "4")[0] == 0
    assert run("log", "explain", "2")[0] == 1
    assert run("diagram", "--heat")[0] == 0


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE snapshots SET snapshot = '{' WHERE account = (SELECT id FROM names WHERE name = 'A')",
        "UPDATE lives SET snapshot = '{' WHERE account = (SELECT id FROM names WHERE name = 'A')",
        "UPDATE policies SET policy = '{'",
    ],
)
def test_a_bad_snapshot_ends_nothing(run: Run, tmp_path: Path, sql: str) -> None:
    """The other account is shown as it is."""
    change(tmp_path, sql)
    code, out, _ = run("status", "--json")
    assert code == 3
    assert [account["name"] for account in json.loads(out)["accounts"]].count("B") == 1
    for words in (("log",), ("log", "replay"), ("log", "stats"), ("log", "explain", "3"), ("diagram", "--heat")):
        assert run(*words)[0] in (0, 1), words


async def test_a_subscriber_reads_on(run: Run, tmp_path: Path) -> None:
    """A program that follows the journal gets all records but the bad one."""
    change(tmp_path, "UPDATE journal SET body = 'x' WHERE seq = 2")
    with JournalReader.open(tmp_path / "data" / "engine.db") as reader:
        reader.on_unreadable = lambda row: None
        assert [entry.seq for entry in reader.entries(after_seq=0)] == [1, 3, 4, 5, 6, 7, 8]
