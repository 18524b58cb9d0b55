"""What the ledger of completeness says of accounts, as ``status --verbose`` shows it; ``prove`` says it of a chat."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from engine.console.format import iso, moment
from engine.console.safe_text import one_line
from states.completeness import Completeness
from states.ledger import HoleCause

if TYPE_CHECKING:  # for pages alone; what prints JSON need not wait for it
    from rich.text import Text

MAX_SHOWN: Final = 20
"""Accounts of which the page says it, those with the most holes first; JSON has all."""


@frozen
class LedgerSummary:
    """How complete the boxes of one account are."""

    boxes: int
    """The account's own and those of its channels, as far as something was handled there."""
    holes: int
    """Open holes, without what arrived while the program had no handler."""
    complete_since: float | None
    """Since when nothing is missing in any of them (Unix seconds); None if something is missing now."""

    @property
    def data(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"boxes": self.boxes, "open_holes": self.holes, "complete_since": iso(self.complete_since)}


def summary_of(boxes: Iterable[Completeness]) -> LedgerSummary:
    """Return the summary of an account's boxes. A box in which nothing was ever handled says nothing."""
    known = [each for each in boxes if each.until is not None]
    holes = [hole for each in known for hole in each.open if hole.cause is not HoleCause.NO_HANDLER]
    since = [each.complete_since for each in known]
    ends = [at for at in since if at is not None]
    return LedgerSummary(len(known), len(holes), max(ends, default=None) if None not in since else None)


def page(ledger: Mapping[str, LedgerSummary], now: float) -> "list[Text]":
    """Return the lines of the page, an empty one first; none if nothing was handled yet."""
    from rich.text import Text  # noqa: PLC0415 - as above

    return [Text(line, style="bold" if number == 1 else "") for number, line in enumerate(lines(ledger, now))]


def lines(ledger: Mapping[str, LedgerSummary], now: float) -> Iterator[str]:
    """Yield the lines."""
    known = {name: each for name, each in ledger.items() if each.boxes}
    if not known:
        return
    yield ""
    yield "Completeness, by what was handled (`prove` says it of a chat):"
    most = sorted(known.items(), key=lambda item: -item[1].holes)
    for name, each in most[:MAX_SHOWN]:
        boxes = f"{each.boxes:,} count{'s' if each.boxes != 1 else ''} of updates"
        holes = f"{each.holes:,} hole{'s' if each.holes != 1 else ''}" if each.holes else "no holes"
        since = "" if each.complete_since is None else f", nothing missing since {moment(each.complete_since, now)}"
        yield f"  {one_line(name)}: {boxes}, {holes}{since}"
    if len(most) > MAX_SHOWN:
        yield f"  and {len(most) - MAX_SHOWN:,} more; name an account, or use --json"
