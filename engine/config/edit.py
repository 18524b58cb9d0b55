"""Edits of a config's text: an account comes or goes, and every other line stays as the operator wrote it.

ruamel.yaml says where in the text each entry is, and writes the new one. What is not an entry of its own lines, such as
a list in brackets, it writes anew with the comments that it knows.
"""

import io
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

_WIDTH: Final = 1_000_000
"""Characters of a line that is written: an entry is never broken."""
_QUOTED: Final = ("phone",)
"""Keys whose values look like numbers, and must not be read as such."""


class CannotEdit(Exception):
    """The text has no place for the change; the text of this is a sentence."""


@frozen
class _Place:
    """An entry of the list: its first line and the line after its last, counted from 0, and the column of its dash."""

    first: int
    end: int
    column: int
    flow: bool


def with_account(text: str, entry: Mapping[str, str]) -> str:
    """Return a config with one more account, after the last one. Raises ``CannotEdit``."""
    accounts = _accounts(text)
    places = _places(text, accounts)
    if not places:
        return _anew(text, lambda entries: entries.append(_map(entry, flow=True)))
    last = places[-1]
    head = " " * last.column + "- "
    body = _dumped(_map(entry, flow=last.flow)).rstrip("\n").split("\n")
    lines = text.split("\n")
    end = "\r" if lines[last.first].endswith("\r") else ""
    new = [f"{line}{end}" for line in (head + body[0], *(" " * len(head) + line for line in body[1:]))]
    if last.end >= len(lines):  # the last line has no end
        return "\n".join([*lines, *new])
    return "\n".join([*lines[: last.end], *new, *lines[last.end :]])


def without_account(text: str, index: int) -> str:
    """Return a config without the entry of this number, from 0; comments around it stay. Raises ``CannotEdit``."""
    places = _places(text, _accounts(text))
    if len(places) == 1:
        raise CannotEdit("this is the only account, and a config has at least one; add another one first")
    if not places:
        return _anew(text, lambda entries: entries.pop(index))
    place = places[index]
    lines = text.split("\n")
    return "\n".join([*lines[: place.first], *lines[place.end :]])


def _accounts(text: str) -> SequenceNode:
    try:
        root = _yaml().compose(io.StringIO(text))
    except YAMLError as exc:
        why = str(exc).splitlines()[0]
        raise CannotEdit(f"it cannot be edited ({why}); write the change into it yourself") from None
    if isinstance(root, MappingNode):
        for key, value in root.value:
            if key.value == "accounts" and isinstance(value, SequenceNode):
                return value
    raise CannotEdit("its accounts are no plain list; write the change into it yourself")


def _places(text: str, accounts: SequenceNode) -> list[_Place]:
    """Return where each entry is, if each has lines of its own; an empty list if not."""
    lines = text.split("\n")
    found: list[_Place] = []
    for node in accounts.value:
        first, column = node.start_mark.line, node.start_mark.column
        dash = lines[first].rfind("-", 0, column)
        alone = not accounts.flow_style and isinstance(node, MappingNode) and node.anchor is None
        if not alone or dash < 0 or lines[first][:dash].strip() or lines[first][dash + 1 : column].strip():
            return []
        found.append(_Place(first, _end(node) + 1, dash, bool(node.flow_style)))
    return found


def _end(node: Node) -> int:
    """Return the last line that a value occupies; the mark of a block is at what comes after it."""
    if isinstance(node, ScalarNode):
        if node.style in ("|", ">"):
            return int(max(node.start_mark.line, node.end_mark.line - 1))
        return int(node.end_mark.line)
    if isinstance(node, CollectionNode) and node.flow_style:
        return int(node.end_mark.line)
    parts = [part for pair in node.value for part in (pair if isinstance(node, MappingNode) else (pair,))]
    return max((_end(part) for part in parts), default=int(node.start_mark.line))


def _anew(text: str, change: Any) -> str:
    """Return a config that ruamel.yaml has read, changed and written: comments stay, blanks within lines may not."""
    yaml = _yaml()
    data = yaml.load(text)
    change(data["accounts"])
    out = io.StringIO()
    yaml.dump(data, out)
    return out.getvalue()


def _map(entry: Mapping[str, str], *, flow: bool) -> CommentedMap:
    quoted = {key: DoubleQuotedScalarString(each) for key, each in entry.items() if key in _QUOTED}
    made = CommentedMap({**entry, **quoted})
    if flow:
        made.fa.set_flow_style()
    return made


def _dumped(value: CommentedMap) -> str:
    out = io.StringIO()
    _yaml().dump(value, out)
    return out.getvalue()


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
