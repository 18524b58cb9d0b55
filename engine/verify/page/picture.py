"""The seven states as an SVG that a script can mark: a box for each state, an arrow for each change of state.

It needs no Graphviz, because it has no labels to place: an arrow's rules stand in its title.
"""

from html import escape

from engine.diagram.arrows import build_arrows
from engine.diagram.places import BOX, HEIGHT, PLACES, WIDTH, curve
from engine.diagram.words import FILLS, STATE_ROLES
from states import State
from states.snapshot import MEANINGS


def _arrows() -> list[str]:
    lines = []
    for arrow in build_arrows():
        title = "\n".join(f"{line.cause} {line.does}".strip() for line in arrow.lines)
        for source in arrow.sources:
            head = escape(f"{source.value} → {arrow.target.value}")
            lines.append(
                f'<path class="arrow" data-from="{source.value}" data-to="{arrow.target.value}" '
                f'd="{curve(source, arrow.target)[0]}"><title>{head}\n{escape(title)}</title></path>'
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
