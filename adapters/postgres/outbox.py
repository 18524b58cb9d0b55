"""The alerts of a fleet in PostgreSQL: written with their incident in one transaction, and each sent by one node.

    a node's incident ──▶ keep_alert: the first node that stores the alert of an incident and a channel has it
    a message is due  ──▶ claim: whoever has it sends; the others hear how far it was told, and ask again
    a node is dead    ──▶ take_over: whoever is first goes on where that node was
    over for one node ──▶ the alert is nobody's, and the others go on with it

An alert is stored before its message is sent and again after that. So a node that dies between the two has its message
sent once more, by the next one that has the alert, and none is forgotten.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from attrs import define, evolve

from adapters.postgres import incident_statements as of_alerts
from adapters.postgres.group_writer import StoreWriter
from adapters.postgres.jobs import JobLink
from adapters.postgres.statements import RowStatement
from adapters.sqlite.job_codec import MAX_TIME
from adapters.stores.alerts import ASK_AGAIN, KEPT, AlertClaim, StoredAlerts, stored_alerts
from states.alerts import ChannelAlert, MessageKind, about_from

ORPHANED: Final = 900.0
"""Seconds that the incidents of a dead node wait for the next owners of its accounts, who go on with them."""


@define(eq=False, kw_only=True)
class PostgresOutbox:
    """The alerts of a running node: what it writes goes through ``writer``, behind the fence of its life."""

    writer: StoreWriter
    link: JobLink
    life: int
    """The row of ``nodes`` that this node has now."""
    node: str
    """Its name: what an earlier life of it was to send, this one sends."""

    def row_of(self, alert: ChannelAlert, now: float) -> tuple[RowStatement, Sequence[Any]]:
        """Return the row that stores an alert, for the transaction of its incident."""
        message = None if alert.message is None else alert.message.value
        row = (
            alert.about.id, alert.channel, message, alert.due, alert.told, alert.messages, alert.tries, alert.over,
            now, alert.about.written(), alert.about.closed is not None, self.life,
        )  # fmt: skip
        return of_alerts.ALERT, row

    async def save(self, alerts: Iterable[ChannelAlert], now: float) -> None:
        """Store alerts in one transaction; durable a moment later, see ``flush``. Those of other nodes stay."""
        if rows := [self.row_of(alert, now) for alert in alerts]:
            await self.writer.write_together(rows)

    async def flush(self) -> None:
        """Return when everything written before is durable."""
        await self.writer.flush()

    async def prune(self, now: float) -> None:
        """Delete the oldest alerts that have long been over, at most a thousand."""
        await self.writer.write(of_alerts.PRUNE_ALERTS, (now - KEPT,))

    async def load(self, told_since: float) -> StoredAlerts:
        """Return the alerts that this node has, or an earlier life of it had; and when each channel got messages.

        These are all messages of the fleet after ``told_since`` (Unix seconds).
        """
        await self.writer.flush()
        _, rows, told = await self.link.transact(
            [
                (of_alerts.LOAD_OWN, (self.life, self.node)),
                (of_alerts.SELECT_OWN, (self.life,)),
                (of_alerts.SELECT_TOLD, (told_since,)),
            ]
        )
        return stored_alerts(rows, told, _alert_from)

    async def claim(self, alerts: Sequence[ChannelAlert], now: float) -> AlertClaim:
        """Say which of these messages, which are due, this node is to send: no other one sends them then.

        Call ``flush`` before. Raises ``Fenced`` and ``StoreUnusable``: nobody knows then whose they are.
        """
        asked = {alert.key: alert for alert in alerts}
        numbers, channels = [number for number, _ in asked], [channel for _, channel in asked]
        closing = [alert.message is MessageKind.CLOSED for alert in asked.values()]
        values = (numbers, channels, closing, self.life, self.life)
        [rows] = await self.link.transact([(of_alerts.CLAIM, values)])
        mine, others = list[ChannelAlert](), list[ChannelAlert]()
        for number, channel, answer, *stored in rows:
            new = _answered(asked[number, channel], answer, stored, now)
            (mine if new.message is not None and new.due is not None and new.due <= now else others).append(new)
        return AlertClaim(mine=tuple(mine), others=tuple(others))

    async def take_over(
        self, channels: Collection[str], now: float, known: Collection[tuple[int, str]] = ()
    ) -> tuple[ChannelAlert, ...]:
        """Return what is to be sent by these channels and was nobody's, or a dead node's: it is this node's now.

        So is what this node has claimed of incidents that are over, but for what it knows (``known``, by number and
        channel). The alert of an incident that is over says so; what follows from that is the law's. At most a hundred.
        """
        numbers, of_channels = [number for number, _ in known], [channel for _, channel in known]
        values = (numbers, of_channels, self.life, list(channels), now, self.life, self.life)
        _, rows = await self.link.transact([(of_alerts.END_PARTS, (ORPHANED, now)), (of_alerts.TAKE_OVER, values)])
        found = []
        for *row, closed in rows:
            try:
                alert = _alert_from(row)
            except (ValueError, TypeError):
                continue  # no version of these tables writes that; it stays, and is this node's
            if closed is not None and alert.about.closed is None:
                alert = evolve(alert, about=evolve(alert.about, closed=closed))
            found.append(alert)
        return tuple(found)


def _answered(alert: ChannelAlert, answer: str, stored: Sequence[Any], now: float) -> ChannelAlert:
    """Return an alert after its node has asked whether it is to send its message.

    ``now``: nobody was to send it, and this node is from now on. ``mine``: it was already. ``other``: another one is.
    ``unknown``: it is not stored yet. ``no``: it is over, or only this node thinks that its incident is.
    """
    if answer == "no":
        return evolve(alert, message=None, due=None, dropped=True)
    if answer == "unknown":
        return evolve(alert, due=now + ASK_AGAIN)
    message, due, told, messages, tries = stored
    # More messages than this node knows of: ``take_over`` has just made it its own, and has not said so here yet.
    if answer == "mine" and messages <= alert.messages:
        return alert
    known = evolve(alert, told=told, messages=messages)
    if answer == "other":
        return evolve(known, due=now + ASK_AGAIN)
    if alert.message is MessageKind.CLOSED:
        return known
    return evolve(known, message=None if message is None else MessageKind(message), due=due, tries=tries)


def _alert_from(row: Sequence[Any]) -> ChannelAlert:
    """Return the alert of a row. Raises ``ValueError`` or ``TypeError`` for one that something else has spoilt."""
    number, channel, message, due, told, messages, tries, about = row
    if any(each is not None and not abs(each) < MAX_TIME for each in (due, told)) or (message is None) != (due is None):
        raise ValueError("a time is spoilt")
    return ChannelAlert(
        channel=channel,
        about=evolve(about_from(about), id=number),
        message=None if message is None else MessageKind(message),
        due=due,
        told=told,
        messages=messages,
        tries=tries,
    )
