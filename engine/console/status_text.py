"""The status page where stdout is no terminal: what rich prints there, many times faster for thousands of accounts.

Both pages have the same rows. Where rich would have to wrap a line or to squeeze a column, it is asked itself.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

from engine.console.account_status import Statuses
from engine.console.cells import indented
from engine.console.status import NAME_CELLS, TITLES, EngineInfo, count_states, heading_text, row, worst_first
from engine.console.streams import legible

DEFAULT_WIDTH: Final = 80
GAP: Final = "  "
"""Between two columns."""
REMARK: Final = 3
"""The column that takes the room that the others leave."""
INDENT: Final = 3
"""Where a remark begins that has no room beside its account."""
RIGHT: Final = 4
"""The first column that is aligned to the right."""
_LIKE_A_TERMINAL: Final = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JUPYTER_COLUMNS", "JUPYTER_LINES")
"""Variables by which rich takes stdout for something else than a plain stream."""


def plain_width() -> int | None:
    """Return the width of a page on stdout as rich has it; None if stdout is a terminal, or is said to be one."""
    if sys.stdout.isatty() or any(os.environ.get(name) for name in _LIKE_A_TERMINAL):
        return None
    columns = os.environ.get("COLUMNS")
    if columns is not None and columns.isdigit():
        return int(columns)
    for descriptor in (0, 1, 2):
        try:
            return os.get_terminal_size(descriptor).columns or DEFAULT_WIDTH
        except OSError:
            continue
    return DEFAULT_WIDTH


def page_text(info: EngineInfo, accounts: Statuses, now: float, width: int, more: Iterable[str] = ()) -> str | None:
    """Return the lines of the page for a width, with ``more`` at the end; None if it does not fit without rich."""
    rows = [tuple(map(legible, row(name, at, now))) for name, at in worst_first(accounts)]
    heading = legible(heading_text(info, count_states(accounts), now)[0])
    more = [each for line in more for each in _spelled(line, width)]
    table = fitted(rows, width)
    if table is None or any(cell_len(line) > width for line in (heading, *more)):
        return None
    lines = [GAP.join(table[0])]
    for texts, cells in zip(rows, table[1:], strict=True):
        said = below(texts, cells, width)
        lines += [GAP.join(cells), *said]
    return "\n".join([heading, "", *lines, *more])


def _spelled(line: str, width: int) -> list[str]:
    """Return a line as stdout will show it; words in the place of icons may make more lines of it."""
    spelled = legible(line)
    if spelled == line or cell_len(spelled) <= width:
        return [spelled]
    return indented(spelled, width, len(line) - len(line.lstrip()))


def below(texts: Sequence[str], cells: list[str], width: int) -> list[str]:
    """Return a row's remark as lines of their own if its column has no room for it, and empty that column then."""
    room = len(cells[REMARK]) if cells[REMARK].isascii() else cell_len(cells[REMARK])
    if not texts[REMARK] or (cells[REMARK].rstrip() == texts[REMARK].rstrip()):
        return []
    cells[REMARK] = " " * room
    return indented(texts[REMARK], width, INDENT)


def fitted(rows: Sequence[Sequence[str]], width: int) -> list[list[str]] | None:
    """Return the titles and the rows, each text as wide as its column; None if they do not fit without rich."""
    rows = [TITLES, *rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    widths[0] = min(widths[0], NAME_CELLS)
    widths[REMARK] = width - (sum(widths) - widths[REMARK]) - len(GAP) * (len(widths) - 1)
    if widths[REMARK] < 1:
        return None
    return [list(map(_cell, line, widths, range(len(TITLES)))) for line in rows]


def _cell(text: str, width: int, column: int) -> str:
    """Return a text in a column: cut off with an ellipsis, or filled up with spaces."""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        text = text.rstrip()
        if cell_len(text) > width:
            return f"{set_cell_size(text, width - 1)}…"
        length = cell_len(text)
    return " " * (width - length) + text if column >= RIGHT else text + " " * (width - length)
