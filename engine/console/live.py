"""The live table of ``run`` on a terminal."""

import time
from collections.abc import Callable, Iterable

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from engine.console.account_status import Statuses
from engine.console.job_lines import page as job_lines
from engine.console.logs import RecentLines
from engine.console.status import EngineInfo, page
from states.jobs import JobSummary

REFRESH_INTERVAL = 0.25
"""Seconds between two pictures of the table."""


def picture(
    info: EngineInfo, statuses: Statuses, now: float, jobs: JobSummary, lines: Iterable[tuple[int, str]]
) -> Group:
    """Return what the terminal shows at one moment; ``lines`` are the last log lines, each with its level."""
    texts = [Text(line, style="red" if level >= 40 else "yellow" if level >= 30 else "dim") for level, line in lines]
    for text in texts:
        text.no_wrap, text.overflow = True, "ellipsis"
    return Group(page(info, statuses, now, job_lines(jobs)), "", *texts)


async def show(
    console: Console,
    info: Callable[[], EngineInfo],
    statuses: Callable[[], Statuses],
    jobs: Callable[[], JobSummary],
    recent: RecentLines | None = None,
) -> None:
    """Keep the table on the terminal until cancelled; the last picture stays there."""

    def draw() -> Group:
        return picture(info(), statuses(), time.time(), jobs(), list(recent.lines) if recent else [])

    with Live(draw(), console=console, auto_refresh=False) as live:
        try:
            while True:
                await anyio.sleep(REFRESH_INTERVAL)
                live.update(draw(), refresh=True)
        finally:
            live.update(draw(), refresh=True)
