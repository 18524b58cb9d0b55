"""What people see of jobs that fail, of the sandbox's key and control port, and of a config's jobs that are wrong."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from rich.cells import cell_len
from rich.console import Console

from adapters.sandbox import Sandbox
from adapters.sqlite.job_reader import JobReader
from adapters.sqlite.jobs import NewJob, add, change
from engine import Engine
from engine.config import ConfigError, load
from engine.console.job_lines import line, page
from engine.work.job_trace import MAX_CHARACTERS, trace_of
from states.jobs import Cancelled, Job, JobState, JobSummary
from tests.engine.commands import Run, runs
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: A, session: a}
"""
WORK = """
from engine import job_kind

def inner(number):
    key = "0123456789abcdef0123456789abcdef"; number["+9996620001"]

@job_kind("crunch")
async def crunch(job, client):
    try:
        inner({})
    except KeyError as exc:
        raise RuntimeError("no number +9996620001") from exc
"""


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command beside a config."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    return runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


async def test_a_failed_job_keeps_its_traceback(
    harness: EngineHarness, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``jobs show`` has where it happened, in the cause and in what came of it, without phone numbers and keys."""
    (harness.directory / "my_work.py").write_text(WORK, "utf-8")
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001", rest="work: {modules: [my_work.py], retry: {tries: 1}}\n")
        async with Engine.from_config(harness.config) as engine:
            with anyio.fail_after(TIMEOUT):
                job = await engine.finished(await engine.add_job("crunch", {}))
    assert job.state is JobState.FAILED
    show = runs("jobs", "show", capsys=capsys, within=harness.directory, monkeypatch=monkeypatch)
    code, out, _ = show("1")
    assert code == 0
    trace = out.split("traceback:")[1]
    assert "my_work.py:5 in inner" in trace
    assert "my_work.py:12 in crunch" in trace
    assert trace.index("RuntimeError") < trace.index("KeyError")
    assert "0123456789abcdef" not in out
    assert "9996620001" not in trace
    assert '"traceback": "' in show("1", "--json")[1]


def test_a_traceback_is_bounded_and_never_raises() -> None:
    """A recursion, a circle of causes and an exception that cannot be described end in a short text."""

    class Evil(Exception):
        @property
        def __cause__(self) -> BaseException:  # type: ignore[override]
            raise OSError("no cause")

    def deep(levels: int) -> None:
        if not levels:
            raise ValueError("x" * 100_000)
        deep(levels - 1)

    found: list[BaseException] = [Evil()]
    try:
        deep(500)
    except ValueError as exc:
        exc.__cause__ = KeyError()
        exc.__cause__.__cause__ = exc
        found.append(exc)
    for exc in found:
        text = trace_of(exc)
        assert text
        assert len(text) <= MAX_CHARACTERS + 1
        assert "xxx" not in text


def test_a_file_of_an_older_version_has_no_tracebacks(run: Run, tmp_path: Path) -> None:
    """It is shown without; the next engine makes the table."""
    add(tmp_path / "data" / "engine.db", [NewJob(kind="send", data={"to": "@x", "text": "y"})])
    with closing(sqlite3.connect(tmp_path / "data" / "engine.db")) as db:
        db.execute("DROP TRIGGER job_trace_removed")
        db.execute("DROP TABLE job_traces")
        db.execute("PRAGMA user_version = 5")
    assert run("jobs", "show", "1")[0] == 0
    change(tmp_path / "data" / "engine.db", [1], Cancelled())
    with JobReader.open(tmp_path / "data" / "engine.db") as reader:
        assert reader.trace(1) is None
    with closing(sqlite3.connect(tmp_path / "data" / "engine.db")) as db:
        assert db.execute("SELECT count(*) FROM job_traces").fetchone() == (0,)


def test_jobs_are_listed_in_columns(run: Run, tmp_path: Path) -> None:
    """Each line has the target and the time, and account and target begin in the same column."""
    database = tmp_path / "data" / "engine.db"
    new = [NewJob(kind="send", data={"to": "@news", "text": "y"}), NewJob(kind="collect", data={"chat": "@other"})]
    add(database, [*new, NewJob(kind="join", data={"chat": "@x" * 60}, account="A"), NewJob(kind="odd", data={})])
    change(database, [2], Cancelled())
    lines = run("jobs", "list")[1].replace("\ufe0f", "").splitlines()  # which has no width of its own
    assert lines[0].index("any account") == lines[1].index("any account")
    assert lines[0].index("@news") == lines[1].index("@other") == lines[2].index("@x@x")
    assert all(part[3].count("-") == 2 and part[4].count(":") == 2 for part in map(str.split, lines))
    assert max(map(len, lines)) < 130


def test_only_the_chosen_jobs_are_counted(run: Run, tmp_path: Path) -> None:
    """``--state failed`` says nothing of the others."""
    add(tmp_path / "data" / "engine.db", [NewJob(kind="send", data={"to": "@x", "text": "y"})] * 3)
    change(tmp_path / "data" / "engine.db", [1], Cancelled())
    assert run("jobs", "list", "--state", "failed")[2].splitlines()[0] == "no job is failed"
    assert run("jobs", "list", "--state", "queued")[2].splitlines()[0] == "2 queued"
    assert run("jobs", "list", "--kind", "join")[2].splitlines()[0] == "there are no such jobs"
    assert run("jobs", "list", "--account", "A", "--kind", "join")[2].splitlines()[0] == "there are no such jobs"
    assert run("jobs", "list")[2].splitlines()[0] == "2 queued, 1 cancelled"


def test_failed_jobs_stand_out_in_the_status() -> None:
    """They are red, and the page says how to see them; without failed ones it does not."""
    console = Console(width=100, color_system="truecolor", force_terminal=True)
    with console.capture() as shown:
        console.print(*page(JobSummary({"done": 42, "failed": 3})), sep="\n")
    assert "\x1b[1;31m3 failed" in shown.get()
    assert "jobs list --state failed" in shown.get()
    assert "jobs list" not in str([text.plain for text in page(JobSummary({"done": 42}))])


def test_an_icon_moves_no_column() -> None:
    """All states begin their account in the same cell."""
    lines = [line(Job(id=1, kind="send", state=state), 0.0).plain for state in JobState]
    assert len({cell_len(text[: text.index("any account")]) for text in lines}) == 1


# --- the sandbox -----------------------------------------------------------------------------------------------------


async def test_the_sandbox_writes_its_public_key(tmp_path: Path) -> None:
    """A config takes ``dc.pub.pem``; given the private key, it says that, and names the other file."""
    state = tmp_path / "state"
    async with Sandbox(state=state) as dc:
        assert (state / "dc.pub.pem").read_text() == dc.public_key
    config = tmp_path / "config.yaml"
    at = "{id: 2, host: 127.0.0.1, port: 4430, public_key: %s}"
    config.write_text(CONFIG.replace("sandbox}", at % "state/dc.pub.pem" + "}"))
    assert load(config).telegram.datacenter.public_key == dc.public_key  # type: ignore[union-attr]
    config.write_text(CONFIG.replace("sandbox}", at % "state/dc.pem" + "}"))
    with pytest.raises(ConfigError) as refused:
        load(config)
    assert "but a private key, which is the server's; its public key is in dc.pub.pem" in str(refused.value)


def test_a_wrong_job_of_the_sandbox_is_told_with_its_line(run: Run, tmp_path: Path) -> None:
    """``run`` says the line of the config, as for everything else in it."""
    jobs = "sandbox:\n  jobs:\n    - {kind: send, data: {to: '@x', text: y}}\n    - {kind: sned, data: {}}\n"
    (tmp_path / "config.yaml").write_text(CONFIG + jobs)
    code, _, said = run("run")
    assert code == 2
    assert said.startswith("config.yaml:8: sandbox.jobs[1]: there is no kind of jobs called 'sned'; ")
