"""Each format says all that the rules say, and the same each time.

The real mermaid parser is not part of the tests, which need no node. To ask it: ``npm install mermaid jsdom`` in an
empty directory, and there run this with the path of ``diagrams/machine.mmd`` as ``node parse.mjs PATH``::

    import {JSDOM} from 'jsdom'; import fs from 'fs';
    global.window = new JSDOM('').window; global.document = window.document;
    const mermaid = (await import('mermaid')).default;
    console.log(await mermaid.parse(fs.readFileSync(process.argv[2], 'utf8')));
"""

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from engine.diagram import FORMATS, PLAIN
from engine.diagram.arrows import build_arrows
from engine.diagram.scxml import OURS, SCXML
from engine.diagram.words import FILLS, GROUPS, STATE_ROLES
from states import EVENTS, ROWS, Policy, State
from states.rules import ALIVE, ATTEMPT

TEXTS = [form for form in FORMATS if form not in ("svg", "png")]
needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


def text(form: str) -> str:
    """Return the drawing of the default machine."""
    return FORMATS[form].draw(Policy(), PLAIN).decode()


@pytest.mark.parametrize("form", TEXTS)
def test_a_text_is_the_same_in_another_process(form: str) -> None:
    """Two processes with other hash seeds write the same bytes."""
    code = (
        "import sys; from engine.diagram import FORMATS, PLAIN; from states import Policy;"
        f"sys.stdout.buffer.write(FORMATS[{form!r}].draw(Policy(), PLAIN))"
    )
    seeds = ("1", "2")
    said = [
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in seeds
    ]
    assert said[0].stdout == said[1].stdout == text(form).encode()


# --- arrows ----------------------------------------------------------------------------------------------------------


def test_every_rule_that_changes_the_state_is_on_exactly_one_arrow() -> None:
    """The arrows, taken apart, are the rules that change the state, none lost and none twice."""
    drawn = [
        (source, event, line.guard, arrow.target, line.effects)
        for arrow in build_arrows()
        for source in arrow.sources
        for line in arrow.lines
        for event in line.events
    ]
    rules = [
        (row.source, row.event.__name__, row.guard, row.target, tuple(effect.__name__ for effect in row.does))
        for row in ROWS
        if row.target is not None
    ]
    assert len(drawn) == len(rules)
    assert set(drawn) == set(rules)


def test_the_two_attempts_share_their_arrows() -> None:
    """What connecting and reconnecting do alike is drawn once, and so is the way out of every state."""
    targets = {arrow.target for arrow in build_arrows() if arrow.sources == ATTEMPT}
    assert targets == {State.HEALTHY, State.BACKOFF, State.AUTH_FAILED}
    assert [arrow.sources for arrow in build_arrows() if arrow.target is State.SHUTTING_DOWN] == [ALIVE]


def test_no_line_of_the_picture_is_long() -> None:
    """A label is wrapped, so that the page is not wider than a page."""
    labels = re.findall(r"label=<(.*)>", text("dot"))
    lines = [re.sub(r"<[^>]*>|&#160;", "", line) for label in labels for line in re.split("<br[^>]*>", label)]
    assert max(map(len, lines)) < 70


# --- mermaid and dot -------------------------------------------------------------------------------------------------


def test_mermaid_has_an_arrow_for_each_way_and_no_other() -> None:
    """Shared arrows taken apart, the arrows connect the states that the rules connect."""
    members = {
        "any_other_state": ALIVE, "either_attempt": ATTEMPT,
        **{state.value: (state,) for state in State},
    }  # fmt: skip
    found = re.findall(r"^    (\w+) --> (\w+): ", text("mermaid"), re.MULTILINE)
    ways = [(source.value, target) for start, target in found for source in members[start]]
    assert sorted(ways) == sorted({(row.source.value, row.target.value) for row in ROWS if row.target})
    assert "    [*] --> connecting\n" in text("mermaid")
    assert "    shutting_down --> [*]\n" in text("mermaid")


def test_mermaid_has_no_sign_in_a_text_that_ends_it() -> None:
    """A text has no semicolon and no second colon, which mermaid would take for syntax."""
    for line in text("mermaid").splitlines():
        assert ";" not in line
        if "-->" in line or line.strip().startswith(tuple(f"{state.value}:" for state in State)):
            assert line.count(":") <= 1


@pytest.mark.parametrize("form", ["mermaid", "dot"])
def test_every_word_of_the_moving_rules_is_drawn(form: str) -> None:
    """Events, guards and effects of all rules that change the state are in the text, and so are kinds and groups."""
    drawn = text(form)
    moving = [row for row in ROWS if row.target]
    words = {row.event.__name__ for row in moving} | {row.guard for row in moving if row.guard}
    words |= {effect.__name__ for row in moving for effect in row.does} | set(GROUPS)
    assert [word for word in sorted(words) if word not in drawn] == []
    assert all(FILLS[kind] in drawn and kind.value in drawn for kind in STATE_ROLES.values())


@needs_graphviz
def test_graphviz_reads_the_dot_without_a_word() -> None:
    """The text is accepted, nothing is warned about, and every arrow is there."""
    done = subprocess.run(["dot", "-Tjson"], input=text("dot").encode(), capture_output=True, check=True)
    assert done.stderr == b""
    labels = [node for node in json.loads(done.stdout)["objects"] if " to " in node["name"]]
    assert len(labels) == len(build_arrows())


# --- md --------------------------------------------------------------------------------------------------------------


def section(title: str) -> list[list[str]]:
    """Return the cells of the table under a title."""
    body = text("md").split(f"## {title}")[1].split("\n## ")[0]
    rows = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in body.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_matrix_has_a_cell_for_each_state_and_event() -> None:
    """Seven cells in each of the events' lines, none of them empty."""
    table = section("Where each event leads")
    assert [row[0] for row in table] == [f"`{event.__name__}`" for event in EVENTS]
    assert all(len(row) == 1 + len(State) and all(row) for row in table)


def test_the_tables_of_the_states_are_the_rules_of_json() -> None:
    """Event, guard, target, effects and reason of each rule are in its state's table, as many as json has."""
    rules = json.loads(text("json"))["rules"]
    told = []
    for state in State:
        event = ""
        for first, guard, target, effects, why in section(f"In `{state.value}`"):
            event = first.strip("`") or event
            goes = None if target == "stays" else target.strip("*")
            does = effects.replace("`", "").split(", ") if effects else []
            told.append((state.value, event, goes, guard.strip("`") or None, does, why))
    expected = [tuple(rule[key] for key in ("source", "event", "target", "guard", "effects", "why")) for rule in rules]
    assert sorted(map(repr, told)) == sorted(map(repr, expected))


# --- json ------------------------------------------------------------------------------------------------------------


def test_json_is_the_table() -> None:
    """Every state, event and rule is in it, and null means stay."""
    told = json.loads(text("json"))
    assert told["initial"] == "connecting"
    assert [state["name"] for state in told["states"]] == [state.value for state in State]
    assert [state["name"] for state in told["states"] if state["final"]] == ["shutting_down"]
    assert [event["name"] for event in told["events"]] == [event.__name__ for event in EVENTS]
    assert all(event["doc"] for event in told["events"])
    assert len(told["rules"]) == len(ROWS)
    assert {rule["target"] for rule in told["rules"]} == {None, *(state.value for state in State)}
    assert {"source", "event", "target", "guard", "effects", "why"} == told["rules"][0].keys()


# --- scxml -----------------------------------------------------------------------------------------------------------

Told = tuple[str, str, str | None, str | None, list[str], str]


def read_back(document: str) -> list[Told]:
    """Return the rules that an SCXML document says, in its order."""
    rules = []
    states = [element for element in ET.fromstring(document) if element.tag != f"{{{SCXML}}}datamodel"]
    for state in states:
        for element in state:
            assert element.tag in (f"{{{SCXML}}}transition", f"{{{OURS}}}transition")
            effects = [log.attrib["expr"].strip("'") for log in element]
            why = element.attrib[f"{{{OURS}}}why"]
            said = element.attrib
            rules.append((state.attrib["id"], said["event"], said.get("target"), said.get("cond"), effects, why))
    return rules


def test_scxml_is_read_back_to_the_same_rules_in_order() -> None:
    """Source, event, target, guard, effects and reason of each rule come back, in the order of each state's rules."""
    expected = [
        (
            row.source.value,
            row.event.__name__,
            row.target.value if row.target else None,
            row.guard,
            [effect.__name__ for effect in row.does],
            row.why,
        )
        for state in State
        for row in ROWS
        if row.source is state
    ]
    assert read_back(text("scxml")) == expected


def test_scxml_keeps_to_the_words_of_the_standard() -> None:
    """The root, its states, the one final state and the guards' data are as the W3C wants them."""
    root = ET.fromstring(text("scxml"))
    assert root.tag == f"{{{SCXML}}}scxml"
    assert (root.get("version"), root.get("initial")) == ("1.0", "connecting")
    assert [element.get("id") for element in root.findall(f"{{{SCXML}}}final")] == ["shutting_down"]
    assert root.findall(f".//{{{SCXML}}}final/{{{SCXML}}}transition") == []  # the standard forbids them there
    named = {data.get("id") for data in root.iter(f"{{{SCXML}}}data")}
    assert named == {row.guard for row in ROWS if row.guard}


# --- svg and png -----------------------------------------------------------------------------------------------------


@needs_graphviz
def test_svg_is_well_formed_and_has_every_state() -> None:
    """The picture is XML, says no version of Graphviz, and shows each state."""
    picture = FORMATS["svg"].draw(Policy(), PLAIN).decode()
    words = "".join(ET.fromstring(picture).itertext())
    assert all(state.value in words for state in State)
    assert "Generated by" not in picture


@needs_graphviz
def test_png_is_a_png() -> None:
    """The picture begins as PNG files do."""
    assert FORMATS["png"].draw(Policy(), PLAIN).startswith(b"\x89PNG\r\n")
