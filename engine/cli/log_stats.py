"""``log stats``."""

import math
import time
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from adapters.stores.journal_rows import UnreadableRow
from adapters.system import holder_of
from engine import paths
from engine.app.records import open_records
from engine.cli.common import AsJson, ConfigPath, reporting_errors
from engine.cli.log_common import tell_unreadable
from engine.cli.measured import measured
from engine.cli.times import Since, Until, parse_period
from engine.config import load
from engine.console.format import date_and_time, iso, seconds
from engine.console.safe_text import json_text, one_line, plain
from engine.console.status import STATE_STYLES
from engine.journal.stats import COUNTED_STATES, Figures, Stats
from states import State

GAP_CELLS = 2
"""Cells between two columns."""
NAME_CELLS = 24
LEAST_NAME_CELLS = 12
"""Where a name would have less room, figures give way."""
LEAST_BAR_CELLS = 8
"""A narrower bar says nothing, and is left out."""
BAR_CELLS = 16
"""Width of the bar of states on a terminal."""
CELL = {
    State.HEALTHY: "█",
    State.CONNECTING: "▓",
    State.RECONNECTING: "▓",
    State.TIMEOUT: "▒",
    State.BACKOFF: "░",
    State.AUTH_FAILED: "×",
    State.SHUTTING_DOWN: " ",
}
"""Each differs from the others even without colours, except that both kinds of attempt are alike."""
MAX_CAUSES_SHOWN = 8


def stats(
    config: ConfigPath = Path("config.yaml"),
    *,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Print how well each account and the whole fleet were connected: availability, time per state, outages, causes."""
    now = time.time()
    period = parse_period(since, until, now=now)
    end = now if period.until is None else min(now, period.until)
    with reporting_errors():
        storage = load(config).storage
        unreadable: list[UnreadableRow] = []
        holder = holder_of(storage.directory / paths.LOCK)
        with open_records(storage) as reader, reader.read_transaction():
            reader.on_unreadable = unreadable.append
            found = measured(reader, holder, period.since, end)
        tell_unreadable(unreadable)
        if as_json:
            print(json_text(as_data(found), indent=2))
        else:
            console = Console(highlight=False)
            console.print(page(found, console.width))


def as_data(found: Stats) -> dict[str, Any]:
    """Return what ``log stats --json`` prints; times are seconds, shares from 0 to 1."""
    return {
        "since": iso(found.since),
        "until": iso(found.until),
        "fleet": _figures_data(found.fleet),
        "accounts": [{"name": name, **_figures_data(figures)} for name, figures in found.accounts.items()],
    }


def _figures_data(figures: Figures) -> dict[str, Any]:
    return {
        "availability": figures.availability,
        "seconds": {state.value: figures.seconds[state] for state in State},
        "outages": figures.outages,
        "repaired": len(figures.repairs),
        "mtbf": figures.mtbf,
        "mttr": {"median": figures.mttr_median, "p95": figures.mttr_p95},
        "longest_outage": figures.longest,
        "causes": [{"event": event, "outages": count, "seconds": spent} for event, count, spent in figures.causes],
    }


def page(found: Stats, width: int) -> RenderableType:
    """Return the statistics as a terminal of so many columns shows them: no figure is cut."""
    start = f"from {date_and_time(found.since)}" if found.since is not None else "from the beginning"
    heading = Text(f"{start} to {date_and_time(found.until)}; only while the engine ran", style="dim")
    worst = sorted(found.accounts.items(), key=lambda item: (_or_one(item[1].availability), item[0].casefold()))
    rows = [(name, figures, _cells(figures)) for name, figures in [*worst, ("all", found.fleet)]]
    titles = ["Healthy", "Out", "MTBF", "MTTR", "p95", "Longest"]
    columns = zip(titles, *(cells for *_, cells in rows), strict=True)
    widths = [max(map(len, column)) + GAP_CELLS for column in columns]
    shown = list(range(len(titles)))
    for title in ("p95", "MTBF", "MTTR"):  # --json has them
        if width - sum(widths[index] for index in shown) < LEAST_NAME_CELLS:
            shown.remove(titles.index(title))
    taken = sum(widths[index] for index in shown)
    longest = min(NAME_CELLS, max(cell_len(one_line(name)) for name in ("Account", *(name for name, *_ in rows))))
    room = width - taken - longest - GAP_CELLS
    has_bar = room >= LEAST_BAR_CELLS
    grid = Table(box=None, pad_edge=False, header_style="bold")
    most = longest if room >= -GAP_CELLS else max(1, width - taken)
    grid.add_column("Account", no_wrap=True, overflow="ellipsis", max_width=most)
    grid.add_column("Healthy", justify="right", no_wrap=True)
    if has_bar:
        grid.add_column("States", no_wrap=True)
    for title in (titles[index] for index in shown[1:]):
        grid.add_column(title, justify="right", no_wrap=True)
    for name, figures, cells in rows:
        share, *others = (cells[index] for index in shown)
        grid.add_row(
            plain(name, "bold" if figures is found.fleet else ""),
            Text(share, style="green" if _or_one(figures.availability) >= 0.99 else "yellow"),
            *((bar(figures, min(BAR_CELLS, room)),) if has_bar else ()),
            *others,
        )
    return Group(heading, "", grid, "", _states(found.fleet), "", _causes(found.fleet))


def _cells(figures: Figures) -> tuple[str, ...]:
    """Return the figures of an account, as they are printed."""
    times = (figures.mtbf, figures.mttr_median, figures.mttr_p95, figures.longest or None)
    return _format_percent(figures.availability), str(figures.outages), *map(_format_duration, times)


def bar(figures: Figures, width: int = BAR_CELLS) -> Text:
    """Return a bar of the states, each as wide as its share of the time; a state that occurred has at least a cell."""
    lived = {state: spent for state, spent in figures.seconds.items() if spent > 0 and state in COUNTED_STATES}
    line = Text()
    left = width
    for index, (state, spent) in enumerate(sorted(lived.items(), key=lambda item: item[1])):
        last = index == len(lived) - 1
        cells = left if last else max(1, math.floor(spent / figures.lived * width))
        left -= cells
        line = Text(CELL[state] * cells, style=STATE_STYLES[state][1]).append_text(line)
    return line


def _states(fleet: Figures) -> RenderableType:
    grid = Table(box=None, pad_edge=False, show_header=False)
    for state in State:
        spent = fleet.seconds[state]
        share = spent / fleet.lived if fleet.lived and state in COUNTED_STATES else None
        cells = 0 if share is None else math.ceil(share * BAR_CELLS)
        grid.add_row(
            Text(f"{STATE_STYLES[state][0]} {state.value}", style=STATE_STYLES[state][1]),
            Text(CELL[state] * cells, style=STATE_STYLES[state][1]),
            _format_percent(share),
            _format_duration(spent or None),
        )
    return grid


def _causes(fleet: Figures) -> RenderableType:
    if not fleet.causes:
        return Text("No outage.", style="green")
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("What began outages")
    grid.add_column("How often", justify="right")
    grid.add_column("Together", justify="right")
    for event, count, spent in fleet.causes[:MAX_CAUSES_SHOWN]:
        grid.add_row(plain(event), str(count), _format_duration(spent))
    return grid


def _format_percent(share: float | None) -> str:
    """Return a share as a percentage, never rounded up to 100."""
    return "–" if share is None else f"{math.floor(share * 10_000) / 100:.2f} %"


def _format_duration(value: float | None) -> str:
    return "–" if value is None else seconds(value)


def _or_one(share: float | None) -> float:
    return 1.0 if share is None else share
