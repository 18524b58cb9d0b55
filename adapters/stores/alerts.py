"""Alerts as both stores have them: what a start finds, and what becomes of messages that are due."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import frozen

from adapters.sqlite.job_codec import MAX_TIME, is_legible
from states.alerts import ChannelAlert

KEPT: Final = 90 * 86_400.0
"""Seconds that an alert stays in the store after it is over."""
ASK_AGAIN: Final = 15.0
"""Seconds after which a node asks again whether it is to send what another one was to send: that may be dead then."""


@frozen(kw_only=True)
class StoredAlerts:
    """What a start finds: the alerts that are not over, and when each channel got messages of late."""

    alerts: tuple[ChannelAlert, ...]
    recent: dict[str, tuple[float, ...]]
    unreadable: int
    """Rows that cannot be read: something else has spoilt them."""


@frozen(kw_only=True)
class AlertClaim:
    """What became of alerts whose messages are due."""

    mine: tuple[ChannelAlert, ...]
    """Those that this node is to send now, each as it was told so far."""
    others: tuple[ChannelAlert, ...]
    """The rest as this node is to know them from now on: it asks again when they are due, or they are over."""


def stored_alerts(
    rows: Iterable[Sequence[Any]], told: Iterable[Sequence[Any]], read: Callable[[Sequence[Any]], ChannelAlert]
) -> StoredAlerts:
    """Return what a start finds; ``told`` are channels with the times of their messages.

    ``read`` returns the alert of a row, and raises ``ValueError`` or ``TypeError`` for one that cannot be read.
    """
    alerts, unreadable = [], 0
    for row in rows:
        try:
            alerts.append(read(row))
        except (ValueError, TypeError):
            unreadable += 1
    recent: dict[str, set[float]] = {}
    for channel, at in told:
        if is_legible(channel) and is_time(at):
            recent.setdefault(channel, set()).add(at)  # the alerts of one digest have the same time
    return StoredAlerts(
        alerts=tuple(alerts),
        recent={channel: tuple(sorted(times)) for channel, times in recent.items()},
        unreadable=unreadable,
    )


def is_time(value: object) -> bool:
    """Return whether a stored value can be a time."""
    return isinstance(value, int | float) and abs(value) < MAX_TIME
