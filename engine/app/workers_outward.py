"""What an engine with workers tells the machines around it: the parent asks each of them, and speaks for all.

A worker that does not answer counts as one whose loop is late: its lease ends it, long before a service manager would
end all of them.
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import anyio
from attrs import define, field, fields, frozen

from adapters.system import ServiceManager
from engine.app.live_config import LiveConfig
from engine.app.outward import service_status
from engine.app.stop import Stop
from engine.app.workers_control import WorkersControl
from engine.config import Config
from engine.console.account_status import UNKNOWN
from engine.console.status import EngineInfo
from engine.control.protocol import Request, Verb
from engine.fleet.watchers import Watcher
from engine.web.health import HealthReports, Vitals, hangs
from engine.web.heartbeat import Heartbeat
from engine.web.service import ServiceReports

ASK_EVERY: Final = 2.0
ASK_SECONDS: Final = 4.0
LATE_AFTER: Final = ASK_EVERY + ASK_SECONDS
"""A report that is older is one of a worker that does not answer."""
_SUMS: Final = frozenset({"journal_rows", "signs_expected", "signs_overdue"})


@frozen
class WorkerReport:
    """What a worker has said of itself, and when, by the loop's clock."""

    at: float
    vitals: Vitals
    counts: Mapping[str, int]
    needed: int


@define(eq=False)
class WorkersOutward:
    """Asks the workers how they are, and tells it."""

    live: LiveConfig
    control: WorkersControl
    stop: Stop
    manager: ServiceManager | None
    began: Callable[[], Mapping[int, float]]
    """Returns when the process of each worker that lives began, by the loop's clock: it may still be starting."""
    health: HealthReports = field(init=False)
    _reports: dict[int, WorkerReport] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.health = HealthReports(
            measure=self.vitals,
            count=self.counts,
            needed=lambda: self.config.health.ready_when,
            stopping=self.stop.wanted.is_set,
        )

    @property
    def config(self) -> Config:
        """The config as it is now."""
        return self.live.current()

    def vitals(self) -> Vitals:
        """Return what is measured of all workers: the worst of each duration, and the sums of what is counted."""
        now, found = anyio.current_time(), dict[str, Any]()
        for report in self._reports.values():
            for key in (each.name for each in fields(Vitals)):
                value = getattr(report.vitals, key)
                if key == "loop_late" and (silent := now - report.at) > LATE_AFTER:
                    value = max(value, silent)
                before = found.get(key, type(value)())
                found[key] = before + value if key in _SUMS else max(before, value)
        return Vitals(**found)

    def counts(self) -> Mapping[str, int]:
        """Return how many of the accounts here are in each state.

        Workers that share a file have all accounts of the config: one that none of them has is ``unknown``.
        """
        counts = Counter[str]()
        for report in self._reports.values():
            counts.update(report.counts)
        if self.config.storage.database is None and (missing := len(self.config.accounts) - counts.total()) > 0:
            counts[UNKNOWN] += missing
        return counts

    def status(self) -> str:
        """Return the line that the service manager shows."""
        if self.stop.wanted.is_set():
            return "Stopping"
        workers = len(self._reports)
        line = service_status(self.counts(), sum(each.needed for each in self._reports.values()))
        return f"{line}; {workers} worker{'' if workers == 1 else 's'}"

    async def follow(self) -> None:
        """Ask all workers again and again, until cancelled."""
        while True:
            answers = await self.control.ask_all(Request(Verb.REPORT), ASK_SECONDS)
            now = anyio.current_time()
            began = self.began()
            self._reports = {
                number: each for number, each in self._reports.items() if each.at >= began.get(number, math.inf)
            }
            self._reports |= {number: _report(now, answer) for number, answer in answers.items()}
            await anyio.sleep(ASK_EVERY)

    async def metrics(self, _: str) -> tuple[bytes, str]:
        """Return the series of all workers, each with its number, in the plain format."""
        from engine.web.worker_text import CONTENT_TYPE, merged  # noqa: PLC0415 - for those that have a web server

        answers = await self.control.ask_all(Request(Verb.METRICS), ASK_SECONDS)
        return merged({number: str(answer["text"]) for number, answer in answers.items()}), CONTENT_TYPE

    def watchers(self) -> list[Watcher]:
        """Return what runs beside the workers so that others hear of them."""
        watchers: list[Watcher] = [
            ("what is known of the workers", partial(self.live.follow, self._is_told, self._asks)),
            ("the web server", partial(self.live.follow, lambda config: config.web, self._web_server)),
            ("the heartbeats", partial(self.live.follow, lambda config: config.heartbeat, self._heartbeat)),
        ]
        if self.manager is not None:
            reports = ServiceReports(self.manager, self.status, self._hangs, self.stop.wanted)
            watchers.append(("the reports to the service manager", reports.run))
        return watchers

    def _is_told(self, config: Config) -> bool:
        """Return whether anybody hears of the workers."""
        return self.manager is not None or config.web is not None or config.heartbeat is not None

    def _asks(self, config: Config) -> list[Watcher]:
        if not self._is_told(config):
            return []
        return [("the reports of the workers", self.follow), ("the watch over the workers", self.health.watch)]

    def _heartbeat(self, config: Config) -> list[Watcher]:
        if config.heartbeat is None:
            return []
        from adapters.system import PingFailed, ping  # noqa: PLC0415 - most configs have none

        beat = Heartbeat(config.heartbeat.url, config.heartbeat.every, ping, PingFailed, self.health.lives)
        return [("the heartbeat", beat.run)]

    def _web_server(self, config: Config) -> list[Watcher]:
        """Return the web server, which speaks for all workers."""
        if (web := config.web) is None:
            return []
        from engine.app.page_tokens import PageTokens  # noqa: PLC0415 - for those that have a web server alone
        from engine.app.workers_page import WorkersPageSource  # noqa: PLC0415
        from engine.web.page import views  # noqa: PLC0415
        from engine.web.page.access import PageAccess  # noqa: PLC0415
        from engine.web.page.routes import WebPage  # noqa: PLC0415
        from engine.web.routes import application  # noqa: PLC0415
        from engine.web.security import HostGuard  # noqa: PLC0415
        from engine.web.server import WebServer  # noqa: PLC0415

        info = EngineInfo(running=True, pid=os.getpid(), since=self.control.since)
        source = WorkersPageSource(self.live.current, self.control, info, self.stop)
        page = WebPage(source, views, PageAccess())
        guarded = HostGuard(application(self.health, self.metrics, page), {web.listen.host, *web.hosts})
        return [
            ("the tokens of the page", PageTokens(config, page.access, page.hub.end).run),
            ("the streams of the page", page.hub.run),
            ("what the page shows", source.run),
            ("the web server", WebServer(web.listen, guarded).run),
        ]

    def _hangs(self) -> bool:
        return hangs(self.health.findings())


def _report(now: float, answer: Mapping[str, Any]) -> WorkerReport:
    return WorkerReport(now, Vitals(**answer["vitals"]), answer["counts"], answer["needed"])
