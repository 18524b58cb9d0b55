"""What the engine and a program say to each other after the first line: frames with a head of 13 bytes.

The head has the length of the body, the kind, and a number, which is that of the request or of the update. Both sides
refuse a frame that is longer than ``MAX_BODY_BYTES``: then nothing more is read.
"""

import json
import struct
from enum import IntEnum, StrEnum
from typing import Any, Final

from attrs import frozen

HEAD: Final = struct.Struct("<IBQ")
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""Bytes of one answer. A part of a file has at most a million of them, what Telegram packs up to four million."""
MAX_REQUEST_BODY_BYTES: Final = 1024 * 1024
"""Bytes of one request. A part of a file has 512 kB."""
MAX_FAILURE_CHARACTERS: Final = 1000
DATACENTER: Final = struct.Struct("<H")
"""What a request begins with: the number of the datacenter that is asked; 0 is the account's own."""


class FrameKind(IntEnum):
    """What a frame is. Those below 10 come from the program."""

    REQUEST = 1
    """A datacenter, and a request in TL."""
    CANCEL = 2
    """Nobody waits any more for the answer to the request of this number."""
    SUBSCRIBE = 3
    """The program wants updates from now on, or from its cursor on if it has one."""
    ACKNOWLEDGE = 4
    """All updates up to this number have been handled."""
    ANSWER = 11
    """The answer to a request, as the datacenter sent it."""
    FAILURE = 12
    """Why a request has no answer; number 0: why there are no updates."""
    SUBSCRIBED = 13
    """The updates after this number follow. The body names the feed: in another one the same numbers mean others."""
    UPDATE = 14
    """An update, and who it is about."""
    DROPPED = 15
    """So many updates up to this number fell out, because the program did not acknowledge them in time."""


FROM_PROGRAM: Final = frozenset({FrameKind.REQUEST, FrameKind.CANCEL, FrameKind.SUBSCRIBE, FrameKind.ACKNOWLEDGE})


class FailureKind(StrEnum):
    """Why a request has no answer, for what the program can do about it."""

    RPC = "rpc"
    """Telegram refuses it; code and text are those of the protocol."""
    REFUSED = "refused"
    """The program may not send it; nothing was sent."""
    NOT_READY = "not_ready"
    """The account has no connection now; nothing was sent."""
    LOST = "lost"
    """The connection was lost with the request in flight: it may have been carried out."""
    UNANSWERED = "unanswered"
    """No answer came in time: it may have been carried out."""
    FAILED = "failed"
    """The answer cannot be passed on."""


class BadFrame(Exception):
    """What came is not a frame of this protocol; the text says why."""


@frozen
class RemoteFailure:
    """Why a request has no answer."""

    kind: FailureKind
    text: str
    code: int = 0

    def encode(self) -> bytes:
        """Return the body of its frame."""
        text = self.text[:MAX_FAILURE_CHARACTERS]
        return json.dumps({"kind": self.kind, "code": self.code, "text": text}).encode()

    @classmethod
    def decode(cls, body: bytes) -> "RemoteFailure":
        """Return what a body says. Raises ``BadFrame``."""
        values = decode_object(body)
        match values:
            case {"kind": str(kind), "code": int(code), "text": str(text)} if kind in tuple(FailureKind):
                return cls(FailureKind(kind), text, code)
        raise BadFrame("a failure says its kind, its code and its text")


def encode_frame(kind: FrameKind, number: int, body: bytes = b"") -> bytes:
    """Return a frame."""
    return HEAD.pack(len(body), kind, number) + body


def decode_head(head: bytes, *, max_body: int) -> tuple[FrameKind, int, int]:
    """Return the kind of a frame, its number and the length of its body. Raises ``BadFrame``."""
    length, kind, number = HEAD.unpack(head)
    if kind not in tuple(FrameKind):
        raise BadFrame(f"there is no frame of kind {kind}")
    if length > max_body:
        raise BadFrame(f"a frame has at most {max_body:,} bytes")
    return FrameKind(kind), number, length


def decode_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body. Raises ``BadFrame``."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise BadFrame("the body is not JSON") from None
    if not isinstance(values, dict):
        raise BadFrame("the body is not a JSON object")
    return values
