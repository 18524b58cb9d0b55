"""What an engine tells the machines around it: web server, service manager, heartbeat. A composition root.

The heavy libraries are imported only where the config has ``web``.
"""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

import anyio
from attrs import asdict, define, field

from adapters.sqlite import StorageError
from adapters.system import ServiceManager
from adapters.telegram import TelegramConnector
from engine.app.fleet_parts import FleetParts
from engine.app.incidents import IncidentParts
from engine.app.jobs import JobService
from engine.app.live_config import LiveConfig
from engine.app.page_source import EnginePageSource
from engine.config import Config, MetricAccounts
from engine.console.status import count_states
from engine.control.protocol import Request, Verb
from engine.fleet.watchers import Watcher
from engine.web.health import HealthReports, Vitals, hangs, problems
from engine.web.heartbeat import Heartbeat
from engine.web.life_signs import LifeSigns
from engine.web.loop_lag import LoopLag
from engine.web.service import ServiceReports
from states import State

if TYPE_CHECKING:
    from engine.app.node import EngineNode
    from engine.web.exposition import EnginePicture, Exposition, NodePicture
    from engine.web.metrics import FleetMetrics

DISTRIBUTION = "holdfast-telegram"
"""What pip calls the project."""
READ_SECONDS = 2.0
"""For what a scrape reads from the engine's file; without it the text has less in it."""


@define(eq=False)
class OutwardParts:
    """The parts of a running engine that have something to tell, and what tells it."""

    parts: FleetParts
    jobs: JobService
    incidents: IncidentParts
    live: LiveConfig
    manager: ServiceManager | None
    page: EnginePageSource
    _lag: LoopLag = field(factory=LoopLag, init=False)
    _signs: LifeSigns | None = field(default=None, init=False)
    """The signs of life of the accounts, from the first time on that somebody hears how the engine is."""
    _health: HealthReports = field(init=False)
    _metrics: "FleetMetrics | None" = field(default=None, init=False)
    """What is counted, from the first web server on."""
    _exposition: "Exposition | None" = field(default=None, init=False)
    """The text for a parent."""

    def __attrs_post_init__(self) -> None:
        self._health = HealthReports(
            measure=self.vitals,
            count=self.counts,
            needed=lambda: self.live.current().health.ready_when,
            stopping=self.parts.fleet.stop.is_set,
        )

    def vitals(self) -> Vitals:
        """Return what is measured now."""
        journal, dispatcher = self.parts.journal, self.jobs.dispatcher
        pulse, stopping = journal.pulse, self.parts.fleet.stop.is_set()
        expected, overdue = (0, 0) if self._signs is None or stopping else self._signs.count()
        trouble, behind, node = pulse.trouble.detail if pulse.trouble is not None else "", pulse.behind, self.page.node
        if node is not None and not stopping and node.silence:  # no row waits then: nothing is done
            trouble, behind = trouble or node.silence, max(behind, node.silent_for)
        return Vitals(
            loop_late=self._lag.late,
            journal_behind=behind,
            journal_silent=pulse.silent,
            journal_rows=journal.waiting,
            journal_trouble=trouble,
            dispatcher_silent=0.0 if dispatcher is None or stopping else dispatcher.silent,
            signs_expected=expected,
            signs_overdue=overdue,
        )

    async def answer(self, request: Request) -> dict[str, Any] | None:
        """Return what a worker's parent asks for; None for any other request."""
        if request.do is Verb.REPORT:
            counts, needed = dict(self.counts()), self._needed()
            return {"ok": True, "vitals": asdict(self.vitals()), "counts": counts, "needed": needed}
        if request.do is Verb.METRICS and self.live.current().node.is_metered:
            if self._exposition is None:  # its parent has a web server since a reload
                self._exposition = self._exposed()
            text, _ = await self._exposition.text("")
            return {"ok": True, "text": text.decode()}
        return None

    def counts(self) -> Mapping[str, int]:
        """Return how many accounts are in each state."""
        return count_states(self.parts.fleet.statuses)

    def status(self) -> str:
        """Return the line that the service manager shows."""
        if self.parts.fleet.stop.is_set():
            return "Stopping"
        return service_status(count_states(self.parts.fleet.statuses), self._needed())

    def _needed(self) -> int:
        """Return how many accounts need a person."""
        statuses = self.parts.fleet.statuses.values()
        return sum(at.last is not None and at.last.action is not None and not at.paused for at in statuses)

    def watchers(self) -> list[Watcher]:
        """Return what runs beside the fleet so that others hear of it."""
        if self.live.current().node.is_metered:  # from the beginning, not from the first scrape
            self._exposition = self._exposed()
        watchers: list[Watcher] = [
            ("the watch over the engine", partial(self.live.follow, _is_watched, self._watches)),
            ("the web server", partial(self.live.follow, lambda config: config.web, self._web_server)),
            ("the heartbeats", partial(self.live.follow, lambda config: config.heartbeat, self._heartbeat)),
        ]
        if self.manager is not None:
            reports = ServiceReports(
                self.manager, self.status, lambda: hangs(self._health.findings()), self.parts.fleet.stop
            )
            watchers.append(("the reports to the service manager", reports.run))
        return watchers

    def _watches(self, config: Config) -> list[Watcher]:
        """Return what measures the engine, if anybody hears of it."""
        if self.manager is None and not _is_watched(config):
            return []
        if self._signs is None:
            signs = self._signs = LifeSigns()
            self.parts.fleet.listeners.append(signs.observe)
            self.parts.fleet.removed.append(signs.forget)
        return [("the watch over the loop", self._lag.run), ("the watch over the engine's parts", self._health.watch)]

    def _heartbeat(self, config: Config) -> list[Watcher]:
        if config.heartbeat is None:
            return []
        from adapters.system import PingFailed, ping  # noqa: PLC0415 - most configs have none

        beat = Heartbeat(config.heartbeat.url, config.heartbeat.every, ping, PingFailed, self._health.lives)
        return [("the heartbeat", beat.run)]

    def _web_server(self, config: Config) -> list[Watcher]:
        """Return the web server of a config, with which the engine counts what its metrics say."""
        if config.web is None:
            return []
        from engine.app.page_tokens import PageTokens  # noqa: PLC0415 - for those that have a web server alone
        from engine.web.page import views  # noqa: PLC0415
        from engine.web.page.access import PageAccess  # noqa: PLC0415
        from engine.web.page.routes import WebPage  # noqa: PLC0415
        from engine.web.routes import application  # noqa: PLC0415
        from engine.web.security import HostGuard  # noqa: PLC0415
        from engine.web.server import WebServer  # noqa: PLC0415

        exposition = self._exposed()
        page = WebPage(self.page, views, PageAccess())
        guarded = HostGuard(
            application(self._health, exposition.text, page), {config.web.listen.host, *config.web.hosts}
        )
        return [
            ("the tokens of the page", PageTokens(config, page.access, page.hub.end).run),
            ("the streams of the page", page.hub.run),
            ("what the page knows of earlier troubles", self.page.run),
            ("the web server", WebServer(config.web.listen, guarded).run),
        ]

    def _exposed(self) -> "Exposition":
        """Return what writes the metrics."""
        from engine.web.exposition import Exposition  # noqa: PLC0415 - as above

        return Exposition(self._counting().registry, self._picture, self.live.current().node.worker)

    def _counting(self) -> "FleetMetrics":
        """Return the metrics, which count from the first time on."""
        from engine.web.metrics import FleetMetrics  # noqa: PLC0415 - as above

        if self._metrics is None:
            metrics = self._metrics = FleetMetrics()
            self.parts.fleet.listeners.append(metrics.observe)
            self.parts.fleet.removed.append(metrics.forget)
            self.parts.journal.pulse.on_batch = metrics.batch_stored
            self.parts.measure_by(partial(_measure_by, metrics))
            self._lag.on_beat = metrics.loop_beat
            if self.incidents.alerts is not None:
                self.incidents.alerts.delivery.on_message = metrics.alert_message
        return self._metrics

    async def _picture(self) -> "EnginePicture":
        from engine.web.exposition import EnginePicture, count_accounts  # noqa: PLC0415 - as above

        oldest = await _oldest_job(self.jobs)  # first: what follows is one moment
        now, dispatcher, journal = time.time(), self.jobs.dispatcher, self.parts.journal
        findings, ready = self._health.findings(), self._health.readiness()
        every = self.live.current().metrics.accounts is MetricAccounts.ALL
        return EnginePicture(
            **count_accounts(self.parts.fleet.statuses, now, every=every),
            turns_waiting=self.parts.limiter.waiting,
            probes=self.parts.probe.probes,
            outage=self.parts.detector.suspected,
            incidents=Counter((each.kind.value, each.severity.value) for each in self.incidents.open.values()),
            jobs={} if dispatcher is None else dispatcher.counts,
            queue_age=None if oldest is None else max(0.0, now - oldest),
            rows_waiting=journal.waiting,
            journal_lag=journal.pulse.behind,
            journal_trouble=journal.pulse.trouble is not None,
            storage_failures=journal.pulse.failures,
            usernames=dict(self.parts.usernames.counts),
            signs_overdue=0 if self._signs is None else self._signs.count()[1],
            live=not problems(findings),
            ready=not problems(findings) and not ready.problems,
            ready_when=ready.needed,
            version=_version(),
            node=None if self.page.node is None else _node_picture(self.page.node),
        )


def service_status(states: Mapping[str, int], needed: int) -> str:
    """Return how the accounts are, in one line for a service manager."""
    counts = Counter(states)
    healthy, paused = counts.pop(State.HEALTHY.value, 0), counts.pop("paused", 0)
    said = [f"{healthy} of {counts.total() + healthy} accounts healthy"]
    said += [f"{count} {state}" for state, count in sorted(counts.items())]
    said += [f"{paused} paused"] if paused else []
    said += [f"{needed} need{'s' if needed == 1 else ''} a person"] if needed else []
    return ", ".join(said)


def _node_picture(node: "EngineNode") -> "NodePicture | None":
    """Return a node as its metrics have it; None before it has a lease for the first time."""
    from engine.web.exposition import NodePicture  # noqa: PLC0415 - for those that have a web server alone

    if (holder := node.holder) is None:
        return None
    now, section = holder.clock.now(), node.config.node
    return NodePicture(
        name=section.known_as,
        host=section.place,
        accounts=len(holder.accounts),
        others=len(holder.watcher.watch.sights),
        beat_age=max(0.0, now - holder.hold.confirmed) if holder.may_act else None,
        lease=holder.times.lease,
        counts=holder.counts,
    )


def _measure_by(metrics: "FleetMetrics", connector: TelegramConnector) -> None:
    """Have the metrics count an account's requests, from its next connection on, and the age of its messages."""
    connector.requests.observer = metrics.request_done
    connector.inbox.observer = metrics.message_begins


def _is_watched(config: Config) -> bool:
    """Return whether a config has somebody hear how the engine is."""
    return config.web is not None or config.heartbeat is not None or config.node.worker is not None


def preload() -> None:
    """Import the libraries of the web server: in the loop, that would hold up the accounts for a part of a second."""
    import engine.web.exposition  # noqa: PLC0415
    import engine.web.page.views  # noqa: PLC0415
    import engine.web.routes  # noqa: PLC0415
    import engine.web.server  # noqa: F401, PLC0415
    from engine.web.page.routes import static_files  # noqa: PLC0415

    static_files()


async def _oldest_job(jobs: JobService) -> float | None:
    """Return when the oldest job that could begin was added; None if there is none, or if the file does not say now."""
    with anyio.move_on_after(READ_SECONDS), suppress(StorageError):
        return await jobs.store.oldest_ready()
    return None


def _version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
