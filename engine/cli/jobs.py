"""``jobs``: adds, lists, retries and cancels durable work, with the engine running or not."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

from adapters.files import open_input
from adapters.sqlite.job_reader import MAX_NUMBER
from engine.app.stored_jobs import add_jobs as add_stored
from engine.app.stored_jobs import open_jobs
from engine.cli.common import (
    DEFAULT_CONFIG,
    EXIT_BAD_INPUT,
    AsJson,
    ConfigPath,
    check_choice,
    config_and_numbers,
    fail,
    have_engine_look,
    is_config,
    match_accounts,
    parse_duration_option,
    reporting_errors,
)
from engine.cli.declared import CommandGroup, Parameter
from engine.config import load, load_outline
from engine.console.format import nearest
from engine.console.job_lines import as_data, counts_text, line
from engine.console.safe_text import json_text, one_line, safe_lines
from states.job import Job, JobState, by_state

if TYPE_CHECKING:  # reading jobs needs neither the writer nor the terminal
    from adapters.sqlite.jobs import NewJob

app = CommandGroup(name="jobs", help="Durable work: add, list, retry or cancel it.")

MAX_LINE_CHARACTERS = 1024 * 1024
"""Length of a line in a file of jobs."""
MAX_FAULTS_SHOWN = 20
PIPE_TIMEOUT = 10.0
"""Seconds that a program may take to begin to write jobs into a pipe."""
MAX_RESULTS_SHOWN = 20

AccountOption = Annotated[str | None, Parameter(help="The account that does the jobs; left out, any account.")]
StateOption = Annotated[str | None, Parameter(help="Only jobs in this state.")]
KindOption = Annotated[str | None, Parameter(help="Only jobs of this kind.")]
ConfigAndNumbers = Annotated[
    str,
    Parameter(name="[CONFIG] NUMBER...", negative="", help="The config file (config.yaml), and numbers of jobs."),
]


@app.command("add")
def add_jobs(
    *words: Annotated[
        str,
        Parameter(
            name="[CONFIG] KIND [NAME=VALUE...]",
            negative="",
            help="The config file (config.yaml); what kind of work, such as send, download, or your own; and its data.",
        ),
    ],
    account: AccountOption = None,
    priority: Annotated[int, Parameter(help="Higher goes first.")] = 0,
    after: Annotated[str | None, Parameter(help="Begin no earlier than this long from now, such as 10m.")] = None,
    file: Annotated[
        str | None,
        Parameter(
            help="A file with one job per line, as JSON; - is standard input. Either all are added or none.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add jobs, and print their numbers. If the data of a job does not fit its kind, nothing is added.

    A line of a file is {"kind": "send", "data": {"to": "@news", "text": "hello"}}. It may also have account, priority
    and not_before (a time, such as 2026-01-31T12:00).

    Exit code 0 if all are added, 2 if a job, an account or a module is wrong.
    """
    from engine.app.job_registry import JobRegistry  # noqa: PLC0415 - the only command here that needs Telethon, a second's import

    with reporting_errors():
        config, kind, data = _config_and_kind(words)
        settings = load(config)
        directory = settings.storage.directory
        registry = JobRegistry.of(settings)
        if (kind is None) == (file is None):
            fail(EXIT_BAD_INPUT, "name a kind and its data, or a --file with jobs; not both, and not neither")
        if kind is not None:
            wait = parse_duration_option("--after", after) if after is not None else None
            due = None if wait is None else time.time() + wait
            jobs = [registry.check(kind, registry.data_of(kind, data), account, priority, due, wait=wait)]
        else:
            if account or priority or after:
                fail(EXIT_BAD_INPUT, "with --file each line says everything; leave the other options out")
            jobs = _read_jobs(file or "", registry.check)
        have_engine_look(directory)  # it looks whether the file is still its own: a job in any other is never done
        numbers = add_stored(settings.storage, jobs)
        have_engine_look(directory)
        if as_json:
            print("\n".join(json.dumps({"id": number}) for number in numbers))
        elif numbers:
            print(f"job {numbers[0]}" if len(numbers) == 1 else f"jobs {numbers[0]} to {numbers[-1]}")
        else:
            print("no jobs: the file has no lines")


@app.command("list")
def list_jobs(
    config: ConfigPath = Path("config.yaml"),
    *,
    state: StateOption = None,
    account: AccountOption = None,
    kind: KindOption = None,
    number: Annotated[int | None, Parameter(name="-n", help="Only the last N.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print jobs, oldest first, and the number of jobs in each state."""
    if number is not None and number < 1:
        fail(EXIT_BAD_INPUT, f"-n: must be at least 1, not {number}")
    with reporting_errors():
        outline = load_outline(config)
        directory = outline.directory
        wanted = build_filter(outline.names, state, account, kind)
        show, now = _printer(as_json), time.time()
        engine = have_engine_look(directory)
        with open_jobs(outline) as reader:
            reader.on_unreadable = partial(_print_unreadable, as_json)
            shown = 0
            for job in reader.jobs(wanted, last=None if number is None else min(number, MAX_NUMBER)):
                shown += 1
                show(job, now)
            if not as_json:
                print(_counted(by_state(reader.counts()), state, account, kind, shown), file=sys.stderr)
                if engine is None and outline.database is None:  # in a database another node may do them
                    print("the engine is not running; they go on when it does", file=sys.stderr)


def _printer(as_json: bool) -> Callable[[Job, float], None]:
    """Return what prints a job, as a line of JSON or as it is at this time (Unix seconds)."""
    if as_json:
        return lambda job, now: print(json_text(as_data(job)))
    from rich.console import Console  # noqa: PLC0415 - as above

    console = Console(highlight=False)
    return lambda job, now: console.print(line(job, now), soft_wrap=True)


def _counted(counts: Mapping[str, int], state: str | None, account: str | None, kind: str | None, shown: int) -> str:
    """Return how many jobs there are: of the chosen state, or those that were shown if anything else was chosen."""
    if account is not None or kind is not None:
        return f"{shown:,} of these jobs" if shown else "there are no such jobs"
    if state is not None:
        return counts_text({state: counts.get(state, 0)}) or f"no job is {state}"
    return counts_text(counts) or "there are no jobs"


def _print_unreadable(as_json: bool, number: int, why: str) -> None:
    """Print the place of a job whose row cannot be read."""
    if as_json:
        print(json_text({"id": number, "unreadable": why}))
    else:
        print(f"{number:>6} ⚠️ unreadable  {one_line(why)}")


@app.command("show")
def show(*words: ConfigAndNumbers, as_json: AsJson = False) -> None:
    """Print everything about a job: its data, checkpoint, progress and result, and why it failed."""
    with reporting_errors():
        config, numbers = config_and_numbers(words)
        if len(numbers) != 1:
            fail(EXIT_BAD_INPUT, "give the number of one job; 'jobs list' names them")
        (number,) = numbers
        outline = load_outline(config)
        have_engine_look(outline.directory)
        with open_jobs(outline) as reader:
            job = reader.job(number)
            if job is None:
                fail(EXIT_BAD_INPUT, f"there is no job {number}; 'jobs list' names them")
            values = {**as_data(job), "stored": reader.results(number, MAX_RESULTS_SHOWN)}
            values["traceback"] = reader.trace(number) if job.error else None
        if as_json:
            print(json_text(values, indent=2))
            return
        _printer(as_json)(job, time.time())
        for name, value in values.items():
            if name == "traceback" and value is not None:
                print(f"       traceback:\n{indent(safe_lines(value), ' ' * 9)}")
            elif name not in ("id", "kind", "state", "account", "detail") and value not in (None, [], {}):
                text = value if isinstance(value, str) else json_text(value)
                print(f"       {name + ':':<12} {one_line(text)}")


for _command in ("retry", "cancel"):
    app.commands[_command] = f"engine.cli.jobs_change:{_command}"


def build_filter(
    names: Sequence[str], state: str | None, account: str | None, kind: str | None
) -> dict[str, list[str] | None]:
    """Return which jobs the options choose; exit if one of them names none."""
    check_choice("--state", state, [each.value for each in JobState])
    return {
        "state": None if state is None else [state],
        "account": None if account is None else match_accounts(names, account, option="--account"),
        "kind": None if kind is None else [kind],
    }


def _config_and_kind(words: tuple[str, ...]) -> tuple[Path, str | None, tuple[str, ...]]:
    """Return what ``[CONFIG] KIND [NAME=VALUE…]`` says; the first word is the config if it can be nothing else."""
    given = words and (is_config(words[0]) or (os.path.isfile(words[0]) and "=" not in "".join(words[1:2])))
    rest = words[1:] if given else words
    return Path(words[0]) if given else DEFAULT_CONFIG, rest[0] if rest else None, rest[1:]


# --- a file of jobs --------------------------------------------------------------------------------------------------


def _read_jobs(name: str, check: "Callable[..., NewJob]") -> "list[NewJob]":
    """Return the jobs in a file of JSON lines; exit with a list of its faults if it has any."""
    jobs: list[NewJob] = []
    faults: list[str] = []
    for number, text in enumerate(_read_lines(name), 1):
        if text.strip():
            try:
                jobs.append(_parse_job(text, check))
            except ValueError as exc:
                faults.append(f"{'stdin' if name == '-' else name}:{number}: {exc}")
    if faults:
        more = [f"and {len(faults) - MAX_FAULTS_SHOWN:,} more lines"] if len(faults) > MAX_FAULTS_SHOWN else []
        fail(EXIT_BAD_INPUT, "nothing was added; fix this and try again:", *faults[:MAX_FAULTS_SHOWN], *more)
    return jobs


def _read_lines(name: str) -> Iterator[str]:
    try:
        # Of stdin the bytes are read: the file is UTF-8, whatever the terminal's encoding is.
        with (
            nullcontext(sys.stdin.buffer)
            if name == "-"
            else os.fdopen(open_input(Path(name), PIPE_TIMEOUT), "rb") as lines
        ):
            for number, line in enumerate(lines):
                yield line.decode("utf-8-sig" if not number else "utf-8")
    except OSError as exc:
        fail(EXIT_BAD_INPUT, f"{name}: the file cannot be read ({(exc.strerror or str(exc)).lower()}); check the path")
    except UnicodeDecodeError:
        fail(EXIT_BAD_INPUT, f"{name}: the file is not UTF-8; save it as UTF-8")


def _parse_job(text: str, check: "Callable[..., NewJob]") -> "NewJob":
    """Return the job in one line. Raises ``ValueError``."""
    if len(text) > MAX_LINE_CHARACTERS:
        raise ValueError(f"the line has {len(text):,} characters; at most {MAX_LINE_CHARACTERS:,} are taken")
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("its values are nested too deep") from None
    except json.JSONDecodeError:
        raise
    except ValueError:  # Python's own sentence advises a change of the program
        raise ValueError("a number has more digits than can be read; write a shorter one") from None
    if not isinstance(values, dict):
        raise ValueError('a line is one JSON object, such as {"kind": "send", "data": {"to": "@news", "text": "hi"}}')
    if unknown := sorted(values.keys() - KEYS.keys()):
        raise ValueError(f"{unknown[0]!r} is not known; {nearest(unknown[0], KEYS)}")
    for key, (wanted, words) in KEYS.items():
        if key in values and (not isinstance(values[key], wanted) or isinstance(values[key], bool)):
            raise ValueError(f"{key} must be {words}")
    if "kind" not in values:
        raise ValueError("kind is missing")
    due = values.get("not_before")
    if due is not None:
        due = _time_of(due)
    return check(values["kind"], values.get("data", {}), values.get("account"), values.get("priority", 0), due)


def _time_of(text: str) -> float:
    """Return the Unix time that a text names, local where it has no offset. Raises ``ValueError``."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):  # a date whose offset leads out of the calendar overflows
        raise ValueError(
            "not_before must be a time from 1970 to 2999, such as 2026-01-31T12:00 or 2026-01-31T12:00+01:00"
        ) from None


KEYS: dict[str, tuple[Any, str]] = {
    "kind": (str, "text"),
    "data": (dict, "an object"),
    "account": (str | None, "text"),
    "priority": (int, "a whole number"),
    "not_before": (str | None, "a time, as 2026-01-31T12:00"),
}
"""The keys of a line, the type of each value, and the words for that type."""
