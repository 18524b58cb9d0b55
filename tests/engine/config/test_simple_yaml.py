"""The reading of simple YAML gives what PyYAML gives, and leaves the rest to it."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.config.careful_yaml import read_carefully
from engine.config.document import MAX_NODES, Unreadable
from engine.config.simple_yaml import NotSimple, read_simple

SCALARS = (
    "a", "Account 1", "sessions/1", "/abs/s.session", "~/x", "12345", "0", "007", "1.5", "1e5", "1_0", "0x1f",
    "0b1", "0o7", "12e3", "12a", "0a1", "0b1a", "10s", "1h30m", "100ms", "0123456789abcdef0123456789abcdef", "yes",
    "No", "n", "null", "NULL", "~", "2026-01-31", "1:30", ".inf", "nan", "=", "<<", '"+99966"', "'a # b'",
    '"a, b"', "'it''s'", '"a\\n"', "''", "${HASH}", "$${X}", "a${X}", "a: b", "a:b", "a #b", "a#b", "a - b",
    "a -b", "- a", "-a", "a b  c", "*x", "&x a", "!t a", "|", ">", "[]", "[a]", "{}", "{a: b}", "{a: b, c: 1}",
    "{a: b,c: 1}", "{a:b}", "{a: b, a: c}", "{a: b, }", "a@b", "a+b", "%", "@a", "`", "é", "📰", "", " ", "a ",
    "a\tb", "a,b", "a]", "a}", "?a", "a?", "true", "TrUe", "on", "auto", "chaos",
)  # fmt: skip
"""Values with one meaning, with two, and with none."""
KEYS = ("a", "b", "name", "session", "on", "<<", "1", "a b", "a-b", '"a"', "accounts")
LINE = st.builds(
    lambda indent, dash, key, value, end: f"{' ' * indent}{dash}{key}{value}{end}",
    st.integers(0, 5),
    st.sampled_from(["", "", "", "- ", "-  ", "-", "- - "]),
    st.sampled_from([*(f"{key}:" for key in KEYS), *(f"{key}: " for key in KEYS), ""]),
    st.sampled_from(SCALARS),
    st.sampled_from(["", "", "", " ", " # x", "#x", "  ", "\n", "\n# x", "\n  # x", ",", "\r"]),
)
TEXTS = st.lists(LINE, max_size=7).map("\n".join)
CONFIG = """# mine
telegram:
  api_id: 12345  # a number
  api_hash: 0123456789abcdef0123456789abcdef
  datacenter: sandbox

accounts:
  - {name: Account 1, session: sessions/1}
  - name: Account 2
    session: "sessions/2"
    phone: '+9996620001'
storage: {directory: data, keep: 90d}
states:
  shutting_down:
    grace: 5s
fleet:
  stagger: auto
"""
"""A config as people write it."""


def check(text: str) -> bool:
    """Compare the two readings; return whether the text is simple."""
    try:
        found = read_simple(text, MAX_NODES)
    except NotSimple:
        return False
    value, _, problems = read_carefully(text)
    assert repr(found) == repr(value)
    assert problems == []
    return True


@given(TEXTS)
@example("a:\n- b: c\n  d: e\nf: g")
@example("a:\n  - b: c\n   d: e\n")
@example("a: b\n  c")
@example("a:\n  b: c\n d: e")
@example("a:\n  - b:\n    c: d\n")
@example("a:\n  - b: c\n  d: e\n")
def test_lines_of_all_kinds_are_read_alike(text: str) -> None:
    """Whatever is read simply is no mistake for PyYAML, and has the same value."""
    check(text)


@given(
    st.integers(0, len(CONFIG)),
    st.integers(0, 3),
    st.sampled_from([*SCALARS, "\n", "\n  ", "  ", "- ", "#", ":", ": "]),
)
def test_a_config_that_was_changed_is_read_alike(at: int, gone: int, put: str) -> None:
    """A real config with something in it taken away or put in has the same value, or is left to PyYAML."""
    check(CONFIG[:at] + put + CONFIG[at + gone :])


@pytest.mark.parametrize("value", SCALARS)
def test_a_value_is_read_alike_wherever_it_stands(value: str) -> None:
    """A value behind a key, in an entry of a list and in braces has one meaning."""
    for text in (f"a: {value}\n", f"a:\n  - b: {value}\n", f"a:\n  - {{b: {value}, c: d}}\n"):
        check(text)


def test_a_config_as_people_write_it_is_simple() -> None:
    """Sections, entries on one line and on several, comments and quotes need no library."""
    assert check(CONFIG)
    assert check(CONFIG.replace("0123456789abcdef0123456789abcdef", "${API_HASH}"))


def test_thousands_of_accounts_are_simple() -> None:
    """The form in which thousands of accounts are written needs no library."""
    accounts = "".join(f"  - {{name: Account {i}, session: s/{i}}}\n" for i in range(5000))
    found: dict[str, Any] = read_simple(f"accounts:\n{accounts}", MAX_NODES)
    assert found["accounts"][4999] == {"name": "Account 4999", "session": "s/4999"}


COUNTED = {
    "a: 1\n": 3,
    "a:\n": 3,
    "a: 1\nb: {c: 1, d: 2}\n": 9,
    "a:\n  b: 1\n  c:\n    d: 1\n": 9,
    "a:\n- b: 1\n  c: 2\n- {b: 1}\n": 11,
}
"""Texts, and how many values each has, keys and the whole among them."""


@pytest.mark.parametrize(("text", "values"), COUNTED.items())
def test_the_bound_on_values_is_that_of_the_library(text: str, values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library refuses for its many values is not read simply: the line of a mistake could not be found."""
    monkeypatch.setattr("engine.config.careful_yaml.MAX_NODES", values)
    assert read_simple(text, values) == read_carefully(text)[0]
    monkeypatch.setattr("engine.config.careful_yaml.MAX_NODES", values - 1)
    with pytest.raises(Unreadable):
        read_carefully(text)
    with pytest.raises(NotSimple):
        read_simple(text, values - 1)


def test_a_deep_text_is_left_to_the_library() -> None:
    """What is deeper than any config is not read simply, and refused."""
    text = "".join(f"{' ' * i}a:\n" for i in range(30))
    with pytest.raises(NotSimple):
        read_simple(text, MAX_NODES)
    with pytest.raises(Unreadable):
        read_carefully(text)
