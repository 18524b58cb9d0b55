"""The machine as Markdown tables: what happens in each state on each event, and why."""

from collections.abc import Sequence

from engine.diagram.arrows import ORDER
from engine.diagram.words import STATE_ROLES, schedule
from states import EVENTS, MACHINE, ROWS, Policy, Row, State
from states.guards import foreign, stale
from states.machine import by_pair
from states.snapshot import MEANINGS

LATE = (stale, foreign)
"""Guards of the two rules that drop late events; the matrix omits these rules, because they are in every column."""

INTRODUCTION = f"""# The machine

Drawn from `states/rules.py`: {len(State)} states, {len(EVENTS)} events, {len(ROWS)} rules.
The rules of a state and an event are tried from the top; the first whose guard holds is taken.
"""


def _doc(thing: object) -> str:
    return " ".join((thing.__doc__ or "").split()).replace("|", "\\|").replace("``", "`")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("\n", " ") for cell in cells) + " |"


def _head(*names: str) -> list[str]:
    return [_row(*names), _row(*("---" for _ in names))]


def _cell(rows: Sequence[Row]) -> str:
    """Return the targets of a pair's rules, in the order in which the rules are tried."""
    targets: list[str] = []
    for row in rows:
        if row.when in LATE:
            continue
        target = f"**{row.target.value}**" if row.target else "stays" if row.does or row.note else "–"
        targets.append(target + (f" `[{row.guard}]`" if row.guard else ""))
    return "<br>".join(targets)


def _states(policy: Policy) -> list[str]:
    lines = _head("state", "kind", "meaning", "schedule")
    for state in State:
        lines.append(
            _row(f"`{state.value}`", STATE_ROLES[state].value, MEANINGS[state], "<br>".join(schedule(state, policy)))
        )
    return ["## States", "", f"It begins in `{MACHINE.initial}`.", "", *lines]


def _matrix() -> list[str]:
    pairs = by_pair(ROWS)
    lines = _head("event", *(f"`{state.value}`" for state in State))
    for event in EVENTS:
        lines.append(_row(f"`{event.__name__}`", *(_cell(pairs[state, event]) for state in State)))
    about = (
        "Bold is the state that follows; *stays* does or notes something, – changes nothing. Late events are dropped."
    )
    return ["## Where each event leads", "", about, "", *lines]


def _rules(state: State) -> list[str]:
    """Return the table of one state, with a line for each rule."""
    pairs = by_pair(ROWS)
    lines = _head("event", "guard", "goes to", "effects", "why")
    for event in EVENTS:
        for place, row in enumerate(pairs[state, event]):
            lines.append(
                _row(
                    "" if place else f"`{event.__name__}`",
                    f"`{row.guard}`" if row.guard else "",
                    f"**{row.target.value}**" if row.target else "stays",
                    ", ".join(f"`{effect.__name__}`" for effect in row.does),
                    row.why.replace("|", "\\|"),
                )
            )
    return [f"## In `{state.value}`: what happens, and why", "", *lines]


def _words() -> list[str]:
    guards = {row.when.__name__: row.when for row in ROWS if row.when}
    effects = {effect.__name__: effect for row in ROWS for effect in row.does}
    lines = ["## Words", "", *_head("event", "meaning")]
    lines += [_row(f"`{event.__name__}`", _doc(event)) for event in EVENTS]
    for kind, things in (("guard", guards), ("effect", effects)):
        lines += ["", *_head(kind, "meaning"), *(_row(f"`{name}`", _doc(things[name])) for name in sorted(things))]
    return lines


def to_markdown(policy: Policy) -> str:
    """Return the machine as Markdown: states, the matrix of states and events, and all rules with their reasons."""
    parts = [_states(policy), _matrix(), *(_rules(state) for state in sorted(State, key=ORDER.__getitem__)), _words()]
    return INTRODUCTION + "".join("\n" + "\n".join(part) + "\n" for part in parts)
