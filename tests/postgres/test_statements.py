"""Statements of many rows: which rows go into one statement, in which order, and as what."""

import json

import pytest

from adapters.postgres.statements import RowStatement

PLAIN = RowStatement("plain", "SELECT", types=("bigint", "text"))
LATEST = RowStatement("latest", "SELECT", types=("bigint", "text"), latest=True)


def test_rows_of_one_key_go_into_statements_one_after_the_other() -> None:
    """PostgreSQL does not write a row twice in one statement; the later one comes later."""
    calls = PLAIN.calls([(1, "a"), (2, "b"), (1, "c"), (1, "d")])
    assert [json.loads(values[0]) for _, values in calls] == [
        [{"c0": 1, "c1": "a"}, {"c0": 2, "c1": "b"}], [{"c0": 1, "c1": "c"}], [{"c0": 1, "c1": "d"}],
    ]  # fmt: skip
    assert {text for text, _ in calls} == {
        "WITH rows AS (SELECT * FROM json_to_recordset(%s::json) AS given (c0 bigint, c1 text)) SELECT"
    }


def test_of_rows_that_replace_each_other_the_last_is_stored() -> None:
    """In one statement, and those of other keys with it."""
    ((_, (text,)),) = LATEST.calls([(1, "a"), (2, "b"), (1, "c")])
    assert json.loads(text) == [{"c0": 1, "c1": "c"}, {"c0": 2, "c1": "b"}]


@pytest.mark.parametrize("statement", [PLAIN, LATEST])
def test_rows_are_locked_in_the_order_of_their_keys(statement: RowStatement) -> None:
    """Two transactions that want the same rows in opposite orders would wait for each other for ever."""
    rows = [(number, "x") for number in range(9)]
    assert statement.calls(rows) == statement.calls(rows[::-1])


def test_values_become_what_a_column_can_have() -> None:
    """Numbers of the column's type, texts without NUL and without half characters; what is none of these is refused."""
    statement = RowStatement("all", "SELECT", types=("bigint", "float8", "boolean", "text"))
    assert statement.storable((True, 3, 0, "a\0b\ud800")) == (1, 3.0, False, "a\ufffdb?")
    assert statement.storable((None,) * 4) == (None,) * 4
    refused = (("bigint", 2**63), ("bigint", object()), ("float8", float("nan")), ("text", 1))
    for of, value in refused:
        with pytest.raises((TypeError, ValueError)):
            RowStatement("one", "SELECT", types=(of,)).storable((value,))
