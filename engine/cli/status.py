"""``status``."""

import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from attrs import define, evolve, field, frozen

from adapters.sqlite import JournalMissing
from adapters.sqlite.remote_reader import CursorLine
from engine.app.stored_incidents import open_incidents
from engine.app.stored_jobs import open_jobs
from engine.app.stored_ledger import StoredLedger, open_ledger, read_cursors
from engine.cli.common import (
    EXIT_BAD_INPUT,
    AsJson,
    ConfigAndPattern,
    config_and_pattern,
    fail,
    match_accounts,
    reporting_errors,
    write_output,
)
from engine.cli.declared import Parameter
from engine.cli.stored_status import ANSWER_TIMEOUT, account_statuses, read_info, with_nodes
from engine.config import ConfigError, Outline, load_outline
from engine.console.account_status import AccountStatus
from engine.console.format import date_and_time, iso
from engine.console.hole_lines import CHANNELS, OpenHoles, count_lately
from engine.console.hole_lines import as_data as hole_data
from engine.console.hole_lines import page as hole_lines
from engine.console.incident_lines import as_data as incident_data
from engine.console.incident_lines import page as incident_lines
from engine.console.job_lines import page as job_lines
from engine.console.job_lines import summary_data
from engine.console.memory_lines import page as memory_lines
from engine.console.names import matching
from engine.console.program_lines import as_data as program_data
from engine.console.program_lines import page as program_lines
from engine.console.safe_text import json_text
from engine.console.shell import engine_command
from engine.console.status import EngineInfo, as_data, exit_code, node_lines, page
from states.incident import Incident
from states.job import JobState, JobSummary, by_state
from states.nodes import BeatWatch

if TYPE_CHECKING:  # for pages alone; --json need not wait for it
    from rich.console import RenderableType
    from rich.text import Text

    from engine.console.ledger_lines import LedgerSummary

WATCH_INTERVAL = 1.0
"""Seconds between two looks of ``--watch``."""
HOLES_INTERVAL = 60.0
"""Seconds between two times at which ``--watch`` reads what was missed."""
MAX_RUNNING_READ = 1000
"""Number of running jobs that are read; the page shows only a few of them."""


def _read_jobs(outline: Outline) -> JobSummary:
    try:
        with open_jobs(outline) as reader:
            running = reader.jobs({"state": [JobState.RUNNING.value]})
            return JobSummary(by_state(reader.counts()), tuple(islice(running, MAX_RUNNING_READ)))
    except JournalMissing:
        return JobSummary()


def _read_incidents(outline: Outline) -> list[Incident]:
    """Return the open incidents; those that cannot be read are named by ``incidents``."""
    try:
        with open_incidents(outline) as reader:
            return reader.incidents(open_only=True)
    except JournalMissing:
        return []


@frozen
class _Look:
    """What one look at the files and at the engine has found."""

    info: EngineInfo
    accounts: dict[str, AccountStatus]
    jobs: JobSummary
    incidents: Sequence[Incident]
    memory: dict[str, Any] | None = None
    """What each account has in memory, if that was asked for; empty if the engine does not say."""
    ledger: "dict[str, LedgerSummary] | None" = None
    """How complete what each account has handled is, if that was asked for."""
    programs: Sequence[CursorLine] = ()
    """Other programs that have updates of these accounts."""
    holes: Sequence[OpenHoles] = ()
    """Of which chats something was missed lately."""
    config: Path = Path()

    @property
    def page(self) -> "RenderableType":
        """The page for a terminal."""
        from rich.console import Console  # noqa: PLC0415 - as above

        return self.page_of(Console().width)

    def page_of(self, width: int) -> "RenderableType":
        """Return the page for a width."""
        now = time.time()
        return page(self.info, self.accounts, now, self._more(now, width))

    def _more(self, now: float, width: int) -> "list[Text]":
        """Return the lines below the accounts."""
        lines = [*incident_lines(self.incidents, now, width), *job_lines(self.jobs, engine_runs=self.info.works)]
        if nodes := node_lines(self.info):
            from rich.text import Text  # noqa: PLC0415 - as above

            lines[:0] = map(Text, nodes)
        lines += [*program_lines(self.programs, now), *hole_lines(self.holes, self.config)]
        if self.ledger:
            from engine.console.ledger_lines import page as ledger_lines  # noqa: PLC0415 - only with --verbose

            lines += ledger_lines(self.ledger, now)
        return [*lines, *memory_lines(self.memory)] if self.memory else lines

    def print(self) -> None:
        """Print the page on stdout."""
        from engine.console.status_text import page_text, plain_width  # noqa: PLC0415 - as above

        now, width, text = time.time(), plain_width(), None
        if width is not None:
            text = page_text(self.info, self.accounts, now, width, (line.plain for line in self._more(now, width)))
        if text is not None:
            print(text)
            return
        from rich.console import Console  # noqa: PLC0415 - as above

        Console().print(self.page)

    @property
    def data(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        incidents = [incident_data(each) for each in self.incidents]
        found = {**as_data(self.info, self.accounts), "jobs": summary_data(self.jobs), "incidents": incidents}
        found["programs"] = program_data(self.programs)
        found["holes"] = hole_data(self.holes, self.config)
        if self.memory is not None:
            for account in found["accounts"]:
                account["memory"] = self.memory.get(account["name"])
        if self.ledger is not None:
            for account in found["accounts"]:
                summary = self.ledger.get(account["name"])
                account["ledger"] = None if summary is None else summary.data
        return found

    @property
    def code(self) -> int:
        """The exit code."""
        return int(exit_code(self.info, self.accounts.values()))


def _read_ledger(outline: Outline, names: Sequence[str]) -> "dict[str, LedgerSummary]":
    """Return how complete what each of these accounts has handled is."""
    from engine.console.ledger_lines import summary_of  # noqa: PLC0415 - as above
    from states.completeness import assess  # noqa: PLC0415 - as above

    try:
        with open_ledger(outline) as (reader, _):
            return {
                name: summary_of(assess(rows) for rows in reader.boxes(user).values())
                for name, user in reader.users().items()
                if name in names
            }
    except JournalMissing:
        return {}


def _read_holes(outline: Outline, accounts: Collection[str]) -> list[OpenHoles]:
    """Return of which chats these accounts have missed something lately, the most first."""
    try:
        with open_ledger(outline) as (reader, _):
            broken = reader.broken()
            if not broken:
                return []
            names = {user: name for name, user in reader.users().items() if name in accounts}
            boxes = {box for user, box in broken if box and user in names}
            found = [_holes_of(reader, -CHANNELS - box, box, None, None) for box in boxes]
            found += [
                _holes_of(reader, user, 0, user, names[user]) for user, box in broken if not box and user in names
            ]
    except JournalMissing:
        return []
    return sorted((each for each in found if each.count), key=lambda each: (-each.count, each.chat))


def _holes_of(reader: StoredLedger, chat: int, box: int, user: int | None, name: str | None) -> OpenHoles:
    """Return what is missing of a channel, whoever was in it, or of an account's own box."""
    from states.completeness import assess  # noqa: PLC0415 - only if something may be missing

    rows = reader.rows(box, None if user is None else [user])
    proven = assess(rows, reader.fills(chat) if user is None else ())
    return OpenHoles(chat=chat, account=name, count=count_lately(proven, time.time()))


def _read_memory(directory: Path, info: EngineInfo) -> dict[str, Any]:
    """Return what each account has in memory; nothing if no engine runs that says so."""
    if not info.running or info.hangs:
        return {}
    from engine.control.client import CommandRefused, EngineSilent, ask_memory  # noqa: PLC0415 - only if one runs

    try:
        return ask_memory(directory, timeout=ANSWER_TIMEOUT)
    except (EngineSilent, CommandRefused):
        return {}


def _look(
    outline: Outline,
    pattern: str | None,
    before: _Look | None = None,
    *,
    again: bool = False,
    verbose: bool = False,
    beats: BeatWatch | None = None,
) -> _Look:
    """Look at the files; exit if no account is like the pattern, unless one was when they were looked at before.

    The ledger, which may be long, is read once if there was a look ``before``.
    """
    info = with_nodes(read_info(outline.directory), outline, beats)
    accounts = account_statuses(outline, info)
    if pattern is not None:
        match = matching if again else match_accounts
        accounts = {name: accounts[name] for name in match(list(accounts), pattern)}
    incidents = _read_incidents(outline)
    if pattern is not None:
        incidents = [each for each in incidents if not each.accounts or not accounts.keys().isdisjoint(each.accounts)]
    memory = _read_memory(outline.directory, info) if verbose else None
    if memory:
        memory = {name: each for name, each in memory.items() if name in accounts}
    ledger = _read_ledger(outline, list(accounts)) if verbose else None
    programs = [each for each in read_cursors(outline) if each.account in accounts]
    holes = _read_holes(outline, accounts) if before is None else before.holes
    jobs = _read_jobs(outline)
    return _Look(info, accounts, jobs, incidents, memory, ledger, programs, holes, outline.path)


@define
class _Looks:
    """Looks again and again, also at the accounts of a config that has changed meanwhile."""

    outline: Outline
    pattern: str | None
    verbose: bool = False
    _changed: tuple[int, int] | None = None
    """When the config file that was read was written, and its size."""
    _again: bool = False
    _before: _Look | None = None
    """A look of the last minute, of which what was missed is not read again."""
    _read_at: float = 0.0
    _beats: BeatWatch = field(factory=BeatWatch)

    def __call__(self) -> _Look:
        """Look once."""
        with suppress(OSError, ConfigError):  # a file that is being edited: what it said before stands
            now = self.outline.path.stat()
            changed = now.st_mtime_ns, now.st_size
            if self._changed not in (None, changed):
                self.outline = evolve(self.outline, names=load_outline(self.outline.path).names)
            self._changed = changed
        self._again, again = True, self._again
        if not 0 <= time.monotonic() - self._read_at < HOLES_INTERVAL:
            self._before, self._read_at = None, time.monotonic()
        self._before = _look(
            self.outline, self.pattern, self._before, again=again, verbose=self.verbose, beats=self._beats
        )
        return self._before


def _watch(look: _Looks, *, as_json: bool) -> int:
    """Show where the accounts are until Ctrl+C, or until the output's reader is gone; return the last exit code.

    On a terminal it is the screen. Elsewhere it is a page, or with ``as_json`` a line, every second.
    """
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    seen = look()
    if console.is_terminal and not as_json:
        from engine.screen.terminal import ScreenTerminal  # noqa: PLC0415 - what prints once need not wait for it

        if (terminal := ScreenTerminal.of(console)) is not None:
            from engine.cli.watch import FileSource, watch  # noqa: PLC0415 - as above

            source = FileSource(look.outline.directory, look, seen, look.outline.database)
            watch(source, terminal)
            return source.seen.code
    with suppress(KeyboardInterrupt):
        if console.is_terminal and not as_json:
            with Live(seen.page, console=console, auto_refresh=False) as table:
                while True:
                    table.update(seen.page, refresh=True)
                    time.sleep(WATCH_INTERVAL)
                    seen = look()
        while True:
            if as_json:
                print(json_text({"at": iso(time.time()), **seen.data}))
            else:
                console.print(Text(date_and_time(time.time()), style="dim"), seen.page, "", sep="\n")
            sys.stdout.flush()
            time.sleep(WATCH_INTERVAL)
            seen = look()
    return seen.code


def status(
    *words: ConfigAndPattern,
    watch: Annotated[
        bool,
        Parameter(negative="", help="Go on until Ctrl+C: a screen, or a page (--json: a line) every second."),
    ] = False,
    verbose: Annotated[
        bool, Parameter(negative="", help="Say, too, what each account of a running engine has in memory.")
    ] = False,
    picture: Annotated[Path | None, Parameter(name="--svg", help="Write the page to this file, as a picture.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the state of every account, worst first, even if the engine is not running.

    Exit code 0 if all are healthy, 1 if some are not, 2 if the operator must act, 3 if the engine is not running. With
    --watch it is that of the last look.
    """
    with reporting_errors():
        config, account = config_and_pattern(words)
        if watch and picture is not None:
            fail(EXIT_BAD_INPUT, "--svg writes one picture, and --watch goes on; leave one of them out")
        outline = load_outline(config)
        if watch:
            raise SystemExit(_watch(_Looks(outline, account, verbose), as_json=as_json))
        seen = _look(outline, account, verbose=verbose)
        if picture is not None:
            from engine.console.svg import COLUMNS, svg  # noqa: PLC0415 - as above

            write_output(picture, svg(seen.page_of(COLUMNS), engine_command("status", config)).encode())
        if as_json:
            print(json_text(seen.data, indent=2))
        elif picture is None:
            seen.print()
        raise SystemExit(seen.code)
