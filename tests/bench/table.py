"""A benchmark's tables, its targets, and the file in which ``python -m tests.bench`` is given them."""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from attrs import asdict, field, frozen


@frozen
class Table:
    """One question, what each contender answered, and what was to be reached."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    targets: Sequence["Target"] = field(default=())

    def lines(self) -> list[str]:
        """Return it as Markdown."""
        lines = [f"**{self.title}**", "", "| " + " | ".join(self.head) + " |", "|---|" + "---:|" * (len(self.head) - 1)]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return [*lines, "", *(target.line() for target in self.targets), ""]


@frozen
class Target:
    """A figure, and the bound that it has to keep; without one it is only shown."""

    what: str
    found: float
    least: float | None = None
    most: float | None = None
    against: str = ""
    """The alternative that the figure is a ratio to; none if it is absolute."""
    unit: str = "×"
    why: str = ""
    """What is judged, if it is more than the bound; it stands in the bound's place."""
    verdict: bool | None = None
    """The judgement, if it is more than the bound."""
    headline: bool = False
    """Whether it is among the few figures that the README shows."""

    @property
    def kept(self) -> bool:
        """Whether it did."""
        if self.verdict is not None:
            return self.verdict
        return (self.least is None or self.found >= self.least) and (self.most is None or self.found <= self.most)

    @property
    def mark(self) -> str:
        """The sign for it; none where nothing is judged."""
        if not self.bound:
            return ""
        return "✅" if self.kept else "❌"

    @property
    def figure(self) -> str:
        """The figure with its unit."""
        return _with_unit(self.found, self.unit)

    @property
    def bound(self) -> str:
        """The bound with its unit, or what is judged."""
        if self.why:
            return self.why
        if self.least is not None:
            return f"≥ {_with_unit(self.least, self.unit)}"
        return f"≤ {_with_unit(self.most, self.unit)}" if self.most is not None else ""

    @property
    def sentence(self) -> str:
        """The figure, what it is a ratio to, and the bound."""
        against = f", against {self.against}" if self.against else ""
        target = f" (target: {self.bound})" if self.bound else ""
        return f"{self.what}{against}: {self.figure}{target}"

    def line(self) -> str:
        """Return it as an item of a list."""
        return " ".join(filter(None, ("-", self.mark, self.sentence)))


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that ``python -m tests.bench`` gives to each benchmark."""
    parser.add_argument("--results", type=Path, help="a file for the targets and what was reached, as JSON")


def hand_over(file: Path | None, targets: Sequence[Target]) -> None:
    """Write the targets to the file of the option, if it was given."""
    if file is not None:
        file.write_text(json.dumps([asdict(target) for target in targets]), "utf-8")


def received(file: Path) -> list[Target]:
    """Read what a benchmark has handed over; raises ``OSError``, ``ValueError`` or ``TypeError`` otherwise."""
    return [Target(**target) for target in json.loads(file.read_text("utf-8"))]


def number(value: float) -> str:
    """Return a figure with as many digits as mean something."""
    if math.isinf(value):
        return "∞"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _with_unit(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".rstrip()


def ratio(value: float, of: float) -> float:
    """Return how many times ``of`` a value is."""
    return value / of if of else float("inf")


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return float(median(values))
