"""Lines of the screen: spans of text with a style, measured in the terminal's cells."""

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rich.cells import set_cell_size
from rich.console import Console
from rich.style import Style
from rich.text import Text

from engine.console.cells import width_of, wrapped

Span = tuple[str, str | Style]
Line = tuple[Span, ...]
Letters = Callable[[str], str]
"""Makes a text one that the terminal's encoding has, before it is measured."""

ELLIPSIS: Final = "…"
_MEASURE: Final = Console(file=io.StringIO(), width=80, color_system=None, force_terminal=False, _environ={})
"""What Rich wants to be given where it wraps and renders; nothing is printed on it."""


def fitted(text: str, width: int) -> str:
    """Return a text that takes exactly so many cells: filled up, or cut off with an ellipsis."""
    length = width_of(text)
    if length <= width:
        return text + " " * (width - length)
    return set_cell_size(text, width - 1) + ELLIPSIS if width > 0 else ""


def cut(line: Line, width: int) -> Line:
    """Return a line that takes at most so many cells."""
    left, kept = width, list[Span]()
    for text, style in line:
        length = width_of(text)
        if length > left:
            return (*kept, (fitted(text, left), style)) if left > 0 else tuple(kept)
        kept.append((text, style))
        left -= length
    return line


def length_of(line: Line) -> int:
    """Return how many cells a line takes."""
    return sum(width_of(text) for text, _ in line)


def paragraph(
    text: str, width: int, style: str | Style = "", *, indent: int = 0, most: int | None = None
) -> list[Line]:
    """Return a text as lines; of more than ``most`` the rest is left out, which the last one says by an ellipsis."""
    lines = wrapped(text, width - indent)
    if most is not None and len(lines) > most:
        room = width - indent
        last = lines[most - 1]
        lines = [*lines[: most - 1], last + ELLIPSIS if width_of(last) < room else fitted(last + ELLIPSIS, room)]
    return [((" " * indent + each, style),) for each in lines]


def of_rich(text: Text, width: int, *, indent: int = 0) -> list[Line]:
    """Return a text of Rich's as lines of at most so many cells; all but the first have an indent."""
    made = list[Line]()
    for paragraph_ in text.split("\n", allow_blank=True):
        first = True
        for part in paragraph_.wrap(_MEASURE, max(width - indent, 2)):
            part.rstrip()
            spans = tuple((each.text, each.style or "") for each in part.render(_MEASURE, end="") if each.text)
            made.append(spans if first or not indent else ((" " * indent, ""), *spans))
            first = False
    return made


def flow(items: Sequence[Line], width: int, gap: str = "  ") -> list[Line]:
    """Return items one after another in as few lines as they need; none is broken unless it is alone too long."""
    lines: list[Line] = []
    line: Line = ()
    for item in items:
        if line and length_of(line) + len(gap) + length_of(item) > width:
            lines.append(line)
            line = ()
        line = (*line, (gap, ""), *item) if line else item
    return [cut(each, width) for each in (*lines, line) if each]


def as_many(items: Iterable[Line], width: int, gap: str = "  ") -> Line:
    """Return as many items as fit one line, the first ones."""
    line: Line = ()
    for item in items:
        longer = (*line, (gap, ""), *item) if line else item
        if length_of(longer) > width:
            break
        line = longer
    return line


def plain(line: Line) -> str:
    """Return a line without its styles."""
    return "".join(text for text, _ in line)


def to_rich(line: Line) -> Text:
    """Return a line as a text of Rich's, for a picture in the documents."""
    return Text.assemble(*line, no_wrap=True)


def spelled(text: Text, letters: Letters) -> Text:
    """Return a text of Rich's in letters that the terminal has."""
    if text.plain.isascii():
        return text
    made = Text()
    for each in text.render(_MEASURE, end=""):
        made.append(letters(each.text), style=each.style)
    return made
