"""``diagram``."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine import diagram as drawing
from engine.cli.common import EXIT_FAILED, fail, known, told
from engine.config import load
from states import Policy

DIAGRAMS = Path(__file__).resolve().parents[2] / "diagrams"


def _check_diagrams() -> None:
    stale = [
        f"diagrams/{name} is not what the rules say; run: python -m engine diagram --format {kind} -o diagrams/{name}"
        for kind, (name, draw) in drawing.FORMATS.items()
        if not (DIAGRAMS / name).exists() or (DIAGRAMS / name).read_text("utf-8") != draw(Policy())
    ]
    if stale:
        fail(EXIT_FAILED, *stale)
    print(f"{len(drawing.FORMATS)} diagrams are what the rules say")


def diagram(
    config: Annotated[Path | None, Parameter(help="Draw with the schedules of this config.")] = None,
    *,
    form: Annotated[str, Parameter(name="--format", help=f"One of {', '.join(drawing.FORMATS)}.")] = "mermaid",
    output: Annotated[Path | None, Parameter(name=["-o", "--output"], help="Write to this file.")] = None,
    check: Annotated[bool, Parameter(negative="", help="Say whether the committed diagrams are up to date.")] = False,
) -> None:
    """Print the machine, drawn from the rules that run."""
    known("--format", form, list(drawing.FORMATS))
    with told():
        if check:
            _check_diagrams()
            return
        text = drawing.FORMATS[form][1](load(config).states if config else Policy())
        if output is None:
            sys.stdout.write(text)
        else:
            output.write_text(text, "utf-8")
