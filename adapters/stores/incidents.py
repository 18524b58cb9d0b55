"""Incidents as both stores have them: rows become values."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from adapters.sqlite.errors import Undecodable
from adapters.sqlite.job_codec import MAX_TIME, is_legible
from states.incident import Incident, IncidentKind, Severity
from states.names import name_key

MAX_NUMBER: Final = 2**63 - 1
"""The greatest number that a row can have."""


def those_of(open_only: bool, since: float | None, until: float | None, mark: str) -> tuple[str, list[float]]:
    """Return the condition for incidents that are open, or went on at some time from ``since`` to before ``until``.

    The times are Unix seconds; ``mark`` stands for a value in the store's SQL.
    """
    where, values = ["closed IS NULL"] if open_only else ["true"], list[float]()
    if since is not None:
        where.append(f"(closed IS NULL OR closed >= {mark})")
        values.append(since)
    if until is not None:
        where.append(f"since < {mark}")
        values.append(until)
    return " AND ".join(where), values


def left_from(rows: Iterable[Sequence[Any]]) -> dict[str, float | None]:
    """Return when each account left an incident (Unix seconds); None for one that was in it to its end, or is.

    The rows have a name and a time. An account that was in several slots, or parts, left with the last of them.
    """
    found: dict[str, float | None] = {}
    for name, until in rows:
        at = until if isinstance(until, int | float) and abs(until) < MAX_TIME else None
        if is_legible(name):
            before = found.get(name, at)
            found[name] = None if at is None or before is None else max(at, before)
    return found


def names_by_number(rows: Iterable[Sequence[Any]]) -> dict[int, tuple[str, ...]]:
    """Return the names that stand beside each number, each once, in the order of ``name_key``."""
    found: dict[int, set[str]] = {}
    for number, name in rows:
        if is_legible(name):
            found.setdefault(number, set()).add(name)
    return {number: tuple(sorted(names, key=name_key)) for number, names in found.items()}


def incident_from(row: Sequence[Any], accounts: tuple[str, ...]) -> Incident:
    """Return the incident in a row with the columns below. Raises ``Undecodable``."""
    number, kind, cause, fleet, severity, since, opened, closed, acked, detail = row
    try:
        if not (is_legible(cause) and is_legible(detail) and fleet in (0, 1)):
            raise TypeError("a text or a flag is spoilt")
        for time in (since, opened, closed, acked):
            if time is not None and not (isinstance(time, int | float) and abs(time) < MAX_TIME):
                raise TypeError(f"{time!r:.40} in place of a time")
        if since is None or opened is None:
            raise TypeError("its beginning is missing")
        return Incident(
            id=number, kind=IncidentKind(kind), cause=cause, accounts=accounts, fleet=bool(fleet),
            severity=Severity(severity), since=since, opened=opened, closed=closed, acked=acked, detail=detail,
        )  # fmt: skip
    except (ValueError, TypeError) as exc:
        raise Undecodable(
            f"incident {number} cannot be read ({type(exc).__name__}: {exc}); use the version that wrote it"
        ) from exc
