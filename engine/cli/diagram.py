"""``diagram``."""

import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from adapters.sqlite import JournalReader
from engine import diagram as drawing
from engine import paths
from engine.cli.common import EXIT_BAD_INPUT, EXIT_FAILED, duration_of, fail, known, reporting_errors
from engine.config import Config, load
from states import Policy

DIAGRAMS = Path(__file__).resolve().parents[2] / "diagrams"
PATH_LOOKS = 200
"""So many of an account's last entries are searched for its path."""


def _check_diagrams() -> None:
    """Compare what is committed with what the rules say; needs no Graphviz."""
    kept = {form: DIAGRAMS / about.file for form, about in drawing.FORMATS.items() if about.file}
    stale = [
        f"diagrams/{path.name} is not what the rules say; "
        f"run: python -m engine diagram --format {form} -o diagrams/{path.name}"
        for form, path in kept.items()
        if not path.exists() or not drawing.is_current(form, path.read_bytes())
    ]
    if stale:
        fail(EXIT_FAILED, *stale)
    print(f"{len(kept)} diagrams are what the rules say")


def _overlay(settings: Config, account: str | None, *, heat: bool, since: float | None) -> drawing.Overlay:
    """Return what the journal says about one account or all; ``since`` is in Unix seconds."""
    with JournalReader.open(settings.storage.directory / paths.DATABASE) as reader:
        snapshots = reader.snapshots()
        known("--account", account, sorted({*snapshots, *(one.name for one in settings.accounts)}))
        if account is not None and account not in snapshots:
            fail(EXIT_FAILED, f"{account} has not run yet; start the engine once, or choose another --account")
        accounts = None if account is None else [account]
        taken = drawing.look(reader.entries(accounts=accounts, since=since)).heat if heat else None
        # The path is the last one whatever --since says, which is about the heat alone.
        path = drawing.look(reader.entries(accounts=accounts, limit=PATH_LOOKS)).path if accounts else ()
    if account is None:
        return drawing.Overlay(title="All accounts", heat=taken)
    state = snapshots[account][0].state
    walked = " → ".join([path[0][0].value, *(target.value for _, target in path)]) if path else "none yet"
    return drawing.Overlay(
        title=f"{account} is in {state.value}; its last path: {walked}",
        current=state,
        path=tuple(path),
        heat=taken,
    )


def _write(content: bytes, form: str, output: Path | None) -> None:
    if output is not None:
        output.write_bytes(content)
        return
    if form == "png" and sys.stdout.isatty():
        fail(EXIT_BAD_INPUT, "--format png is nothing for a terminal; write it to a file with -o machine.png")
    sys.stdout.buffer.write(content)
    sys.stdout.flush()


def diagram(
    config: Annotated[Path | None, Parameter(help="Draw with the schedules of this config.")] = None,
    *,
    form: Annotated[str, Parameter(name="--format", help=f"One of {', '.join(drawing.FORMATS)}.")] = "mermaid",
    output: Annotated[Path | None, Parameter(name=["-o", "--output"], help="Write to this file.")] = None,
    check: Annotated[bool, Parameter(negative="", help="Say whether the committed diagrams are up to date.")] = False,
    account: Annotated[str | None, Parameter(help="Mark where this account is, and how it came there.")] = None,
    heat: Annotated[
        bool, Parameter(negative="", help="Write how often each way was taken, and how long accounts stayed.")
    ] = False,
    since: Annotated[str | None, Parameter(help="With --heat: only the last while, such as 24h.")] = None,
) -> None:
    """Print the machine, drawn from the rules that run; with --account or --heat, what really happened in it."""
    known("--format", form, list(drawing.FORMATS))
    earliest = time.time() - duration_of("--since", since) if since is not None else None
    journal = account is not None or heat
    if since is not None and not heat:
        fail(EXIT_BAD_INPUT, "--since says how far back --heat looks; add --heat")
    if journal and not drawing.FORMATS[form].overlays:
        able = ", ".join(name for name, about in drawing.FORMATS.items() if about.overlays)
        fail(EXIT_BAD_INPUT, f"--format {form} cannot show what happened; for --account and --heat choose of {able}")
    with reporting_errors():
        if check:
            _check_diagrams()
            return
        if config is None and journal:
            config = Path("config.yaml")
        settings = load(config) if config else None
        overlay = drawing.PLAIN
        if settings and journal:
            overlay = _overlay(settings, account, heat=heat, since=earliest)
        try:
            content = drawing.FORMATS[form].draw(settings.states if settings else Policy(), overlay)
        except drawing.PictureFailed as exc:
            fail(EXIT_FAILED, str(exc))
        _write(content, form, output)
