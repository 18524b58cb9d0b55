"""An explanation of a record as the terminal shows it and as JSON has it: for ``log explain`` and for the screen."""

from typing import TYPE_CHECKING, Any

from engine.console import journal_lines
from engine.console.format import date_and_time
from engine.console.safe_text import one_line
from engine.console.status import STATE_STYLES
from engine.journal.explain import Explanation
from states.answers import GuardAnswer

if TYPE_CHECKING:  # for pages alone
    from rich.text import Text


def as_data(explanation: Explanation) -> dict[str, Any]:
    """Return what ``log explain --json`` prints."""
    row, at = explanation.row, explanation.snapshot
    return {
        "entry": journal_lines.as_data(explanation.entry),
        "rule": row
        and {
            "name": row.name,
            "source": row.source.value,
            "event": row.event.__name__,
            "guard": row.guard,
            "target": row.target.value if row.target else None,
            "effects": [effect.__name__ for effect in row.does],
            "why": row.why,
        },
        "guards": [
            {
                "guard": asked.guard,
                "question": asked.question,
                "saw": {name: _to_json(name, value) for name, value in asked.saw.items()},
                "holds": asked.holds,
            }
            for asked in explanation.asked
        ],
        "snapshot": at
        and {
            name: _to_json(name, getattr(at, name))
            for name in ("state", "attempt", "failures", "streak", "silences", "stable", "exhausted", "deadline")
        }
        | {
            "cause": _to_json("cause", at.cause and at.cause.event),
            "limited": _to_json("limited", at.limited),
            "restricted": at.restricted and at.restricted.limit,
        },
        "schedule": explanation.arithmetic and {"text": explanation.arithmetic.text, **explanation.arithmetic.parts},
        "doubt": explanation.doubt,
        "before": [journal_lines.as_data(entry) for entry in explanation.before],
        "after": [journal_lines.as_data(entry) for entry in explanation.after],
    }


def as_text(explanation: Explanation) -> "Text":
    """Return the explanation as the terminal shows it."""
    from rich.text import Text  # noqa: PLC0415 - what prints JSON need not wait for it

    entry, row = explanation.entry, explanation.row
    page = Text()
    page.append_text(journal_lines.as_text(entry)).append("\n\n")
    if row is None:
        _add_line(page, "rule", f"{entry.rule}: this version has no such rule")
    else:
        _add_line(page, "rule", row.name, "bold")
        page.append(" " * 11)
        page.append(row.source.value, style=STATE_STYLES[row.source][1])
        page.append(f" ─{row.event.__name__}{f'[{row.guard}]' if row.guard else ''}→ ", style="dim")
        page.append(f"{row.target.value if row.target else 'stays'}", style=STATE_STYLES[row.target or row.source][1])
        page.append(f"   does {', '.join(effect.__name__ for effect in row.does) or 'nothing'}\n", style="dim")
        _add_line(page, "why", row.why)
    for number, asked in enumerate(explanation.asked):
        _add_line(page, "" if number else "guards", _format_answer(asked), "" if asked.holds else "dim")
    if row is not None and row.guard is None and explanation.snapshot is not None:
        _add_line(page, "" if explanation.asked else "guards", "then this rule, which has no guard")
    if explanation.arithmetic is not None:
        _add_line(page, "schedule", explanation.arithmetic.text)
    if entry.deadline is not None:
        _add_line(page, "deadline", date_and_time(entry.deadline))
    for number, cause in enumerate(entry.cause):
        _add_line(page, "" if number else "cause", f"{'  ' * number}{cause}")
    if explanation.doubt:
        _add_line(page, "⚠️ note", explanation.doubt, "yellow")
    page.append("\n")
    for each in (*explanation.before, entry, *explanation.after):
        page.append("→ " if each is entry else "  ").append_text(journal_lines.as_text(each)).append("\n")
    page.right_crop(1)
    return page


def _add_line(page: "Text", label: str, text: str, style: str = "") -> None:
    page.append(f"{label:<11}", style="cyan").append(f"{one_line(text)}\n", style=style)


def _format_answer(asked: GuardAnswer) -> str:
    saw = ", ".join(
        f"{name} {_format_value(_to_json(name, value))}" for name, value in asked.saw.items() if value is not None
    )
    question = asked.question.removesuffix(".")
    return f"{'yes' if asked.holds else 'no ':<3}  {asked.guard}: {question}" + (f"  ({saw})" if saw else "")


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_format_value, value)) if isinstance(value, list) else f"{value}"


def _to_json(name: str, value: Any) -> Any:
    """Return a value as JSON has it; a fingerprint is cut to its first digits, enough to compare by eye."""
    if name.endswith("credentials"):
        return f"{value[:8]}…" if value else ""
    if name == "limited":
        return None if value is None else value.event
    if name == "stall":
        return None if value is None else value.detail
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, str) else value
