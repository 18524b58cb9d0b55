"""Protocols of the outside world that alerts need. Adapters match them without importing them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

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


class LoadedAlerts(Protocol):
    """What a start finds."""

    @property
    def alerts(self) -> Sequence[ChannelAlert]:
        """The alerts that are not over."""

    @property
    def recent(self) -> Mapping[str, tuple[float, ...]]:
        """When each channel got messages of late, in Unix seconds."""

    @property
    def unreadable(self) -> int:
        """Rows that cannot be read."""


class AlertOutbox(AlertStorage, Protocol):
    """Stores alerts with the incidents from which they come."""

    def row_of(self, alert: ChannelAlert, now: float) -> Any:
        """Return the row that stores an alert, for the transaction of its incident."""

    async def load(self, told_since: float) -> LoadedAlerts:
        """Return what is stored, with the times of messages after ``told_since`` (Unix seconds)."""


class ClaimedAlerts(Protocol):
    """What became of alerts whose messages are due, after a node has asked for them."""

    @property
    def mine(self) -> Sequence[ChannelAlert]:
        """Those that this node is to send, each as it was told so far."""

    @property
    def others(self) -> Sequence[ChannelAlert]:
        """The rest as this node is to know them from now on."""


class AlertClaims(Protocol):
    """Says which of several nodes sends a message. An engine that has its storage for itself needs none."""

    async def claim(self, alerts: Sequence[ChannelAlert], now: float) -> ClaimedAlerts:
        """Say which of these messages, which are due and durable, this node is to send; no other one sends them then.

        Raises an exception if that is not known.
        """

    async def take_over(
        self, channels: Collection[str], now: float, known: Collection[tuple[int, str]]
    ) -> Sequence[ChannelAlert]:
        """Return what is to be sent by these channels and was nobody's, or a dead node's: it is this node's now.

        So is what this node has claimed of incidents that are over, but for what it knows: ``known``, by number and
        channel. It may have had the answer to its claim when its own incident was over. Call ``flush`` before.

        The alert of an incident that is over meanwhile says so, and still has the message from before.
        """
