"""How often the live table is drawn: at once upon a change, and otherwise once a second."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from attrs import define, field
from rich.console import Console

from engine.console import live
from engine.console.account_status import AccountStatus
from engine.console.logs import RecentLines
from engine.console.ranking import Ranking
from engine.console.status import EngineInfo
from states import Snapshot, State
from states.incident import Incident, IncidentKind, Severity
from states.jobs import JobSummary

pytestmark = [pytest.mark.anyio, pytest.mark.virtual]


@define
class Shown:
    """A live table on a terminal that nobody reads, and how often it was drawn."""

    pictures: int = 0
    info: EngineInfo = field(factory=lambda: EngineInfo(running=True))
    jobs: JobSummary = field(factory=JobSummary)
    incidents: tuple[Incident, ...] = ()
    recent: RecentLines = field(factory=RecentLines)
    console: Console = field(
        factory=lambda: Console(file=io.StringIO(), force_terminal=True, legacy_windows=False, width=100, height=30)
    )
    ranking: Ranking = field(
        factory=lambda: Ranking(["a"], lambda _: AccountStatus(Snapshot(state=State.HEALTHY, life=1), present=True))
    )


@asynccontextmanager
async def table(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shown]:
    """Show a table for the length of the block."""
    shown, draw = Shown(), live.picture

    def picture(*arguments: Any, **options: Any) -> Any:
        shown.pictures += 1
        return draw(*arguments, **options)

    monkeypatch.setattr(live, "picture", picture)
    shown.ranking.update("a")
    async with anyio.create_task_group() as tasks:
        given = (shown.console, lambda: shown.info, shown.ranking, lambda: shown.jobs, shown.recent)
        tasks.start_soon(partial(live.show, *given, incidents=lambda: shown.incidents))
        await anyio.sleep(live.REFRESH_INTERVAL * (live.CALM_LOOKS + 0.5))
        shown.pictures = 0
        yield shown
        tasks.cancel_scope.cancel()


async def test_a_calm_table_is_drawn_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing changes, a minute has sixty pictures: as many as the seconds in it need."""
    async with table(monkeypatch) as shown:
        await anyio.sleep(60)
        assert shown.pictures == 60


def an_account(shown: Shown) -> None:
    shown.ranking.update("a")


def a_line(shown: Shown) -> None:
    shown.recent.lines.append((20, "a line"))


def a_job(shown: Shown) -> None:
    shown.jobs = JobSummary({"queued": 1})


def the_engine(shown: Shown) -> None:
    shown.info = EngineInfo(running=False)


def the_terminal(shown: Shown) -> None:
    shown.console.width = 90


def an_incident(shown: Shown) -> None:
    shown.incidents = (
        Incident(id=1, kind=IncidentKind.CHANNEL, cause="ops", severity=Severity.WARNING, since=1.0, opened=1.0),
    )


@pytest.mark.parametrize("change", [an_account, a_line, a_job, an_incident, the_engine, the_terminal])
async def test_a_change_is_drawn_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Shown], None]
) -> None:
    """What changes is on the terminal a quarter of a second later, not only at the next full second."""
    async with table(monkeypatch) as shown:
        change(shown)
        await anyio.sleep(live.REFRESH_INTERVAL)
        assert shown.pictures == 1
