"""The help of the screen."""

from typing import Final

from engine.console.status import STYLES
from engine.screen.text import Letters, Line, paragraph

KEYS: Final = (
    ("All accounts, the worst first", (
        ("↑ ↓, k j", "choose an account; PgUp PgDn, Home End, g G go further"),
        ("Enter, →", "open it: why, since when, what to do, and its journal"),
        ("i", "see the open incidents: what they mean, and what to do"),
        ("/", "show names with a text in them, such as news or *bot; Enter keeps it, Esc ends it"),
        ("s, S", "show one state only: the next one, the one before"),
        ("h", "hide healthy accounts, and show them again"),
        ("Esc", "choose nothing: the worst are at the top again; once more shows all accounts"),
    )),
    ("The chosen account", (
        ("r", "retry: try it now (a flood wait stands)"),
        ("p", "pause: disconnect, until it is resumed"),
        ("u", "resume what is paused"),
    )),
    ("Its journal", (
        ("↑ ↓", "choose a record"),
        ("Enter, →", "explain it: the rule, what was asked, how long the wait is and why; n and b go on and back"),
        ("Esc, ←, q", "go back"),
    )),
    ("The open incidents", (
        ("↑ ↓", "choose an incident"),
        ("a", "acknowledge it: it stays until it is over, and nobody is reminded of it any more"),
        ("Enter, →", "open the account that it is about"),
    )),
)  # fmt: skip


def help_lines(width: int, letters: Letters, *, quits: bool) -> list[Line]:
    """Return the page of keys and icons."""
    lines: list[Line] = []
    for title, keys in KEYS:
        lines.append(((title, "bold"),))
        for key, what in keys:
            lines += _item(letters(key), what, width)
        lines.append(())
    lines.append((("To leave", "bold"),))
    if quits:
        lines += _item("q, Ctrl+C", "end this screen; the engine goes on", width)
    else:
        lines += _item("Ctrl+C", "stop the engine in order; a second one leaves at once", width)
    lines += _item("Ctrl+Z", "stop this process until fg, which stops all that it does", width)
    lines += [(), (("The states", "bold"),)]
    for state, (icon, _) in STYLES.items():
        lines += _item(letters(icon), state, width)
    return lines


def _item(key: str, what: str, width: int) -> list[Line]:
    first, *more = paragraph(what, max(width - 13, 10))
    return [((f"  {key:<11}", "cyan"), *first), *(((" " * 13, ""), *line) for line in more)]
