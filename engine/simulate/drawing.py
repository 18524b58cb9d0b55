"""A simulation as a picture: the same charts as on the terminal, as SVG that loads nothing from elsewhere."""

from collections.abc import Sequence
from html import escape
from typing import Final

from engine.console.format import seconds
from engine.console.safe_text import one_line
from engine.simulate.summary import Recovery, SimulationSummary, in_columns

WIDTH: Final = 960
LEFT, RIGHT, TOP, GAP = 84, 16, 56, 44
TALL, LOW = 180, 90
POINTS: Final = 430
FONT: Final = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
INK, FAINT, GRID, FAULT = "#1f2933", "#667085", "#d7dde5", "#d64545"
PANELS: Final = (
    ("Healthy accounts", "healthy", TALL, "#1a936f"),
    ("Attempts per second", "attempts", LOW, "#2f6fde"),
    ("Handshakes at once", "handshakes_at_once", LOW, "#8a5cd6"),
    ("Journal rows per second", "journal_rows", LOW, "#b7791f"),
)
MAX_LABELS: Final = 12


def draw(found: SimulationSummary, heading: str) -> str:
    """Return the picture."""
    inner = WIDTH - LEFT - RIGHT
    height = TOP + sum(panel[2] + GAP for panel in PANELS) + 20
    lasted = max(found.lasted, 1e-9)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="{FONT}" font-size="12" fill="{INK}">',
        f"<title>{_safe(heading)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="600">{_safe(heading)}</text>',
        _faults(found.recoveries, lasted, height),
    ]
    y = TOP
    for title, name, tall, colour in PANELS:
        values = in_columns(found.series[name], POINTS, min if name == "healthy" else max)
        top = found.accounts if name == "healthy" else max(values, default=0)
        parts.append(_panel(title, values, top, colour, y=y, tall=tall))
        y += tall + GAP
    for part in range(5):
        x = LEFT + inner * part / 4
        anchor = "start" if part == 0 else "end" if part == 4 else "middle"
        label = _safe(seconds(found.lasted * part / 4))
        parts.append(f'<text x="{x:.0f}" y="{y - GAP + 18}" text-anchor="{anchor}" fill="{FAINT}">{label}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(title: str, values: Sequence[int], top: int, colour: str, *, y: int, tall: int) -> str:
    """Return one chart as steps: what a value says holds for as long as its column."""
    bottom, inner = y + tall, WIDTH - LEFT - RIGHT
    lines = [
        f'<text x="{LEFT}" y="{y - 8}" font-weight="600">{title}</text>',
        f'<path d="M{LEFT} {y}H{LEFT + inner}M{LEFT} {bottom}H{LEFT + inner}" stroke="{GRID}" fill="none"/>',
        f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end" fill="{FAINT}">{top:,}</text>',
        f'<text x="{LEFT - 8}" y="{bottom + 4}" text-anchor="end" fill="{FAINT}">0</text>',
    ]
    if values and top:
        steps = [f"M{LEFT} {bottom}"]
        for index, value in enumerate(values):
            steps.append(f"V{bottom - tall * value / top:.1f}H{LEFT + inner * (index + 1) / len(values):.1f}")
        path = "".join(steps)
        lines.append(f'<path d="{path}V{bottom}Z" fill="{colour}" fill-opacity="0.18" stroke="none"/>')
        lines.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
    return "\n".join(lines)


def _faults(recoveries: Sequence[Recovery], lasted: float, height: int) -> str:
    """Return the bands of what went wrong, behind all charts, with their names above."""
    parts, free, inner = [], [0.0, 0.0], WIDTH - LEFT - RIGHT
    for number, each in enumerate(recoveries, 1):
        x = LEFT + inner * min(1.0, each.at / lasted)
        ends = lasted if each.ends is None else min(each.ends, lasted)
        width = max(1.5, inner * (ends - each.at) / lasted)
        parts.append(
            f'<rect x="{x:.1f}" y="{TOP - 6}" width="{width:.1f}" height="{height - TOP - 30}" fill="{FAULT}" '
            f'fill-opacity="0.13"><title>{_safe(each.label)}</title></rect>'
        )
        label = f"{number} {each.label}" if number <= MAX_LABELS else ""
        room = len(label) * 6.2
        line = next((index for index, taken in enumerate(free) if x >= taken), None)
        if label and line is not None:
            at_end = x + room > LEFT + inner
            anchor, place = ("end", LEFT + inner) if at_end else ("start", x)
            free[line] = (place if at_end else x + room) + 8
            parts.append(
                f'<text x="{place:.0f}" y="{34 + 11 * line}" font-size="10" text-anchor="{anchor}" '
                f'fill="{FAULT}">{_safe(label)}</text>'
            )
    return "\n".join(parts)


def _safe(text: str) -> str:
    return escape(one_line(text))
