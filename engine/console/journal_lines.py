"""``log``: the journal, for people and for programs."""

from datetime import datetime
from typing import Any

from rich.text import Text

from engine.console.format import iso, seconds
from engine.console.messages import ICONS
from engine.console.status import LOOKS
from states import Entry, State


def as_data(entry: Entry) -> dict[str, Any]:
    """Return what ``log --json`` prints for a line; ``target`` is the state afterwards, also when it is the same."""
    return {
        "seq": entry.seq,
        "at": iso(entry.at),
        "account": entry.account,
        "source": entry.source.value,
        "event": entry.event,
        "target": entry.target.value,
        "rule": entry.rule,
        "attempt": entry.attempt,
        "delay": entry.delay,
        "deadline": iso(entry.deadline),
        "dwell": entry.dwell,
        "detail": entry.detail,
        "cause": list(entry.cause),
        "effects": list(entry.effects),
    }


def as_text(entry: Entry) -> Text:
    """Return a line for people: when, who, from where, by what, to where, why."""
    at = datetime.fromtimestamp(entry.at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    moved = entry.target is not entry.source
    icon = ICONS.get(entry.event) or (LOOKS[entry.target][0] if moved else "🔍")
    line = Text().append(f"{entry.seq:>6} {at} ", style="dim")  # not a style of the whole line
    line.append(f"{icon} {entry.account}  ", style="bold")
    line.append(entry.source.value, style=LOOKS[entry.source][1])
    line.append(f" ─{entry.event}→ ", style="dim")
    line.append(entry.target.value if moved else "stays", style=LOOKS[entry.target][1] if moved else "dim")
    notes = [f"after {seconds(entry.dwell)}"] if moved else []
    if entry.delay is not None:
        notes.append(f"waits {seconds(entry.delay)}")
    if entry.source in (State.CONNECTING, State.RECONNECTING) and entry.target is State.BACKOFF:
        notes.append(f"attempt {entry.attempt} failed")
    if entry.detail:
        notes.append(entry.detail)
    line.append("  " + ", ".join(notes), style="dim")
    return line
