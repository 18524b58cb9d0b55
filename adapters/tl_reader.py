"""Telethon's reader with bounds: what comes from the other side may cost only so much, known before it is decoded.

Telethon's own reader unpacks whatever gzip makes of a few bytes, follows containers and nesting without end, and makes
as many objects as a message claims to have. Here one frame may unpack to so many bytes, have so many objects, and nest
so deep; whatever exceeds that raises ``HostileData``.
"""

import struct
import zlib
from typing import Any, Final

from attrs import define
from telethon.extensions import BinaryReader
from telethon.tl.core import GzipPacked, MessageContainer, RpcResult, TLMessage
from telethon.tl.types import RpcError

MAX_UNPACKED_BYTES: Final = 4 * 1024 * 1024
"""Bytes that all packed parts of one frame may have together when they are unpacked."""
MAX_OBJECTS: Final = 100_000
"""Objects of one frame. A full page of history has a few thousand."""
MAX_DEPTH: Final = 64
"""Objects within objects. The deepest of Telegram's own are articles, with about twenty."""
MAX_CONTAINER_MESSAGES: Final = 1020
"""Source: https://core.telegram.org/mtproto/service_messages#containers"""
GZIP: Final = 16 + zlib.MAX_WBITS
_NUMBER: Final = struct.Struct("<I")
_PACKED: Final = _NUMBER.pack(GzipPacked.CONSTRUCTOR_ID)


class HostileData(BufferError):
    """What came is nothing that an honest peer sends; decoding it would have cost too much.

    Telethon ends the connection upon a ``BufferError``, without a traceback.
    """


@define
class DecodingBudget:
    """What the decoding of one frame may still cost."""

    objects: int = MAX_OBJECTS
    unpacked: int = MAX_UNPACKED_BYTES
    containers: int = 1
    depth: int = 0

    def take_object(self) -> None:
        """Count an object that is about to be decoded."""
        self.objects -= 1
        if self.objects < 0:
            raise HostileData(f"a message has more than {MAX_OBJECTS:,} objects")

    def unpack(self, data: bytes) -> bytes:
        """Unpack gzip data, as far as the budget allows."""
        unpacker = zlib.decompressobj(GZIP)
        try:
            unpacked = unpacker.decompress(data, self.unpacked + 1)
        except zlib.error as error:
            raise ValueError("a packed message is not gzip") from error
        self.unpacked -= len(unpacked)
        if self.unpacked < 0:
            raise HostileData(f"a packed message has more than {MAX_UNPACKED_BYTES:,} bytes")
        if not unpacker.eof:
            raise ValueError("a packed message is cut off")
        return unpacked


class Body(bytes):
    """The answer to a request, decoded later on the budget of the frame that it came in."""

    budget: DecodingBudget


class BoundedReader(BinaryReader):  # type: ignore[misc]  # Telethon ships no types
    """Reads what one frame holds, or a part of it on the frame's budget.

    Raises ``HostileData`` and, for what is no TL, what Telethon's reader raises.
    """

    def __init__(self, data: bytes, budget: DecodingBudget | None = None, *, packed: bool = False) -> None:
        super().__init__(data)
        self._budget = budget or getattr(data, "budget", None) or DecodingBudget()
        self._packed = packed

    def read(self, length: int = -1) -> bytes:
        """Read so many bytes, or with -1 the rest. The error has none of them in its text."""
        left = len(self.stream) - self.position
        if length > left:
            raise BufferError(f"a message is cut off: {length:,} bytes are needed and {left:,} left")
        return bytes(super().read(length))

    def tgread_object(self) -> Any:
        """Read an object; what is packed in it is returned unpacked."""
        budget = self._budget
        budget.take_object()
        budget.depth += 1
        try:
            if budget.depth > MAX_DEPTH:
                raise HostileData(f"a message has objects within more than {MAX_DEPTH} others")
            (constructor,) = _NUMBER.unpack_from(self.stream, self.position)
            special = _SPECIAL.get(constructor)
            value = super().tgread_object() if special is None else special(self)
            if budget.depth == 1 and hasattr(value, "__dict__"):
                value.__dict__["_objects"] = MAX_OBJECTS - budget.objects
            return value
        finally:
            budget.depth -= 1

    def tgread_vector(self) -> list[Any]:
        """Read a vector of objects, which needs at least four bytes for each."""
        (count,) = struct.unpack_from("<i", self.stream, self.position + 4)
        if not 0 <= 4 * count <= len(self.stream) - self.position:
            raise HostileData(f"a vector claims to have {count:,} objects")
        return list(super().tgread_vector())

    def _read_packed(self) -> Any:
        if self._packed:  # a message of a packed container: each message of that can be read by itself
            raise ValueError("a packed container holds a packed message")
        self.read(4)
        unpacked = self._budget.unpack(self.tgread_bytes())
        if unpacked[:4] == _PACKED:
            raise HostileData("a packed message holds another packed one")
        return BoundedReader(unpacked, self._budget, packed=True).tgread_object()

    def _read_container(self) -> MessageContainer:
        self._budget.containers -= 1
        if self._budget.containers < 0:
            raise HostileData("a container is within another one")
        self.read(4)
        count = self.read_int()
        if not 0 <= count <= MAX_CONTAINER_MESSAGES:
            raise HostileData(f"a container claims to have {count:,} messages")
        messages = []
        for _ in range(count):
            msg_id, seq_no, length = self.read_long(), self.read_int(), self.read_int()
            end = self.tell_position() + length
            if length < 4 or end > len(self.stream):
                raise ValueError(f"a message in a container claims to have {length:,} bytes")
            inner = BoundedReader(self.read(length), self._budget, packed=self._packed)
            messages.append(TLMessage(msg_id, seq_no, inner.tgread_object()))
        return MessageContainer(messages)

    def _read_result(self) -> RpcResult:
        self.read(4)
        request = self.read_long()
        (constructor,) = _NUMBER.unpack_from(self.stream, self.position)
        if constructor == RpcError.CONSTRUCTOR_ID:
            self.read(4)
            return RpcResult(request, None, RpcError.from_reader(self))
        if constructor == GzipPacked.CONSTRUCTOR_ID:
            self.read(4)
            body = Body(self._budget.unpack(self.tgread_bytes()))
        else:
            body = Body(self.read())
        body.budget = self._budget
        return RpcResult(request, body, None)


_SPECIAL: Final = {
    GzipPacked.CONSTRUCTOR_ID: BoundedReader._read_packed,
    MessageContainer.CONSTRUCTOR_ID: BoundedReader._read_container,
    RpcResult.CONSTRUCTOR_ID: BoundedReader._read_result,
}


def objects_in(value: Any) -> int:
    """Return how many objects the frame had whose outermost object this is."""
    return int(getattr(value, "__dict__", {}).get("_objects", 1))
