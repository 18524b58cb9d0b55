"""The alerts of a config: its channels, and the delivery that belongs to an engine. A composition root."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

import anyio
from attrs import define, field, frozen

from adapters.alerts.apprise_channel import AppriseChannel
from adapters.alerts.exec_channel import ExecChannel
from engine.alerts.delivery import SEND_TIMEOUT, AlertOutlet, Delivery
from engine.alerts.messages import trial_letter
from engine.alerts.ports import AlertChannel, AlertClaims, AlertOutbox
from engine.config import Config
from engine.config.alerts import AlertConfig, scheme_of
from engine.fleet.ports import Clock
from engine.wakeup import Wakeup
from states.alerts import WINDOW, About, ChannelAlert, ChannelRule, about
from states.incident import Incident
from states.incidents import Acked, Change, Closed, Opened

Rows = list[Any]
"""What the incident's transaction stores beside the incident."""


def outlets(config: Config) -> dict[str, AlertOutlet]:
    """Return each channel of a config by what identifies it: one for each address, and one for each command."""
    return {outlet.rule.channel: outlet for outlet in _outlets(config)}


def _outlets(config: Config) -> Iterator[AlertOutlet]:
    for index, entry in enumerate(config.alerts):
        folder = config.path.absolute().parent
        if entry.exec:
            yield AlertOutlet(
                rule=_rule(entry, 0), label=f"alerts[{index}] (exec)", channel=ExecChannel(entry.exec, folder)
            )
        for number, address in enumerate(entry.to):
            place = f"alerts[{index}].to[{number}]" if len(entry.to) > 1 else f"alerts[{index}]"
            channel: AlertChannel = AppriseChannel(address)
            yield AlertOutlet(rule=_rule(entry, number), label=f"{place} ({scheme_of(address)})", channel=channel)


def _rule(entry: AlertConfig, number: int) -> ChannelRule:
    return ChannelRule(
        channel=entry.channels[number],
        kinds=frozenset(entry.on),
        after=entry.after,
        repeat=entry.repeat,
        quiet=entry.quiet,
    )


@define(eq=False, kw_only=True)
class Alerts:
    """The alerts of an engine: what the owner of the incidents calls, and what runs beside the fleet.

    ``rows_of`` makes what is stored in one transaction with the changes of incidents.
    """

    delivery: Delivery
    outbox: AlertOutbox
    _unstored: dict[tuple[int, str], ChannelAlert] = field(factory=dict, init=False)
    _to_store: Wakeup = field(factory=Wakeup, init=False)

    @classmethod
    def of(
        cls,
        config: Config,
        outbox: AlertOutbox,
        clock: Clock,
        on_channel: Callable[[str, str, str | None], None],
        *,
        missed: Callable[[About], Awaitable[str]] | None = None,
        claims: AlertClaims | None = None,
    ) -> "Alerts":
        """Return the alerts of a config.

        ``on_channel`` is called with a channel's identity, its label, and why it fails (None: it works). That is an
        incident of the kind ``channel``, whose cause is the identity. ``missed`` returns what was missed in an incident
        that is over, in a sentence.
        """
        delivery = Delivery(
            outlets=outlets(config),
            storage=outbox,
            clock=clock,
            config=str(config.path),
            on_channel=on_channel,
            missed=missed,
            claims=claims,
        )
        return cls(delivery=delivery, outbox=outbox)

    def rows_of(self, changes: Sequence[Change]) -> Rows:
        """Return what is to be stored in the transaction of changes of incidents. Told twice is told once."""
        rows: Rows = []
        for change in changes:
            told = about(change.incident)
            match change:
                case Opened():
                    alerts = self.delivery.opened(told)
                case Acked():
                    alerts = self.delivery.acked(told)
                case Closed(into=None):
                    alerts = self.delivery.closed(told)
                case Closed():
                    alerts = self.delivery.merged(told)
                case _:
                    alerts = self.delivery.changed(told)
            rows += self._rows(alerts)
        return rows

    async def restore(self, incidents: Iterable[Incident]) -> int:
        """Go on where the last engine was, with the incidents that are open; return how many rows are unreadable."""
        now = self.delivery.clock.now()
        stored = await self.outbox.load(now - WINDOW)
        changed = self.delivery.restore(stored.alerts, stored.recent, map(about, incidents))
        await self.outbox.save(changed, now)
        return stored.unreadable

    async def use_outbox(self, outbox: AlertOutbox, claims: AlertClaims | None) -> None:
        """Store in another outbox from now on, of which this node had a part before. Raises ``StorageError``."""
        await outbox.load(self.delivery.clock.now() - WINDOW)  # so that what it was to send is its own again
        self.outbox, self.delivery.storage, self.delivery.claims = outbox, outbox, claims
        self.database_replaced()

    def use(self, config: Config, incidents: Iterable[Incident]) -> None:
        """Send by the channels of another config from now on; those that are new hear of the incidents that are open.

        A message that is on its way ends as it began.
        """
        self._store(self.delivery.use(outlets(config), map(about, incidents)))

    def clock_jumped(self, shift: float) -> None:
        """Move all waits with a clock that was set."""
        self._store(self.delivery.clock_jumped(shift))

    def database_replaced(self) -> None:
        """Store all alerts in a new file, which has taken the place of a lost one."""
        self._store(self.delivery.everything())

    async def run(self) -> None:
        """Send messages until it is cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.delivery.run)
            while True:
                upcoming = self._to_store.upcoming
                wanted = dict(self._unstored)
                current = [self.delivery.as_it_is(alert) for alert in wanted.values()]
                await self.outbox.save([alert for alert in current if alert is not None], self.delivery.clock.now())
                for key, alert in wanted.items():  # only now: a call that failed has stored nothing
                    if self._unstored.get(key) is alert:
                        del self._unstored[key]
                await upcoming.wait()

    def _store(self, alerts: Iterable[ChannelAlert]) -> None:
        """Have alerts stored soon, each as it is then, by ``run``."""
        self._unstored |= {alert.key: alert for alert in alerts}
        self._to_store.notify()

    def _rows(self, alerts: Iterable[ChannelAlert]) -> Rows:
        now = self.delivery.clock.now()
        return [self.outbox.row_of(alert, now) for alert in alerts]


@frozen(kw_only=True)
class Trial:
    """What became of a test message; ``problem`` is None if it was sent."""

    number: int
    channel: str
    problem: str | None


async def try_channel(config: Config, number: int, outlet: AlertOutlet) -> Trial:
    """Send a test message by one channel."""
    letter = trial_letter(outlet.label, str(config.path))
    problem = None
    try:
        await outlet.channel.send(
            key=letter.key,
            subject=letter.subject,
            body=letter.body,
            tone=letter.tone,
            data=letter.data,
            timeout=SEND_TIMEOUT,
        )
    except Exception as exc:  # whatever a service's own code raises is why it was not sent
        problem = str(exc) or type(exc).__name__
    return Trial(number=number, channel=outlet.label, problem=problem)
