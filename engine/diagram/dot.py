"""The machine for Graphviz, laid out for an A4 page in landscape."""

import math
import textwrap
from collections.abc import Iterable
from html import escape

from engine.diagram.arrows import Arrow, build_arrows
from engine.diagram.overlay import PLAIN, Overlay
from engine.diagram.words import FILLS, FRAME_TITLES, FRAMED_STATES, STATE_ROLES, legend, schedule
from states import MACHINE, Policy, State
from states.rules import ALIVE, ATTEMPT
from states.snapshot import MEANINGS

MEANING_WIDTH = 26
EVENTS_WIDTH = 25
"""Widths at which the texts are wrapped, in characters."""

PATH_COLOUR = "#8e24aa"
HEAD = """digraph holdfast {
    graph [rankdir=TB, newrank=true, nodesep=0.12, ranksep=0.25, margin=0.1, size="11.2,7.7",
           fontname="Arial", fontsize=13, labelloc=t]
    node [shape=box, style="rounded,filled", fontname="Arial", fontsize=12, margin="0.12,0.06"]
    edge [fontname="Arial", fontsize=12, arrowsize=0.8]
"""


LEVELS = (ATTEMPT, (State.HEALTHY,), (State.TIMEOUT, State.BACKOFF), (State.AUTH_FAILED,))
"""From the top of the page to its foot: attempts, the working state, states in trouble, the one that needs a person."""
_LEVEL = {state: number for number, states in enumerate(LEVELS) for state in states}


def _attributes(values: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _align_left(lines: Iterable[str]) -> str:
    """Return lines as a label, each flush left."""
    return "<" + "".join(f'&#160;{line}&#160;<br align="left"/>' for line in lines) + ">"


def _state(state: State, policy: Policy, overlay: Overlay) -> str:
    kind = STATE_ROLES[state]
    lines = [f'<b><font point-size="14">{state.value}</font></b>  <i>{kind.value}</i>']
    if MEANINGS[state] != kind.value:
        lines += [escape(line) for line in textwrap.wrap(MEANINGS[state], MEANING_WIDTH)]
    lines += [f"<b>{escape(line)}</b>" for line in schedule(state, policy)]
    lines += [f'<font color="{PATH_COLOUR}"><b>{escape(line)}</b></font>' for line in overlay.remarks(state)]
    values = {"fillcolor": f'"{FILLS[kind]}"', "label": f"<{'<br/>'.join(lines)}>"}
    if MACHINE.get_state(state.value).final:
        values["peripheries"] = "2"
    if state is overlay.current:
        values |= {"penwidth": "4", "color": f'"{PATH_COLOUR}"'}
    return f"{state.value} [{_attributes(values)}]"


def _label(arrow: Arrow, overlay: Overlay) -> str:
    remark = overlay.remark(arrow)
    lines = [f"<b>{remark}</b>"] if remark else []
    for line in arrow.lines:
        texts = textwrap.wrap(line.cause, EVENTS_WIDTH, subsequent_indent="  ")
        if len(texts[-1]) + len(line.does) < EVENTS_WIDTH:
            texts[-1] += f" {line.does}"
        else:
            texts.append(f"  {line.does}")
        lines += [escape(text).replace("  ", "&#160;&#160;") for text in texts if text.strip()]
    return _align_left(lines)


def _arrow(arrow: Arrow, overlay: Overlay) -> list[str]:
    """Return an arrow in two halves, with its label as a node between them.

    Graphviz draws lines around nodes, but across labels.
    """
    tail, head = arrow.sources[0], arrow.target
    names = {ALIVE: "any_state"} | {members: f"either_{name}" for name, members in FRAMED_STATES.items()}
    source = names.get(arrow.sources, tail.value)
    label, values = f'"{source} to {head.value}"', {}
    if overlay.heat:
        count = overlay.heat.count(arrow)
        values = {"penwidth": f"{1 + math.log10(count):.2f}"} if count else {"style": "dashed", "color": '"#888888"'}
    if overlay.on_path(arrow):
        values |= {"color": f'"{PATH_COLOUR}"', "penwidth": "3.5"}
    out, into = _attributes({"dir": "none"} | values), _attributes({"dir": "forward"} | values)
    halves = [f"{source} -> {label} [{out}]", f"{label} -> {head.value} [{into}]"]
    if _LEVEL.get(head, len(LEVELS)) < _LEVEL[tail]:
        # Written from head to tail, because Graphviz would otherwise put the tail on top.
        into = _attributes({"dir": "back"} | values)
        halves = [f"{head.value} -> {label} [{into}]", f"{label} -> {source} [{out}]"]
    return [f'{label} [shape=plaintext, style="", margin=0.02, label={_label(arrow, overlay)}]', *halves]


def _legend() -> str:
    lines = ["<b>event [guard] / effects</b>; what stays in its state: machine.md"]
    for name, members in legend():
        first, *more = textwrap.wrap(f"{name}: {', '.join(members)}", 64)
        lines += [first.replace(name, f"<b>{name}</b>"), *(f"&#160;&#160;{text}" for text in more)]
    return f'legend [shape=note, style=filled, fillcolor="#ffffff", fontsize=10, label={_align_left(lines)}]'


def to_dot(policy: Policy, overlay: Overlay = PLAIN) -> str:
    """Return the machine as a Graphviz digraph; only ``md`` and ``json`` have the rules that keep the state."""
    lines = [f"label=<{escape(overlay.title)}>"] if overlay.title else []
    lines += [_legend(), f"start [shape=point, width=0.15]; start -> {MACHINE.initial}"]
    framed = set()
    for name, members in FRAMED_STATES.items():
        title = FRAME_TITLES[name]
        lines.append(
            f'subgraph cluster_{name} {{ label="{title}"; fontsize=10; style="rounded,filled"; color="#f1f1f1"'
        )
        # The arrows do not leave from the frame itself ('ltail'), because Graphviz crashes on that in some layouts.
        lines.append(f'    either_{name} [shape=plaintext, style="", margin=0.03, label=<<i>either</i>>]')
        lines += [f"    {_state(state, policy, overlay)}" for state in members]
        lines.append("}")
        framed |= set(members)
    lines += [_state(state, policy, overlay) for state in State if state not in framed]
    lines.append('any_state [shape=plaintext, style="", label=<<i>any other state</i>>]')
    for arrow in build_arrows():
        lines += _arrow(arrow, overlay)
    # An attempt stands above the state that it leads to, straight above it if possible.
    lines += [f"{{ rank=same; {'; '.join(state.value for state in level)} }}" for level in LEVELS if len(level) > 1]
    lines.append(f"{MACHINE.initial} -> {State.HEALTHY.value} [style=invis, weight=5]")
    return HEAD + "".join(f"    {line}\n" for line in lines) + "}\n"
