"""``AccountLines``: the table of accounts as ``status.table`` draws it, for a ninth of the work.

Rich measures and renders each cell as if it could have any form: half a millisecond for an account, and the live table
draws a screen of them up to four times a second, on the loop.
"""

from collections.abc import Iterable, Sequence

from attrs import frozen
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from engine.console.account_status import AccountStatus
from engine.console.cells import indented
from engine.console.status import STYLES, TITLES, row, table
from engine.console.status_text import GAP, INDENT, REMARK, below, fitted

STATE = TITLES.index("State")
BETWEEN = Segment(GAP)


@frozen
class AccountLines:
    """Accounts in the order in which they are given, and how they are at the time ``now``."""

    accounts: Sequence[tuple[str, AccountStatus]]
    now: float
    whole: bool = False
    """Whether a remark that its column has no room for stands below its account, instead of being cut."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines, as wide as there is room; where there is too little, Rich decides what becomes narrower."""
        rows = [row(name, at, self.now) for name, at in self.accounts]
        lines = fitted(rows, options.max_width)
        if lines is None and self.whole:
            yield from self._paragraphs(rows, options.max_width)
            return
        if lines is None:
            yield table(self.accounts, self.now)
            return
        bold, dim = console.get_style("bold"), console.get_style("dim")
        yield from _line(lines[0], [bold] * len(TITLES))
        for said, texts, (_, at) in zip(rows, lines[1:], self.accounts, strict=True):
            more = below(said, texts, options.max_width) if self.whole else []
            styles: list[Style | None] = [None] * len(TITLES)
            styles[STATE], styles[REMARK] = console.get_style(STYLES[at.state][1]), dim
            yield from _line(texts, styles)
            for line in more:
                yield from _line([line], [dim])

    def _paragraphs(self, rows: Sequence[Sequence[str]], width: int) -> Iterable[Segment]:
        """Yield accounts where there is no room for columns: where each is, since when, and what there is to say."""
        for texts in rows:
            account, state, since, said, *_ = texts
            for line in [*indented(f"{account}  {state} {since}", width, 0), *indented(said, width, INDENT)]:
                yield Segment(line)
                yield Segment.line()


def _line(texts: Sequence[str], styles: Sequence[Style | None]) -> Iterable[Segment]:
    """Yield one line."""
    for column, (text, style) in enumerate(zip(texts, styles, strict=True)):
        if column:
            yield BETWEEN
        yield Segment(text, style)
    yield Segment.line()
