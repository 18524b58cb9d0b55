"""Finds in the records of accounts what their connections met: losses, attempts, silence, news.

``PastBuilder`` says which record belongs where, and when it was; here it is said what it means. An event is kept with
nothing in it but what decisions depend on.
"""

from typing import Final

from attrs import define, evolve, field, fields_dict

from engine.journal.replay import EventOf
from engine.whatif.happenings import (
    AccountPast,
    AttemptFailed,
    AttemptSucceeded,
    EventGiven,
    LinkLost,
    News,
    NewsHeard,
    SilenceEnded,
    SilenceLasted,
)
from states import Entry, Event, Policy, State
from states.events import Connected, Failure, ServerFault, TimedOut

NEWS_OF_OTHERS: Final = 0.1
"""Seconds after a connection of any account within which a ``NetworkRestored`` is taken for news of it."""
TOGETHER: Final = 0.1
"""Seconds within which accounts that hear the same have heard it together."""
LONGEST_LATENCY: Final = 1000
"""Milliseconds; a turn that came later had to be waited for."""

KEPT: Final = ("what", "seconds", "request", "credentials", "held", "setting")
"""The fields of events on which decisions depend."""
NOT_KEPT: Final = {"detail": "", "chain": (), "link": 0, "via": ""}
"""The others that are left out, and what stands in their place."""
MAX_EVENTS: Final = 10_000
"""Different events that are remembered; each flood wait can have a length of its own."""

ATTEMPT: Final = (State.CONNECTING, State.RECONNECTING)
WITH_LINK: Final = (State.HEALTHY, State.TIMEOUT)


@define
class KeptEvents:
    """The events of records, of no link in particular; equal ones are one object."""

    event_of: EventOf
    _known: dict[tuple[str, str], Event] = field(factory=dict, init=False)

    def of(self, entry: Entry) -> Event:
        """Return the event of a record. Raises ``UnreadableEvent``."""
        kept = {name: value for name, value in entry.payload.items() if name in KEPT}
        key = (entry.event, repr(sorted(kept.items())))
        if (event := self._known.get(key)) is None:
            event = _plain(self.event_of(entry))
            if len(self._known) < MAX_EVENTS:
                self._known[key] = event
        return event


def _plain(event: Event) -> Event:
    """Return an event with nothing in it but what decisions depend on."""
    names = fields_dict(type(event)).keys()
    return evolve(event, **{name: value for name, value in NOT_KEPT.items() if name in names})


@define
class KnownPlace:
    """Where an account is that is followed through its records."""

    past: AccountPast
    state: State | None = None
    """None while it is not known."""
    policy: Policy = field(factory=Policy)
    begun: float | None = None
    """When the attempt that is under way got its turn."""
    since: float | None = None
    """When the link fell silent that is suspected."""


@define
class OutageFinder:
    """Takes the records of accounts whose place is known, and adds to their pasts what happened to them."""

    events: KeptEvents
    news: list[News] = field(factory=list, init=False)
    minutes: dict[int, int] = field(factory=dict, init=False)
    """Attempts by minute."""
    _turns: dict[int, int] = field(factory=dict, init=False)
    """How many turns came after so many milliseconds, up to a second."""
    _connected: float = field(default=float("-inf"), init=False)
    """When any account connected last."""

    @property
    def latency(self) -> float:
        """How long the engine took from a decision to the next when nothing made it wait: that of one turn in ten."""
        left = sum(self._turns.values()) // 10
        for milliseconds, count in sorted(self._turns.items()):
            left -= count
            if left < 0:
                return milliseconds / 1000
        return 0.0

    def take(self, place: KnownPlace, entry: Entry, event_class: type[Event], at: float) -> None:
        """Go on by a record whose source is where the account was. Raises ``UnreadableEvent``."""
        past, source, target = place.past, entry.source, entry.target
        since = None
        if source in ATTEMPT:
            self._attempt(place, entry, event_class, at)
        elif source in WITH_LINK:
            since = self._linked(place, entry, event_class, at)
        elif source is State.BACKOFF and entry.event == "NetworkRestored" and target is not source:
            past.happenings.append(NewsHeard(at))
            self._hear(entry.account, at)
        if entry.event in ("RetryRequested", "CredentialsReplaced") or (
            source is State.BACKOFF and target is State.AUTH_FAILED
        ):
            past.happenings.append(EventGiven(at, self.events.of(entry)))
        place.state = target
        past.meter.note(target, at, since)

    def _hear(self, account: str, at: float) -> None:
        """Note who heard that the network was back, unless that was the news of another account's connection."""
        if 0 <= at - self._connected <= NEWS_OF_OTHERS:
            return
        if not self.news or not 0 <= at - self.news[-1].at <= TOGETHER:
            self.news.append(News(at, []))
        self.news[-1].accounts.append(account)

    def _attempt(self, place: KnownPlace, entry: Entry, event_class: type[Event], at: float) -> None:
        past = place.past
        if "Open" in entry.effects:
            waited = int(entry.dwell * 1000)
            if waited <= LONGEST_LATENCY:
                self._turns[waited] = self._turns.get(waited, 0) + 1
            place.begun = at
            past.meter.attempts += 1
            self.minutes[int(at // 60)] = self.minutes.get(int(at // 60), 0) + 1
        elif event_class is Connected and entry.target is State.HEALTHY:
            begun = at if place.begun is None else place.begun
            past.happenings.append(AttemptSucceeded(begun, at, self.events.of(entry)))
            self._connected = at
        elif issubclass(event_class, Failure) and entry.target is not entry.source and place.begun is not None:
            past.happenings.append(AttemptFailed(place.begun, at, self.events.of(entry)))
        if entry.target is not entry.source:
            place.begun = place.since = None

    def _linked(self, place: KnownPlace, entry: Entry, event_class: type[Event], at: float) -> float | None:
        """Go on from ``healthy`` or ``timeout``; return since when the link was gone, if it is gone now."""
        past, target = place.past, entry.target
        if (
            entry.source is State.TIMEOUT
            and "[of_request]" not in entry.rule
            and event_class in (TimedOut, ServerFault)
        ):
            past.happenings.append(SilenceLasted(at))
            return None
        if target is entry.source:
            return None
        if target is State.HEALTHY:
            past.happenings.append(SilenceEnded(at))
            place.since = None
            return None
        if not issubclass(event_class, Failure):
            return None
        event = self.events.of(entry)
        if entry.source is State.HEALTHY:
            silent = isinstance(event, TimedOut) and event.what == "probe"
            proven = past.happenings[-1].at
            place.since = max(at - place.policy.timeout.nth(1) if silent else at, proven)
        else:
            silent = False
        since = at if place.since is None else min(at, place.since)
        past.happenings.append(LinkLost(at, since, event, silent))
        return since
