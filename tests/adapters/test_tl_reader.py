"""The reader's bounds: size, count and depth are known before anything is decoded, and honest data passes."""

import itertools
import struct
import time
import tracemalloc
from datetime import UTC, datetime

import pytest
from telethon.errors import TypeNotFoundError
from telethon.extensions import BinaryReader
from telethon.tl import TLObject, types
from telethon.tl.core import GzipPacked, MessageContainer, RpcResult

from adapters.sandbox.faults.hostile import hostile_body
from adapters.sandbox.faults.kinds import HOSTILE_TEXTS
from adapters.sandbox.mtproto import tl
from adapters.tl_reader import MAX_OBJECTS, BoundedReader, HostileData, objects_in

BODIES = [name for name in HOSTILE_TEXTS if name not in ("frame", "drip", "differences", "gzip_result")]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TWO_SECONDS = 2.0
"""Of processor time, for what takes hundredths of a second."""


def packed(data: bytes) -> bytes:
    """Return gzip_packed."""
    return bytes(GzipPacked(data))


def contained(*bodies: bytes) -> bytes:
    """Return a container of these messages."""
    parts = [struct.pack("<qii", 4 * n + 1, 0, len(body)) + body for n, body in enumerate(bodies)]
    return struct.pack("<Ii", tl.CONTAINER, len(parts)) + b"".join(parts)


def difference(messages: int) -> types.updates.Difference:
    """Return a difference of an honest datacenter."""
    entities = [types.MessageEntityBold(0, 3), types.MessageEntityUrl(4, 9)]
    return types.updates.Difference(
        [types.Message(n, types.PeerUser(5), NOW, "a message", entities=entities) for n in range(messages)],
        [], [], [], [types.UserEmpty(n) for n in range(messages)], types.updates.State(1, 2, NOW, 3, 4),
    )  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_refused_before_it_costs_much(name: str) -> None:
    """Neither time nor memory is spent on it."""
    body = hostile_body(name)
    tracemalloc.start()
    try:
        began = time.process_time()
        with pytest.raises(HostileData):
            BoundedReader(body).tgread_object()
        assert time.process_time() - began < TWO_SECONDS
        assert tracemalloc.get_traced_memory()[1] < 48 * 2**20
    finally:
        tracemalloc.stop()


def test_honest_data_is_read_as_ever() -> None:
    """A full difference, alone, packed, in a container, and as an answer, is what Telethon's own reader makes of it."""
    body = bytes(difference(1000))
    assert bytes(BinaryReader(body).tgread_object()) == body
    for data in (body, packed(body)):
        assert bytes(BoundedReader(data).tgread_object()) == body
    container = BoundedReader(contained(body, packed(body))).tgread_object()
    assert isinstance(container, MessageContainer)
    assert [bytes(message.obj) for message in container.messages] == [body, body]
    for data in (body, packed(body)):
        result = BoundedReader(struct.pack("<Iq", tl.RPC_RESULT, 8) + data).tgread_object()
        assert isinstance(result, RpcResult)
        assert bytes(BoundedReader(result.body).tgread_object()) == body


def test_objects_are_counted() -> None:
    """What a frame has made is known afterwards; more than the limit is refused."""
    assert objects_in(BoundedReader(bytes(difference(10))).tgread_object()) > 50
    many = types.Updates([types.UpdatePtsChanged()] * (MAX_OBJECTS + 1), [], [], NOW, 0)
    with pytest.raises(HostileData, match="more than 100,000 objects"):
        BoundedReader(bytes(many)).tgread_object()


def test_the_answers_in_a_container_share_its_budget() -> None:
    """A thousand answers, each within the limits, are not allowed a thousand times the limit."""
    answer = struct.pack("<Iq", tl.RPC_RESULT, 8) + packed(bytes(1_000_000))
    with pytest.raises(HostileData, match="more than 4,194,304 bytes"):
        BoundedReader(contained(*[answer] * 5)).tgread_object()
    users = bytes(types.Updates([types.UpdatePtsChanged()] * 60_000, [], [], NOW, 0))
    container = BoundedReader(contained(*[struct.pack("<Iq", tl.RPC_RESULT, 8) + users] * 2)).tgread_object()
    first, second = (message.obj.body for message in container.messages)
    BoundedReader(first).tgread_object()
    with pytest.raises(HostileData, match="more than 100,000 objects"):
        BoundedReader(second).tgread_object()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (contained(contained(bytes(types.UpdatesTooLong()))), "a container is within another one"),
        (packed(packed(bytes(types.UpdatesTooLong()))), "holds another packed one"),
        (contained(packed(packed(bytes(types.UpdatesTooLong())))), "holds another packed one"),
        (struct.pack("<I", 0x3072CFA1) + TLObject.serialize_bytes(b"no gzip"), "is not gzip"),
        (packed(bytes(types.UpdatesTooLong()))[:20], "cut off"),
        (struct.pack("<Iiqii", tl.CONTAINER, 1, 5, 0, 2**31 - 1), "claims to have 2,147,483,647 bytes"),
        (struct.pack("<Iiqii", tl.CONTAINER, -1, 5, 0, 0), "claims to have -1 messages"),
        (struct.pack("<IIi", types.Updates.CONSTRUCTOR_ID, tl.VECTOR, 2**31 - 1), "requires a buffer"),
        (b"", "requires a buffer"),
        (b"\x01", "requires a buffer"),
    ],
    ids=itertools.count(),  # the bodies are not the same in each process: gzip writes the time
)
def test_what_is_no_message_is_named(body: bytes, text: str) -> None:
    """Each mistake has its sentence, which holds none of the bytes."""
    with pytest.raises((HostileData, ValueError, BufferError, struct.error), match=text):
        BoundedReader(body).tgread_object()


def test_an_unknown_constructor_is_still_one() -> None:
    """What a newer layer may send is not hostile."""
    with pytest.raises(TypeNotFoundError):
        BoundedReader(struct.pack("<I", 0x12345678) + bytes(20)).tgread_object()
