"""Changes of incidents with what alerts read of them, for tests that have no incidents of the engine's."""

from typing import Any

from states import incidents
from states.alerts import About


def opened(about: About) -> incidents.Opened:
    """Return that an incident has begun."""
    return incidents.Opened(incident=_as_incident(about), members=())


def joined(about: About) -> incidents.Joined:
    """Return that more accounts are in an incident."""
    return incidents.Joined(incident=_as_incident(about), members=())


def acked(about: About) -> incidents.Acked:
    """Return that a person knows of an incident."""
    return incidents.Acked(incident=_as_incident(about))


def closed(about: About, into: int | None = None) -> incidents.Closed:
    """Return that an incident is over, or goes on in another one."""
    return incidents.Closed(incident=_as_incident(about), into=into)


def _as_incident(about: About) -> Any:
    return about  # it has every field that alerts read
