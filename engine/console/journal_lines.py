"""The journal's entries as text and as JSON, for ``log``."""

from typing import TYPE_CHECKING, Any

from engine.console.format import date_and_time, iso, rounded, seconds
from engine.console.log_connections import ICONS
from engine.console.safe_text import one_line
from engine.console.status import STATE_STYLES
from states import Entry, State

if TYPE_CHECKING:  # for lines alone; what prints JSON need not wait for it
    from rich.text import Text


def as_data(entry: Entry) -> dict[str, Any]:
    """Return what ``log --json`` prints for an entry; ``target`` is the state afterwards, even if it did not change."""
    return {
        "seq": entry.seq,
        "at": iso(entry.at),
        "account": entry.account,
        "source": entry.source.value,
        "event": entry.event,
        "target": entry.target.value,
        "rule": entry.rule,
        "attempt": entry.attempt,
        "delay": rounded(entry.delay),
        "deadline": iso(entry.deadline),
        "dwell": rounded(entry.dwell),
        "detail": entry.detail,
        "cause": list(entry.cause),
        "effects": list(entry.effects),
    }


def as_text(entry: Entry) -> "Text":
    """Return an entry as a line: time, account, source, event, target, detail."""
    from rich.text import Text  # noqa: PLC0415 - as above

    at = date_and_time(entry.at)
    moved = entry.target is not entry.source
    icon = ICONS.get(entry.event) or (STATE_STYLES[entry.target][0] if moved else "🔍")
    line = Text().append(f"{entry.seq:>6} {at} ", style="dim")  # style= of Text() would be the whole line's
    line.append(f"{icon} {one_line(entry.account)}  ", style="bold")
    line.append(entry.source.value, style=STATE_STYLES[entry.source][1])
    line.append(f" ─{one_line(entry.event)}→ ", style="dim")
    line.append(entry.target.value if moved else "stays", style=STATE_STYLES[entry.target][1] if moved else "dim")
    notes = [f"after {seconds(entry.dwell)}"] if moved else []
    if entry.delay is not None:
        notes.append(f"waits {seconds(entry.delay)}")
    if entry.source in (State.CONNECTING, State.RECONNECTING) and entry.target is State.BACKOFF:
        notes.append(f"attempt {entry.attempt} failed")
    if entry.detail:
        notes.append(one_line(entry.detail))
    line.append("  " + ", ".join(notes), style="dim")
    return line
