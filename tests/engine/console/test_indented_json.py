"""JSON with an indent is written by our own hand, because the library is slow at it: byte by byte the same."""

import json

from hypothesis import given
from hypothesis import strategies as st

from engine.console.safe_text import LARGE, _indented, _with_indent

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.booleans() | st.none() | st.floats(), inner)
    ),
)


@given(VALUES, st.booleans(), st.integers(0, 4))
def test_json_with_an_indent_is_that_of_the_library(value: object, ascii_only: bool, indent: int) -> None:
    """Nested and empty lists and mappings, odd numbers, and names that are no texts."""
    wanted = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert _indented(value, "\n", " " * indent, ascii_only) == wanted


@given(VALUES, st.booleans(), st.integers(0, 4))
def test_much_json_with_an_indent_is_that_of_the_library(value: object, ascii_only: bool, indent: int) -> None:
    """It is the same where the text is so long that it is indented by other means."""
    much = [value, "x" * LARGE]
    assert _with_indent(much, indent, ascii_only) == json.dumps(much, ensure_ascii=ascii_only, indent=indent)
