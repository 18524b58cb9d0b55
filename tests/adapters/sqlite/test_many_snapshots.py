"""Many snapshots are decoded as few are."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.sqlite.codec import decode_snapshot, encode_snapshot
from adapters.sqlite.errors import Undecodable
from adapters.sqlite.snapshots import MANY, snapshot_decoder
from states.snapshot import Cause, Hold, Snapshot, Stall, State, Trouble

FULL = json.loads(
    encode_snapshot(
        Snapshot(
            state=State.BACKOFF, since=5.5, life=3, attempt=2, cause=Cause(event="NetworkLost", detail='a "b": c'),
            deadline=9.25, wait=3.75, last_success=1.0, offline=(1.0, 2.0), proved_at=1.5, credentials="3e5",
        )
    )
)  # fmt: skip
VALUES = st.sampled_from(
    (
        None, True, 0, -1, 5, 1e15, -1e15, 999999999999999, 2**63, 2**70, 1.5, 5.0, 1e300, float("nan"), float("inf"),
        "", "5", "backoff", "healthy", "x\ud800", 'a": "b', [], [1.0, 2.0], [1, 2], [1.0], ["a", "b"], {}, [None],
        {"event": "X"}, {"event": "X", "detail": "y"}, {"event": 5, "detail": "y"},
        {"event": "X", "detail": "", "z": 1e16}, {"event": "X", "z": 1e16},
        [{"request": "r", "until": 5.0, "length": None}], [{"request": "r", "until": 1e16}],
        {"event": "E", "detail": "d", "since": 1.0, "told": False}, {"event": "E", "since": 1e16},
    )
)  # fmt: skip
CHANGES = st.dictionaries(st.sampled_from([*FULL, "unknown"]), VALUES, max_size=3)
decode = snapshot_decoder(MANY)


def outcome(text: Any, how: Any) -> object:
    """Return the snapshot, or the sentence about why there is none."""
    try:
        return how(text)
    except Undecodable as exc:
        return str(exc)


def check(text: Any) -> None:
    """Compare the two."""
    assert repr(outcome(text, decode)) == repr(outcome(text, decode_snapshot))  # NaN equals nothing, and 1 equals 1.0


@given(CHANGES, st.sets(st.sampled_from(list(FULL)), max_size=3))
@example({"unknown": 1e16}, set())
@example({"unknown": 1e16}, {"cause"})
@example({"cause": {"event": "X", "z": 1e16}}, set())
@example({"credentials": 5}, set())
def test_changed_snapshots_are_decoded_alike(changes: dict[str, Any], gone: set[str]) -> None:
    """Fields of other types, impossible numbers, unknown fields and missing ones have the same outcome."""
    values = {name: value for name, value in FULL.items() if name not in gone} | changes
    check(json.dumps(values))


@given(
    st.integers(0, 800),
    st.integers(0, 4),
    st.sampled_from(["", " ", "}", "1", "e9", '"', "\\u0041", ",", "null", "\x00", "é"]),
)
def test_spoilt_texts_are_decoded_alike(at: int, gone: int, put: str) -> None:
    """A text with something in it taken away or put in has the same outcome."""
    text = json.dumps(FULL, separators=(",", ":"))
    check(text[:at] + put + text[at + gone :])


@pytest.mark.parametrize("text", [None, 5, 1.5, b"{}", "", "[]", "null", "x\ud800", "[" * 100_000, '{"a":' * 100_000])
def test_what_is_no_snapshot_is_refused_alike(text: Any) -> None:
    """Values that no engine has written there are refused with the same sentence."""
    check(text)


@pytest.mark.parametrize(
    "snapshot",
    [
        Snapshot(),
        Snapshot(holds=(Hold(request="send", until=5.0, length=3.0),)),
        Snapshot(database=Trouble(event="DatabaseFull", since=2.0)),
        Snapshot(stall=Stall(since=2.0, clients=1, until=9.0, length=7.0, told=True)),
        Snapshot(limited=Cause(event="AccountLimited"), paused=True, resumes=State.AUTH_FAILED),
    ],
)
def test_a_snapshot_comes_back_as_it_was(snapshot: Snapshot) -> None:
    """What an engine writes is decoded to what it was."""
    assert decode(encode_snapshot(snapshot)) == snapshot
