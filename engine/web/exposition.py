"""``/metrics``: what is asked for at a scrape, and the text of all series.

A scrape takes a picture of the engine on its loop, which is quick, and writes the text in a thread, which is not: ten
thousand accounts may have a series each. One text is written at a time, and kept for a second,
so that it costs the same however many ask.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import define, field, frozen
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from engine.console.account_status import PAUSED, AccountStatus, Statuses
from engine.console.status import worst_first
from engine.node.counts import NodeCounts
from engine.web.metrics import MAX_KINDS, OTHER, kind_without_chat
from engine.web.worker_text import OfWorker

MAX_SERIES: Final = 1000
"""Accounts that have a series of their own, unless all have."""
KEEP_SECONDS: Final = 1.0
"""For which a text is kept."""
_OPEN: Final = "application/openmetrics-text"

AccountSeries = tuple[str, str, str, float]
"""An account, its state, its cause, and since when (Unix seconds)."""


@frozen(kw_only=True)
class NodePicture:
    """A node among those that share its accounts, at one moment."""

    name: str
    host: str
    accounts: int
    """Accounts for which it acts."""
    others: int
    """Other nodes whose beats it watches: those that the store takes for alive."""
    beat_age: float | None
    """Seconds since its last confirmed beat was asked for; None while it has no lease."""
    lease: float
    """Seconds without a beat after which the others take it for dead."""
    counts: NodeCounts


@frozen(kw_only=True)
class EnginePicture:
    """The engine at one moment."""

    accounts: Mapping[tuple[str, str], int]
    """How many accounts are in each state for each cause."""
    series: Sequence[AccountSeries]
    omitted: int
    """Accounts that are in trouble and have no series, because there are too many."""
    holds: Mapping[str, int]
    """How many accounts hold each kind of request."""
    waiting: Mapping[str, int] = field(factory=dict)
    """How many requests of each kind wait in place."""
    unsaved_sessions: int
    """Accounts whose session file cannot be written."""
    turns_waiting: int
    probes: int
    outage: bool
    incidents: Mapping[tuple[str, str], int]
    """How many incidents are open, by kind and severity."""
    jobs: Mapping[str, Mapping[str, int]]
    """How many jobs there are, by kind and state."""
    queue_age: float | None
    rows_waiting: int
    journal_lag: float
    journal_trouble: bool
    storage_failures: int
    usernames: Mapping[str, int]
    """How usernames were answered, see ``Usernames.counts``."""
    signs_overdue: int
    """Healthy accounts that have given no sign of life for too long."""
    live: bool
    ready: bool
    ready_when: float
    version: str
    node: NodePicture | None = None
    """None for an engine that shares its accounts with no other."""

    @property
    def fleet(self) -> int:
        """How many accounts there are."""
        return sum(self.accounts.values())


def count_accounts(statuses: Statuses, now: float, *, every: bool) -> dict[str, Any]:
    """Return what a picture has of the accounts; with ``every`` each of them has a series."""
    accounts, holds, waiting, unsaved = Counter[tuple[str, str]](), Counter[str](), Counter[str](), 0
    named: dict[str, AccountStatus] = {}
    for name, given in statuses.items():
        at = given if isinstance(given, AccountStatus) else AccountStatus(given)
        state, last = at.state, at.last
        accounts[state, _cause(at)] += 1
        if every or not (at.healthy or state == PAUSED):
            named[name] = at
        if last is not None and at.known:
            unsaved += last.database is not None
            waiting.update({kind_without_chat(each.request): each.count for each in at.waits})
            holds.update(kind_without_chat(hold.request) for hold in last.holds if hold.until > now)
    shown = list(named.items()) if every else worst_first(named)[:MAX_SERIES]
    series = [(name, at.state, _cause(at), at.last.since if at.last is not None else 0.0) for name, at in shown]
    return {
        "accounts": accounts,
        "series": series,
        "omitted": len(named) - len(series),
        "holds": _most(holds),
        "waiting": _most(waiting),
        "unsaved_sessions": unsaved,
    }


def _cause(at: AccountStatus) -> str:
    """Return the event that led an account to its state; empty if it is healthy, or if there is none."""
    if at.last is None or at.healthy or not at.known:
        return ""
    return at.last.cause.event if at.last.cause is not None else ""


def _most(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the greatest counts, and the sum of the others."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = dict(ordered[:MAX_KINDS])
    if rest := sum(count for _, count in ordered[MAX_KINDS:]):
        kept[OTHER] = kept.get(OTHER, 0) + rest
    return kept


@define(eq=False)
class PictureCollector(Collector):
    """Makes series of a picture."""

    picture: EnginePicture
    memory: float | None
    """Bytes that the process has in memory; None if the system does not say."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families of series."""
        at = self.picture
        yield _gauges("accounts", "Accounts by state and cause", ("state", "cause"), at.accounts.items())
        since = ((labels, began) for *labels, began in at.series)
        yield _gauges(
            "account_state_since_timestamp_seconds",
            "When an account that is not healthy entered its state",
            ("account", "state", "cause"),
            since,
        )
        yield _gauge("account_series_omitted", "Accounts in trouble without a series: there are too many", at.omitted)
        yield _gauges("requests_held", "Accounts that hold a kind of request", ("request",), _labelled(at.holds))
        text = "Requests that wait in place for a hold to end"
        yield _gauges("requests_waiting", text, ("request",), _labelled(at.waiting))
        yield _gauge("accounts_waiting_for_turn", "Accounts that wait for a turn to connect", at.turns_waiting)
        yield CounterMetricFamily("holdfast_network_probes", "Looks of the network probe", at.probes)
        yield _gauge("outage_suspected", "Whether many accounts lost the network together", at.outage)
        yield _gauges("incidents", "Open incidents by kind and severity", ("kind", "severity"), at.incidents.items())
        jobs = (((kind, state), count) for kind, of in _few(at.jobs).items() for state, count in of.items())
        yield _gauges("jobs", "Jobs by kind and state", ("kind", "state"), jobs)
        if at.queue_age is not None:
            yield _gauge("job_queue_age_seconds", "Age of the oldest job that could begin", at.queue_age)
        yield _gauge("journal_waiting_rows", "Writes to the journal that are not durable yet", at.rows_waiting)
        yield _gauge("journal_lag_seconds", "For how long writes have waited with none being saved", at.journal_lag)
        trouble = [(("journal",), int(at.journal_trouble)), (("sessions",), at.unsaved_sessions)]
        yield _gauges("storage_trouble", "Files that cannot be written now, by what they are", ("file",), trouble)
        yield CounterMetricFamily("holdfast_storage_failures", "Writes to the journal that failed", at.storage_failures)
        names = CounterMetricFamily("holdfast_usernames", "Usernames by how they were answered", labels=("how",))
        for how, count in at.usernames.items():
            names.add_metric((how,), count)
        yield names
        text = "Healthy accounts that were asked for no sign of life for much too long"
        yield _gauge("accounts_overdue", text, at.signs_overdue)
        yield _gauge("live", "Whether loop, journal, dispatcher and links do their work", at.live)
        yield _gauge("ready", "Whether enough accounts are healthy", at.ready)
        yield _gauge("ready_threshold_ratio", "The share of the accounts that must be healthy", at.ready_when)
        if self.memory is not None and at.fleet:
            yield _gauge("memory_per_account_bytes", "Memory of the process for each account", self.memory / at.fleet)
        yield _gauges("build_info", "The version that runs", ("version",), [((at.version,), 1)])
        if at.node is not None:
            yield from _of_node(at.node)


def _of_node(at: NodePicture) -> Iterator[Metric]:
    """Yield the series of a node: of itself alone, for each node is scraped."""
    counts = at.counts
    yield _gauges("node_info", "The node that this engine is", ("node", "host"), [((at.name, at.host), 1)])
    yield _gauge("node_accounts", "Accounts for which this node acts", at.accounts)
    yield _gauge("node_others", "Other nodes that the store takes for alive", at.others)
    yield _gauge("node_holds_lease", "Whether this node may act for its accounts", at.beat_age is not None)
    if at.beat_age is not None:
        yield _gauge("node_beat_age_seconds", "Seconds since the last confirmed beat was asked for", at.beat_age)
    yield _gauge("node_lease_seconds", "Seconds without a beat after which others take this node for dead", at.lease)
    yield CounterMetricFamily("holdfast_node_beats", "Beats that the store has confirmed", counts.beats)
    yield CounterMetricFamily("holdfast_node_lives", "Lives that this node has begun", counts.lives)
    yield CounterMetricFamily("holdfast_node_leases_lost", "Leases that this node has lost", counts.lost)
    moved = CounterMetricFamily("holdfast_node_account_moves", "Accounts taken and given", labels=("how",))
    for how, count in (("claimed", counts.claimed), ("given_up", counts.given_up), ("dropped", counts.dropped)):
        moved.add_metric((how,), count)
    yield moved


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"holdfast_{name}", text, value=value)


def _gauges(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"holdfast_{name}", text, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def _labelled(values: Mapping[str, int]) -> Iterator[tuple[tuple[str], int]]:
    return (((name,), value) for name, value in values.items())


def _few(jobs: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
    """Return the jobs of some kinds, and the sum of the others: a file can have any number of kinds."""
    kinds = sorted(jobs, key=lambda kind: (-sum(jobs[kind].values()), kind))
    kept: dict[str, Mapping[str, int]] = {kind: jobs[kind] for kind in islice(kinds, MAX_KINDS)}
    rest = Counter[str]()
    for kind in islice(kinds, MAX_KINDS, None):
        rest.update(jobs[kind])
    if rest:
        kept[OTHER] = rest
    return kept


@define(eq=False)
class AllSeries(Collector):
    """The series of several collectors, without times of creation: those would double the series."""

    collectors: Sequence[Collector]

    def collect(self) -> Iterator[Metric]:
        """Yield the families of series."""
        for metric in chain.from_iterable(each.collect() for each in self.collectors):
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


@define(eq=False)
class Exposition:
    """Writes the text of all series. ``take`` takes a picture of the engine, on its loop."""

    registry: CollectorRegistry
    take: Callable[[], Awaitable[EnginePicture]]
    worker: int | None = None
    """The worker whose series they are; each of them says so then."""
    _process: ProcessCollector = field(factory=lambda: ProcessCollector(registry=None), init=False)
    _writing: anyio.Lock = field(factory=anyio.Lock, init=False)
    _texts: dict[str, tuple[float, bytes]] = field(factory=dict, init=False)
    """The last text of each format, and when it was written."""

    async def text(self, accept: str) -> tuple[bytes, str]:
        """Return the text in the format that an ``Accept`` header asks for, and its content type."""
        # Of the header only this: it may have any version in it, and the library trusts it.
        encode, content_type = choose_encoder(_OPEN if _OPEN in accept else "")
        async with self._writing:
            written, text = self._texts.get(content_type, (float("-inf"), b""))
            if anyio.current_time() - written > KEEP_SECONDS:
                picture = await self.take()
                text = await anyio.to_thread.run_sync(partial(self._write, picture, encode))
                self._texts[content_type] = anyio.current_time(), text
        return text, content_type

    def _write(self, picture: EnginePicture, encode: Callable[[Any], bytes]) -> bytes:
        process = list(self._process.collect())
        memory = next((one.samples[0].value for one in process if one.name == "process_resident_memory_bytes"), None)
        series: Collector = AllSeries([self.registry, PictureCollector(picture, memory), _Taken(process)])
        return encode(series if self.worker is None else OfWorker(series, self.worker))


@define(eq=False)
class _Taken(Collector):
    """Series that were collected already."""

    metrics: Sequence[Metric]

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from self.metrics
