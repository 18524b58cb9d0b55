"""The machine for mermaid, which web pages and editors can draw."""

import textwrap

from engine.console.safe_text import json_text
from engine.diagram.arrows import Arrow, build_arrows
from engine.diagram.overlay import PLAIN, Overlay
from engine.diagram.words import FILLS, FRAMED_STATES, STATE_ROLES, StateRole, legend, schedule
from states import MACHINE, Policy, State
from states.rules import ALIVE
from states.snapshot import MEANINGS

WIDTH = 25
"""Width at which the texts are wrapped, in characters."""
SHARED = {ALIVE: "any_other_state", **{members: f"either_{name}" for name, members in FRAMED_STATES.items()}}
"""The nodes from which shared arrows start. Frames would be clearer, but mermaid draws the labels of a frame's arrows
on top of each other."""


def _plain(text: str) -> str:
    """Return a text without the characters that end or escape it in mermaid."""
    return text.replace(";", ",").replace(":", " –").replace("#", "")


def _state(state: State, policy: Policy, overlay: Overlay) -> str:
    kind = STATE_ROLES[state]
    lines = [f"<b>{state.value}</b> ({kind.value})"]
    if MEANINGS[state] != kind.value:
        lines += textwrap.wrap(MEANINGS[state], WIDTH)
    lines += schedule(state, policy)
    lines += [f"<b>{line}</b>" for line in overlay.remarks(state)]
    return f"{state.value}: {'<br/>'.join(_plain(line) for line in lines)}"


def _arrow(arrow: Arrow, overlay: Overlay) -> str:
    source = SHARED.get(arrow.sources, arrow.sources[0].value)
    remark = overlay.remark(arrow)
    marks = ["▶ last path"] if overlay.on_path(arrow) else []
    lines = [f"<b>{mark}</b>" for mark in [*marks, remark] if mark]
    for line in arrow.lines:
        lines += textwrap.wrap(f"{line.cause} {line.does}".strip(), WIDTH)
    return f"{source} --> {arrow.target.value}: {'<br/>'.join(_plain(line) for line in lines)}"


def _legend() -> list[str]:
    lines = ["event [guard] / effects"]
    for name, members in legend():
        lines += textwrap.wrap(_plain(f"{name} = {', '.join(members)}"), 44)
    return [f"note left of {MACHINE.initial}", *(f"    {line}" for line in lines), "end note"]


def to_mermaid(policy: Policy, overlay: Overlay = PLAIN) -> str:
    """Return the machine as a mermaid state diagram, without the rules that keep the state.

    The formats ``md`` and ``json`` have those.
    """
    head = ["---", f"title: {json_text(overlay.title)}", "---"] if overlay.title else []
    lines = ["direction TB", f"[*] --> {MACHINE.initial}"]
    lines += [_state(state, policy, overlay) for state in State]
    for sources, name in SHARED.items():
        text = "any other state" if sources == ALIVE else " or ".join(state.value for state in sources)
        lines.append(f"{name}: <i>{text}</i>")
    lines += [_arrow(arrow, overlay) for arrow in build_arrows()]
    lines += [f"{state.value} --> [*]" for state in State if MACHINE.get_state(state.value).final]
    for kind in StateRole:
        name = kind.value.replace(" ", "_")
        lines.append(f"classDef {name} fill:{FILLS[kind]},stroke:#333,color:#000")
        lines += [f"class {state.value} {name}" for state in State if STATE_ROLES[state] is kind]
    if overlay.current:
        lines += ["classDef now stroke:#8e24aa,stroke-width:4px", f"class {overlay.current.value} now"]
    return "\n".join([*head, "stateDiagram-v2", *(f"    {line}" for line in [*lines, *_legend()])]) + "\n"
