"""Where the seven states stand in a drawing that a browser shows, and the arrows between them."""

import math
from collections.abc import Mapping
from typing import Final

from states import State

WIDTH: Final = 640
HEIGHT: Final = 372
BOX: Final = (136, 46)
"""Width and height of a state's box."""
BEND: Final = 16
"""By how much an arrow bends to its right, so that two between the same states stand apart."""
PLACES: Final[Mapping[State, tuple[int, int]]] = {
    State.CONNECTING: (90, 50),
    State.RECONNECTING: (330, 50),
    State.HEALTHY: (210, 180),
    State.TIMEOUT: (90, 310),
    State.BACKOFF: (330, 310),
    State.AUTH_FAILED: (550, 110),
    State.SHUTTING_DOWN: (550, 270),
}
"""The middle of each state's box."""


def _border(state: State, towards: tuple[float, float]) -> tuple[float, float]:
    """Return where a line from the middle of a box to another point leaves the box."""
    (x, y), (width, height) = PLACES[state], BOX
    dx, dy = towards[0] - x, towards[1] - y
    scale = min(width / 2 / abs(dx) if dx else math.inf, height / 2 / abs(dy) if dy else math.inf)
    return x + dx * scale, y + dy * scale


def curve(source: State, target: State, bend: float = BEND) -> tuple[str, tuple[float, float]]:
    """Return the line of an arrow as the data of an SVG path, and its middle."""
    (x, y), (to_x, to_y) = PLACES[source], PLACES[target]
    if source is target:
        left, top = x - BOX[0] / 4, y - BOX[1] / 2
        line = f"M{left:.0f} {top:.0f} C{left:.0f} {top - 26:.0f} {x:.0f} {top - 26:.0f} {x:.0f} {top:.0f}"
        return line, ((left + x) / 2, top - 20)
    length = math.hypot(to_x - x, to_y - y)
    right = (-(to_y - y) / length * bend, (to_x - x) / length * bend)
    middle = ((x + to_x) / 2 + right[0] * 2, (y + to_y) / 2 + right[1] * 2)
    begin, end = _border(source, middle), _border(target, middle)
    line = f"M{begin[0]:.0f} {begin[1]:.0f} Q{middle[0]:.0f} {middle[1]:.0f} {end[0]:.0f} {end[1]:.0f}"
    return line, ((begin[0] + 2 * middle[0] + end[0]) / 4, (begin[1] + 2 * middle[1] + end[1]) / 4)
