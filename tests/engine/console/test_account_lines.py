"""The lines of the live table are those that Rich draws for ``status``, character by character."""

import io
import random

import pytest
from rich.console import Console
from rich.table import Table

from engine.console import account_lines
from engine.console.account_lines import AccountLines
from engine.console.account_status import AccountStatus
from engine.console.status import table
from states import Snapshot, State
from states.events import NetworkLost
from states.snapshot import Cause, Hold

NOW = 1_760_000_000.0
NAMES = (
    "Account 1",
    "a",
    "A name that is longer than its column",
    "Конто",
    "\u65b0\u805e",
    "with [bold]markup[/]",
    "x" * 24,
)
SENTENCES = ("", "reset by peer", "said [red]so[/red] " * 9, "\u5bb9\u91cf\u304c" * 30, "\x1b[31mred", ":smile:")


def drawn(what: AccountLines | Table, width: int) -> list[list[tuple[str, str]]]:
    """Return what is on the screen: each character that is no blank, with its style, and the blanks between."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor")
    lines = console.render_lines(what, pad=False)
    return [
        [
            (character, "" if character == " " else str(segment.style or ""))
            for segment in line
            for character in segment.text
        ]
        for line in lines
    ]


def some_accounts(rng: random.Random) -> list[tuple[str, AccountStatus]]:
    """Return accounts in states of every kind."""
    found = []
    for _ in range(rng.randrange(12)):
        last = Snapshot(
            state=rng.choice(list(State)),
            since=NOW - rng.choice((0, 5, 70, 4_000, 200_000)),
            attempt=rng.randrange(3),
            failures=rng.choice((0, 7, 12_345)),
            reconnects=rng.choice((0, 3)),
            last_success=rng.choice((None, NOW - 3, NOW - 90_000)),
            deadline=rng.choice((None, NOW + 30)),
            paused=rng.random() < 0.1,
            cause=rng.choice((None, Cause(event=NetworkLost.__name__, detail=rng.choice(SENTENCES)))),
            holds=rng.choice(((), (Hold(request="messages.search", until=NOW + 99),))),
        )
        known = None if rng.random() < 0.1 else last
        found.append((rng.choice(NAMES), AccountStatus(known, present=rng.random() < 0.9)))
    return found


@pytest.mark.parametrize("width", [40, 60, 66, 70, 75, 80, 100, 120, 250])
def test_they_are_what_rich_draws(width: int) -> None:
    """For accounts of every kind and terminals of every width."""
    rng = random.Random(width)
    for _ in range(30):
        accounts = some_accounts(rng)
        assert drawn(AccountLines(accounts, NOW), width) == drawn(table(accounts, NOW), width)


def test_rich_draws_them_only_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal of 80 columns no cell is measured by Rich."""

    def refuse(*_: object) -> Table:
        raise AssertionError("drawn by Rich")

    monkeypatch.setattr(account_lines, "table", refuse)
    drawn(AccountLines(some_accounts(random.Random(1)), NOW), 80)
    with pytest.raises(AssertionError, match="drawn by Rich"):
        drawn(AccountLines(some_accounts(random.Random(1)), NOW), 30)
