"""``status``: which programs take updates, and how far each is behind."""

from adapters.sqlite.remote_reader import CursorLine
from engine.console.program_lines import MAX_SHOWN, lines


def cursor(program: str, behind: int, *, at: float = 940.0) -> CursorLine:
    return CursorLine(account="Account 1", program=program, acknowledged=1, at=at, behind=behind)


def test_the_slowest_program_comes_first() -> None:
    """One that has everything is up to date, and a program's name is text, whatever is in it."""
    shown = list(lines([cursor("archive", 0), cursor("bot\x1b[31m", 1), cursor("search", 1200)], 1000.0))
    assert shown[:3] == [
        "",
        "Programs that take updates: 3",
        "  search, Account 1: 1,200 updates behind, acknowledged 1 min ago",
    ]
    assert "1 update behind" in shown[3]
    assert "\x1b" not in shown[3]
    assert shown[4] == "  archive, Account 1: up to date, acknowledged 1 min ago"


def test_many_programs_are_a_few_lines() -> None:
    """The others are counted; without a program there is no line, and a clock that was set is no negative time."""
    shown = list(lines([cursor(f"program {number}", number, at=2000.0) for number in range(30)], 1000.0))
    assert len(shown) == MAX_SHOWN + 3
    assert shown[-1] == "  and 25 more (--json has all of them)"
    assert shown[2].endswith("acknowledged 0 s ago")
    assert list(lines([], 1000.0)) == []
