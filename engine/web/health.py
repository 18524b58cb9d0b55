"""Whether the engine lives, and whether the fleet is ready: findings from a few measured values.

*Live* means that the loop turns, that the journal is written, that the dispatcher of the jobs works, and that the links
of healthy accounts are asked for signs of life, on which it depends that updates come (see ``life_signs``). *Ready*
means that it is live, and that enough accounts are healthy. A part *hangs* if only a new process could help: a disk
that is full or a database that is locked is trouble, but a restart would lose the rows that wait in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import anyio
import structlog
from attrs import define, field, frozen

from engine.console.account_status import PAUSED
from engine.console.format import rounded, seconds
from engine.console.safe_text import one_line
from states import State

LOOP_LATE: Final = 5.0
"""Seconds by which the loop may be late."""
JOURNAL_BEHIND: Final = 30.0
"""Seconds for which rows may wait with none being saved: as long as the writer waits for another program's lock."""
SILENT: Final = 90.0
"""Seconds after which a part that shows no sign of life hangs."""
SHARE_OVERDUE: Final = 0.5
"""The share of the healthy accounts without a sign of life from which on it is the engine that does not ask. A single
one is a trouble of that account: a restart, to which others may take this answer, would hit all."""
WATCH_SECONDS: Final = 5.0
"""How often the parts are looked at by the engine itself."""
MEMORY_SECONDS: Final = 1.0
"""How old the counts of accounts may be. Counting goes through all of them, and anybody may ask."""
_DETAIL: Final = 200
"""Characters of what the database says."""

log = structlog.get_logger("holdfast.health")


@frozen(kw_only=True)
class Vitals:
    """What is measured of an engine. Durations are seconds."""

    loop_late: float = 0.0
    journal_behind: float = 0.0
    """For how long rows of the journal have waited with none being saved."""
    journal_silent: float = 0.0
    """For how long its thread has neither saved any nor said why not."""
    journal_rows: int = 0
    """How many rows wait."""
    journal_trouble: str = ""
    """What keeps them from being saved."""
    dispatcher_silent: float = 0.0
    signs_expected: int = 0
    """How many healthy accounts are to be asked for signs of life."""
    signs_overdue: int = 0
    """How many of them were not for much too long."""


@frozen
class HealthFinding:
    """What was found of one part: ``problem`` is empty if it does its work."""

    part: str
    problem: str = ""
    hangs: bool = False

    @property
    def ok(self) -> bool:
        """Whether the part does its work."""
        return not self.problem


def examine(at: Vitals) -> tuple[HealthFinding, ...]:
    """Return what these values mean, part by part."""
    return _loop(at), _journal(at), _dispatcher(at), _links(at)


def _loop(at: Vitals) -> HealthFinding:
    if at.loop_late <= LOOP_LATE:
        return HealthFinding("loop")
    return HealthFinding("loop", f"the event loop is {seconds(at.loop_late)} late", hangs=at.loop_late > SILENT)


def _journal(at: Vitals) -> HealthFinding:
    if at.journal_behind <= JOURNAL_BEHIND:
        return HealthFinding("journal")
    why = f" ({one_line(at.journal_trouble, _DETAIL)})" if at.journal_trouble else ""
    wait = "1 row waits" if at.journal_rows == 1 else f"{at.journal_rows} rows wait"
    problem = f"no row of the journal was saved for {seconds(at.journal_behind)}, and {wait}{why}"
    return HealthFinding("journal", problem, hangs=at.journal_silent > SILENT)


def _dispatcher(at: Vitals) -> HealthFinding:
    if at.dispatcher_silent <= SILENT:
        return HealthFinding("dispatcher")
    problem = f"the dispatcher of the jobs has done nothing for {seconds(at.dispatcher_silent)}"
    # It waits for the journal before it begins a job, and that says for itself what is wrong with it.
    return HealthFinding("dispatcher", problem, hangs=at.journal_behind <= JOURNAL_BEHIND)


def _links(at: Vitals) -> HealthFinding:
    if not at.signs_overdue or at.signs_overdue < at.signs_expected * SHARE_OVERDUE:
        return HealthFinding("links")
    accounts = "account" if at.signs_expected == 1 else "accounts"
    problem = (
        f"{at.signs_overdue} of {at.signs_expected} healthy {accounts} gave no sign of life, and none was asked for"
    )
    # What an account decides waits for the journal, which says for itself what is wrong with it.
    return HealthFinding("links", problem, hangs=at.journal_behind <= JOURNAL_BEHIND)


def problems(findings: Sequence[HealthFinding]) -> list[str]:
    """Return the sentences of the findings that are not as they should be."""
    return [finding.problem for finding in findings if not finding.ok]


def hangs(findings: Sequence[HealthFinding]) -> bool:
    """Return whether a part hangs, so that the process had better be replaced."""
    return any(finding.hangs for finding in findings)


@frozen(kw_only=True)
class Readiness:
    """How much of the fleet is healthy. ``needed`` is a share; paused accounts do not count."""

    counts: Mapping[str, int]
    """How many accounts are in each state, ``paused`` and ``unknown`` included."""
    needed: float
    stopping: bool = False

    @property
    def healthy(self) -> int:
        """How many accounts are healthy."""
        return self.counts.get(State.HEALTHY.value, 0)

    @property
    def accounts(self) -> int:
        """How many accounts count."""
        return sum(self.counts.values()) - self.counts.get(PAUSED, 0)

    @property
    def problems(self) -> list[str]:
        """Why the fleet is not ready; empty if it is."""
        if self.stopping:
            return ["the engine stops"]
        if self.accounts and self.healthy / self.accounts < self.needed:
            others = sorted((state, count) for state, count in self.counts.items() if state != State.HEALTHY and count)
            said = ", ".join(f"{count} {state}" for state, count in others)
            needed = f"ready_when is {self.needed * 100:g} %"
            return [f"{self.healthy} of {self.accounts} accounts are healthy, and {needed} ({said})"]
        return []


@define(eq=False)
class HealthReports:
    """Answers whether the engine lives and is ready, from what ``measure`` and ``count`` return now."""

    measure: Callable[[], Vitals]
    count: Callable[[], Mapping[str, int]]
    """Returns how many accounts are in each state."""
    needed: Callable[[], float]
    """Returns the share of the accounts that must be healthy, from 0 to 1."""
    stopping: Callable[[], bool]
    _counted: Mapping[str, int] = field(factory=dict, init=False)
    _counted_at: float = field(default=float("-inf"), init=False)
    _lost_at: float | None = field(default=None, init=False)
    """Since when it was found, and told, that a part does not do its work."""

    def findings(self) -> tuple[HealthFinding, ...]:
        """Return what is found of each part now."""
        return examine(self.measure())

    def lives(self) -> bool:
        """Return whether every part does its work."""
        return not problems(self.findings())

    def readiness(self) -> Readiness:
        """Return how much of the fleet is healthy, as of a second ago at most."""
        now = anyio.current_time()
        if now - self._counted_at > MEMORY_SECONDS:
            self._counted, self._counted_at = self.count(), now
        return Readiness(counts=self._counted, needed=self.needed(), stopping=self.stopping())

    def live(self) -> dict[str, Any]:
        """Return the body of ``/healthz``."""
        at = self.measure()
        findings = examine(at)
        values: dict[str, dict[str, Any]] = {
            "loop": {"late": rounded(at.loop_late)},
            "journal": {"behind": rounded(at.journal_behind), "rows": at.journal_rows},
            "dispatcher": {"silent": rounded(at.dispatcher_silent)},
            "links": {"expected": at.signs_expected, "overdue": at.signs_overdue},
        }
        why = problems(findings)
        checks = {finding.part: {"ok": finding.ok, **values[finding.part]} for finding in findings}
        return {"live": not why, "hangs": hangs(findings), "why": why, "checks": checks}

    def ready(self) -> dict[str, Any]:
        """Return the body of ``/readyz``."""
        at = self.readiness()
        why = [*problems(self.findings()), *at.problems]
        return {
            "ready": not why,
            "why": why,
            "ready_when": at.needed,
            "accounts": at.accounts,
            "healthy": at.healthy,
            "states": {state: count for state, count in sorted(at.counts.items()) if count},
        }

    async def watch(self) -> None:
        """Say in the log when the engine does not do its work, and when it does again, until cancelled."""
        while True:
            await anyio.sleep(WATCH_SECONDS)
            why, now = problems(self.findings()), anyio.current_time()
            if why and self._lost_at is None:
                self._lost_at = now
                log.error("liveness_lost", detail="; ".join(why))
            elif not why and self._lost_at is not None:
                log.info("liveness_back", took=now - self._lost_at)
                self._lost_at = None
