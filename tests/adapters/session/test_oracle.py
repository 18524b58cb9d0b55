"""Telethon's own ``SQLiteSession`` is the oracle: whatever is asked of a session, both answer the same."""

import datetime
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession
from telethon.tl.types import Channel, Chat, ChatPhotoEmpty, InputDocument, InputPhoto, User
from telethon.tl.types.contacts import ResolvedPeer
from telethon.tl.types.updates import State

from adapters.session import HoldfastSession

NUMBERS = st.integers(1, 5)
HASHES = st.integers(-(2**63), 2**63 - 1)
USERNAMES = st.sampled_from(["alice_one", "Alice_One", "bob_the_2nd", None])
PHONES = st.sampled_from(["9996620001", "123456", None])
NAMES = st.sampled_from(["Alice", "Bob\0x", "Ünïcode 😀", "a'b\"c\\", ""])
MOMENT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
PHOTO = ChatPhotoEmpty()


def _user(number: int, access: int, username: str | None, phone: str | None, name: str) -> User:
    return User(id=number, access_hash=access, username=username, phone=phone, first_name=name)


def _chat(number: int, title: str) -> Chat:
    return Chat(id=number, title=title, photo=PHOTO, participants_count=1, date=MOMENT, version=1)


def _channel(number: int, access: int, username: str | None, title: str) -> Channel:
    return Channel(id=number, access_hash=access, username=username, title=title, photo=PHOTO, date=MOMENT)


def _state(pts: int, seconds: float) -> State:
    return State(pts, 1, MOMENT + datetime.timedelta(seconds=seconds), 2, 0)


peers = st.lists(
    st.one_of(
        st.builds(_user, NUMBERS, HASHES, USERNAMES, PHONES, NAMES),
        st.builds(_chat, NUMBERS, NAMES),
        st.builds(_channel, NUMBERS, HASHES, USERNAMES, NAMES),
    ),
    max_size=4,
)
DIGESTS = st.sampled_from([b"0" * 16, b"1" * 16])
FILES = st.sampled_from([InputDocument(1, 2, b""), InputPhoto(3, 4, b"")])
KEYS = st.sampled_from([AuthKey(b"k" * 256), AuthKey(b"l" * 256), None])

CHANGES = st.one_of(
    st.tuples(st.just("process_entities"), peers),
    st.tuples(st.just("process_entities"), st.builds(lambda found: ResolvedPeer(None, found, []), peers)),
    st.tuples(st.just("set_update_state"), st.integers(0, 3), st.builds(_state, NUMBERS, st.sampled_from([0, 1, 0.5]))),
    st.tuples(st.just("set_dc"), st.integers(1, 5), st.sampled_from(["127.0.0.1", "::1"]), st.just(443)),
    st.tuples(st.just("auth_key"), KEYS),
    st.tuples(st.just("tmp_auth_key"), KEYS),
    st.tuples(st.just("takeout_id"), st.sampled_from([7, None])),
    st.tuples(st.just("cache_file"), DIGESTS, st.integers(1, 2), FILES),
    st.tuples(st.just("get_entity_rows_by_username"), st.just("alice_one")),
    st.tuples(st.just("save")),
)
"""What programs do to a session. Looking a username up changes it, too."""


def answers(session: Any) -> list[Any]:
    """Return what a session says to every question that Telethon asks."""
    keys = [session.auth_key, session._tmp_auth_key]  # the property of Telethon's returns the other key by mistake
    found: list[Any] = [session.dc_id, session.server_address, session.port, session.takeout_id]
    found += [key.key if key else None for key in keys]
    found += [session.get_entity_rows_by_id(number, exact) for number in range(-5, 6) for exact in (True, False)]
    found += [session.get_entity_rows_by_id(-1000000000000 - number) for number in range(1, 6)]
    found += [session.get_entity_rows_by_phone(phone) for phone in ("9996620001", 9996620001, "123456", "0", None)]
    found += [session.get_entity_rows_by_name(name) for name in ("Alice", "Bob\0x", "Ünïcode 😀", "a'b\"c\\", "")]
    found += [session.get_entity_rows_by_username(name) for name in ("alice_one", "bob_the_2nd", "Alice_One", "")]
    for file in itertools.product((b"0" * 16, b"1" * 16), (1, 2), (InputDocument, InputPhoto)):
        try:
            found.append(session.get_file(*file))
        except TypeError as exc:  # Telethon's own too: these classes have an argument more than it knows
            found.append(str(exc))
    found += [session.get_update_state(number) for number in range(4)]
    found += [sorted(session.get_update_states(), key=lambda item: item[0])]
    for key in ("alice_one", "+9996620001", "Alice", -3, 3, "https://t.me/bob_the_2nd"):
        try:
            found.append(session.get_input_entity(key))
        except ValueError as exc:
            found.append(str(exc))
    return [item.to_dict() if hasattr(item, "to_dict") else item for item in found]


def do(session: Any, change: tuple[Any, ...]) -> None:
    """Make one change."""
    name, *arguments = change
    if isinstance(getattr(type(session), name), property):
        setattr(session, name, *arguments)
    else:
        getattr(session, name)(*arguments)


def do_all(sessions: tuple[Any, ...], changes: list[tuple[Any, ...]]) -> None:
    """Make the same changes to all, one a second."""
    now = int(time.time())
    for number, change in enumerate(changes):
        with patch("time.time", return_value=now + number):
            for session in sessions:
                do(session, change)


@pytest.mark.slow
@settings(max_examples=60)
@given(changes=st.lists(CHANGES, max_size=12), keep=st.booleans(), begin=st.booleans())
def test_it_answers_as_telethons_own_does_and_leaves_the_same_file(
    changes: list[tuple[Any, ...]], keep: bool, begin: bool
) -> None:
    """Any changes lead to the same answers, in memory, in our file as Telethon reads it, and in its file as we do."""
    with tempfile.TemporaryDirectory() as place:
        ours, theirs = str(Path(place, "ours")), str(Path(place, "theirs"))
        if begin:  # our side begins with a file that Telethon made
            SQLiteSession(ours).close()
        mine, oracle = HoldfastSession(ours, keep), SQLiteSession(theirs, keep)
        do_all((mine, oracle), changes)
        assert answers(mine) == answers(oracle)
        mine.close()
        oracle.close()
        crossed, back = SQLiteSession(ours, keep), HoldfastSession(theirs, keep)
        assert answers(crossed) == answers(back)
        crossed.close()
        back.close()


@settings(max_examples=20)
@given(changes=st.lists(CHANGES, max_size=8))
def test_a_session_without_a_file_answers_the_same(changes: list[tuple[Any, ...]]) -> None:
    """``HoldfastSession(None)`` is in memory only, as ``SQLiteSession(None)`` is."""
    mine, oracle = HoldfastSession(None), SQLiteSession(None)
    do_all((mine, oracle), changes)
    assert answers(mine) == answers(oracle)
    oracle._conn.close()
