"""Incidents as text and as JSON: one by one, and as a part of ``status``."""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

from engine.console.format import date_and_time, iso, whole_seconds
from engine.console.remedy import commands_for, is_for_the_first
from engine.console.safe_text import one_line
from states.incident import Incident, IncidentKind, Severity

if TYPE_CHECKING:  # for lines alone; what prints JSON need not wait for it
    from rich.text import Text

MAX_SHOWN = 6
"""Number of incidents in ``status``; ``incidents --open`` has all of them."""
HANGING = 5
"""Where the second line of an incident in ``status`` begins."""
MAX_NAMES = 12
"""Names of accounts in one incident that ``incidents`` shows; JSON has all of them."""


def as_data(incident: Incident) -> dict[str, Any]:
    """Return what ``incidents --json`` prints for an incident."""
    return {
        "id": incident.id,
        "kind": incident.kind.value,
        "cause": incident.cause,
        "accounts": list(incident.accounts),
        "fleet": incident.fleet,
        "severity": incident.severity.value,
        "since": iso(incident.since),
        "opened": iso(incident.opened),
        "closed": iso(incident.closed),
        "acked": iso(incident.acked),
        "detail": incident.detail,
        "meaning": incident.meaning,
        "action": incident.action,
    }


def icon_of(incident: Incident) -> str:
    """Return the icon of an incident."""
    if not incident.is_open:
        return "✅"
    return "❌" if incident.severity is Severity.CRITICAL else "⚠️"


def when(incident: Incident, now: float) -> str:
    """Return since when an incident goes on, or how long it was, and whether somebody knows of it."""
    lasted = whole_seconds(incident.lasted(now))
    said = f"for {lasted}" if incident.is_open else f"was over after {lasted}"
    return f"{said}, acknowledged" if incident.acked is not None else said


def how_lines(incident: Incident, config: object) -> list[str]:
    """Return the commands for what is to be done about an open incident, a line for each."""
    if not incident.is_open:
        return []
    commands = commands_for(incident.kind.value, incident.cause, incident.accounts, config)
    each = " (so for each account)" if is_for_the_first(commands, incident.accounts, incident.kind.value) else ""
    return [f"   how: {command}{each if command == commands[-1] else ''}" for command in commands]


OF_CONNECTIONS = (IncidentKind.OUTAGE, IncidentKind.FLAPPING, IncidentKind.NEEDS_PERSON)
"""Incidents that are over when their accounts are healthy for long enough."""


def is_passing(incident: Incident, healthy: Container[str]) -> bool:
    """Return whether all that are in an open incident are well again, and it only waits whether that lasts."""
    of_connections = incident.is_open and incident.kind in OF_CONNECTIONS and bool(incident.accounts)
    return of_connections and all(name in healthy for name in incident.accounts)


def paragraph(incident: Incident, now: float, config: object = "", healthy: Container[str] = ()) -> list[str]:
    """Return the lines of ``incidents`` about one: what it is and since when, what is known, whom, and what to do.

    ``config`` is the path of the config as it is typed, for the commands; ``healthy`` are the accounts that are so now.
    """
    detail = f" ({incident.detail})" if incident.detail else ""
    lines = [
        f"{icon_of(incident)} {incident.id} {date_and_time(incident.since)} {incident.kind.value}: "
        f"{incident.meaning}{detail}; {when(incident, now)}"
    ]
    if len(incident.accounts) > 1:
        names = ", ".join(incident.accounts[:MAX_NAMES])
        more = len(incident.accounts) - MAX_NAMES
        lines.append(f"   accounts: {names}" + (f" and {more:,} more" if more > 0 else ""))
    if is_passing(incident, healthy):
        lines.append("   what to do: nothing, all are healthy now; it is over when that has lasted")
    elif incident.is_open:
        lines += [f"   what to do: {incident.action}", *how_lines(incident, config)]
    return list(map(one_line, lines))


def acknowledged(number: int, incident: Incident | None) -> str:
    """Return what came of acknowledging an incident, which is given as it is then; None if there is none."""
    if incident is None:
        return f"incident {number} is over, or there was none"
    if incident.acked is None:
        return f"incident {number} is over already; there is nothing to acknowledge"
    return one_line(f"incident {incident.id} is acknowledged: {incident.meaning}")


def worst_first(incidents: Sequence[Incident]) -> list[Incident]:
    """Return open incidents: those that nobody knows of before the others, the critical ones first, then the oldest."""
    return sorted(incidents, key=lambda each: (each.acked is not None, each.severity is not Severity.CRITICAL, each.id))


def page(incidents: Sequence[Incident], now: float, width: int | None = None) -> "list[Text]":
    """Return the lines about open incidents on the status page; empty if there are none.

    With a width nothing is cut: what has no room goes on in the next line. Without one, each incident is one line.
    """
    if not incidents:
        return []
    from rich.text import Text  # noqa: PLC0415 - as above

    from engine.console.cells import wrapped  # noqa: PLC0415 - it needs rich

    count = "1 open incident" if len(incidents) == 1 else f"{len(incidents):,} open incidents"
    lines = [Text(), Text(f"{count}, see 'incidents --open'", style="bold")]
    for each in worst_first(incidents)[:MAX_SHOWN]:
        style = "dim" if each.acked is not None else "red" if each.severity is Severity.CRITICAL else "yellow"
        said = one_line(f"  {icon_of(each)} {each.id} {each.meaning} {when(each, now)}; {each.action}")
        if width is None:
            lines.append(Text(said, style=style, no_wrap=True, overflow="ellipsis"))
            continue
        first, *others = wrapped(said, width - HANGING)
        lines += [Text(f"  {first}", style=style), *(Text(" " * HANGING + each, style=style) for each in others)]
    if (more := len(incidents) - MAX_SHOWN) > 0:
        lines.append(Text(f"  and {more:,} more", style="dim"))
    return lines
