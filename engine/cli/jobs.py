"""``jobs``: durable work, added and looked after while the engine runs or not."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console

from adapters.sqlite.job_reader import JobReader
from adapters.sqlite.jobs import NewJob, add, change
from adapters.system import holder_of
from engine import paths
from engine.cli.common import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    AsJson,
    ConfigPath,
    duration_of,
    fail,
    known,
    reporting_errors,
)
from engine.config import Config, load
from engine.console.format import matching, nearest
from engine.console.job_lines import as_data, counts_text, line
from engine.control import EngineSilent, Request, Verb, ask
from states.jobs import Cancelled, Job, JobEvent, JobState, Retried, by_state

app = App(name="jobs", help="Durable work: add it, look at it, retry or cancel it.", version_flags=[])

LINE_BYTES = 1024 * 1024
"""The longest line of a file of jobs."""
FAULTS_SHOWN = 20
RESULTS_SHOWN = 20
TELL_TIMEOUT = 5.0
CHUNK = 1000
"""Jobs that are changed in one transaction."""

Account = Annotated[str | None, Parameter(help="Who is to do it, or whose jobs; left out, any account.")]
State = Annotated[str | None, Parameter(help="Only jobs in this state.")]
OfKind = Annotated[str | None, Parameter(help="Only jobs of this kind.")]
Number = Annotated[int, Parameter(help="Numbers of jobs.")]


@app.command(name="add")
def add_(
    config: ConfigPath,
    kind: Annotated[str | None, Parameter(help="What kind of work: send, collect, join, or one of your own.")] = None,
    *data: Annotated[str, Parameter(help="What it is given, as name=value.")],
    account: Account = None,
    priority: Annotated[int, Parameter(help="Higher goes first.")] = 0,
    after: Annotated[str | None, Parameter(help="Not before so long from now, such as 10m.")] = None,
    file: Annotated[
        str | None,
        Parameter(
            help="A file with a job on each line, as JSON; - is standard input. All are added, or none.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add jobs; print their numbers. What does not fit its kind is said, and nothing is added then.

    A line of a file is {"kind": "send", "data": {"to": "@news", "text": "hello"}}, and may have account, priority and
    not_before (a time, as 2026-01-31T12:00).

    Exit code 0 if all are added, 2 if a job, an account or a module is wrong.
    """
    from engine.app.job_registry import JobRegistry  # noqa: PLC0415 - the only command here that needs Telethon, a second's import

    with reporting_errors():
        settings = load(config)
        registry = JobRegistry.of(settings)
        if (kind is None) == (file is None):
            fail(EXIT_BAD_INPUT, "name a kind and its data, or a --file with jobs; not both, and not neither")
        if kind is not None:
            due = time.time() + duration_of("--after", after) if after is not None else None
            jobs = [registry.check(kind, registry.data_of(kind, data), account, priority, due)]
        else:
            if account or priority or after:
                fail(EXIT_BAD_INPUT, "with --file each line says everything; leave the other options out")
            jobs = _jobs_of(file or "", registry.check)
        numbers = add(settings.storage.directory / paths.DATABASE, jobs)
        _tell_engine(settings)
        if as_json:
            print("\n".join(json.dumps({"id": number}) for number in numbers))
        elif numbers:
            print(f"job {numbers[0]}" if len(numbers) == 1 else f"jobs {numbers[0]} to {numbers[-1]}")
        else:
            print("no jobs: the file has no lines")


@app.command(name="list")
def list_(
    config: ConfigPath = Path("config.yaml"),
    *,
    state: State = None,
    account: Account = None,
    kind: OfKind = None,
    number: Annotated[int | None, Parameter(name="-n", help="Only the last N.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print jobs, the oldest first, and how many there are in each state."""
    if number is not None and number < 1:
        fail(EXIT_BAD_INPUT, f"-n: must be at least 1, not {number}")
    with reporting_errors():
        settings = load(config)
        wanted = _wanted(settings, state, account, kind)
        console, now = Console(highlight=False), time.time()
        with JobReader.open(settings.storage.directory / paths.DATABASE) as reader:
            for job in reader.jobs(wanted, last=number):
                if as_json:
                    print(json.dumps(as_data(job), ensure_ascii=False))
                else:
                    console.print(line(job, now), soft_wrap=True)
            if not as_json:
                print(counts_text(by_state(reader.counts())) or "there are no jobs", file=sys.stderr)
                if holder_of(settings.storage.directory / paths.LOCK) is None:
                    print("the engine is not running; they go on when it does", file=sys.stderr)


@app.command
def show(
    config: ConfigPath, number: Annotated[int, Parameter(help="The job's number.")], *, as_json: AsJson = False
) -> None:
    """Print all there is to know about a job: its data, checkpoint, progress, result, and why it failed."""
    with reporting_errors():
        with JobReader.open(load(config).storage.directory / paths.DATABASE) as reader:
            job = reader.job(number)
            if job is None:
                fail(EXIT_BAD_INPUT, f"there is no job {number}; 'jobs list' names them")
            said = {**as_data(job), "stored": reader.results(number, RESULTS_SHOWN)}
        if as_json:
            print(json.dumps(said, ensure_ascii=False, indent=2))
            return
        Console(highlight=False).print(line(job, time.time()), soft_wrap=True)
        for name, value in said.items():
            if name not in ("id", "kind", "state", "account", "detail") and value not in (None, [], {}):
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                print(f"       {name + ':':<12} {text}")


@app.command
def retry(
    config: ConfigPath,
    *number: Number,
    state: State = None,
    account: Account = None,
    kind: OfKind = None,
    as_json: AsJson = False,
) -> None:
    """Let jobs that failed or were cancelled begin anew, from their last checkpoint; and those that wait, now.

    Name their numbers, or choose them: --state failed, --kind send. Exit code 1 if a job cannot be retried.
    """
    _change(config, Retried(), number, (state, account, kind), as_json)


@app.command
def cancel(
    config: ConfigPath,
    *number: Number,
    state: State = None,
    account: Account = None,
    kind: OfKind = None,
    as_json: AsJson = False,
) -> None:
    """End jobs that are queued or running. A message that is on its way may still arrive.

    Name their numbers, or choose them: --state queued, --kind send. Exit code 1 if a job is over already.
    """
    _change(config, Cancelled(), number, (state, account, kind), as_json)


Choice = tuple[str | None, str | None, str | None]
"""State, account (or a pattern of accounts) and kind of the jobs that are meant; None is any."""


def _wanted(settings: Config, state: str | None, account: str | None, kind: str | None) -> dict[str, list[str] | None]:
    known("--state", state, [each.value for each in JobState])
    names = [each.name for each in settings.accounts]
    accounts = None if account is None else matching(names, account)
    if accounts == []:
        fail(EXIT_BAD_INPUT, f"--account: no account is named like {account!r}; {nearest(account or '', names)}")
    return {
        "state": None if state is None else [state],
        "account": accounts,
        "kind": None if kind is None else [kind],
    }


def _change(config: Path, event: Cancelled | Retried, numbers: tuple[int, ...], choice: Choice, as_json: bool) -> None:
    with reporting_errors():
        settings = load(config)
        path = settings.storage.directory / paths.DATABASE
        if not numbers:
            if not any(choice):
                fail(EXIT_BAD_INPUT, "say which jobs: their numbers, or --state, --kind or --account")
            wanted = _wanted(settings, *choice)
            if wanted["state"] is None:  # of those in other states nothing can come
                wanted["state"] = list(CHANGEABLE[type(event)])
            with JobReader.open(path) as reader:
                numbers = tuple(job.id for job in reader.jobs(wanted))
        outcomes: list[tuple[Job, Job] | int] = []
        for first in range(0, len(numbers), CHUNK):
            outcomes += change(path, numbers[first : first + CHUNK], event)
        _tell_engine(settings)
        refused = [said for outcome in outcomes if (said := _refusal(outcome, event)) is not None]
        able = CHANGEABLE[type(event)]
        changed = [each[1] for each in outcomes if not isinstance(each, int) and each[0].state in able]
        if as_json:
            for job in changed:
                print(json.dumps(as_data(job), ensure_ascii=False))
        elif changed:
            what = f"job {changed[0].id} is" if len(changed) == 1 else f"{len(changed):,} jobs are"
            print(f"{what} {changed[0].state.value}")
        elif not refused:
            print("there are no such jobs")
        if refused:
            fail(EXIT_FAILED, *refused[:FAULTS_SHOWN])


CHANGEABLE: dict[type[JobEvent], tuple[str, ...]] = {
    Retried: ("queued", "failed", "cancelled"),
    Cancelled: ("queued", "running"),
}
"""The states in which a job can be told so."""


def _refusal(outcome: tuple[Job, Job] | int, event: JobEvent) -> str | None:
    if isinstance(outcome, int):
        return f"there is no job {outcome}"
    before, _ = outcome
    if before.state in CHANGEABLE[type(event)]:
        return None
    why = "one that runs cannot be retried; cancel it first" if before.state is JobState.RUNNING else "it is over"
    return f"job {before.id} is {before.state.value}; {why}"


def _tell_engine(settings: Config) -> None:
    """Let a running engine know; it would notice by itself, a little later."""
    if holder_of(settings.storage.directory / paths.LOCK) is not None:
        with suppress(EngineSilent):
            ask(settings.storage.directory / paths.SOCKET, Request(Verb.JOBS), timeout=TELL_TIMEOUT)


# --- a file of jobs --------------------------------------------------------------------------------------------------


def _jobs_of(name: str, check: Callable[..., NewJob]) -> list[NewJob]:
    """Return the jobs of a file of JSON lines, or say all that is wrong with it and leave."""
    jobs: list[NewJob] = []
    faults: list[str] = []
    for number, text in enumerate(_lines(name), 1):
        if text.strip():
            try:
                jobs.append(_job_of(text, check))
            except ValueError as exc:
                faults.append(f"{'stdin' if name == '-' else name}:{number}: {exc}")
    if faults:
        more = [f"and {len(faults) - FAULTS_SHOWN:,} more lines"] if len(faults) > FAULTS_SHOWN else []
        fail(EXIT_BAD_INPUT, "nothing was added; mend this and try again:", *faults[:FAULTS_SHOWN], *more)
    return jobs


def _lines(name: str) -> Iterator[str]:
    if name == "-":
        yield from sys.stdin
        return
    try:
        with Path(name).open(encoding="utf-8-sig") as lines:
            yield from lines
    except OSError as exc:
        fail(EXIT_BAD_INPUT, f"{name}: the file cannot be read ({(exc.strerror or str(exc)).lower()}); check the path")
    except UnicodeDecodeError:
        fail(EXIT_BAD_INPUT, f"{name}: the file is not UTF-8; save it as UTF-8")


def _job_of(text: str, check: Callable[..., NewJob]) -> NewJob:
    """Return the job of one line. Raises ``ValueError``."""
    said = json.loads(text) if len(text) <= LINE_BYTES else None
    if not isinstance(said, dict):
        raise ValueError('a line is one JSON object, such as {"kind": "send", "data": {"to": "@news", "text": "hi"}}')
    if unknown := sorted(said.keys() - KEYS.keys()):
        raise ValueError(f"{unknown[0]!r} is not known; {nearest(unknown[0], KEYS)}")
    for key, (wanted, words) in KEYS.items():
        if key in said and (not isinstance(said[key], wanted) or isinstance(said[key], bool)):
            raise ValueError(f"{key} must be {words}")
    if "kind" not in said:
        raise ValueError("kind is missing")
    due = said.get("not_before")
    if due is not None:
        due = datetime.fromisoformat(due).astimezone().timestamp()
    return check(said["kind"], said.get("data", {}), said.get("account"), said.get("priority", 0), due)


KEYS: dict[str, tuple[Any, str]] = {
    "kind": (str, "text"),
    "data": (dict, "an object"),
    "account": (str | None, "text"),
    "priority": (int, "a whole number"),
    "not_before": (str | None, "a time, as 2026-01-31T12:00"),
}
"""What a line may say."""
