"""``Delivery``: sends what the law of alerts says, for each channel in a task of its own.

    incident ──▶ take: alerts, which its owner stores with it in one transaction
                              │
    channel's task  ◀── next_send (states/alerts.py)
          │ send (with a deadline), then store that it was sent
          └ failed: the channel waits by a schedule, and its trouble is reported

A message leaves only after its alert is durable, or after a bounded wait for that: of a disk that is full, somebody
has to hear, too.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import anyio
import structlog
from attrs import define, evolve, field, frozen

from engine.alerts.messages import Letter, compose
from engine.alerts.ports import AlertChannel, AlertClaims, AlertStorage
from engine.fleet.ports import Clock
from engine.wakeup import Wakeup
from states import alerts as law
from states.alerts import About, ChannelAlert, ChannelRule, MessageKind
from states.incident import IncidentKind

SEND_TIMEOUT: Final = 30.0
"""Seconds that a message may take."""
DURABLE_WITHIN: Final = 5.0
"""Seconds that a message waits for its alert to be stored."""
MARK_TIMEOUT: Final = 10.0
"""Seconds that storing may take that a message was sent, before the next one is looked for."""
MISSED_WITHIN: Final = 5.0
"""Seconds that finding out may take what was missed in an incident."""
STOP_TIMEOUT: Final = 5.0
"""Seconds that a message on its way has when the engine ends."""
PRUNE_EVERY: Final = 6 * 3600.0
CLAIM_WITHIN: Final = 10.0
"""Seconds that a node of several waits for the answer whether it is to send a message."""
ASK_EVERY: Final = 15.0
"""Seconds between two such questions that got no answer, and between two looks for messages of dead nodes."""

STORAGE: Final = IncidentKind.STORAGE.value

log = structlog.get_logger("holdfast.alerts")


@frozen(kw_only=True)
class AlertOutlet:
    """A channel, what it is called, and what it is told."""

    rule: ChannelRule
    label: str
    """What the operator calls it, such as ``alerts[0] (mailtos)``."""
    channel: AlertChannel


def _local(at: float) -> datetime:
    return datetime.fromtimestamp(at)


@define(eq=False, kw_only=True)
class Delivery:
    """The alerts of an engine, and the tasks that send them."""

    outlets: Mapping[str, AlertOutlet]
    """The channels by what identifies them."""
    storage: AlertStorage
    clock: Clock
    config: str = ""
    """The config's path, for the commands in messages."""
    on_channel: Callable[[str, str, str | None], None] = field(default=lambda channel, label, why: None)
    """Called after each message with its channel, the channel's label, and why it was not sent; None if it was."""
    local: Callable[[float], datetime] = _local
    claims: AlertClaims | None = None
    """Says which of several nodes sends a message; None: this engine sends all."""
    missed: Callable[[About], Awaitable[str]] | None = None
    """Returns what was missed in an incident that is over, in a sentence; empty if nothing is known."""
    on_message: Callable[[bool], None] | None = field(default=None, init=False)
    """Called with whether a message was sent; nobody counts them unless there are metrics."""
    _alerts: dict[tuple[int, str], ChannelAlert] = field(factory=dict, init=False)
    _recent: dict[str, tuple[float, ...]] = field(factory=dict, init=False)
    _failures: dict[str, int] = field(factory=dict, init=False)
    _changed: Wakeup = field(factory=Wakeup, init=False)
    _replaced: Wakeup = field(factory=Wakeup, init=False)
    """Notified when ``outlets`` are others."""
    _served: set[str] = field(factory=set, init=False)
    """The channels that have a task."""
    _on_the_way: dict[str, anyio.CancelScope] = field(factory=dict, init=False)
    _sent: set[tuple[int, str]] = field(factory=set, init=False)
    """The alerts that have a message on its way."""
    _stopping: bool = field(default=False, init=False)

    @property
    def rules(self) -> tuple[ChannelRule, ...]:
        """What each channel is told."""
        return tuple(outlet.rule for outlet in self.outlets.values())

    @property
    def waiting(self) -> int:
        """How many messages are due, or will be."""
        return sum(alert.message is not None for alert in self._alerts.values())

    # --- what happens to incidents. The caller stores what is returned, in the transaction of the incident -----------

    def opened(self, about: About) -> tuple[ChannelAlert, ...]:
        """Take an incident that has begun. Telling it twice is telling it once: a transaction may be tried again."""
        known = self._of(about.id)
        missing = [rule for rule in self.rules if all(alert.channel != rule.channel for alert in known)]
        return (*known, *self._put(law.opened(about, missing, self.clock.now())))

    def changed(self, about: About) -> tuple[ChannelAlert, ...]:
        """Take the accounts that have joined an incident, or left it; what is stored is right enough without them."""
        self._put(law.joined(alert, about) for alert in self._of(about.id))
        return ()

    def acked(self, about: About) -> tuple[ChannelAlert, ...]:
        """Take an incident that somebody has acknowledged."""
        return self._put(law.acked(alert, about) for alert in self._of(about.id))

    def closed(self, about: About) -> tuple[ChannelAlert, ...]:
        """Take an incident that has ended."""
        now = self.clock.now()
        return self._put(
            law.closed(alert, about, now, on_its_way=alert.key in self._sent) for alert in self._of(about.id)
        )

    def merged(self, about: About) -> tuple[ChannelAlert, ...]:
        """Take an incident that goes on in another one: it is told as that, and its own end is no news."""
        return self._put(law.merged(alert, about) for alert in self._of(about.id))

    def restore(
        self, stored: Iterable[ChannelAlert], recent: Mapping[str, tuple[float, ...]], incidents: Iterable[About]
    ) -> tuple[ChannelAlert, ...]:
        """Go on where the last engine was; ``incidents`` are those that are open. Returns what is to be stored anew.

        A channel that is new is told of what is open already.
        """
        now, changed = self.clock.now(), []
        self._recent = dict(recent)
        known = {each.id: each for each in incidents}
        for alert in stored:
            outlet, about = self.outlets.get(alert.channel), known.get(alert.about.id, alert.about)
            if about.closed is None and about.id not in known:  # the incident was lost with its database
                outlet = None
            new = law.restored(law.joined(alert, about), None if outlet is None else outlet.rule, now)
            if not new.over:
                self._alerts[new.key] = new
            if new != alert:
                changed.append(new)
        told = {alert.key for alert in changed if not alert.dropped} | set(self._alerts)
        for about in known.values():
            missing = [rule for rule in self.rules if (about.id, rule.channel) not in told]
            changed += self._put(law.opened(about, missing, now))
        return tuple(changed)

    def use(self, outlets: Mapping[str, AlertOutlet], incidents: Iterable[About]) -> tuple[ChannelAlert, ...]:
        """Send by other channels from now on; ``incidents`` are those that are open. Returns what is to be stored.

        A message that is on its way ends as it began, and a channel that stays remembers what it has sent. One that is
        new is told of what is open; whoever was told is not told again.
        """
        before = self.outlets
        self.outlets = {
            name: evolve(outlet, channel=before[name].channel) if name in before else outlet
            for name, outlet in outlets.items()
        }
        self._failures = {name: count for name, count in self._failures.items() if name in outlets}
        stored, self._alerts = self.everything(), {}
        # An incident that is over, and whose end is still to be told here, is not lost.
        known = {each.about.id: each.about for each in stored if each.about.closed is None}
        known |= {each.id: each for each in incidents}
        changed = self.restore(stored, self._recent, known.values())
        self._replaced.notify()
        self._changed.notify()
        return changed

    def as_it_is(self, alert: ChannelAlert) -> ChannelAlert | None:
        """Return an alert as it is now; None if it is over meanwhile, which was stored with what ended it."""
        return alert if alert.over else self._alerts.get(alert.key)

    def everything(self) -> tuple[ChannelAlert, ...]:
        """Return all alerts that are not over, for a new file that takes the place of a lost one."""
        return tuple(self._alerts.values())

    def clock_jumped(self, shift: float) -> tuple[ChannelAlert, ...]:
        """Move all waits with a clock that was set by ``shift`` s."""
        self._recent = {name: tuple(at + shift for at in times) for name, times in self._recent.items()}
        return self._put(law.moved(alert, shift) for alert in list(self._alerts.values()))

    def _of(self, incident: int) -> list[ChannelAlert]:
        found = (self._alerts.get((incident, channel)) for channel in self.outlets)
        return [alert for alert in found if alert is not None]

    def _put(self, alerts: Iterable[ChannelAlert]) -> tuple[ChannelAlert, ...]:
        kept = tuple(alerts)
        for alert in kept:
            if alert.over:
                self._alerts.pop(alert.key, None)
            else:
                self._alerts[alert.key] = alert
        if kept:
            self._changed.notify()
        return kept

    # --- the tasks ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send messages until it is cancelled; one that is on its way then has a few seconds."""
        self._stopping = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._prune)
            tasks.start_soon(self._take_over)
            try:
                while True:
                    upcoming = self._replaced.upcoming
                    for name in self.outlets.keys() - self._served:
                        self._served.add(name)
                        tasks.start_soon(self._serve, name)
                    await upcoming.wait()
            finally:
                self._stopping = True
                for scope in self._on_the_way.values():
                    scope.deadline = min(scope.deadline, anyio.current_time() + STOP_TIMEOUT)

    async def _prune(self) -> None:
        while True:
            await _despite_storage(self.storage.prune(self.clock.now()))
            await anyio.sleep(PRUNE_EVERY)

    async def _serve(self, name: str) -> None:
        """Send the messages of a channel for as long as the config has it."""
        try:
            while not self._stopping and (outlet := self.outlets.get(name)) is not None:
                changed, replaced, now = self._changed.upcoming, self._replaced.upcoming, self.clock.now()
                await self._give_up(outlet, now)
                mine = [alert for alert in self._alerts.values() if alert.channel == name]
                match law.next_send(mine, outlet.rule, self._recent.get(name, ()), now, self.local):
                    case law.SendNow(alerts):
                        to_send = await self._claimed(alerts, now)
                        if to_send is None and not (to_send := self._of_storage(mine, outlet.rule, now)):
                            with anyio.move_on_after(ASK_EVERY):
                                await replaced.wait()
                        elif to_send and not await self._deliver(outlet, to_send):
                            with anyio.move_on_after(law.pause_after(self._failures.get(name) or 1)):
                                await replaced.wait()  # what a person has mended is tried at once
                    case law.WaitUntil(until):
                        with anyio.move_on_after(None if until is None else max(until - now, 0.0)):
                            await changed.wait()
        finally:
            self._served.discard(name)

    async def _claimed(self, alerts: tuple[ChannelAlert, ...], now: float) -> tuple[ChannelAlert, ...] | None:
        """Return which of these alerts this node is to send now; None if nobody says that."""
        if self.claims is None:
            return alerts
        with suppress(Exception), anyio.move_on_after(CLAIM_WITHIN):
            await self.storage.flush()
            found = await self.claims.claim(alerts, now)
            asked = {alert.key: alert for alert in alerts}
            # What has happened to an incident meanwhile counts: then it is asked again.
            still = {key for key, alert in asked.items() if self._alerts.get(key) is alert}
            self._put(alert for alert in (*found.mine, *found.others) if alert.key in still)
            return tuple(alert for alert in found.mine if alert.key in still)
        return None

    def _of_storage(self, alerts: Sequence[ChannelAlert], rule: ChannelRule, now: float) -> tuple[ChannelAlert, ...]:
        """Return what is to be sent although nobody says whose it is: of a store that does not answer, each node tells.

        No other one may be able to.
        """
        of_storage = [alert for alert in alerts if alert.about.kind == STORAGE]
        match law.next_send(of_storage, rule, self._recent.get(rule.channel, ()), now, self.local):
            case law.SendNow(found):
                return found
        return ()

    async def _take_over(self) -> None:
        """Go on with the messages that nodes have left, for as long as it runs."""
        while (claims := self.claims) is not None:
            await anyio.sleep(ASK_EVERY)
            with suppress(Exception):  # a store that does not answer is told of elsewhere
                now, known = self.clock.now(), self._alerts.keys() | self._sent
                await self.storage.flush()
                found = await claims.take_over(list(self.outlets), now, known)
                await self.storage.save(self._put(self._gone_on(alert, now) for alert in found), now)

    def _gone_on(self, alert: ChannelAlert, now: float) -> ChannelAlert:
        """Return an alert with which another node has got so far as this one is to know it."""
        about = alert.about
        if about.closed is not None and alert.message is not MessageKind.CLOSED:
            alert = law.closed(alert, about, now)
        elif (known := self._alerts.get(alert.key)) is not None:
            alert = law.joined(alert, known.about)
        outlet = self.outlets.get(alert.channel)
        return law.restored(alert, None if outlet is None else outlet.rule, now)

    async def _give_up(self, outlet: AlertOutlet, now: float) -> None:
        """Forget messages that could not be sent for so long that they are no news any more."""
        name = outlet.rule.channel
        stale = [each for each in self._alerts.values() if each.channel == name and law.is_stale(each, now)]
        if stale:
            log.error("alerts_given_up", channel=outlet.label, messages=len(stale))
            await _despite_storage(self.storage.save(self._put(law.given_up(each) for each in stale), now))

    async def _deliver(self, outlet: AlertOutlet, alerts: tuple[ChannelAlert, ...]) -> bool:
        """Send one message, and store that it was sent; return whether it was."""
        with anyio.move_on_after(DURABLE_WITHIN):
            await _despite_storage(self.storage.flush())
        messages = [(alert.key, alert.message) for alert in alerts]
        letter = compose([await self._with_missed(alert) for alert in alerts], self.clock.now(), self.config)
        # Not cut off by the engine's end: a message that arrives and is not marked would be sent again.
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + SEND_TIMEOUT + MARK_TIMEOUT) as scope:
            self._on_the_way[outlet.rule.channel] = scope
            self._sent.update(key for key, _ in messages)
            try:
                why = await _send(outlet.channel, letter)
                await self._mark(outlet, messages, why)
            finally:
                del self._on_the_way[outlet.rule.channel]
                self._sent.difference_update(key for key, _ in messages)
            return why is None
        self._failures[outlet.rule.channel] = max(1, self._failures.get(outlet.rule.channel, 0))
        return False

    async def _with_missed(self, alert: ChannelAlert) -> ChannelAlert:
        """Return an alert for its message: of the end of an incident, that says what was missed in it."""
        if alert.message is not MessageKind.CLOSED or self.missed is None:
            return alert
        missed = ""
        with suppress(Exception), anyio.move_on_after(MISSED_WITHIN):  # the message does not depend on it
            missed = await self.missed(alert.about)
        return evolve(alert, about=evolve(alert.about, missed=missed or alert.about.missed))

    async def _mark(
        self, outlet: AlertOutlet, messages: list[tuple[tuple[int, str], MessageKind | None]], why: str | None
    ) -> None:
        """Take the outcome of a message; what has happened to its incidents meanwhile stays so."""
        name, now = outlet.rule.channel, self.clock.now()
        current = [(self._alerts[key], message) for key, message in messages if key in self._alerts and message]
        if why is None:
            rule = self.outlets.get(name, outlet).rule
            changed = [law.sent(alert, message, rule, now) for alert, message in current]
            recent = (*self._recent.get(name, ()), now)
            self._recent[name] = tuple(at for at in recent if at > now - law.WINDOW)[-2 * law.AT_MOST :]
        else:
            changed = [law.failed(alert, message) for alert, message in current]
        self._note(outlet, why)
        if why is None:
            log.info("alert_sent", channel=outlet.label, incidents=sorted({key[0] for key, _ in messages}))
        await _despite_storage(self.storage.save(self._put(changed), now))
        if why is None:
            await _despite_storage(self.storage.flush())

    def _note(self, outlet: AlertOutlet, why: str | None) -> None:
        """Count the failures of a channel in a row, and tell of the first one and of their end."""
        name = outlet.rule.channel
        if name not in self.outlets:  # it was removed while its message was on the way
            return
        failures = self._failures.get(name, 0)
        if self.on_message is not None:
            self.on_message(why is None)
        if why is None:
            self._failures[name] = 0
            if failures:
                log.info("channel_works", channel=outlet.label, failures=failures)
            self.on_channel(name, outlet.label, None)  # the last engine may have found that it fails
            return
        self._failures[name] = failures + 1
        if failures == 0:
            log.warning("channel_failed", channel=outlet.label, detail=why, delay=law.pause_after(1))
        self.on_channel(name, outlet.label, why)


async def _despite_storage(work: Awaitable[None]) -> None:
    """Wait for the storage, and go on if it is broken: that is told elsewhere, and must not keep alerts from going."""
    with suppress(Exception):
        await work


async def _send(channel: AlertChannel, letter: Letter) -> str | None:
    """Send a message; return why it could not be sent, None if it was."""
    try:
        with anyio.fail_after(SEND_TIMEOUT + 1.0):
            await channel.send(
                key=letter.key,
                subject=letter.subject,
                body=letter.body,
                tone=letter.tone,
                data=letter.data,
                timeout=SEND_TIMEOUT,
            )
    except TimeoutError:
        return f"no answer within {SEND_TIMEOUT:g} s"
    except Exception as exc:  # whatever a service's own code raises: the others are told, and it is tried again
        return str(exc) or type(exc).__name__
    return None
