"""Arrays in binary form: what a server reads of them is what was given."""

import struct
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres.arrays import array_of
from tests.postgres.server import PostgresServer


@pytest.fixture(scope="module")
def connection(postgres: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """Return a connection to a real server."""
    with psycopg.connect(postgres.url(), autocommit=True) as made:
        yield made


CELLS = {
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "double precision": st.floats(allow_nan=False),
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.just("y" * 5000),
}


@pytest.mark.parametrize("kind", CELLS)
def test_what_is_read_is_what_was_given(kind: str, connection: psycopg.Connection[Any]) -> None:
    """All numbers of a column's type, all texts, none of them, and what is absent, in their order."""

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(CELLS[kind]) | st.lists(CELLS[kind] | st.none()))
    def law(values: list[Any]) -> None:
        [(read, length)] = connection.execute(
            f"SELECT given, cardinality(given) FROM (SELECT %s::{kind}[] AS given) AS it", (array_of(kind, values),)
        ).fetchall()
        assert (read, length) == (values, len(values))

    law()


@pytest.mark.parametrize(("kind", "value"), [("integer", 2**31), ("bigint", -(2**63) - 1), ("text", "\ud800")])
def test_what_has_no_room_is_refused_here(kind: str, value: object) -> None:
    """Before anything is sent, so that no other row suffers."""
    with pytest.raises((struct.error, UnicodeEncodeError)):
        array_of(kind, [value])
