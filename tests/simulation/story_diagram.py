"""Draws an outcome as a mermaid sequence diagram that a reader understands without anything else.

The program, the engine, each account's link, the network, the datacenter and the disk stand side by side. Notes have
what went wrong and what the engine decided, arrows have what went from one to another, all with their virtual times;
the broken promise stands at the end. What repeats itself is told once, and how often it came.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from engine.console.safe_text import one_line
from tests.simulation.evidence import Verdict
from tests.simulation.outcome import Happening, Outcome
from tests.simulation.story import Incident, Story

MAX_ROWS: Final = 60
"""Of a diagram; a longer one has its beginning and its end."""
MAX_TEXT: Final = 150
WIDTH: Final = 56
"""Characters of a line in the diagram."""
MAX_PERIOD: Final = 8
"""Steps of a cycle that is told once."""
ORDER: Final = ("program", "engine", "account", "network", "datacenter", "disk")
"""From the left to the right; accounts by their names, others after the engine."""
INJECTED: Final = ("network", "datacenter", "credentials", "clock", "disk", "process", "control")
PLACES: Final = {"credentials": "datacenter", "clock": "engine", "process": "engine", "control": "program"}
"""Where the incidents of a group are drawn that have no participant of their own."""


def page(story: Story, outcome: Outcome, *, command: str = "", drawn_hours: float | None = None) -> str:
    """Return a page in Markdown: what was broken, the story in words, the diagram, the story as data, the journal."""
    text = [f"# Seed {story.seed}", ""]
    text += [f"- **{_plain(verdict.judge)}**: {_plain(str(verdict))}" for verdict in outcome.verdicts]
    text += ["", *_in_words(story), ""]
    if drawn_hours is not None:
        text += [
            f"It is what was left of {drawn_hours:g} hours when everything that does not matter was taken away.",
            "",
        ]
    if command:
        text += ["Run it again:", "", f"    {command}", ""]
    text += ["```mermaid", diagram(outcome.happenings, outcome.verdicts), "```", ""]
    text += ["## The story", "", "```json", story.dump().rstrip(), "```", ""]
    journal = outcome.journal.replace("```", "'''").rstrip()
    text += ["## The journal", "", f"SHA-256 {outcome.digest}", "", "```text", journal, "```", ""]
    return "\n".join(text)


def diagram(happenings: Sequence[Happening], verdicts: Sequence[Verdict], most: int = MAX_ROWS) -> str:
    """Return a ``sequenceDiagram`` of at most about ``most`` rows."""
    accused = verdicts[0].account if verdicts else ""
    rows = _shortened(_folded(_of(accused, [_placed(each) for each in happenings])), most)
    names = _participants(rows) or ["engine"]
    alias = {name: f"p{number}" for number, name in enumerate(names)}
    lines = ["sequenceDiagram", *(f"    participant {alias[name]} as {_escaped(name)}" for name in names)]
    over_all = "p0" if len(names) == 1 else f"p0,p{len(names) - 1}"
    for row in rows:
        if isinstance(row, str):
            lines.append(f"    Note over {over_all}: {_escaped(row)}")
        elif row.to is not None and row.to != row.who:
            lines.append(f"    {alias[row.who]}->>{alias[row.to]}: {_escaped(f'{clock(row.at)} {row.text}')}")
        else:
            lines.append(f"    Note over {alias[row.who]}: {_escaped(f'{clock(row.at)} {row.text}')}")
    lines += [f"    Note over {over_all}: {_escaped(_broken(verdict), 400, 2 * WIDTH)}" for verdict in verdicts[:5]]
    return "\n".join(lines)


def _broken(verdict: Verdict) -> str:
    whose = f"{verdict.account}: " if verdict.account else ""
    return f"✗ {clock(verdict.at)} BROKEN: {verdict.judge} – {whose}{verdict.what}"


def clock(at: float) -> str:
    """Return virtual seconds as hours, minutes and seconds since the beginning."""
    minutes, rest = divmod(max(0.0, round(at, 2)), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:05.2f}".removesuffix(".00")


def _in_words(story: Story) -> Iterator[str]:
    plural = "" if story.accounts == 1 else "s"
    yield f"{story.accounts} account{plural}, {clock(story.seconds)} of virtual time."
    if story.incidents:
        yield ""
        yield from (f"- {clock(each.at)} {_incident(each)}" for each in story.incidents[:MAX_ROWS])
        if len(story.incidents) > MAX_ROWS:
            yield f"- … {len(story.incidents) - MAX_ROWS} more incidents …"


def _incident(incident: Incident) -> str:
    whom = "" if incident.account is None else f" of account {incident.account}"
    value = "" if incident.value is None else f" ({_plain(str(incident.value))})"
    lasts = f", for {incident.seconds:g} s" if incident.seconds else ""
    times = f", {incident.times} times" if incident.times and incident.times > 1 else ""
    return f"{incident.kind.value}{value}{whom}{lasts}{times}"


# --- which rows -------------------------------------------------------------------------------------------------------


def _placed(happening: Happening) -> Happening:
    """Give what happened to a group of incidents its place among the participants, and its mark."""
    if happening.who in INJECTED and happening.to is None:
        return Happening(happening.at, PLACES.get(happening.who, happening.who), f"⚡ {happening.text}")
    return happening


def _is_account(name: str) -> bool:
    return name.lower().startswith("account")


def _of(accused: str, happenings: Sequence[Happening]) -> list[Happening]:
    """Leave out what happened between others, if the verdict is of one account."""
    if not accused:
        return list(happenings)
    others = {name for each in happenings for name in (each.who, each.to or "") if _is_account(name)} - {accused}
    return [each for each in happenings if each.who not in others and each.to not in others]


_NUMBER: Final = re.compile(r"\d[\d.,:]*")
Row = Happening | str


def _key(happening: Happening) -> tuple[str, str | None, str]:
    return happening.who, happening.to, _NUMBER.sub("#", happening.text)


def _folded(happenings: Sequence[Happening]) -> list[Row]:
    """Tell a cycle that comes three times or more by its first and last turn."""
    keys = [_key(each) for each in happenings]
    rows: list[Row] = []
    at = 0
    while at < len(happenings):
        period, turns = _cycle(keys, at)
        if turns < 3:
            rows.append(happenings[at])
            at += 1
            continue
        end = at + period * turns
        rows += happenings[at : at + period]
        what = "it again" if period == 1 else f"these {period} steps again"
        upto = clock(happenings[end - period - 1].at)
        rows.append(f"… {what}, {turns - 2} time{'s' if turns > 3 else ''}, until {upto} …")
        rows += happenings[end - period : end]
        at = end
    return rows


def _cycle(keys: Sequence[tuple[str, str | None, str]], at: int) -> tuple[int, int]:
    """Return the length of the cycle that begins there and covers most, and how often it comes."""
    best = (1, 1)
    for period in range(1, MAX_PERIOD + 1):
        turns = 1
        while keys[at + turns * period : at + (turns + 1) * period] == keys[at : at + period]:
            turns += 1
        if turns >= 3 and (turns - 2) * period > max(0, best[1] - 2) * best[0]:
            best = (period, turns)
    return best


def _shortened(rows: Sequence[Row], most: int) -> list[Row]:
    """Keep the beginning, what was done to the engine, and the end, which is where the promise breaks."""
    if len(rows) <= most:
        return list(rows)
    first, last = most // 5, most // 2
    middle = rows[first : len(rows) - last]
    injected = [number for number, row in enumerate(middle) if isinstance(row, Happening) and row.text.startswith("⚡")]
    shown = set(injected[-(most - first - last) :])
    kept: list[Row] = list(rows[:first])
    left_out = 0
    for number, row in enumerate([*middle, None]):
        if row is not None and number not in shown:
            left_out += 1
            continue
        if left_out:
            kept.append(f"… {left_out} more step{'s' if left_out > 1 else ''} …")
        left_out = 0
        kept += [row] if row is not None else []
    return kept + list(rows[len(rows) - last :])


def _participants(rows: Sequence[Row]) -> list[str]:
    named = {name for row in rows if isinstance(row, Happening) for name in (row.who, row.to) if name}
    found = sorted(named, key=_numbered)

    def place(name: str) -> int:
        kind = "account" if _is_account(name) else name
        return ORDER.index(kind) if kind in ORDER else 1

    return sorted(found, key=place)


def _numbered(name: str) -> tuple[str, int]:
    """Sort Account 10 after Account 9."""
    digits = re.search(r"\d{1,9}", name)
    return (_NUMBER.sub("#", name), int(digits[0]) if digits else 0)


# --- text -------------------------------------------------------------------------------------------------------------

_ENTITIES: Final = {
    "#": "#35;",
    ";": "#59;",
    "&": "#amp;",
    "<": "#lt;",
    ">": "#gt;",
    '"': "#quot;",
    "%": "#37;",
    "`": "'",
    "{": "#123;",
    "}": "#125;",
    "\\": "#92;",
}
"""What would end a statement, begin a comment, a directive, a tag or an entity, or close the fence around it."""


def _escaped(text: str, limit: int = MAX_TEXT, width: int = WIDTH) -> str:
    """Return a text that mermaid shows as it is, in lines of so many characters."""
    text = _plain(text)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or ["–"]
    return "<br/>".join("".join(_ENTITIES.get(character, character) for character in line) for line in lines)


def _plain(text: str) -> str:
    """Return a text of one line that begins no fence and has no tags."""
    return one_line(" ".join(text.split())).replace("```", "'''")
