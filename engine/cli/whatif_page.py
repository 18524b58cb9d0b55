"""What ``whatif`` prints for people."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.config.overrides import Changed
from engine.console.format import date_and_time, seconds
from engine.console.safe_text import plain
from engine.whatif.answer import LeastMost

if TYPE_CHECKING:
    from engine.cli.whatif_run import Answer

MAX_ACCOUNTS: Final = 20
"""Accounts that are shown if none were asked for: those with the most downtime."""
WIDER_FROM: Final = 0.0005
"""The part by which bounds are wider that is worth a word."""
EVEN: Final = 0.05
"""Seconds of downtime that are none."""


def page(found: "Answer") -> RenderableType:
    """Return the answer as the terminal shows it."""
    since = found.period.since
    start = f"from {date_and_time(since)}" if since is not None else "from the beginning"
    heading = Text(f"{start} to {date_and_time(found.until)}; only while the engine ran", style="dim")
    if not found.recorded.accounts:
        return Group(heading, "", "The journal has no records of this time, so there is nothing to run again.")
    parts: list[RenderableType] = [heading, _checked(found), "", _choices(found)]
    keys = sorted({key for choice, _ in found.choices for key in choice.values})
    if keys:
        parts += [Text(f"Set: {', '.join(keys)}", style="dim")]
    parts += ["", _accounts(found), "", Text("What is not known:", style="bold")]
    parts += [plain(f"- {sentence}") for sentence in found.unknowns]
    return Group(*parts)


def _checked(found: "Answer") -> Text:
    """Return how well the model does where it is known what was."""
    recorded = found.recorded
    count = f"{found.records:,} records of {len(recorded.accounts):,} accounts"
    if recorded.miss < WIDER_FROM:
        return Text(f"{count}; with the settings of then, the model gives the downtime that was recorded", style="dim")
    text = (
        f"{count}; with the settings of then, the model gives {seconds(recorded.again)} where "
        f"{seconds(recorded.fleet.seconds)} were recorded: all bounds are {recorded.miss:.1%} wider for that"
    )
    return Text(text, style="dim" if recorded.miss < 0.01 else "yellow")


def _choices(found: "Answer") -> Table:
    recorded, then = found.recorded, found.recorded.fleet.seconds
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("Settings", overflow="fold", min_width=12)
    for title in ("Downtime", "Change", "Attempts", "Per minute", "Parked"):
        grid.add_column(title, justify="right")
    grid.add_row(
        "as it happened", seconds(then), "", f"{recorded.fleet.attempts:,}", f"{recorded.peak:,}", "", style="bold"
    )
    short = short_names(key for choice, _ in found.choices for key in choice.values)
    for choice, outcome in found.choices:
        fleet = outcome.fleet
        grid.add_row(
            plain(_named(choice, short)),
            between(fleet.downtime),
            change(fleet.downtime, then),
            counted(fleet.attempts),
            counted(outcome.peak),
            counted(outcome.parked) if outcome.parked.most >= 0.5 else "",
        )
    return grid


def _named(choice: Changed, short: Mapping[str, str]) -> str:
    if not choice.values:
        return "the config as it is"
    return " ".join(f"{short[key]}={value}" for key, value in choice.values.items())


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return for each key the shortest end of it that no other has."""
    known = set(keys)
    found = {}
    for key in known:
        parts = key.split(".")
        tails = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        found[key] = next(
            tail for tail in tails if sum(other == tail or other.endswith(f".{tail}") for other in known) == 1
        )
    return found


def _accounts(found: "Answer") -> RenderableType:
    """Return the accounts with the most downtime, then and with the last choice."""
    choice, outcome = found.choices[-1]
    meters = found.recorded.accounts
    worst = sorted(found.accounts, key=lambda name: (-meters[name].seconds, name.casefold()))
    shown = [name for name in worst if meters[name].seconds > EVEN][:MAX_ACCOUNTS]
    if not shown:
        return Text("No account had an outage.", style="green")
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("Account", no_wrap=True, overflow="ellipsis", max_width=24)
    short = short_names(choice.values)
    now = _named(choice, short)
    for title in ("Outages", "Downtime", f"→ {now}", "Attempts", f"→ {now}"):
        grid.add_column(plain(title, "bold"), justify="right")
    for name in shown:
        meter, figure = meters[name], outcome.accounts[name]
        grid.add_row(
            plain(name),
            f"{meter.outages:,}",
            seconds(meter.seconds),
            between(figure.downtime),
            f"{meter.attempts:,}",
            counted(figure.attempts),
        )
    rest = len([name for name in found.accounts if meters[name].seconds > EVEN]) - len(shown)
    return Group(grid, Text(f"… and {rest:,} more; --json has all of them", style="dim")) if rest else grid


def between(bounds: LeastMost) -> str:
    """Return bounds of a duration, as one where they read the same."""
    least, most = seconds(bounds.least), seconds(bounds.most)
    return most if least == most else f"{least} – {most}"


def counted(bounds: LeastMost) -> str:
    """Return bounds of a number."""
    least, most = f"{bounds.least:,.0f}", f"{bounds.most:,.0f}"
    return most if least == most else f"{least} – {most}"


def change(bounds: LeastMost, then: float) -> str:
    """Return by how much a downtime is another than it was."""
    if then <= EVEN:
        return ""
    least, most = (f"{(value / then - 1) * 100:+.0f} %" for value in (bounds.least, bounds.most))
    least, most = (text.replace("+0 %", "0 %").replace("-", "−").replace("−0 %", "0 %") for text in (least, most))
    return most if least == most else f"{least} – {most}"
