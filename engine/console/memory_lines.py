"""What accounts have in memory, as ``status --verbose`` shows it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from engine.console.format import whole_seconds
from engine.console.safe_text import one_line

if TYPE_CHECKING:  # for pages alone; what prints JSON need not wait for it
    from rich.text import Text

MAX_SHOWN: Final = 20
"""Accounts of which the page says what they have in memory, the largest first; JSON has all."""
COUNTS: Final = (
    ("entities", "users and chats of the session"),
    ("cached", "in Telethon's cache"),
    ("waiting", "updates wait for handlers"),
    ("running", "are with them"),
    ("queued", "messages wait to be counted"),
    ("left", "left at the datacenter"),
)
"""What is counted, and what the page calls it; what is 0 is not shown."""

Memory = Mapping[str, Mapping[str, Any]]
"""By account; see ``adapters/telegram/memory_use.py``."""


def page(memory: Memory) -> "list[Text]":
    """Return the lines of the page; none for an engine that says nothing of it."""
    from rich.text import Text  # noqa: PLC0415 - as above

    return [Text(line, style="bold" if number == 1 else "") for number, line in enumerate(lines(memory))]


def lines(memory: Memory) -> Iterator[str]:
    """Yield the lines, an empty one first."""
    if not memory:
        return
    largest = sorted(memory.items(), key=lambda item: -_number(item[1], "bytes"))
    yield ""
    yield f"Memory of accounts, estimated: {size(sum(_number(each, 'bytes') for each in memory.values()))}"
    for name, each in largest[:MAX_SHOWN]:
        yield f"  {one_line(name)}: {size(_number(each, 'bytes'))}"
        counts = ", ".join(f"{_number(each, key):,} {what}" for key, what in COUNTS if _number(each, key))
        if counts:
            yield f"    {counts}"
        for hanging in each.get("hanging") or ():
            lasts, calls = whole_seconds(_number(hanging, "seconds")), _number(hanging, "calls")
            yield f"    ⏱️ {one_line(str(hanging.get('handler')))} has not ended for {lasts} ({calls:,} calls)"
    if len(largest) > MAX_SHOWN:
        yield f"  and {len(largest) - MAX_SHOWN:,} more; name an account, or use --json"


def size(count: float) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def _number(values: Mapping[str, Any], key: str) -> int:
    found = values.get(key)
    return int(found) if isinstance(found, int | float) else 0
