"""The law of alerts: which messages an incident makes for which channel, and when. Pure; times are Unix seconds.

Each (incident, channel) has one ``ChannelAlert``, which says what is to be sent next and when:

    opened ──▶ OPENED ──sent──▶ REPEATED ──sent──▶ REPEATED …      until the incident is acknowledged
                  │                 │
                  └─────closed──────┴──▶ CLOSED ──sent──▶ over

A trouble that ends before its first message is due is told to nobody. One that ends later is, even if the first message
was held until then: the closing message says all of it. What is stored is the alert, so a restart goes on where the
engine was; a message that was sent, and whose alert could not be stored any more, is sent once more.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import attrs
from attrs import evolve, frozen

from states.incident import Incident, IncidentKind
from states.pace import Hours

KINDS: Final = tuple(kind.value for kind in IncidentKind)
"""The kinds of incidents."""
NEEDS_PERSON: Final = IncidentKind.NEEDS_PERSON.value
CHANNEL: Final = IncidentKind.CHANNEL.value
"""The kind of incident whose cause is a channel of alerts that fails."""
TOLD_BY_DEFAULT: Final = ("needs_person", "outage", "stalled", "job_failed", "storage")

AT_MOST: Final = 5
"""Messages that a channel gets in ``WINDOW``; more that are due become one digest."""
WINDOW: Final = 300.0
MOST_IN_DIGEST: Final = 100
"""Alerts of which one digest tells."""
MOST_NAMES: Final = 50
"""Accounts that an alert names; the others are counted."""
GIVEN_UP_AFTER: Final = 7 * 86_400.0
"""Seconds after the end of an incident at which its message, which could not be sent, is no news any more."""
RETRIES: Final = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0)
"""Seconds from the first, second, … failure of a channel in a row to its next try; the last value repeats."""


class MessageKind(StrEnum):
    """What a message tells of its incident."""

    OPENED = "opened"
    REPEATED = "repeated"
    CLOSED = "closed"


@frozen(kw_only=True)
class About:
    """An incident as messages tell of it, which is stored with the alert: it names few accounts, and counts all."""

    id: int
    kind: str
    cause: str = ""
    accounts: tuple[str, ...] = ()
    """The first of the accounts."""
    accounts_total: int = 0
    fleet: bool = False
    severity: str = "warning"
    since: float
    opened: float
    closed: float | None = None
    acked: float | None = None
    detail: str = ""
    meaning: str = ""
    action: str = ""
    missed: str = ""
    """What was missed, in a sentence; empty if it is not known, or not over."""

    @property
    def urgent(self) -> bool:
        """Whether it waits for no hour of the day: nothing but a person ends it, and it is critical."""
        return self.kind == NEEDS_PERSON and self.severity == "critical"

    def written(self) -> str:
        """Return it as JSON."""
        return json.dumps(attrs.asdict(self), ensure_ascii=False)


def about(incident: Incident, missed: str = "") -> About:
    """Return what messages tell of an incident."""
    return About(
        id=incident.id,
        kind=str(incident.kind),
        cause=str(incident.cause),
        accounts=tuple(incident.accounts[:MOST_NAMES]),
        accounts_total=len(incident.accounts),
        fleet=incident.fleet,
        severity=str(incident.severity),
        since=incident.since,
        opened=incident.opened,
        closed=incident.closed,
        acked=incident.acked,
        detail=incident.detail,
        meaning=incident.meaning,
        action=incident.action,
        missed=missed,
    )


def about_from(text: str) -> About:
    """Return what ``written`` has written. Raises ``ValueError`` or ``TypeError`` for anything else."""
    found: Any = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError("an incident is a mapping")
    known = {each.name for each in attrs.fields(About)}
    given = {key: value for key, value in found.items() if key in known}
    made = About(**{**given, "accounts": tuple(given.get("accounts", ()))})
    for field in attrs.fields(About):
        value = getattr(made, field.name)
        if not isinstance(value, _TYPES[field.name]) or (isinstance(value, bool) and field.name != "fleet"):
            raise TypeError(f"{field.name} cannot be {type(value).__name__}")
    if not all(isinstance(each, str) for each in made.accounts):
        raise TypeError("accounts are names")
    return made


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("kind", "cause", "severity", "detail", "meaning", "action", "missed"), (str,)),
    **dict.fromkeys(("since", "opened"), (int, float)),
    **dict.fromkeys(("closed", "acked"), (int, float, type(None))),
    **dict.fromkeys(("id", "accounts_total"), (int,)),
    "accounts": (tuple,),
    "fleet": (bool,),
}


@frozen(kw_only=True)
class ChannelRule:
    """What is sent to one channel."""

    channel: str
    """What identifies the channel, however the config is ordered."""
    kinds: frozenset[str] = frozenset(TOLD_BY_DEFAULT)
    after: float = 120.0
    """Seconds that a trouble lasts before it is told, from its beginning. One that needs a person is told at once:
    nothing ends it by itself."""
    repeat: float | None = 6 * 3600.0
    """Seconds between two messages about an incident that nobody has acknowledged; None is never."""
    quiet: Hours | None = None
    """The hours of the day in which nothing is sent but what is urgent."""

    def wants(self, about: About) -> bool:
        """Return whether the channel is told of an incident: of a channel that fails, all others are."""
        if about.kind == CHANNEL:
            return about.cause != self.channel
        return about.kind in self.kinds


@frozen(kw_only=True)
class ChannelAlert:
    """What one channel is told of one incident."""

    channel: str
    about: About
    message: MessageKind | None
    """What is to be sent next; None if nothing is."""
    due: float | None
    """When it is to be sent, at the earliest."""
    told: float | None = None
    """When the last message was sent."""
    messages: int = 0
    """How many were sent."""
    tries: int = 0
    """How often sending the next one has failed."""
    dropped: bool = False
    """Whether nobody is to be told any more: the channel is not in the config, or its incident was lost."""

    @property
    def key(self) -> tuple[int, str]:
        """What identifies it."""
        return self.about.id, self.channel

    @property
    def over(self) -> bool:
        """Whether nothing will be sent any more."""
        return self.dropped or (self.message is None and self.about.closed is not None)


# --- what happens to an incident, and to a message --------------------------------------------------------------------


def opened(about: About, rules: Iterable[ChannelRule], now: float) -> tuple[ChannelAlert, ...]:
    """Return the alerts of an incident that has begun, or of which these channels have not been told yet."""
    return tuple(
        ChannelAlert(channel=rule.channel, about=about, message=MessageKind.OPENED, due=_first_due(about, rule, now))
        for rule in rules
        if rule.wants(about)
    )


def _first_due(about: About, rule: ChannelRule, now: float) -> float:
    """Return when an incident is told first: from its beginning on, however late its storage hears of it."""
    if about.kind == NEEDS_PERSON:
        return min(about.opened, now)
    return min(max(about.opened, about.since + rule.after), now + rule.after)


def joined(alert: ChannelAlert, about: About) -> ChannelAlert:
    """Return the alert after more accounts have joined its incident: that alone is no message."""
    return evolve(alert, about=about)


def acked(alert: ChannelAlert, about: About) -> ChannelAlert:
    """Return the alert after somebody has acknowledged its incident: it is not repeated any more."""
    if alert.message is MessageKind.REPEATED:
        return evolve(alert, about=about, message=None, due=None, tries=0)
    return evolve(alert, about=about)


def closed(alert: ChannelAlert, about: About, now: float, *, on_its_way: bool = False) -> ChannelAlert:
    """Return the alert after its incident has ended, which may be noted later than it was.

    Whoever has heard of it hears of its end, and so does who may have: a message is on its way, or was tried.
    """
    ended = now if about.closed is None else min(now, about.closed)
    untold = alert.told is None and not alert.tries and not on_its_way
    if untold and (alert.due is None or ended < alert.due):
        return evolve(alert, about=about, message=None, due=None)
    return evolve(alert, about=about, message=MessageKind.CLOSED, due=now, tries=0)


def merged(alert: ChannelAlert, about: About) -> ChannelAlert:
    """Return the alert after its incident was found to be part of another one, which is told instead."""
    return evolve(alert, about=about, message=None, due=None, tries=0)


def sent(alert: ChannelAlert, message: MessageKind, rule: ChannelRule, now: float) -> ChannelAlert:
    """Return the alert after ``message`` was sent; meanwhile, it may be about to send another one."""
    told = evolve(alert, told=now, messages=alert.messages + 1)
    if alert.message is not message:
        return told
    if message is not MessageKind.CLOSED and alert.about.acked is None and rule.repeat is not None:
        return evolve(told, message=MessageKind.REPEATED, due=now + rule.repeat, tries=0)
    return evolve(told, message=None, due=None, tries=0)


def failed(alert: ChannelAlert, message: MessageKind) -> ChannelAlert:
    """Return the alert after ``message`` could not be sent: others go first at the next try."""
    return evolve(alert, tries=alert.tries + 1) if alert.message is message else alert


def moved(alert: ChannelAlert, shift: float) -> ChannelAlert:
    """Return the alert after the clock was set by ``shift`` seconds."""
    if alert.due is None:
        return alert
    return evolve(alert, due=alert.due + shift, told=None if alert.told is None else alert.told + shift)


def restored(alert: ChannelAlert, rule: ChannelRule | None, now: float) -> ChannelAlert:
    """Return a stored alert as a restart or a reload finds it.

    The clock may have been set, the rule may be another one, and the channel may be gone (None). What a person has
    acknowledged meanwhile is not repeated.
    """
    if rule is None or not rule.wants(alert.about):
        return evolve(alert, message=None, due=None, dropped=True)
    if alert.about.closed is not None:
        return alert if alert.due is None else evolve(alert, due=min(alert.due, now))
    if alert.told is None:
        return alert if alert.due is None else evolve(alert, due=_first_due(alert.about, rule, now))
    if alert.about.acked is not None or rule.repeat is None:
        return evolve(alert, message=None, due=None, tries=0)
    due = min(alert.told + rule.repeat, now + rule.repeat)
    return evolve(alert, message=MessageKind.REPEATED, due=due)


def is_stale(alert: ChannelAlert, now: float) -> bool:
    """Return whether a message could not be sent for so long that it is no news any more."""
    ended = alert.about.closed
    return alert.message is not None and ended is not None and now - ended > GIVEN_UP_AFTER


def given_up(alert: ChannelAlert) -> ChannelAlert:
    """Return the alert without its message."""
    return evolve(alert, message=None, due=None)


def pause_after(failures: int) -> float:
    """Return the seconds to wait after so many failures of a channel in a row, at least one."""
    return RETRIES[min(failures, len(RETRIES)) - 1]


# --- what a channel sends next ----------------------------------------------------------------------------------------


@frozen
class SendNow:
    """One message is to be sent now: about one alert, or a digest of several."""

    alerts: tuple[ChannelAlert, ...]


@frozen
class WaitUntil:
    """Nothing is to be sent before ``until``; None is: before something happens."""

    until: float | None


def next_send(
    alerts: Iterable[ChannelAlert],
    rule: ChannelRule,
    recent: Sequence[float],
    now: float,
    local: Callable[[float], datetime],
) -> SendNow | WaitUntil:
    """Return what a channel sends now, or until when it waits.

    ``recent`` has the times of its last messages; ``local`` returns the local time of day. One place beyond
    ``AT_MOST`` is kept for what is urgent.
    """
    ready, later = [], list[float]()
    for alert in alerts:
        if alert.message is None or alert.due is None:
            continue
        at = free_at(alert, rule, max(now, alert.due), local)
        if at <= now:
            ready.append(alert)
        else:
            later.append(at)
    if not ready:
        return WaitUntil(min(later, default=None))
    used = [at for at in recent if now - WINDOW < at <= now]
    room = AT_MOST - len(used)
    urgent = any(map(_passes, ready))
    if room + urgent <= 0:
        return WaitUntil(sorted(used)[-(room + urgent)] + WINDOW)
    return SendNow(_first(ready)[:1] if len(ready) <= room else _first(ready))


def free_at(alert: ChannelAlert, rule: ChannelRule, at: float, local: Callable[[float], datetime]) -> float:
    """Return when a message that is due at ``at`` may be sent: not in quiet hours, unless it is urgent."""
    if rule.quiet is None or _passes(alert):
        return at
    loud = Hours(opens=rule.quiet.closes, closes=rule.quiet.opens)
    day = local(at)
    end = loud.opening(day)
    return at if end is None else at + max((end - day).total_seconds(), 1.0)


def _passes(alert: ChannelAlert) -> bool:
    """Return whether a message waits for no hour: a person has to act. Its end is good news, which can wait."""
    return alert.about.urgent and alert.message is not MessageKind.CLOSED


def _first(ready: list[ChannelAlert]) -> tuple[ChannelAlert, ...]:
    """Return the alerts in the order in which they are told: a message that failed lets the others go first."""
    return tuple(
        sorted(ready, key=lambda each: (each.tries, not _passes(each), each.due or 0.0, each.about.id))[:MOST_IN_DIGEST]
    )
