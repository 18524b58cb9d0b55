"""``diagram``."""

import sys
import time
from pathlib import Path
from typing import Annotated

from adapters.stores.journal_rows import UnreadableRow
from engine import diagram as drawing
from engine.app.records import open_records
from engine.cli.common import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    check_choice,
    fail,
    one_account,
    reporting_errors,
    write_output,
)
from engine.cli.declared import Parameter
from engine.cli.log_common import tell_unreadable
from engine.cli.stored_status import read_statuses
from engine.cli.times import Period, Since, Until, parse_period
from engine.config import Config, load
from engine.console.account_status import AccountStatus
from engine.console.shell import engine_command
from engine.console.status import last_known
from states import Policy

DIAGRAMS = Path(__file__).resolve().parents[2] / "diagrams"
MAX_PATH_ENTRIES = 200
"""Number of an account's last entries that are searched for its path."""


def _check_diagrams() -> None:
    """Compare the committed diagrams with the rules; this does not need Graphviz."""
    if not DIAGRAMS.is_dir():
        fail(EXIT_BAD_INPUT, "--check compares the drawings of a checkout of Holdfast; this installation has none")
    kept = {form: DIAGRAMS / about.file for form, about in drawing.FORMATS.items() if about.file}
    stale = [
        f"diagrams/{path.name} is not what the rules say; "
        f"run: {engine_command('diagram', options=['--format', form, '-o', _from_here(path)])}"
        for form, path in kept.items()
        if not path.exists() or not drawing.is_current(form, path.read_bytes())
    ]
    if stale:
        fail(EXIT_FAILED, *stale)
    print(f"{len(kept)} diagrams are what the rules say")


def _from_here(path: Path) -> str:
    """Return a path as it is typed at the top of a checkout, or elsewhere."""
    top = DIAGRAMS.parent
    return str(path.relative_to(top) if Path.cwd() == top else path)


def _overlay(settings: Config, account: str | None, *, heat: bool, period: Period) -> drawing.Overlay:
    """Return what the journal records of one account, or of all in the period."""
    with open_records(settings.storage) as reader:
        unreadable: list[UnreadableRow] = []
        reader.on_unreadable = unreadable.append
        statuses = read_statuses(settings.storage.directory, reader)
        if account is not None:
            account = one_account(sorted({*statuses, *(one.name for one in settings.accounts)}), account)
        if account is not None and account not in statuses:
            fail(EXIT_FAILED, f"{account} has not run yet; start the engine once, or choose another --account")
        accounts = None if account is None else [account]
        found = reader.entries(accounts=accounts, since=period.since, until=period.until)
        taken = drawing.observe(found).heat if heat else None
        # The period limits only the heat: the path is always the last one.
        path = drawing.observe(reader.entries(accounts=accounts, limit=MAX_PATH_ENTRIES)).path if accounts else ()
    tell_unreadable(unreadable)
    if account is None:
        return drawing.Overlay(title="All accounts", heat=taken)
    at = statuses[account]
    state = at.last.state if at.last is not None else None
    walked = " → ".join([path[0][0].value, *(target.value for _, target in path)]) if path else "none yet"
    return drawing.Overlay(
        title=f"{account} {_standing(at)}; its last path: {walked}",
        current=state if at.known else None,
        left=None if at.known else state,
        path=tuple(path),
        heat=taken,
    )


def _standing(at: AccountStatus) -> str:
    if at.known:
        return "is paused" if at.paused else f"is in {at.state}"
    return f"is in an unknown state, {last_known(at, time.time()).partition(';')[0]}"


def _write_drawing(content: bytes, form: str, output: Path | None) -> None:
    if output is not None:
        write_output(output, content)
        return
    if form == "png" and sys.stdout.isatty():
        fail(EXIT_BAD_INPUT, "a terminal cannot show --format png; write it to a file with -o machine.png")
    sys.stdout.buffer.write(content)
    sys.stdout.flush()


def diagram(
    config: Annotated[Path | None, Parameter(help="Draw with the schedules of this config.")] = None,
    *,
    form: Annotated[str, Parameter(name="--format", help=f"One of {', '.join(drawing.FORMATS)}.")] = "mermaid",
    output: Annotated[Path | None, Parameter(name=["-o", "--output"], help="Write to this file.")] = None,
    check: Annotated[bool, Parameter(negative="", help="Check that the committed diagrams are up to date.")] = False,
    account: Annotated[str | None, Parameter(help="Mark the account's state, and the path that led there.")] = None,
    heat: Annotated[
        bool,
        Parameter(
            negative="", help="Show how often each transition was taken, and how long accounts stayed in each state."
        ),
    ] = False,
    since: Since = None,
    until: Until = None,
) -> None:
    """Print the machine, drawn from the rules that run; with --account or --heat, what really happened in it."""
    check_choice("--format", form, list(drawing.FORMATS))
    period = parse_period(since, until)
    journal = account is not None or heat
    if not heat and (since is not None or until is not None):
        fail(EXIT_BAD_INPUT, "--since and --until say at which time --heat looks; add --heat")
    if journal and not drawing.FORMATS[form].overlays:
        able = ", ".join(name for name, about in drawing.FORMATS.items() if about.overlays)
        fail(EXIT_BAD_INPUT, f"--format {form} cannot show what happened; with --account and --heat use one of {able}")
    with reporting_errors():
        if check:
            _check_diagrams()
            return
        if config is None and journal:
            config = Path("config.yaml")
        settings = load(config) if config else None
        overlay = drawing.PLAIN
        if settings and journal:
            overlay = _overlay(settings, account, heat=heat, period=period)
        try:
            content = drawing.FORMATS[form].draw(settings.states if settings else Policy(), overlay)
        except drawing.PictureFailed as exc:
            fail(EXIT_FAILED, str(exc))
        _write_drawing(content, form, output)
