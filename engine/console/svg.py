"""Pages of the terminal as pictures, for documents and web pages."""

import io
import re
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType

from engine.console.safe_text import one_line

COLUMNS: Final = 112
FONTS: Final = "Fira Code, DejaVu Sans Mono, Menlo, Consolas, monospace"
FORMAT: Final = re.sub(r"\s*@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", FONTS
)
"""rich's own format without its fonts, which a viewer would load from a server."""


def svg(page: RenderableType, title: str, columns: int = COLUMNS) -> str:
    """Return a page as SVG, in a terminal's window with this title; it loads nothing from elsewhere."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(page)
    return console.export_svg(title=one_line(title), code_format=FORMAT, unique_id="holdfast") + "\n"
