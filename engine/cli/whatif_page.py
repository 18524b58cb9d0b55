"""What ``whatif`` prints for people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
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
LEAST_NAME: Final = 12
MOST_NAME: Final = 24
"""Columns of what a line of a table is about."""
THEN: Final = "→ "
"""Begins the title of a column that says what the one before it had been."""


@frozen
class FigureTable:
    """Figures of one thing per line: a table, or sentences where the terminal is too narrow for its columns."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The name and the figures of each line; an empty one is left out of the sentence."""
    whole_names: bool = False
    """Whether a long name goes on in the next line, and is not cut."""
    marked: int = -1
    """The line that is bold."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table or the sentences."""
        if self._width() > options.max_width:
            yield from self._sentences()
            return
        grid = Table(box=None, pad_edge=False, header_style="bold")
        if self.whole_names:
            grid.add_column(self.titles[0], overflow="fold", min_width=LEAST_NAME)
        else:
            grid.add_column(self.titles[0], no_wrap=True, overflow="ellipsis", max_width=MOST_NAME)
        for title in self.titles[1:]:
            grid.add_column(plain(title, "bold"), justify="right")
        for number, row in enumerate(self.rows):
            figures = (Text(figure, no_wrap=True) for figure in row[1:])
            grid.add_row(plain(row[0]), *figures, style="bold" if number == self.marked else "")
        yield grid

    def _width(self) -> int:
        """Return the columns that the figures and the words of their titles need, beside a short name."""
        width = LEAST_NAME
        for number, title in enumerate(self.titles[1:], 1):
            words = max(map(cell_len, title.split()), default=0)
            width += 2 + max([words, *(cell_len(row[number]) for row in self.rows)])
        return width

    def _sentences(self) -> Iterable[Text]:
        titles = self.titles[1:]
        if other := next((title for title in titles if title.startswith(THEN)), ""):
            yield plain(f"{self.titles[0]}: then {other}", "bold")
        for number, row in enumerate(self.rows):
            said = ""
            for title, figure in zip(titles, row[1:], strict=True):
                if title.startswith(THEN):
                    said += f" {THEN}{figure}"
                elif figure:
                    said += f", {title.lower()} {figure}"
            yield plain(f"{row[0]}: {said.removeprefix(', ')}", "bold" if number == self.marked else "")


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
    records = f"{found.records:,} record{'s' if found.records != 1 else ''}"
    count = f"{records} of {len(recorded.accounts):,} account{'s' if len(recorded.accounts) != 1 else ''}"
    if recorded.miss < WIDER_FROM:
        return Text(f"{count}; with the settings of then, the model gives the downtime that was recorded", style="dim")
    text = (
        f"{count}; with the settings of then, the model gives {seconds(recorded.again)} where "
        f"{seconds(recorded.fleet.seconds)} were recorded: all bounds are {recorded.miss * 100:.1f} % wider for that"
    )
    return Text(text, style="dim" if recorded.miss < 0.01 else "yellow")


def _choices(found: "Answer") -> FigureTable:
    recorded, then = found.recorded, found.recorded.fleet.seconds
    rows = [["as it happened", seconds(then), "", f"{recorded.fleet.attempts:,}", f"{recorded.peak:,}", ""]]
    short = short_names(key for choice, _ in found.choices for key in choice.values)
    for choice, outcome in found.choices:
        fleet = outcome.fleet
        rows.append([
            _named(choice, short),
            between(fleet.downtime),
            change(fleet.downtime, then),
            counted(fleet.attempts),
            counted(outcome.peak),
            counted(outcome.parked) if outcome.parked.most >= 0.5 else "",
        ])  # fmt: skip
    titles = ("Settings", "Downtime", "Change", "Attempts", "Per minute", "Parked")
    return FigureTable(titles, rows, whole_names=True, marked=0)


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
    now = f"{THEN}{_named(choice, short_names(choice.values))}"
    rows = []
    for name in shown:
        meter, figure = meters[name], outcome.accounts[name]
        figures = (between(figure.downtime), f"{meter.attempts:,}", counted(figure.attempts))
        rows.append([name, f"{meter.outages:,}", seconds(meter.seconds), *figures])
    grid = FigureTable(("Account", "Outages", "Downtime", now, "Attempts", now), rows)
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
