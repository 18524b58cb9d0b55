"""The chats of which something was missed lately, as ``status`` shows them, each with the command that says it all."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from engine.console.safe_text import one_line
from engine.console.shell import engine_command
from states.completeness import Completeness
from states.ledger import HoleCause

if TYPE_CHECKING:  # for pages alone; what prints JSON need not wait for it
    from rich.text import Text

CHANNELS: Final = 10**12
"""Telethon marks the id of a channel as minus this and its id."""
MAX_SHOWN: Final = 3
"""Chats that the page names; it counts the others, and JSON has all."""
LATELY: Final = 7 * 86400.0
"""Seconds for which ``status`` tells of a hole; ``prove`` does for ever."""


@frozen(kw_only=True)
class OpenHoles:
    """The open holes of a channel, or of the private chats of an account."""

    chat: int
    """The channel, as Telethon marks ids, or the account's own user: each of its private chats has these holes."""
    account: str | None
    """Whose private chats they are; None for a channel."""
    count: int

    def command(self, config: Path) -> str:
        """Return the command that says what is missing, and how to read it."""
        options = ["--chat", str(self.chat), *(["--account", self.account] if self.account is not None else [])]
        return engine_command("prove", config, options=options)


def count_lately(proven: Completeness, now: float) -> int:
    """Return how many open holes are not older than ``LATELY``; what had no handler is none, as in ``--verbose``."""
    if proven.until is None:  # nothing was ever handled there
        return 0
    at = [hole.until or hole.since or now for hole in proven.open if hole.cause is not HoleCause.NO_HANDLER]
    return sum(each > now - LATELY for each in at)


def page(holes: Sequence[OpenHoles], config: Path) -> "list[Text]":
    """Return the lines of the page, an empty one first; none if nothing was missed."""
    if not holes:
        return []
    from rich.text import Text  # noqa: PLC0415 - as above

    total = sum(each.count for each in holes)
    found = [Text(), Text(f"Missed in the last 7 days: {total:,} hole{'' if total == 1 else 's'}", style="bold")]
    for each in holes[:MAX_SHOWN]:
        where = f"channel {each.chat}" if each.account is None else f"private chats of {each.account}"
        found.append(Text(one_line(f"  {where}: {each.count:,}; see: {each.command(config)}")))
    if (more := len(holes) - MAX_SHOWN) > 0:
        found.append(Text(f"  and {more:,} more (--json has all of them)"))
    return found


def as_data(holes: Iterable[OpenHoles], config: Path) -> list[dict[str, Any]]:
    """Return what ``--json`` prints."""
    return [
        {"chat": each.chat, "account": each.account, "holes": each.count, "command": each.command(config)}
        for each in holes
    ]
