"""A simulation as the terminal shows it: figures, faults, and charts of blocks over time."""

from collections.abc import Sequence
from typing import Final

from attrs import frozen
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from engine.console.format import seconds
from engine.console.safe_text import plain
from engine.console.status import STATE_STYLES
from engine.simulate.summary import SHARES, Recovery, SimulationSummary, in_columns
from states import State

TALL: Final = 8
"""Lines of the chart of healthy accounts."""
LOW: Final = 4
"""Lines of the other charts."""
LABEL: Final = 10
"""Columns of the numbers beside a chart."""
LEAST_COLUMNS: Final = 20
MOST_COLUMNS: Final = 160
FULL, HALF, EMPTY = "█", "▄", " "
MAX_FAULTS_SHOWN: Final = 40
NOTHING: Final = "–"
"""Stands in the table where there is no value."""
TABLE_COLUMNS: Final = 78
"""What the table of faults needs."""


def page(found: SimulationSummary, heading: str, remarks: Sequence[str] = ()) -> RenderableType:
    """Return the page of a simulation."""
    parts: list[RenderableType] = [plain(heading, "bold"), *(plain(each, "yellow") for each in remarks), ""]
    parts += [_figures(found), "", Faults(found.recoveries), "", SimulationCharts(found)]
    return Group(*parts)


def _figures(found: SimulationSummary) -> Table:
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    share = f"{int(found.availability * 1_000_000) / 10_000:.4f} %"
    rows = (
        ("Availability", share),
        ("All healthy", _all_healthy(found)),
        ("Attempts", f"{found.attempts:,}; at the peak {_peak(found.attempts_peak.most, found.attempts_peak.at)}"),
        ("Handshakes at once", f"at the peak {found.at_once.most:,}, at {seconds(found.at_once.at)}"),
        (
            "Journal",
            f"{found.rows:,} rows; {_mean(found.rows_mean)} per second on average, at the peak "
            f"{_peak(found.rows_peak.most, found.rows_peak.at)}",
        ),
        ("Network probes", f"{found.network_probes:,}"),
        ("At the end", _at_the_end(found)),
    )
    for name, value in rows:
        grid.add_row(name, value)
    return grid


def _all_healthy(found: SimulationSummary) -> str:
    if found.first_healthy is not None:
        return f"after {seconds(found.first_healthy)}"
    never = found.never_connected
    if never:
        return f"never; {never:,} {'has' if never == 1 else 'have'} not connected once"
    return "never at once, though each has connected"


def _at_the_end(found: SimulationSummary) -> str:
    """Return how many accounts are in which state, and which of them nothing but the operator brings back."""
    parked = f", of which {found.parked:,} parked: they wait for the operator" if found.parked else ""
    return ", ".join(
        f"{STATE_STYLES[state][0]} {count:,} {state.value}{parked if state is State.BACKOFF else ''}"
        for state, count in found.states.items()
        if count
    )


def _mean(rate: float) -> str:
    return f"{rate:,.1f}" if rate >= 1 else f"{rate:.2f}" if rate >= 0.005 or not rate else "below 0.01"


def _peak(most: int, at: float) -> str:
    return f"{most:,} per second, at {seconds(at)}"


@frozen
class Faults:
    """What went wrong and how soon accounts were back: a table, or sentences where that is too wide."""

    recoveries: Sequence[Recovery]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table."""
        if not self.recoveries:
            yield Text("Nothing went wrong.", style="green")
            return
        grid = Table(box=None, pad_edge=False, header_style="bold")
        grid.add_column("", justify="right")
        grid.add_column("What went wrong", overflow="fold")
        titles = ("At", "For", "Lost", *(f"{share:.0%} back" for share in SHARES), "Away")
        for title in titles:
            grid.add_column(title, justify="right", no_wrap=True)
        for number, each in enumerate(self.recoveries[:MAX_FAULTS_SHOWN], 1):
            values = _values(each)
            if options.max_width >= TABLE_COLUMNS:
                grid.add_row(f"{number}", plain(each.label), *values)
            else:
                pairs = zip(titles, values, strict=True)
                said = ", ".join(f"{title.lower()} {value}" for title, value in pairs if value != NOTHING)
                yield plain(f"{number} {each.label}: {said}")
        if grid.rows:
            yield grid
        more = len(self.recoveries) - MAX_FAULTS_SHOWN
        note = f"{f'and {more} more; ' if more > 0 else ''}times are from the end of what went wrong"
        yield Text(note, style="dim")


def _values(each: Recovery) -> list[str]:
    lasts = "ever" if each.ends is None else seconds(each.ends - each.at) if each.ends > each.at else NOTHING
    back = (NOTHING if after is None else f"+{seconds(after)}" for after in each.back)
    return [seconds(each.at), lasts, f"{each.lost:,}", *back, f"{each.away:,}" if each.away else NOTHING]


@frozen
class SimulationCharts:
    """Charts of blocks over the same time, as wide as the terminal."""

    found: SimulationSummary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        columns = max(LEAST_COLUMNS, min(MOST_COLUMNS, options.max_width - LABEL - 2))
        series = self.found.series
        if not series["attempts"]:
            return
        for title, name, height, style in (
            ("Healthy accounts (the fewest)", "healthy", TALL, STATE_STYLES[State.HEALTHY][1]),
            ("Attempts per second (the most)", "attempts", LOW, STATE_STYLES[State.RECONNECTING][1]),
            ("Handshakes at once (the most)", "handshakes_at_once", LOW, STATE_STYLES[State.RECONNECTING][1]),
            ("Journal rows per second (the most)", "journal_rows", LOW, "blue"),
        ):
            values = in_columns(series[name], columns, min if name == "healthy" else max)
            values = stretched(values, columns)
            yield Text(title, style="bold")
            top = self.found.accounts if name == "healthy" else max(values, default=0)
            yield from chart(values, top, height, style)
        yield Text(" " * LABEL + " " + marks(self.found.recoveries, self.found.lasted, columns), style="red")
        yield Text(" " * LABEL + " " + axis(self.found.lasted, columns), style="dim")


def stretched(values: Sequence[int], columns: int) -> list[int]:
    """Return values in so many columns, each as often as it takes to fill them."""
    return [values[index * len(values) // columns] for index in range(columns)] if values else []


def chart(values: Sequence[int], top: int, height: int, style: str) -> list[Text]:
    """Return the lines of a chart; a value that is not 0 has at least half a block."""
    halves = [max(1, round(value / top * 2 * height)) if value and top else 0 for value in values]
    lines = []
    for line in range(height, 0, -1):
        blocks = "".join(FULL if of >= 2 * line else HALF if of == 2 * line - 1 else EMPTY for of in halves)
        label = f"{top:,}" if line == height else "0" if line == 1 else ""
        lines.append(Text(f"{label:>{LABEL}} ", style="dim").append(blocks.rstrip(), style=style))
    return lines


def marks(recoveries: Sequence[Recovery], lasted: float, columns: int) -> str:
    """Return the line that marks what went wrong when: its number, and a stroke for as long as it lasted."""
    line = [" "] * columns
    for number, each in reversed(list(enumerate(recoveries, 1))):
        first = min(columns - 1, int(each.at / lasted * columns))
        ends = lasted if each.ends is None else min(each.ends, lasted)
        last = max(first, min(columns - 1, int(ends / lasted * columns)))
        line[first : last + 1] = ["─"] * (last + 1 - first)
        for place, digit in enumerate(f"{number}"):
            if first + place < columns:
                line[first + place] = digit
    return "".join(line).rstrip()


def axis(lasted: float, columns: int) -> str:
    """Return the line with the times: as many as there is room for."""
    parts = 4 if columns >= 60 else 2
    line = ""
    for part in range(parts + 1):
        label = seconds(lasted * part / parts)
        at = columns * part // parts - (len(label) if part == parts else 0)
        line = line.ljust(at) + (label if at >= len(line) + bool(line) or not line else "")
    return line
