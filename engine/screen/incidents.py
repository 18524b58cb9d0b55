"""The open incidents as lines: how many there are, and for each what it means, what to do, since when, and whom."""

from collections.abc import Sequence

from engine.console.cells import wrapped
from engine.console.format import moment
from engine.console.incident_lines import MAX_NAMES, icon_of, when
from engine.console.safe_text import one_line
from engine.screen.fleet import highlighted
from engine.screen.text import Letters, Line, paragraph
from states.incident import Incident, Severity

INDENT = 3
AT_THE_END = 6
"""Incidents in the picture that stays on the terminal."""


def incident_count(incidents: Sequence[Incident]) -> Line:
    """Return how many incidents are open, in the colour of the worst one that nobody has acknowledged."""
    return ((f"{len(incidents):,} incident{'' if len(incidents) == 1 else 's'}", style_of(incidents[0])),)


def style_of(incident: Incident) -> str:
    """Return how an incident stands out."""
    if incident.acked is not None:
        return "dim"
    return "bold red" if incident.severity is Severity.CRITICAL else "yellow"


def incident_block(incident: Incident, width: int, now: float, letters: Letters, *, chosen: bool) -> list[Line]:
    """Return the lines of an incident; none of them is cut, and what to do comes before what else is known."""

    def lines_of(said: str, style: str) -> list[Line]:
        return paragraph(letters(one_line(said)), width, style, indent=INDENT)

    head = letters(one_line(f"{icon_of(incident)} {incident.id} {incident.kind.value}: {incident.meaning}"))
    style = style_of(incident)
    first, *others = wrapped(head, width - INDENT)
    lines: list[Line] = [((text, style),) for text in (first, *(" " * INDENT + other for other in others))]
    if chosen:
        lines = [highlighted(line, width) for line in lines]
    lines += lines_of(f"What to do: {incident.action}", "" if incident.acked is None else "dim")
    lines += lines_of(f"since {moment(incident.since, now)}, {when(incident, now)}", "dim")
    if len(incident.accounts) > 1:
        more = len(incident.accounts) - MAX_NAMES
        names = ", ".join(incident.accounts[:MAX_NAMES]) + (f" and {more:,} more" if more > 0 else "")
        lines += lines_of(f"accounts: {names}", "dim")
    return lines + lines_of(incident.detail, "dim")
