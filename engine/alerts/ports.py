"""Protocols of the outside world that alerts need. Adapters match them without importing them."""

from collections.abc import Iterable
from typing import Protocol

from states.alerts import ChannelAlert


class AlertChannel(Protocol):
    """One way by which messages leave this machine."""

    async def send(self, *, key: str, subject: str, body: str, tone: str, data: bytes, timeout: float) -> None:
        """Send a message within ``timeout`` seconds; raise an exception whose text says why that failed.

        ``key`` identifies the message: a channel that learns late that it has sent one does not send it again.
        ``subject`` and ``body`` are for people, ``data`` is JSON for programs. ``tone`` is ``failure``, ``warning``,
        ``success`` or ``info``.
        """


class AlertStorage(Protocol):
    """Stores alerts, in order and durable after a moment."""

    async def save(self, alerts: Iterable[ChannelAlert], now: float) -> None:
        """Store alerts in one transaction."""

    async def flush(self) -> None:
        """Return when everything written so far is durable."""

    async def prune(self, now: float) -> None:
        """Delete some of the alerts that have long been over."""
