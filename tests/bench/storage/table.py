"""Tables of the storage benchmark."""

from collections.abc import Sequence
from statistics import median

from attrs import field, frozen


@frozen
class Table:
    """One question, what each contender answered, and what was to be reached."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    targets: Sequence["Target"] = field(default=())

    def lines(self) -> list[str]:
        """Return it as markdown."""
        lines = [f"**{self.title}**", "", "| " + " | ".join(self.head) + " |", "|---|" + "---:|" * (len(self.head) - 1)]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return [*lines, "", *(target.line() for target in self.targets), ""]


@frozen
class Target:
    """A figure, and the bound that it was to keep."""

    what: str
    found: float
    least: float | None = None
    most: float | None = None

    @property
    def kept(self) -> bool:
        """Whether it did."""
        return (self.least is None or self.found >= self.least) and (self.most is None or self.found <= self.most)

    def line(self) -> str:
        """Return it as a line."""
        bound = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        return f"{'✅' if self.kept else '❌'} {self.what}: {number(self.found)} (target: {bound})"


def number(value: float) -> str:
    """Return a figure with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(value: float, of: float) -> float:
    """Return how many times ``of`` a value is."""
    return value / of if of else float("inf")


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return float(median(values))
