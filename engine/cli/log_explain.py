"""``log explain``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.text import Text

from adapters.sqlite import JournalReader
from adapters.sqlite.journal_rows import UnreadableRow
from engine.cli.common import DEFAULT_CONFIG, EXIT_BAD_INPUT, AsJson, fail, parse_number, reporting_errors
from engine.cli.declared import Parameter
from engine.cli.log_common import open_journal, tell_unreadable
from engine.cli.log_events import decode_event
from engine.console import journal_lines
from engine.console.format import date_and_time
from engine.console.safe_text import json_text, one_line
from engine.console.status import STATE_STYLES
from engine.journal.explain import Explanation
from engine.journal.explain import explain as explained
from states import Entry
from states.answers import GuardAnswer

NEIGHBOURS = 3
"""Number of the account's entries that are shown before, and after."""


def explain(
    *words: Annotated[
        str,
        Parameter(
            name="SEQ [CONFIG]", negative="", help="The number of an entry, as 'log' shows it, and the config file."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Explain why the machine did what it did: the rule, what its guards saw, the arithmetic of the wait, the cause."""
    with reporting_errors():
        config, seq = _config_and_seq(words)
        with open_journal(config) as reader, reader.read_transaction():
            unreadable: list[UnreadableRow] = []
            reader.on_unreadable = unreadable.append
            explanation = _explain_entry(reader, _read_entry(reader, seq))
        tell_unreadable(unreadable)
        if as_json:
            print(json_text(as_data(explanation), indent=2))
        else:
            Console(highlight=False).print(as_text(explanation), soft_wrap=True)


def _config_and_seq(words: Sequence[str]) -> tuple[Path, int]:
    """Return the config and the number, in whichever order they stand."""
    numbers = [seq for word in words if (seq := parse_number(word)) is not None]
    if not numbers:
        fail(EXIT_BAD_INPUT, "SEQ: give the number of an entry, as 'log' shows it")
    if len(words) > 2:
        fail(EXIT_BAD_INPUT, f"SEQ: {len(words)} words are too many; give one number, and the config")
    at = next(index for index, word in enumerate(words) if parse_number(word) is not None)
    return Path(words[1 - at]) if len(words) == 2 else DEFAULT_CONFIG, numbers[0]


def _read_entry(reader: JournalReader, seq: int) -> Entry:
    entry = reader.entry(seq) if 0 < seq < 2**63 else None
    if entry is None:
        last = reader.last_seq()
        there = f"there are {reader.first_seq()} to {last}" if last else "there are none yet"
        fail(EXIT_BAD_INPUT, f"SEQ: the journal has no entry {seq}; {there}")
    return entry


def _explain_entry(reader: JournalReader, entry: Entry) -> Explanation:
    lives = {life.life: life for life in reader.lives(entry.account, from_life=entry.life)}
    return explained(
        entry,
        life=lives.get(entry.life),
        records=reader.life_until(entry),
        event_of=decode_event,
        before=reader.before(entry, NEIGHBOURS),
        after=reader.after(entry, NEIGHBOURS),
    )


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
        | {"cause": _to_json("cause", at.cause and at.cause.event), "limited": _to_json("limited", at.limited)},
        "schedule": explanation.arithmetic and {"text": explanation.arithmetic.text, **explanation.arithmetic.parts},
        "doubt": explanation.doubt,
        "before": [journal_lines.as_data(entry) for entry in explanation.before],
        "after": [journal_lines.as_data(entry) for entry in explanation.after],
    }


def as_text(explanation: Explanation) -> Text:
    """Return the explanation as the terminal shows it."""
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


def _add_line(page: Text, label: str, text: str, style: str = "") -> None:
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
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, str) else value
