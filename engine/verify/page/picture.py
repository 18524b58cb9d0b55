"""The seven states as an SVG that a script can mark: a box for each state, an arrow for each change of state.

It needs no Graphviz, because it has no labels to place: an arrow's rules stand in its title.
"""

import math
from collections.abc import Mapping
from html import escape
from typing import Final

from engine.diagram.arrows import build_arrows
from engine.diagram.words import FILLS, STATE_ROLES
from states import State
from states.snapshot import MEANINGS

WIDTH, HEIGHT = 640, 372
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


def _path(source: State, target: State) -> str:
    (x, y), (to_x, to_y) = PLACES[source], PLACES[target]
    if source is target:
        left, top = x - BOX[0] / 4, y - BOX[1] / 2
        return f"M{left:.0f} {top:.0f} C{left:.0f} {top - 26:.0f} {x:.0f} {top - 26:.0f} {x:.0f} {top:.0f}"
    length = math.hypot(to_x - x, to_y - y)
    right = (-(to_y - y) / length * BEND, (to_x - x) / length * BEND)
    middle = ((x + to_x) / 2 + right[0] * 2, (y + to_y) / 2 + right[1] * 2)
    begin, end = _border(source, middle), _border(target, middle)
    return f"M{begin[0]:.0f} {begin[1]:.0f} Q{middle[0]:.0f} {middle[1]:.0f} {end[0]:.0f} {end[1]:.0f}"


def _arrows() -> list[str]:
    lines = []
    for arrow in build_arrows():
        title = "\n".join(f"{line.cause} {line.does}".strip() for line in arrow.lines)
        for source in arrow.sources:
            head = escape(f"{source.value} → {arrow.target.value}")
            lines.append(
                f'<path class="arrow" data-from="{source.value}" data-to="{arrow.target.value}" '
                f'd="{_path(source, arrow.target)}"><title>{head}\n{escape(title)}</title></path>'
            )
    return lines


def _box(state: State) -> list[str]:
    (x, y), (width, height), role = PLACES[state], BOX, STATE_ROLES[state]
    return [
        f'<g class="state" data-state="{state.value}" tabindex="0" role="button" aria-label="{state.value}">',
        f"<title>{escape(MEANINGS[state])}</title>",
        f'<rect x="{x - width / 2:.0f}" y="{y - height / 2:.0f}" width="{width}" height="{height}" rx="8" '
        f'fill="{FILLS[role]}"/>',
        f'<text x="{x}" y="{y - 2}" class="name">{state.value}</text>',
        f'<text x="{x}" y="{y + 14}" class="role">{role.value}</text>',
        "</g>",
    ]


def _head(name: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto" '
        f'markerUnits="userSpaceOnUse"><path d="M0 0 L10 5 L0 10 z"/></marker>'
    )


def to_picture() -> str:
    """Return the picture; boxes and arrows carry the names of their states."""
    x, y = PLACES[State.CONNECTING]  # where a new account begins
    lines = [
        f'<svg id="picture" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="the states">',
        f"<defs>{_head('head')}{_head('head-open')}{_head('head-taken')}</defs>",
        f'<circle class="start" cx="{x - BOX[0] / 2 - 14:.0f}" cy="{y}" r="5"/>',
        *_arrows(),
        *(line for state in State for line in _box(state)),
        "</svg>",
    ]
    return "\n".join(lines)
