"""The commands. Data goes to stdout, what is said about it to stderr."""

import fnmatch
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import anyio
from cyclopts import App, Parameter
from rich.console import Console

from adapters.sqlite import JournalMissing, JournalReader, StorageError
from adapters.system import LockHeld, holder_of
from engine import diagram as drawing
from engine import history, layout, screen, status
from engine.config import Config, ConfigError, load, nearest, parse_duration
from states import EVENT_BY_NAME, Policy, Snapshot, State

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_ENGINE_RUNS = 3
FOLLOW_EVERY = 0.25
"""Seconds between two looks at the journal."""
FOLLOW_SHOWS = 20
"""Lines that ``log -f`` begins with."""

ConfigPath = Annotated[Path, Parameter(help="The config file.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]

app = App(
    name="python -m engine",
    help="Holdfast keeps many Telegram accounts connected: each connection is a formal state machine.",
    version_flags=[],
)


def fail(code: int, *sentences: str) -> NoReturn:
    """Say what is wrong, and leave."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def told() -> Iterator[None]:
    """Turn what a person can mend into a sentence and an exit code."""
    try:
        yield
    except ConfigError as exc:
        fail(EXIT_BAD_INPUT, str(exc))
    except LockHeld as exc:
        fail(EXIT_ENGINE_RUNS, str(exc))
    except StorageError as exc:
        fail(EXIT_FAILED, str(exc))
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        fail(EXIT_FAILED, f"{where}{(exc.strerror or str(exc)).lower()}; see that the directory can be written")


def duration_of(option: str, text: str) -> float:
    """Return the seconds of an option's value."""
    try:
        return parse_duration(text)
    except ValueError as exc:
        fail(EXIT_BAD_INPUT, f"{option}: {exc}")


def _uvloop() -> bool:
    try:
        import uvloop  # noqa: F401, PLC0415  # an extra: used if it is there
    except ImportError:
        return False
    return True


@app.command
def run(
    config: ConfigPath = Path("config.yaml"),
    *,
    duration: Annotated[
        str | None, Parameter(name="--for", help="Stop by itself after this long, such as 30s or 5m.")
    ] = None,
) -> None:
    """Run the fleet until Ctrl+C: a live table on a terminal, log lines elsewhere.

    Exit code 0 after a clean stop, 2 for a bad config, 3 if another engine holds the data.
    """
    # Telethon takes a second or two to import, which the other commands need not wait for.
    from engine.run import run as run_engine  # noqa: PLC0415

    limit = duration_of("--for", duration) if duration is not None else None
    with told():
        main = partial(run_engine, load(config), duration=limit, console=Console())
        os.umask(0o077)  # sessions, journal and logs are their owner's alone
        raise SystemExit(anyio.run(main, backend_options={"use_uvloop": _uvloop()}))


# --- log -------------------------------------------------------------------------------------------------------------


def _known(option: str, value: str | None, names: list[str]) -> None:
    if value is not None and value not in names:
        fail(EXIT_BAD_INPUT, f"{option}: there is no {value!r}; {nearest(value, names)}")


def _accounts(reader: JournalReader, pattern: str | None) -> list[str] | None:
    if pattern is None:
        return None
    names = list(reader.accounts())
    fitting = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if not fitting:
        fail(EXIT_BAD_INPUT, f"--account: no account is named like {pattern!r}; {nearest(pattern, names)}")
    return fitting


def _show(entries: Iterator[Any], console: Console, *, as_json: bool) -> int | None:
    """Print entries as they come; return the last one's place."""
    last = None
    for entry in entries:
        if as_json:
            print(json.dumps(history.as_data(entry), ensure_ascii=False))
        else:
            console.print(history.as_text(entry), soft_wrap=True)
        last = entry.seq
    sys.stdout.flush()
    return last


@app.command
def log(
    config: ConfigPath = Path("config.yaml"),
    *,
    follow: Annotated[bool, Parameter(name="-f", negative="", help="Go on with what is added, until Ctrl+C.")] = False,
    number: Annotated[int | None, Parameter(name="-n", help="Only the last N lines.")] = None,
    account: Annotated[
        str | None, Parameter(help="Only accounts whose name fits this pattern, such as 'news*'.")
    ] = None,
    state: Annotated[str | None, Parameter(help="Only where this state was entered.")] = None,
    event: Annotated[str | None, Parameter(help="Only this event, such as NetworkLost.")] = None,
    since: Annotated[str | None, Parameter(help="Only the last while, such as 1h.")] = None,
    failed: Annotated[bool, Parameter(negative="", help="Only failures.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the journal of all transitions, oldest first."""
    _known("--state", state, [known.value for known in State])
    _known("--event", event, list(EVENT_BY_NAME))
    if number is not None and number < 1:
        fail(EXIT_BAD_INPUT, f"-n: must be at least 1, not {number}")
    earliest = time.time() - duration_of("--since", since) if since is not None else None
    with told():
        settings = load(config)
        console = Console(highlight=False)
        with JournalReader.open(settings.storage.directory / layout.DATABASE) as reader:
            wanted = partial(
                reader.entries,
                accounts=_accounts(reader, account),
                state=State(state) if state else None,
                event=event,
                since=earliest,
                failed_only=failed,
            )
            seen = reader.last_seq()
            limit = FOLLOW_SHOWS if follow and number is None else number
            last = _show(wanted(limit=limit), console, as_json=as_json)
            try:
                while follow:
                    seen = max(seen, last or 0)
                    time.sleep(FOLLOW_EVERY)
                    last = _show(wanted(after_seq=seen), console, as_json=as_json)
            except KeyboardInterrupt:
                return


# --- status ----------------------------------------------------------------------------------------------------------


def _info(settings: Config) -> status.EngineInfo:
    holder = holder_of(settings.storage.directory / layout.LOCK)
    if holder is None:
        return status.EngineInfo(running=False)
    return status.EngineInfo(running=True, pid=holder.pid, since=holder.since)


def _snapshots(settings: Config, pattern: str | None) -> dict[str, Snapshot]:
    try:
        with JournalReader.open(settings.storage.directory / layout.DATABASE) as reader:
            stored = {name: snapshot for name, (snapshot, _) in reader.snapshots().items()}
    except JournalMissing:
        stored = {}  # the engine has not run yet, which the page says
    names = [account.name for account in settings.accounts]
    found = status.chosen({name: stored.get(name, Snapshot()) for name in names}, pattern)
    if not found and pattern is not None:
        fail(EXIT_BAD_INPUT, f"no account is named like {pattern!r}; {nearest(pattern, names)}")
    return found


@app.command(name="status")
def show_status(
    config: ConfigPath = Path("config.yaml"),
    account: Annotated[str | None, Parameter(help="Only accounts whose name fits this pattern.")] = None,
    *,
    watch: Annotated[bool, Parameter(negative="", help="Keep showing it, until Ctrl+C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print where every account is, worst first; works with the engine down, too.

    Exit code 0 if all are healthy, 1 if some are not, 2 if a person is needed, 3 if the engine does not run.
    """
    with told():
        settings = load(config)
        console = Console()
        if watch and not as_json:
            with suppress(KeyboardInterrupt):
                anyio.run(screen.show, console, lambda: _info(settings), lambda: _snapshots(settings, account))
        info, snapshots = _info(settings), _snapshots(settings, account)
        if as_json:
            print(json.dumps(status.as_data(info, snapshots), ensure_ascii=False, indent=2))
        elif not watch:
            console.print(status.page(info, snapshots, time.time()))
        raise SystemExit(int(status.exit_code(info, snapshots.values())))


# --- diagram ---------------------------------------------------------------------------------------------------------

DIAGRAMS = Path(__file__).resolve().parents[1] / "diagrams"


def _check_diagrams() -> None:
    stale = [
        f"diagrams/{name} is not what the rules say; run: python -m engine diagram --format {kind} -o diagrams/{name}"
        for kind, (name, draw) in drawing.FORMATS.items()
        if not (DIAGRAMS / name).exists() or (DIAGRAMS / name).read_text("utf-8") != draw(Policy())
    ]
    if stale:
        fail(EXIT_FAILED, *stale)
    print(f"{len(drawing.FORMATS)} diagrams are what the rules say")


@app.command
def diagram(
    config: Annotated[Path | None, Parameter(help="Draw with the schedules of this config.")] = None,
    *,
    form: Annotated[str, Parameter(name="--format", help=f"One of {', '.join(drawing.FORMATS)}.")] = "mermaid",
    output: Annotated[Path | None, Parameter(name=["-o", "--output"], help="Write to this file.")] = None,
    check: Annotated[bool, Parameter(negative="", help="Say whether the committed diagrams are up to date.")] = False,
) -> None:
    """Print the machine, drawn from the rules that run."""
    _known("--format", form, list(drawing.FORMATS))
    with told():
        if check:
            _check_diagrams()
            return
        text = drawing.FORMATS[form][1](load(config).states if config else Policy())
        if output is None:
            sys.stdout.write(text)
        else:
            output.write_text(text, "utf-8")
