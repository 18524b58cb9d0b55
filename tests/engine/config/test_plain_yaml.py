"""The fast reading of plain YAML gives what the careful one gives, and leaves the rest to it."""

import json

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from engine.config.careful_yaml import read_carefully
from engine.config.document import MAX_DEPTH, MAX_NODES, Unreadable, read_yaml
from engine.config.plain_yaml import NotPlain, read_plain

PIECES = st.sampled_from(
    [
        *(
            "a",
            "b",
            "name",
            "session",
            "12",
            "1.5",
            "0x1f",
            "1:30",
            "yes",
            "No",
            "~",
            "null",
            "2026-01-31",
            ".inf",
            "<<",
            "=",
        ),
        *(": ", ":", ",", ", ", " ", "  ", "\n", "\n  ", "\n    ", "- ", "-", "? ", "#", " # ", "'", '"', "\\", "\\n"),
        *(
            "{",
            "}",
            "[",
            "]",
            "&x ",
            "*x",
            "!t ",
            "!",
            "|",
            ">",
            "%",
            "@",
            "`",
            "---",
            "...",
            "\t",
            "é",
            "📰",
            "\x85",
            "\ufeff",
        ),
        *(
            "a: 1\n",
            "- x\n",
            "a: {b: c, d: [e, f]}\n",
            "a:\n  - b: c\n    d: e\n",
            "\nkey: 'v'",
            "${X}",
            "\r\n",
            "\u2028",
        ),
    ]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def plain(text: str) -> object:
    """Return what the fast reading gives."""
    return read_plain(text, max_nodes=MAX_NODES, max_depth=MAX_DEPTH, max_number=64)


def check(text: str) -> None:
    """Compare the two readings of a text that the fast one takes on."""
    try:
        found = plain(text)
    except NotPlain:
        return
    value, _, problems = read_carefully(text)
    assert repr(found) == repr(value)  # NaN equals nothing, and 1 equals True
    assert problems == []


@given(TEXTS)
@example("a: {b:c}\n")
@example("[a:b, e:]")
@example("[c?d]")
@example("{a: b#c, d: 'e'#f\n}")
@example("'a' 'b'")
@example("a: b\n c: d")
@example("- a\n-b\n")
def test_texts_of_all_kinds_are_read_alike(text: str) -> None:
    """Whatever libyaml reads is no mistake for PyYAML, and has the same value."""
    check(text)


@given(VALUES, st.booleans(), st.sampled_from([None, True, False]))
def test_written_values_are_read_alike(value: object, unicode: bool, flow: bool | None) -> None:
    """What YAML and JSON writers write is read alike."""
    check(yaml.safe_dump(value, allow_unicode=unicode, default_flow_style=flow))
    check(json.dumps(value, ensure_ascii=not unicode))


def test_a_config_of_many_accounts_is_plain() -> None:
    """The form in which thousands of accounts are written is read fast."""
    accounts = "".join(f'  - {{name: Account {i}, session: s/{i}, phone: "+99966{i:05}"}}\n' for i in range(5000))
    found = plain(f"telegram:\n  api_id: 12345  # mine\naccounts:\n{accounts}")
    assert isinstance(found, dict)
    assert len(found["accounts"]) == 5000


@pytest.mark.parametrize(
    "text",
    ["a: &x 1", "a: !t b", "a: |\n  b", "a:\tb", "a: 1\na: 2", "<<: {a: b}", "? [a]\n: b", "a\n b", "---\na\n---\nb"],
)
def test_what_is_not_plain_is_left_to_the_careful_reading(text: str) -> None:
    """Anchors, tags, blocks of text, tabs, repeated keys and further documents are not read fast."""
    with pytest.raises(NotPlain):
        plain(text)


def test_a_line_is_found_in_a_plain_document() -> None:
    """The lines of a text that was read fast are found when a problem asks for them."""
    assert read_yaml("a: 1\nb:\n  - c: 2\n").line(("b", 0, "c")) == 3


def test_a_mistake_has_the_sentence_of_the_careful_reading() -> None:
    """The place of a mistake is PyYAML's, whoever noticed it."""
    with pytest.raises(Unreadable, match="at column 2: while parsing a flow sequence"):
        read_yaml("a: [1\nb: 2")
