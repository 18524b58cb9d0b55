"""``jobs`` as its user types it: beside a running engine and without one, from words and from files."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from adapters.sandbox import Sandbox
from adapters.sqlite.jobs import NewJob, add
from tests.engine.commands import Run, runs
from tests.engine.config.texts import PEM
from tests.engine.harness import FAST, EngineHarness, all_are

ACCOUNTS = "  - {name: Account 1, session: account1}\n  - {name: Account 2, session: account2}"
MODULE = """
import attrs
from engine import job_kind, on, while_healthy

@attrs.frozen
class Count:
    upto: int
    pause: float = 0.1
    what: str = ""
    loud: bool = False

@job_kind("count", data=Count)
async def count(job, client):
    return job.data.upto

@job_kind("free")
async def free(job, client):
    return job.data
"""


@pytest.fixture
def harness(tmp_path: Path) -> EngineHarness:
    """Return a directory with a config and a module of the user's."""
    (tmp_path / "my_counting.py").write_text(MODULE)
    made = EngineHarness(tmp_path)
    made.write("{id: 2, host: 127.0.0.1, port: 9, public_key: dc.pem}", ACCOUNTS, "work: {modules: [my_counting.py]}\n")
    (tmp_path / "dc.pem").write_text(PEM)
    return made


@pytest.fixture
def jobs(harness: EngineHarness, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs ``jobs`` there."""
    return runs("jobs", capsys=capsys, within=harness.directory, monkeypatch=monkeypatch)


def rows(harness: EngineHarness) -> list[tuple[object, ...]]:
    """Return kind, account, data, priority and state of all jobs in the file."""
    path = harness.directory / "data" / "engine.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT kind, account, data, priority, state FROM jobs ORDER BY id").fetchall()


def test_words_become_what_the_kind_takes(jobs: Run, harness: EngineHarness) -> None:
    """A number stays a number, text stays text even if it looks like one, and a chat named by a number is an id."""
    for words in (
        ("count", "upto=5", "pause=0.5", "what=007", "loud=true"),
        ("send", "to=1234", "text=5", "--account", "Account 2", "--priority", "3"),
        ("send", "to=+9996620001", "text=a=b"),
        ("free", 'a={"b": [1]}', "c=plain"),
    ):
        assert jobs("add", "config.yaml", *words)[0] == 0
    assert [(kind, account, json.loads(str(data)), priority) for kind, account, data, priority, _ in rows(harness)] == [
        ("count", "", {"upto": 5, "pause": 0.5, "what": "007", "loud": True}, 0),
        ("send", "Account 2", {"to": 1234, "text": "5"}, 3),
        ("send", "", {"to": "+9996620001", "text": "a=b"}, 0),
        ("free", "", {"a": {"b": [1]}, "c": "plain"}, 0),
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("coun", "upto=5"), "there is no kind of jobs called 'coun'; did you mean 'count'?"),
        (("count", "upto=five"), "the data of a count job does not fit: upto must be a whole number, not 'five'"),
        (
            ("count", "upto=5", "pase=1"),
            "a count job does not fit: pase is not known; did you mean 'pause'?",
        ),
        (("count",), "the data of a count job does not fit: upto is missing"),
        (("count", "upto"), "'upto' is not data; write name=value, such as to=@news"),
        (("send", "to=me", "text="), "the data of a send job does not fit: text must have 1 to 4096 characters, not 0"),
        (("collect", "chat=@a_group", "since=soon"), "since must be a time such as 2026-01-31"),
        (("count", "upto=5", "--account", "Account 3"), "config.yaml has no account 'Account 3'; did you mean"),
        (("count", "upto=5", "--after", "soon"), "--after: 'soon' is not a duration"),
        (("count", "upto=5", "--priority", "9999999"), "a priority is a whole number from -1,000,000 to 1,000,000"),
        ((), "name a kind and its data, or a --file with jobs; not both, and not neither"),
        (("count", "upto=5", "--file", "jobs.jsonl"), "name a kind and its data, or a --file with jobs"),
        (("--file", "nowhere.jsonl"), "nowhere.jsonl: the file cannot be read (no such file or directory)"),
    ],
)
def test_what_does_not_fit_is_a_sentence_and_nothing_is_queued(
    jobs: Run, harness: EngineHarness, words: tuple[str, ...], sentence: str
) -> None:
    """Each mistake is told with what to do, the exit code is not 0, and the file has no job."""
    code, said, error = jobs("add", "config.yaml", *words)
    assert (code in (1, 2), said) == (True, "")
    assert sentence in error
    assert "Traceback" not in error
    assert rows(harness) == []


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("nowhere.py", None, "nowhere.py cannot be imported: FileNotFoundError: there is no file"),
        ("wrong.py", "x = 1\nraise KeyError('y')\n", "wrong.py cannot be imported: line 2 of wrong.py: KeyError: 'y'"),
        (
            "broken.py",
            "x = 1\ndef (:\n",
            "broken.py cannot be imported: line 2 of broken.py: SyntaxError: invalid",
        ),
        ("leaves.py", "import sys\nsys.exit(4)\n", "line 2 of leaves.py: it ends the program (SystemExit: 4)"),
        (
            "not_there.at_all",
            None,
            "cannot be imported: ModuleNotFoundError: No module named 'not_there'",
        ),
        (
            "sync.py",
            "from engine import job_kind\n@job_kind('a')\ndef work(job, client): pass\n",
            "sync.py: work must be async: async def work(…)",
        ),
        (
            "twice.py",
            "from engine import job_kind\n@job_kind('count')\nasync def work(job, client): pass\n",
            "twice.py: the kind 'count' is in my_counting.py already; rename one of them",
        ),
        (
            "data.py",
            "from engine import job_kind\n@job_kind('a', data=dict)\nasync def work(job, client): pass\n",
            "data.py: the data of the kind 'a' must be an attrs class, not <class 'dict'>",
        ),
    ],
)
def test_a_module_that_cannot_be_used_is_a_sentence_with_its_place(
    jobs: Run, harness: EngineHarness, name: str, text: str | None, sentence: str
) -> None:
    """The module and the line are named, for ``jobs add`` and for ``run``, and nothing is queued."""
    if text is not None:
        (harness.directory / name).write_text(text)
    harness.config.write_text(harness.config.read_text().replace("[my_counting.py]", f"[my_counting.py, {name}]"))
    code, _, error = jobs("add", "config.yaml", "count", "upto=5")
    assert code == 2
    assert sentence in error
    assert "Traceback" not in error
    assert rows(harness) == []


@pytest.mark.slow
async def test_run_says_what_is_wrong_with_a_module_and_leaves(harness: EngineHarness) -> None:
    """The engine does not start half: exit code 2 and the sentence, and the same for rules of an unknown kind."""
    text = harness.config.read_text().replace("modules: [my_counting.py]", "modules: [gone.py]")
    harness.config.write_text(text)
    code, said = await harness.command("run", "config.yaml")
    assert (code, "gone.py cannot be imported" in said) == (2, True)
    harness.config.write_text(text.replace("{modules: [gone.py]}", "{kinds: {sned: {per_account: 2}}}"))
    code, said = await harness.command("run", "config.yaml")
    assert (code, "work.kinds.sned: no module has this kind; did you mean 'send'?" in said) == (2, True)


def test_a_file_is_added_whole_or_not_at_all(jobs: Run, harness: EngineHarness) -> None:
    """All that is wrong in it is told with line numbers; mended, every line becomes a job with what it says."""
    lines = harness.directory / "jobs.jsonl"
    good = {
        "kind": "count",
        "data": {"upto": 5},
        "account": "Account 1",
        "priority": 2,
        "not_before": "2040-01-31T12:00",
    }
    bad = (
        '{"kind": "count"',
        '{"kind": "coun"}',
        '{"kinds": "count"}',
        '["count"]',
        '{"kind": "count", "priority": "1"}',
    )
    lines.write_text("\n".join((json.dumps(good), *bad, "")))
    code, _, error = jobs("add", "config.yaml", "--file", "jobs.jsonl")
    assert code == 2
    assert [line.split(": ")[0] for line in error.splitlines()[1:]] == [f"jobs.jsonl:{n}" for n in range(2, 7)]
    assert "nothing was added" in error
    assert rows(harness) == []
    lines.write_text(json.dumps(good) + "\n\n" + json.dumps({"kind": "count", "data": {"upto": 6}}) + "\n")
    assert jobs("add", "config.yaml", "--file", "jobs.jsonl")[:2] == (0, "jobs 1 to 2\n")
    listed = [json.loads(line) for line in jobs("list", "config.yaml", "--json")[1].splitlines()]
    assert [(row["account"], row["priority"], row["data"]) for row in listed] == [
        ("Account 1", 2, {"upto": 5}),
        (None, 0, {"upto": 6}),
    ]
    assert listed[0]["due"].startswith("2040-01-3")
    assert {"id", "account", "kind", "state", "attempts", "detail", "error"} <= listed[0].keys()


async def test_standard_input_is_a_file_too(harness: EngineHarness) -> None:
    """``--file -`` reads what is piped in."""
    line = json.dumps({"kind": "count", "data": {"upto": 1}}).encode()
    command = [sys.executable, "-W", "error", "-m", "engine", "jobs", "add", "config.yaml", "--file", "-"]
    done = await anyio.run_process(
        command, input=line, cwd=harness.directory, env=harness.environment, stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stdout.decode()) == (0, "job 1\n"), done.stderr.decode()


def some(harness: EngineHarness) -> None:
    """Add three jobs, of which the second has failed."""
    path = harness.directory / "data" / "engine.db"
    add(path, [NewJob(kind="count", data={"upto": n}, account="Account 1" if n == 2 else None) for n in range(3)])
    with closing(sqlite3.connect(path)) as db, db:
        chain = json.dumps(["ValueError: no", "KeyError: 'x'"])
        db.execute(
            "UPDATE jobs SET state = 'failed', attempts = 5, detail = 'no', error = ?, checkpoint = '{\"n\": 1}' "
            "WHERE id = 2",
            (chain,),
        )


DOWN = "2 queued, 1 failed\nthe engine is not running; they go on when it does"


def test_list_and_show(jobs: Run, harness: EngineHarness) -> None:
    """The list has a line for each and the counts; ``show`` has checkpoint and cause; filters choose."""
    some(harness)
    code, said, counts = jobs("list", "config.yaml")
    assert (code, len(said.splitlines()), counts.strip()) == (0, 3, DOWN)
    assert "❌ failed" in said.splitlines()[1]
    assert "5 failed attempts, no" in said.splitlines()[1]
    for chosen, count in (
        (("--state", "failed"), 1),
        (("--account", "* 1"), 1),
        (("--kind", "send"), 0),
        (("-n", "2"), 2),
    ):
        assert len(jobs("list", "config.yaml", *chosen)[1].splitlines()) == count
    said = jobs("show", "config.yaml", "2")[1]
    assert '"ValueError: no", "KeyError: \'x\'"' in said
    assert '{"n": 1}' in said
    assert json.loads(jobs("show", "config.yaml", "2", "--json")[1])["error"] == ["ValueError: no", "KeyError: 'x'"]
    assert "there is no job 9" in jobs("show", "config.yaml", "9")[2]
    assert "there is no 'fialed'; did you mean 'failed'?" in jobs("list", "config.yaml", "--state", "fialed")[2]
    assert (
        "no account is named like 'Acount 1'; did you mean" in jobs("list", "config.yaml", "--account", "Acount 1")[2]
    )


def test_without_a_file_the_list_is_empty(jobs: Run) -> None:
    """Before anything was added that is a sentence, and no file is made for it."""
    for command in (("list",), ("show", "config.yaml", "1"), ("retry", "config.yaml", "1")):
        code, _, error = jobs(*command)
        assert code == 1
        assert "there is no such file" in error


def test_retry_and_cancel(jobs: Run, harness: EngineHarness) -> None:
    """What failed goes back with its checkpoint, what waits is cancelled; what cannot be is told with exit code 1."""
    some(harness)
    assert jobs("retry", "config.yaml", "2")[:2] == (0, "job 2 is queued\n")
    assert [state for *_, state in rows(harness)] == ["queued"] * 3
    with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
        assert db.execute("SELECT attempts, checkpoint FROM jobs WHERE id = 2").fetchone() == (0, '{"n":1}')
    assert jobs("cancel", "config.yaml", "1", "3")[:2] == (0, "2 jobs are cancelled\n")
    code, _, error = jobs("cancel", "config.yaml", "1", "7")
    assert (code, error.splitlines()) == (1, ["job 1 is cancelled; it is over", "there is no job 7"])
    assert "say which jobs" in jobs("cancel", "config.yaml")[2]
    assert jobs("cancel", "config.yaml", "--kind", "count")[:2] == (0, "job 2 is cancelled\n")
    assert jobs("retry", "config.yaml", "--state", "cancelled")[:2] == (0, "3 jobs are queued\n")
    assert jobs("retry", "config.yaml", "--state", "failed")[:2] == (0, "there are no such jobs\n")


@pytest.mark.slow
async def test_beside_a_running_engine(tmp_path: Path) -> None:
    """A job that is added is done soon, one that runs is cancelled, and ``status`` has progress and counts."""
    module = (
        "import anyio\nfrom engine import job_kind\n@job_kind('slow')\nasync def slow(job, client):\n"
        "    for n in range(1, 1000):\n        await job.checkpoint({}, done=n, total=1000)\n"
        "        await anyio.sleep(0.05)\n"
    )
    harness = EngineHarness(tmp_path)
    (tmp_path / "my_slow.py").write_text(module)
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001", rest=FAST + "work: {modules: [my_slow.py]}\n")
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 1))
            assert await harness.command("jobs", "add", "config.yaml", "slow") == (0, "job 1\n")
            assert await harness.command("jobs", "add", "config.yaml", "send", "to=me", "text=x") == (0, "job 2\n")
            await harness.until(lambda at: rows(at)[1][-1] == "done")
            await harness.until(lambda at: rows(at)[0][-1] == "running")
            code, said = await harness.command("status", "config.yaml", "--json")
            work = json.loads(said)["jobs"]
            assert (code, work["counts"]["done"], work["counts"]["running"]) == (0, 1, 1)
            [run] = work["running"]
            assert (run["id"], run["kind"], run["account"], run["total"]) == (1, "slow", "Account 1", 1000)
            assert run["rate"] > 1
            assert run["remaining"] > 1
            assert "slow  Account 1" in (await harness.command("status", "config.yaml"))[1]
            assert await harness.command("jobs", "cancel", "config.yaml", "1") == (0, "job 1 is cancelled\n")
            await harness.until(lambda at: "Job 1 (slow) of Account 1 was cancelled" in at.text)
            engine.terminate()
            assert await harness.finish(engine) == 0
    assert [state for *_, state in rows(harness)] == ["cancelled", "done"]
