"""Other programs that take updates of accounts, as ``status`` shows them: how far each is behind."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from engine.console.format import iso, whole_seconds
from engine.console.safe_text import one_line

if TYPE_CHECKING:  # for pages alone; what prints JSON need not wait for it
    from rich.text import Text

MAX_SHOWN: Final = 5
"""Programs that the page names, those that are most behind first; JSON has all."""


class ShownProgram(Protocol):
    """How far a program is with the updates of one account."""

    @property
    def account(self) -> str:
        """The account's name."""

    @property
    def program(self) -> str:
        """The name that the program has given itself."""

    @property
    def at(self) -> float:
        """When it has acknowledged something last, in Unix seconds."""

    @property
    def behind(self) -> int:
        """How many updates wait for it."""


def page(programs: Sequence[ShownProgram], now: float) -> "list[Text]":
    """Return the lines of the page, an empty one first; none if no program takes updates."""
    from rich.text import Text  # noqa: PLC0415 - as above

    return [Text(line, style="bold" if number == 1 else "") for number, line in enumerate(lines(programs, now))]


def lines(programs: Sequence[ShownProgram], now: float) -> Iterator[str]:
    """Yield the lines, an empty one first."""
    if not programs:
        return
    slowest = sorted(programs, key=lambda each: (-each.behind, each.program, each.account))
    yield ""
    yield f"Programs that take updates: {len({each.program for each in programs}):,}"
    for each in slowest[:MAX_SHOWN]:
        behind = f"{each.behind:,} update{'' if each.behind == 1 else 's'} behind" if each.behind else "up to date"
        since = whole_seconds(now - each.at)
        yield f"  {one_line(each.program)}, {one_line(each.account)}: {behind}, acknowledged {since} ago"
    if (more := len(slowest) - MAX_SHOWN) > 0:
        yield f"  and {more:,} more (--json has all of them)"


def as_data(programs: Sequence[ShownProgram]) -> list[dict[str, Any]]:
    """Return what ``--json`` prints."""
    return [
        {"name": each.program, "account": each.account, "acknowledged_at": iso(each.at), "behind": each.behind}
        for each in programs
    ]
