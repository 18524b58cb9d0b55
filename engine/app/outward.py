"""What an engine tells the machines around it: web server, service manager, heartbeat. A composition root.

The heavy libraries are imported only where the config has ``web``.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

import anyio
from attrs import frozen

from adapters.sqlite import JournalWriter, StorageError
from adapters.system import ServiceManager
from adapters.telegram import TelegramConnector
from engine.app.jobs import JobService
from engine.config import Config, MetricAccounts
from engine.console.status import count_states
from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.network_probe import NetworkProbe
from engine.fleet.outage_detector import OutageDetector
from engine.fleet.supervisor import Supervisor
from engine.fleet.watchers import Watcher
from engine.web.health import HealthReports, Vitals, hangs, problems
from engine.web.heartbeat import Heartbeat
from engine.web.loop_lag import LoopLag
from engine.web.service import ServiceReports
from states import State

if TYPE_CHECKING:
    from engine.web.exposition import EnginePicture

DISTRIBUTION = "holdfast-telegram"
"""What pip calls the project."""
READ_SECONDS = 2.0
"""For what a scrape reads from the engine's file; without it the text has less in it."""


@frozen(kw_only=True)
class EngineParts:
    """The parts of a running engine that have something to tell."""

    config: Config
    fleet: Supervisor
    jobs: JobService
    journal: JournalWriter
    limiter: ConnectLimiter
    probe: NetworkProbe
    detector: OutageDetector
    connectors: Mapping[str, TelegramConnector]
    manager: ServiceManager | None

    def vitals(self, lag: LoopLag) -> Vitals:
        """Return what is measured now."""
        pulse, dispatcher = self.journal.pulse, self.jobs.dispatcher
        return Vitals(
            loop_late=lag.late,
            journal_behind=pulse.behind,
            journal_silent=pulse.silent,
            journal_rows=self.journal.waiting,
            journal_trouble=pulse.trouble.detail if pulse.trouble is not None else "",
            dispatcher_silent=0.0 if dispatcher is None or self.fleet.stop.is_set() else dispatcher.silent,
        )

    def counts(self) -> Mapping[str, int]:
        """Return how many accounts are in each state."""
        return count_states(self.fleet.statuses)

    def status(self) -> str:
        """Return the line that the service manager shows."""
        if self.fleet.stop.is_set():
            return "Stopping"
        statuses = self.fleet.statuses.values()
        counts = count_states(self.fleet.statuses)
        needed = sum(at.last is not None and at.last.action is not None and not at.paused for at in statuses)
        healthy, paused = counts.pop(State.HEALTHY.value, 0), counts.pop("paused", 0)
        said = [f"{healthy} of {counts.total() + healthy} accounts healthy"]
        said += [f"{count} {state}" for state, count in sorted(counts.items())]
        said += [f"{paused} paused"] if paused else []
        said += [f"{needed} need{'s' if needed == 1 else ''} a person"] if needed else []
        return ", ".join(said)


def preload() -> None:
    """Import the libraries of the web server: in the loop, that would hold up the accounts for a part of a second."""
    import engine.web.exposition  # noqa: PLC0415
    import engine.web.routes  # noqa: PLC0415
    import engine.web.server  # noqa: F401, PLC0415


def watchers_of(parts: EngineParts) -> list[Watcher]:
    """Return what runs beside the fleet so that others hear of it; nothing if nobody wants to."""
    config, manager = parts.config, parts.manager
    if config.web is None and config.heartbeat is None and manager is None:
        return []
    lag = LoopLag()
    health = HealthReports(
        measure=lambda: parts.vitals(lag),
        count=parts.counts,
        needed=config.health.ready_when,
        stopping=parts.fleet.stop.is_set,
    )
    watchers: list[Watcher] = [("the watch over the loop", lag.run), ("the watch over the engine", health.watch)]
    if manager is not None:
        reports = ServiceReports(manager, parts.status, lambda: hangs(health.findings()), parts.fleet.stop)
        watchers.append(("the reports to the service manager", reports.run))
    if config.heartbeat is not None:
        from adapters.system import PingFailed, ping  # noqa: PLC0415 - most configs have none

        beat = Heartbeat(config.heartbeat.url, config.heartbeat.every, ping, PingFailed, health.lives)
        watchers.append(("the heartbeat", beat.run))
    if config.web is not None:
        watchers.append(_web_server(parts, health, lag))
    return watchers


def _web_server(parts: EngineParts, health: HealthReports, lag: LoopLag) -> Watcher:
    """Return the web server of an engine, which from now on counts what its metrics say."""
    from engine.web.exposition import Exposition  # noqa: PLC0415 - for those that have a web server alone
    from engine.web.metrics import FleetMetrics  # noqa: PLC0415
    from engine.web.routes import application  # noqa: PLC0415
    from engine.web.security import HostGuard  # noqa: PLC0415
    from engine.web.server import WebServer  # noqa: PLC0415

    assert parts.config.web is not None
    metrics = FleetMetrics()
    parts.fleet.listeners.append(metrics.observe)
    parts.journal.pulse.on_batch = metrics.batch_stored
    for connector in parts.connectors.values():
        connector.requests.observer = metrics.request_done
    lag.on_beat = metrics.loop_beat
    exposition = Exposition(metrics.registry, partial(_picture, parts, health))
    web = parts.config.web
    guarded = HostGuard(application(health, exposition.text), {web.listen.host, *web.hosts})
    return "the web server", WebServer(web.listen, guarded).run


async def _picture(parts: EngineParts, health: HealthReports) -> "EnginePicture":
    from engine.web.exposition import EnginePicture, count_accounts  # noqa: PLC0415 - as above

    oldest = await _oldest_job(parts.jobs)  # first: what follows is one moment
    now, dispatcher, pulse = time.time(), parts.jobs.dispatcher, parts.journal.pulse
    findings, ready = health.findings(), health.readiness()
    every = parts.config.metrics.accounts is MetricAccounts.ALL
    return EnginePicture(
        **count_accounts(parts.fleet.statuses, now, every=every),
        turns_waiting=parts.limiter.waiting,
        probes=parts.probe.probes,
        outage=parts.detector.suspected,
        jobs={} if dispatcher is None else dispatcher.counts,
        queue_age=None if oldest is None else max(0.0, now - oldest),
        rows_waiting=parts.journal.waiting,
        journal_lag=pulse.behind,
        journal_trouble=pulse.trouble is not None,
        storage_failures=pulse.failures,
        live=not problems(findings),
        ready=not problems(findings) and not ready.problems,
        ready_when=ready.needed,
        version=_version(),
    )


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
