"""``FleetMetrics``: what is counted as it happens, in series of prometheus_client.

What can be asked for at a scrape is not counted here, see ``exposition``. Every label has few values: states, events,
causes and classes of methods are known beforehand, and kinds of requests and jobs have a bound.
"""

from typing import Final

from attrs import define, field
from prometheus_client import CollectorRegistry, Counter, Histogram

from states import State, Step
from states.events import CaughtUp, FloodWait, TurnGranted

MAX_KINDS: Final = 100
"""Kinds of requests, or of jobs, that have series of their own; all others share one."""
OTHER: Final = "other"
"""What they are called."""
TOO_LONG: Final = "too_long"
"""The datacenter does not list updates of so long a time; what was written can be read from the chats."""
REFUSED: Final = "refused"
"""The datacenter refused what was asked, and it is still missing."""

_FLOOD: Final = FloodWait.__name__
_TURN: Final = TurnGranted.__name__
_CAUGHT_UP: Final = CaughtUp.__name__
_LINKED: Final = (State.HEALTHY, State.TIMEOUT)
_WITHOUT_LINK: Final = (State.BACKOFF, State.RECONNECTING)

_DWELL: Final = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 86_400, 7 * 86_400)
_AWAY: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 120, 300, 600, 1800, 3600, 6 * 3600)
_REQUEST: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COMMIT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
_LAG: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_UPDATE_LAG: Final = (1, 2, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 86_400)
_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def bounded(kind: str, known: set[str]) -> str:
    """Return a kind that has a series of its own, which may be a new one while there are few; else ``OTHER``."""
    if kind not in known:
        if len(known) >= MAX_KINDS:
            return OTHER
        known.add(kind)
    return kind


@define(eq=False)
class FleetMetrics:
    """An observer of accounts, their requests, the journal's batches, the loop's beats and the messages of alerts."""

    registry: CollectorRegistry = field(factory=lambda: CollectorRegistry(auto_describe=False), init=False)
    _transitions: Counter = field(init=False)
    _dwell: Histogram = field(init=False)
    _away: Histogram = field(init=False)
    _attempts: Counter = field(init=False)
    _floods: Counter = field(init=False)
    _recovered: Counter = field(init=False)
    _gaps: Counter = field(init=False)
    _update_lag: Histogram = field(init=False)
    _requests: Counter = field(init=False)
    _durations: Histogram = field(init=False)
    _batch_rows: Histogram = field(init=False)
    _batch_seconds: Histogram = field(init=False)
    _lag: Histogram = field(init=False)
    _messages: Counter = field(init=False)
    _moves: dict[tuple[State, str, State], Counter] = field(factory=dict, init=False)
    """The series of each transition: to look one up in prometheus_client takes longer than to count it."""
    _dwells: dict[State, Histogram] = field(factory=dict, init=False)
    _methods: dict[tuple[str, str], Counter] = field(factory=dict, init=False)
    _method_durations: dict[str, Histogram] = field(factory=dict, init=False)
    _lost_at: dict[str, float] = field(factory=dict, init=False)
    """When each account that is away lost its link."""
    _kinds: set[str] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"holdfast_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"holdfast_{name}", text, labels, buckets=buckets, registry=self.registry)

        self._transitions = counter("transitions", "Changes of state of all accounts", "source", "event", "target")
        self._dwell = histogram("state_duration_seconds", "Time of accounts in a state they left", _DWELL, "state")
        self._away = histogram("reconnect_duration_seconds", "Time from a lost link to the next healthy one", _AWAY)
        self._attempts = counter("connection_attempts", "Attempts to connect that were begun")
        self._floods = counter("flood_wait_seconds", "Seconds that the datacenter told to wait", "request")
        self._recovered = counter("updates_recovered", "Updates that were fetched after a time without a link")
        self._update_lag = histogram("update_lag_seconds", "Age of messages when their handlers begin", _UPDATE_LAG)
        self._gaps = counter("update_gaps", "Times that updates were missed for good, or cannot be listed", "reason")
        self._requests = counter("requests", "Requests to the datacenter by class and outcome", "method", "outcome")
        self._durations = histogram("request_duration_seconds", "Time of answered requests", _REQUEST, "method")
        self._batch_rows = histogram("journal_batch_rows", "Writes in each transaction of the journal", _ROWS)
        self._batch_seconds = histogram("journal_commit_seconds", "Time until a transaction was durable", _COMMIT)
        self._lag = histogram("loop_lag_seconds", "How late the event loop ran what was due", _LAG)
        self._messages = counter("alert_messages", "Messages of alerts by what became of them", "outcome")
        self._messages.labels("failed")
        self._messages.labels("sent")
        for reason in (TOO_LONG, REFUSED):
            self._gaps.labels(reason)
        for state in State:
            self._dwells[state] = self._dwell.labels(state.value)

    def observe(self, account: str, step: Step) -> None:
        """Count a decision of an account."""
        record = step.record
        if record.quiet:
            return
        source, target = record.source, record.target
        if target is not source:
            move = (source, record.event, target)
            if (series := self._moves.get(move)) is None:
                labels = (source.value, record.event, target.value)
                series = self._moves[move] = self._transitions.labels(*labels)
            series.inc()
            self._dwells[source].observe(record.dwell)
            self._note_absence(account, source, target, record.at)
        if record.event == _TURN:
            if target is source and step.snapshot.link:
                self._attempts.inc()
        elif record.event == _FLOOD:
            self._count_flood(record.payload)
        elif record.event == _CAUGHT_UP:
            self._count_updates(record.payload)

    def forget(self, account: str) -> None:
        """Forget an account that was removed."""
        self._lost_at.pop(account, None)

    def request_done(self, method: str, outcome: str, seconds: float | None) -> None:
        """Count a request of a class of methods; ``seconds`` is None if it was not answered."""
        if (series := self._methods.get((method, outcome))) is None:
            series = self._methods[method, outcome] = self._requests.labels(method, outcome)
        series.inc()
        if seconds is not None:
            if (durations := self._method_durations.get(method)) is None:
                durations = self._method_durations[method] = self._durations.labels(method)
            durations.observe(seconds)

    def message_begins(self, age: float) -> None:
        """Count a message whose handlers begin; ``age`` is in seconds."""
        self._update_lag.observe(age)

    def batch_stored(self, rows: int, seconds: float) -> None:
        """Count a transaction of the journal."""
        self._batch_rows.observe(rows)
        self._batch_seconds.observe(seconds)

    def loop_beat(self, late: float) -> None:
        """Count a beat of the loop that came so many seconds late."""
        self._lag.observe(late)

    def alert_message(self, sent: bool) -> None:
        """Count a message of alerts that a channel has taken, or has not."""
        self._messages.labels("sent" if sent else "failed").inc()

    def _note_absence(self, account: str, source: State, target: State, at: float) -> None:
        """Measure how long an account is away, from a lost link to the next one."""
        if target is State.HEALTHY:
            if (lost := self._lost_at.pop(account, None)) is not None:
                self._away.observe(max(0.0, at - lost))
        elif source in _LINKED and target in _WITHOUT_LINK:
            self._lost_at[account] = at
        elif target in (State.AUTH_FAILED, State.SHUTTING_DOWN):  # a person ends that, or nobody
            self._lost_at.pop(account, None)

    def _count_updates(self, payload: dict[str, object]) -> None:
        """Count what a link has fetched of what its account missed, and what it could not fetch."""
        recovered = payload.get("recovered")
        if isinstance(recovered, int) and recovered > 0:
            self._recovered.inc(recovered)
        if payload.get("too_long"):
            self._gaps.labels(TOO_LONG).inc()
        if payload.get("missing"):
            self._gaps.labels(REFUSED).inc()

    def _count_flood(self, payload: dict[str, object]) -> None:
        wait, request = payload.get("seconds"), payload.get("request")
        if isinstance(wait, int | float) and wait > 0:
            self._floods.labels(bounded(kind_without_chat(str(request)), self._kinds)).inc(wait)


def kind_without_chat(request: str) -> str:
    """Return the kind of a request without the chat that it may be limited to: there are too many chats."""
    return request.partition(" in ")[0]
