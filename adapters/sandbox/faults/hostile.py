"""What a hostile datacenter sends: bytes that cost their reader far more than they cost their sender."""

import gzip
import struct
from functools import cache

from telethon.tl import TLObject, types

from adapters.sandbox.mtproto import tl

BOMB_BYTES = 64 * 1024 * 1024
MESSAGES = 100_000
PACKED_TIMES = 50
NESTED_TIMES = 5_000
ENTITIES = 1_000_000
HUGE_FRAME = struct.pack("<ii", 2**31 - 1, 0)
"""How a frame begins that has two gigabytes."""


@cache
def hostile_body(name: str) -> bytes:
    """Return the body of a message; the names are those of ``HOSTILE_TEXTS`` that are messages."""
    match name:
        case "gzip_bomb" | "gzip_result":
            return _packed(bytes(BOMB_BYTES))
        case "container":
            message = struct.pack("<qiiI", 1, 0, 4, tl.BOOL_TRUE)
            return struct.pack("<Ii", tl.CONTAINER, MESSAGES) + message * MESSAGES
        case "packed":
            body = bytes(types.UpdatesTooLong())
            for _ in range(PACKED_TIMES):
                body = _packed(body)
            return body
        case "nesting":
            bold = struct.pack("<I", types.TextBold.CONSTRUCTOR_ID)
            return bold * NESTED_TIMES + bytes(types.TextEmpty())
        case _:
            assert name == "entities"
            user = bytes(types.UserEmpty(1))
            empty = struct.pack("<Ii", tl.VECTOR, 0)
            users = struct.pack("<Ii", tl.VECTOR, ENTITIES) + user * ENTITIES
            return _packed(
                struct.pack("<I", types.Updates.CONSTRUCTOR_ID) + empty + users + empty + struct.pack("<ii", 0, 0)
            )


def _packed(data: bytes) -> bytes:
    return struct.pack("<I", 0x3072CFA1) + bytes(TLObject.serialize_bytes(gzip.compress(data, 6)))
