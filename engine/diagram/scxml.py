"""The machine as SCXML, the W3C's language for state machines.

A namespace of our own holds what SCXML cannot express: ``why``, ``meaning`` and ``schedule``. Guards are ``cond``
attributes and named in the data model; effects are ``log`` elements, in order. SCXML allows no transition in a
``final`` state. Ours still waits for its link to close, so its rules are transitions in our namespace.
"""

import xml.etree.ElementTree as ET

from engine.diagram.words import schedule
from states import MACHINE, ROWS, Policy, Row, State
from states.snapshot import MEANINGS

SCXML = "http://www.w3.org/2005/07/scxml"
OURS = "urn:holdfast:machine"


def _attributes(row: Row) -> dict[str, str]:
    values = {"event": row.event.__name__}
    if row.when:
        values["cond"] = row.when.__name__
    if row.target:
        values["target"] = row.target.value
    return values | {"holdfast:why": row.why}


def _state(parent: ET.Element, state: State, policy: Policy) -> None:
    final = MACHINE.get_state(state.value).final
    about = {
        "id": state.value,
        "holdfast:meaning": MEANINGS[state],
        "holdfast:schedule": "; ".join(schedule(state, policy)),
    }
    element = ET.SubElement(parent, "final" if final else "state", about)
    for row in ROWS:
        if row.source is not state:
            continue
        transition = ET.SubElement(element, "holdfast:transition" if final else "transition", _attributes(row))
        for effect in row.does:
            ET.SubElement(transition, "log", {"label": "effect", "expr": f"'{effect.__name__}'"})


def to_scxml(policy: Policy) -> str:
    """Return the machine as an SCXML document; a transition without a target keeps the state."""
    # Prefixes are written by hand: ElementTree would take them from a registry that the whole process shares.
    attributes = {"xmlns": SCXML, "xmlns:holdfast": OURS, "version": "1.0", "name": "holdfast"}
    root = ET.Element("scxml", attributes | {"initial": MACHINE.initial or "", "datamodel": "ecmascript"})
    data = ET.SubElement(root, "datamodel")
    for guard in sorted({row.guard for row in ROWS if row.guard}):
        ET.SubElement(data, "data", {"id": guard, "expr": "false"})
    for state in State:
        _state(root, state, policy)
    ET.indent(root)
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + ET.tostring(root, encoding="unicode") + "\n"
