"""The live table of ``run`` on a terminal."""

import time
from collections.abc import Callable, Iterable, Sequence

import anyio
from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from engine.console.account_lines import AccountLines
from engine.console.incident_lines import page as incident_lines
from engine.console.job_lines import page as job_lines
from engine.console.logs import RecentLines
from engine.console.ranking import Ranking
from engine.console.status import EngineInfo, heading
from states.incident import Incident
from states.jobs import JobSummary

REFRESH_INTERVAL = 0.25
"""Seconds after which a change is on the terminal, at the latest."""
CALM_LOOKS = 4
"""While nothing changes, one look in so many draws: the times in the table go on, second by second."""
LEAST_ACCOUNTS = 8
"""Accounts that are shown in any case, however low the terminal is."""
OTHER_LINES = 6
"""Lines of the picture that are neither an account's nor a job's nor the log's."""
MOST_AT_THE_END = 500
"""Accounts in the picture that stays on the terminal."""


def picture(
    info: EngineInfo,
    ranking: Ranking,
    now: float,
    jobs: JobSummary,
    lines: Iterable[tuple[int, str]],
    *,
    most: int = MOST_AT_THE_END,
    incidents: Sequence[Incident] = (),
) -> Group:
    """Return what the terminal shows at one moment: at most so many accounts, the worst ones.

    ``lines`` are the last log lines, each with its level.
    """
    texts = [Text(line, style="red" if level >= 40 else "yellow" if level >= 30 else "dim") for level, line in lines]
    for text in texts:
        text.no_wrap, text.overflow = True, "ellipsis"
    more = [Text(f"and {len(ranking) - most:,} more", style="dim")] if len(ranking) > most else []
    accounts = AccountLines(ranking.first(most), now)
    below = [*incident_lines(incidents, now), *job_lines(jobs)]
    return Group(heading(info, ranking.states, now), "", accounts, *more, *below, "", *texts)


async def show(
    console: Console,
    info: Callable[[], EngineInfo],
    ranking: Ranking,
    jobs: Callable[[], JobSummary],
    recent: RecentLines | None = None,
    *,
    incidents: Callable[[], Sequence[Incident]] = tuple,
) -> None:
    """Keep the table on the terminal until cancelled; the last picture stays there."""

    def read() -> tuple[EngineInfo, int, JobSummary, Sequence[Incident], list[tuple[int, str]], ConsoleDimensions]:
        """Return what the picture is made of, and for the accounts how often one has changed."""
        return info(), ranking.updates, jobs(), incidents(), list(recent.lines) if recent else [], console.size

    def draw(most: int | None = None) -> Group:
        (about, _, summary, found, lines, size), now = read(), time.time()
        room = size.height - OTHER_LINES - len(lines) - len(job_lines(summary)) - len(incident_lines(found, now))
        shown = most or max(LEAST_ACCOUNTS, room)
        return picture(about, ranking, now, summary, lines, most=shown, incidents=found)

    drawn, looks = read(), 0
    with Live(draw(), console=console, auto_refresh=False) as live:
        try:
            while True:
                await anyio.sleep(REFRESH_INTERVAL)
                found, looks = read(), looks + 1
                if found != drawn or looks == CALM_LOOKS:
                    drawn, looks = found, 0
                    live.update(draw(), refresh=True)
        finally:
            live.update(draw(MOST_AT_THE_END), refresh=True)
