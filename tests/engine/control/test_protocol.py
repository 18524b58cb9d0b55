"""The words on the control socket: whatever comes, it is a request or a sentence about what one is."""

import json
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.console.names import matching
from engine.control.protocol import (
    MAX_ADDRESS_BYTES,
    MAX_REQUEST_BYTES,
    WITHOUT_ACCOUNT,
    BadRequest,
    Request,
    Verb,
    encode_request,
    parse_request,
    short_address,
)

requests = (
    st.builds(
        Request,
        st.sampled_from([verb for verb in Verb if verb not in {*WITHOUT_ACCOUNT, Verb.RELOAD, Verb.REQUEST}]),
        st.text(max_size=60),
    )
    | st.builds(
        Request,
        st.just(Verb.REQUEST),
        st.text(min_size=1, max_size=60),
        program=st.text(min_size=1, max_size=60),
        layer=st.integers(-(2**31), 2**31),
    )
    | st.builds(
        Request, st.just(Verb.RELOAD), config=st.text(st.characters(exclude_characters="\0")), dry_run=st.booleans()
    )
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(tuple(Verb)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("do", "account", "x")) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def _heard(line: bytes) -> Request | str:
    try:
        return parse_request(line)
    except BadRequest as exc:
        return str(exc)


@given(st.binary(max_size=MAX_REQUEST_BYTES) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_line_is_a_request_or_a_sentence(line: bytes) -> None:
    """Arbitrary bytes and arbitrary JSON neither raise anything else nor become a request that has no account."""
    heard = _heard(line)
    assert heard if isinstance(heard, str) else (heard.do in WITHOUT_ACCOUNT or isinstance(heard.account, str))


@given(requests)
def test_a_request_comes_back_as_it_went(request: Request) -> None:
    """What a command writes is what the engine reads, in one line."""
    line = encode_request(request)
    assert parse_request(line) == request
    assert line.count(b"\n") == 1


@pytest.mark.parametrize("line", [b"[" * MAX_REQUEST_BYTES, b'{"do": ["info"]}', b'{"do": {}}', b"1" * 4095])
def test_what_makes_parsers_stumble_is_a_sentence(line: bytes) -> None:
    """Deep nesting, unhashable verbs and huge numbers are bad requests like any other."""
    assert isinstance(_heard(line), str)


def test_an_exact_name_is_not_a_pattern() -> None:
    """A name with brackets in it means the account of this name; everything else is a glob, and case counts."""
    names = ["News [1]", "News 1", "Jobs"]
    assert matching(names, "News [1]") == ["News [1]"]
    assert matching(names, "News*") == ["News [1]", "News 1"]
    assert matching(names, "news*") == []


def test_a_long_path_is_reachable(tmp_path: Path) -> None:
    """A socket can be bound and met where its path is longer than an address may be, and no link is left over."""
    deep = tmp_path / ("d" * 120) / "engine.sock"
    deep.parent.mkdir()
    assert len(str(deep)) > MAX_ADDRESS_BYTES
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with short_address(deep) as address:
            place = Path(address).parent.parent
            server.bind(address)
        server.listen()
        with short_address(deep) as address:
            client.connect(address)
    assert deep.is_socket()
    assert not place.exists()
