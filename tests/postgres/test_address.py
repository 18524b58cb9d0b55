"""The address of a store: what is taken, what is shown, and that a password is nowhere."""

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.address import StoreAddress, is_store_address
from adapters.postgres.errors import BadAddress

SECRET = "Tr0ub4dor-and-3"


@pytest.mark.parametrize(
    ("text", "shown", "hosts"),
    [
        (f"postgresql://me:{SECRET}@a,b:5433/holdfast", "postgresql://me@a,b:5433/holdfast", 2),
        (f"postgresql://me:{SECRET}@a:1,b:2/holdfast", "postgresql://me@a:1,b:2/holdfast", 2),
        (f"postgres://me@[::1]:5432/x?password={SECRET}", "postgresql://me@::1:5432/x", 1),
        (f"postgresql:///x?host=/run/pg&user=me&sslpassword={SECRET}", "postgresql://me@/run/pg/x", 1),
        (f"postgresql://me:{SECRET}%40%2F%3A%23@a/x?target_session_attrs=read-write", "postgresql://me@a/x", 1),
    ],
)
def test_an_address_is_shown_without_its_password(text: str, shown: str, hosts: int) -> None:
    """User, hosts with their ports, and database tell which one is meant."""
    address = StoreAddress.parse(text)
    assert str(address) == shown
    assert address.hosts == hosts
    assert SECRET not in repr(address)
    assert SECRET in address.conninfo


@pytest.mark.parametrize(
    "text",
    [
        f"mysql://me:{SECRET}@a/x",
        f"postgresql://me:{SECRET}@{SECRET}@a/x",
        f"postgresql://me:1/{SECRET}@a/x",
        f"postgresql://me:{SECRET}/{SECRET}@a/x",
        f"postgresql://me:1/x?{SECRET}@a/x",
        f"postgresql://me:1/x?host={SECRET}@a/x",
        f"postgresql://me:%zz{SECRET}@a/x",
        f"postgresql://me:{SECRET}%00@a/x",
        f"postgresql://me:1{SECRET}:x/@a/x",
        f"postgresql://a/x?{SECRET}=1",
        f"postgresql://me:{SECRET}\n@a/x",
        f"postgresql://me:{SECRET}@a,b,c/x?port=1,2",
        "postgresql://me:" + SECRET * 300 + "@a/x",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_and_not_quoted(text: str) -> None:
    """Whatever a password did to the address, neither the sentence nor the traceback has it."""
    with pytest.raises(BadAddress, match=r"^storage\.database: the address of PostgreSQL cannot be used: ") as caught:
        StoreAddress.parse(text)
    assert SECRET not in "".join(traceback.format_exception(caught.value.with_traceback(None)))
    assert caught.value.__context__ is None
    assert len(str(caught.value)) < 300


@given(st.text(min_size=4, max_size=20))
def test_no_password_is_ever_shown(password: str) -> None:
    """Any text between the colon and the at-sign, encoded by nobody, is refused or not in what is shown."""
    marked = f"QX{password}QX"
    try:
        address = StoreAddress.parse(f"postgresql://me:{marked}@db.example/holdfast")
        said = str(address) + repr(address)
    except BadAddress as exc:
        said = "".join(traceback.format_exception(exc.with_traceback(None)))
    assert "QX" not in said


def test_an_address_is_told_from_a_path() -> None:
    """Its scheme decides, so a directory of that name needs no client of PostgreSQL."""
    words = ("postgresql://x", "postgres://x", "postgresql", "data/postgresql:/x")
    assert [is_store_address(word) for word in words] == [True, True, False, False]
