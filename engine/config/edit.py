"""Edits of a config's text: an account comes or goes, and every other line stays as the operator wrote it.

ruamel.yaml says where in the text each entry is, and writes the new one; nothing else is written anew. What the edited
text means is compared with what it has to mean: an edit is right, or it is not made.
"""

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    CollectionEndEvent,
    CollectionStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from engine.config.document import Unreadable, read_yaml

BOM: Final = "\ufeff"
_WIDTH: Final = 1_000_000
"""Characters of a line that is written: an entry is never broken."""
_BREAKS: Final = " \t\r\n\x85\u2028\u2029"
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
"""Texts that need no quotes, unless YAML has a meaning for the word."""
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_COMMENT: Final = re.compile(r"#[^\r\n\x85\u2028\u2029]*")
_YOURSELF: Final = "write the change into it yourself"


class CannotEdit(Exception):
    """The text has no place for the change; the text of this is a sentence."""


@frozen
class _Entry:
    """An entry of the list: where in the text it begins and ends, and what is beside it."""

    start: int
    end: int
    flow: bool
    """Whether it is written in braces."""
    mark: int
    """Where its dash is; in a list in brackets, where the comma after it is. -1 if there is none."""


@frozen
class _Accounts:
    """The list of accounts in a text; ``end`` is where a list in brackets has its last one."""

    text: str
    entries: Sequence[_Entry]
    flow: bool
    end: int


def with_account(text: str, entry: Mapping[str, str]) -> str:
    """Return a config with one more account, after the last one. Raises ``CannotEdit``."""
    bom, text = _split_bom(text)
    accounts, before = _accounts(text), read_yaml(text).value
    assert isinstance(before, dict), "its accounts were found just now"
    if not accounts.entries:
        raise CannotEdit(f"its list of accounts is empty; {_YOURSELF}")
    after = _added_to_brackets(accounts, entry) if accounts.flow else _added_to_lines(accounts, entry)
    return bom + _sure(after, before | {"accounts": [*before["accounts"], dict(entry)]})


def without_account(text: str, index: int) -> str:
    """Return a config without the entry of this number, from 0; comments around it stay. Raises ``CannotEdit``."""
    bom, text = _split_bom(text)
    accounts, before = _accounts(text), read_yaml(text).value
    assert isinstance(before, dict), "its accounts were found just now"
    if len(accounts.entries) == 1:
        raise CannotEdit("this is the only account, and a config has at least one; add another one first")
    after = _removed_from_brackets(accounts, index) if accounts.flow else _removed_from_lines(accounts, index)
    left = [each for number, each in enumerate(before["accounts"]) if number != index]
    return bom + _sure(after, before | {"accounts": left})


def _split_bom(text: str) -> tuple[str, str]:
    return (BOM, text[1:]) if text.startswith(BOM) else ("", text)


def _sure(text: str, meant: dict[str, Any]) -> str:
    """Return a text that means what it has to. Raises ``CannotEdit``."""
    try:
        found = read_yaml(text)
    except Unreadable:
        found = None
    if found is None or found.problems or found.value != meant:
        raise CannotEdit(f"its accounts are written so that others depend on this place (an anchor?); {_YOURSELF}")
    return text


# --- where the entries are -------------------------------------------------------------------------------------------


def _accounts(text: str) -> _Accounts:
    try:
        events = list(_yaml(typ="safe", pure=True).parse(io.StringIO(text)))
    except YAMLError as exc:
        why = str(getattr(exc, "problem", None) or type(exc).__name__)
        raise CannotEdit(f"it cannot be edited ({why}); {_YOURSELF}") from None
    at = next((number for number, each in enumerate(events) if isinstance(each, CollectionStartEvent)), None)
    if at is None or not isinstance(events[at], MappingStartEvent):
        raise CannotEdit(f"it has no accounts; {_YOURSELF}")
    at += 1
    while not isinstance(events[at], MappingEndEvent):
        value = _after(events, at)
        if isinstance(events[at], ScalarEvent) and events[at].value == "accounts":
            break
        at = _after(events, value)
    else:
        raise CannotEdit(f"it has no accounts; {_YOURSELF}")
    if not isinstance(events[value], SequenceStartEvent):
        raise CannotEdit(f"its accounts are no plain list; {_YOURSELF}")
    return _list(text, events[value : _after(events, value)])


def _after(events: Sequence[Any], at: int) -> int:
    """Return the number of the event after the value that begins with this one."""
    depth = 0
    while True:
        depth += isinstance(events[at], CollectionStartEvent) - isinstance(events[at], CollectionEndEvent)
        at += 1
        if not depth:
            return at


def _list(text: str, events: Sequence[Any]) -> _Accounts:
    flow, close = bool(events[0].flow_style), events[-1].start_mark.index
    spans: list[tuple[int, int, bool]] = []
    at = 1
    while at < len(events) - 1:
        after = _after(events, at)
        spans.append((events[at].start_mark.index, _end(text, events[at:after]), bool(_is_flow(events[at]))))
        at = after
    starts = [start for start, _, _ in spans]
    entries = []
    for number, (start, end, in_braces) in enumerate(spans):
        if flow:
            mark = _found(text, end, [*starts, close][number + 1], ",")
        else:
            mark = _found(text, spans[number - 1][1] if number else events[0].start_mark.index, start, "-")
        entries.append(_Entry(start, end, in_braces, mark))
    return _Accounts(text, entries, flow, close)


def _is_flow(event: Any) -> bool:
    return bool(event.flow_style) if isinstance(event, CollectionStartEvent) else True


def _end(text: str, events: Sequence[Any]) -> int:
    """Return where a value ends: where the last of what is written of it does. The end of a block is what follows."""
    written = [each for each in events if not isinstance(each, CollectionStartEvent)]
    ends = [
        each.end_mark.index
        for each in written
        if not isinstance(each, CollectionEndEvent) or each.end_mark.index > each.start_mark.index
    ]
    return len(text[: max(ends)].rstrip(_BREAKS))


def _found(text: str, start: int, end: int, sign: str) -> int:
    """Return where a sign is between two entries, where comments have it as well; -1 if it is not."""
    between = _COMMENT.sub(lambda comment: " " * len(comment[0]), text[start:end])
    at = between.rfind(sign)
    return at if at < 0 else start + at


# --- what is written -------------------------------------------------------------------------------------------------


def _added_to_lines(accounts: _Accounts, entry: Mapping[str, str]) -> str:
    text, last = accounts.text, accounts.entries[-1]
    end = _line_end(text, last.end)
    newline = "\r\n" if text[:end].endswith("\r\n") or text[: last.mark].endswith("\r\n") else "\n"
    column = last.mark - _line_start(text, last.mark)
    dash = text[last.mark : last.start]
    head = " " * column + (dash if not dash[1:].strip(" ") else "- ")
    body = _dumped(entry, flow=last.flow).split("\n")
    new = newline.join((head + body[0], *(" " * len(head) + line for line in body[1:])))
    if end == len(text) and not text.endswith("\n"):  # the last line has no end
        return f"{text}{newline}{new}"
    return f"{text[:end]}{new}{newline}{text[end:]}"


def _removed_from_lines(accounts: _Accounts, index: int) -> str:
    text, entry = accounts.text, accounts.entries[index]
    start, end = _line_start(text, entry.mark), _line_end(text, entry.end)
    if text[start : entry.mark].strip() or not _is_blank(text[entry.end : end]):
        raise CannotEdit(f"the account shares a line with something else; {_YOURSELF}")
    if end == len(text) and not text.endswith("\n"):  # the last line has no end, and the one before it gets none
        return text[:start].removesuffix("\n").removesuffix("\r")
    return text[:start] + text[end:]


def _added_to_brackets(accounts: _Accounts, entry: Mapping[str, str]) -> str:
    text, last = accounts.text, accounts.entries[-1]
    in_json = text[last.start :].lstrip("{" + _BREAKS).startswith('"')
    new = json.dumps(dict(entry), ensure_ascii=False) if in_json else _dumped(entry, flow=True)
    line, after = _line_start(text, last.start), max(last.end, last.mark + 1)
    indent = text[line : last.start]
    if indent.strip() or "\n" not in text[after : accounts.end]:
        return f"{text[: last.end]}, {new}{text[last.end :]}"
    comma, last_comma = ("", ",") if last.mark >= 0 else (",", "")
    end = text.index("\n", after)
    newline = "\r\n" if text[end - 1] == "\r" else "\n"
    end -= len(newline) - 1
    return f"{text[: last.end]}{comma}{text[last.end : end]}{newline}{indent}{new}{last_comma}{text[end:]}"


def _removed_from_brackets(accounts: _Accounts, index: int) -> str:
    text, entry = accounts.text, accounts.entries[index]
    start, after = entry.start, max(entry.end, entry.mark + 1)
    before = accounts.entries[index - 1].mark if entry.mark < 0 else -1  # the comma that the last one leaves behind
    line, end = _line_start(text, start), _line_end(text, after)
    if not text[line:start].strip() and end <= accounts.end and _is_blank(text[after:end]):
        kept = text[:line] if before < 0 else text[:before] + text[before + 1 : line]
        return kept + text[end:]
    if before >= 0:
        return text[:before] + text[before + 1 : start].rstrip(" ") + text[after:]
    more = len(text[after:]) - len(text[after:].lstrip(" "))
    return text[:start] + text[after if text[after + more] == "#" else after + more :]


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_end(text: str, at: int) -> int:
    """Return where the next line begins."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _is_blank(text: str) -> bool:
    """Return whether the rest of a line says nothing but a comment."""
    return not text.strip() or text.lstrip().startswith("#")


def _dumped(entry: Mapping[str, str], *, flow: bool) -> str:
    made = CommentedMap(
        {key: value if _is_plain(value) else DoubleQuotedScalarString(value) for key, value in entry.items()}
    )
    if flow:
        made.fa.set_flow_style()
    out = io.StringIO()
    _yaml().dump(made, out)
    return out.getvalue().rstrip("\n")


def _is_plain(value: str) -> bool:
    return _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS


def _yaml(**options: Any) -> YAML:
    yaml = YAML(**options)
    yaml.width = _WIDTH
    return yaml
