"""The plan of a fleet as a terminal shows it."""

from collections.abc import Sequence
from typing import Final

from attrs import frozen
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from engine.console.format import seconds
from engine.console.safe_text import plain
from engine.console.status import STATE_STYLES
from engine.simulate.nodes import costs
from engine.simulate.nodes.plan import DAY, LOSSES_A_DAY, FleetPlan, curve
from engine.simulate.nodes.takeover import Takeover
from engine.simulate.page import LABEL, LEAST_COLUMNS, MOST_COLUMNS, TALL, axis, chart
from states import State

MEASURED: Final = "there is: what a server with two busy processors did, max_connections as it comes, a gigabit"
UNITS: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def fleet_page(plan: FleetPlan, killed: Takeover, started: Takeover, heading: str) -> RenderableType:
    """Return the page of a plan."""
    return Group(
        plain(heading, "bold"), "", _standing(plan), "", _curves(killed, started), "", TakeoverChart(killed), "",
        Text("What breaks first", style="bold"), _demands(plan), Text(MEASURED, style="dim"),
    )  # fmt: skip


def size_text(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit, name in UNITS:
        if count >= unit:
            return f"{short(count / unit)} {name}"
    return f"{count:,.0f} B"


def moment_text(at: float) -> str:
    """Return a time after the kill: tenths of a second matter in the first minutes."""
    return f"{at:.1f} s" if at < 120 else seconds(at)


def short(number: float) -> str:
    """Return a number with three digits, or whole if it has more."""
    if number >= 100 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}" if number >= 0.1 else f"{number:.2g}"


def _grid() -> Table:
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _standing(plan: FleetPlan) -> Table:
    size, grid = plan.size, _grid()
    kept = "for ever" if plan.kept is None or plan.keep is None else f"for {seconds(plan.keep)}: {size_text(plan.kept)}"
    renewals = f"{short(plan.renewals)} and {size_text(plan.renewals * costs.RENEWAL_LOG)}"
    rows = (
        ("Beats", f"{short(plan.beats)} a second, {size_text(plan.beats_log)} of log; one lease for each account would "
                  f"take {renewals}"),
        ("Looks at the balance", f"{short(plan.looks)} a second, each "
                                 f"{short(costs.look_processor(size.accounts) * 1000)} ms of a processor"),
        ("Snapshots", f"{short(plan.snapshots)} a second"),
        ("Journal", f"{short(plan.records)} records a second if each account loses its link {LOSSES_A_DAY:g} times a "
                    f"day, {plan.counts.loss:g} records each; {size_text(plan.records_a_day)} a day, kept {kept}"),
        ("Log of the store", f"{size_text(plan.log)} a second, {size_text(plan.log * DAY)} a day; standbys get it"),
        ("Processors of the store", f"{short(plan.store_cores)} of {size.store_cores}"),
        ("Connections to the store", f"{plan.connections:,}, {costs.NODE_CONNECTIONS} of each node"),
        ("A node", f"{plan.a_node:,} accounts: {size_text(plan.node_memory)}, {short(plan.node_cores * 100)} % of a "
                   f"core, {costs.ACCOUNT_FILES * plan.a_node:,} sockets"),
    )  # fmt: skip
    for name, value in rows:
        grid.add_row(name, value)
    return grid


def _curves(killed: Takeover, started: Takeover) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for title in (
        "Accounts",
        "First dead",
        "First claim",
        "Last claim",
        "First back",
        "50% back",
        "95% back",
        "100% back",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for name, found in (("after the kill", killed), ("all nodes start", started)):
        values = ["–" if at is None else moment_text(at) for at in curve(found).values()]
        table.add_row(name, f"{found.accounts:,}", *values)
    return table


@frozen
class TakeoverChart:
    """How many accounts of the killed nodes are connected, over time."""

    found: Takeover

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        at = self.found.connected
        if not at:
            return
        columns = max(LEAST_COLUMNS, min(MOST_COLUMNS, options.max_width - LABEL - 2))
        yield Text("Accounts that are connected again", style="bold")
        yield from chart(counted(at, columns), self.found.accounts, TALL, STATE_STYLES[State.HEALTHY][1])
        yield Text(" " * LABEL + " " + axis(at[-1], columns), style="dim")


def counted(times: Sequence[float], columns: int) -> list[int]:
    """Return how many of the times, which are in order, have come at the end of each column."""
    found, place = [], 0
    for column in range(1, columns + 1):
        end = times[-1] * column / columns
        while place < len(times) and times[place] <= end:
            place += 1
        found.append(place)
    found[-1] = len(times)
    return found


def _demands(plan: FleetPlan) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for title in ("Needed", "There is", "Share"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("What to do", overflow="fold")
    for each in plan.demands():
        unit = f" {each.unit}" if each.unit else ""
        needed, most = (
            (f"{size_text(each.needed)}/s", f"{size_text(each.most)}/s")
            if each.unit == "B/s"
            else (f"{short(each.needed)}{unit}", f"{short(each.most)}{unit}")
        )
        style = "red" if each.share > 1 else "yellow" if each.share > 0.5 else ""
        share = f"{each.share * 100:,.0f} %" if each.share >= 0.01 else "< 1 %"
        table.add_row(each.what, needed, most, share, each.remedy if each.share > 0.1 else "", style=style)
    return table
