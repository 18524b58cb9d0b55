"""QR codes for a terminal: two rows of squares per line of text, black on white in every colour scheme."""

from typing import Final

import segno

QUIET_ZONE: Final = 4
"""Width of the light border, in squares; without it scanners do not find the code."""
SQUARES: Final = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}
BLACK_ON_WHITE: Final = "\x1b[38;5;16;48;5;231m"
RESET: Final = "\x1b[0m"


def lines(text: str, *, coloured: bool) -> list[str]:
    """Return a QR code of ``text``; without colours it can be scanned only where text is dark on light."""
    matrix = segno.make(text, error="l", micro=False, boost_error=False).matrix_iter(border=QUIET_ZONE)
    rows = [[int(bool(square)) for square in row] for row in matrix]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    drawn = (
        "".join(SQUARES[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    )
    return [f"{BLACK_ON_WHITE}{line}{RESET}" if coloured else line for line in drawn]
