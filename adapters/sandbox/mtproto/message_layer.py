"""The message layer of one connection: identifiers, sequence numbers, salt, containers.

It is stricter than Telegram on purpose: one connection carries one key, and every mistake of a client is named. Source
of the rules: https://core.telegram.org/mtproto/description
"""

import secrets
import struct
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field, frozen
from telethon.tl import functions, types

from adapters.sandbox.errors import BadMessage, ProtocolError
from adapters.sandbox.mtproto import tl
from adapters.sandbox.mtproto.cipher import Envelope

MAX_AGE_SECONDS: Final = 300
MAX_LEAD_SECONDS: Final = 30
MAX_REMEMBERED_MESSAGES: Final = 1000
MAX_CONTAINER_MESSAGES: Final = 1020

TOO_OLD: Final = 16
TOO_NEW: Final = 17
NOT_DIVISIBLE_BY_FOUR: Final = 18
CONTAINER_ID_REUSED: Final = 19
SEQUENCE_TOO_LOW: Final = 32
SEQUENCE_TOO_HIGH: Final = 33
EVEN_EXPECTED: Final = 34
ODD_EXPECTED: Final = 35
BAD_SALT: Final = 48
INVALID_CONTAINER: Final = 64

# Requests of the message layer itself. Clients disagree on whether they need an acknowledgement, so either parity
# passes.
LAYER_REQUESTS: Final = (
    functions.PingRequest,
    functions.PingDelayDisconnectRequest,
    functions.GetFutureSaltsRequest,
    functions.RpcDropAnswerRequest,
    functions.DestroySessionRequest,
    functions.DestroyAuthKeyRequest,
)


@frozen
class IncomingMessage:
    """One message out of a packet, its body still unread."""

    msg_id: int
    seq_no: int
    body: bytes


@define
class MessageLayer:
    """What the datacenter remembers about the peer of one connection."""

    salt: int
    _clock: Callable[[], float]
    id: int = 0
    """Chosen by the client in its first message; zero until then."""
    announced: bool = False
    """Whether new_session_created was sent."""
    _skew: float = 0
    """Seconds that our clock is ahead. A client that set its own clock by it is understood like any other."""
    _seen: dict[int, int] = field(factory=dict)
    """The sequence number of each message id, the one that came first before all others."""
    _newest: tuple[int, int] = (0, 0)
    _last_stamp: int = 0
    _last_skew: float = 0
    _content_sent: int = 0

    def check_envelope(self, envelope: Envelope) -> None:
        """Check what concerns the packet as a whole.

        Raises ProtocolError for a session id of zero, and BadMessage for a message id that is too old or too new, or
        (code 48) for a wrong salt. BadMessage names the outer message: the client has to send the whole packet again.
        """
        if envelope.session_id == 0:
            raise ProtocolError("wrong_session")
        if self.id not in (0, envelope.session_id):  # another session on the same connection begins anew
            self.announced, self._content_sent, self._newest = False, 0, (0, 0)
            self._seen.clear()
        self.id = envelope.session_id
        self._check_id(envelope.msg_id, envelope.seq_no)
        if envelope.salt != self.salt:
            raise BadMessage(envelope.msg_id, envelope.seq_no, BAD_SALT)

    def unpack(self, envelope: Envelope) -> list[IncomingMessage]:
        """Return the messages of the packet: its own, or those in its container. Raises BadMessage."""
        outer = IncomingMessage(envelope.msg_id, envelope.seq_no, envelope.body)
        if envelope.body[:4] != struct.pack("<I", tl.CONTAINER):
            return [outer]
        if outer.seq_no % 2:
            raise BadMessage(outer.msg_id, outer.seq_no, EVEN_EXPECTED)
        if outer.msg_id in self._seen:
            raise BadMessage(outer.msg_id, outer.seq_no, CONTAINER_ID_REUSED)
        return _open_container(outer)

    def accept(self, message: IncomingMessage) -> bool:
        """Record a message; return False when it was received before and must not be executed again.

        Raises BadMessage when its id or its sequence number is impossible.
        """
        self._check_id(message.msg_id, message.seq_no)
        if message.msg_id in self._seen:
            return False
        self._check_sequence(message)
        if len(self._seen) == MAX_REMEMBERED_MESSAGES:
            del self._seen[next(iter(self._seen))]
        self._seen[message.msg_id] = message.seq_no
        self._newest = max(self._newest, (message.msg_id, message.seq_no))
        return True

    def wrap(self, body: bytes, *, reply: bool, content: bool, skew: float = 0) -> Envelope:
        """Wrap an outgoing message. Its id is 1 modulo 4 for replies, 3 for pushes, and grows while the skew stays."""
        stamp = int((self._clock() + skew) * 2**32) & ~3
        last = self._last_stamp if self._last_skew == skew else 0
        stamp = max(stamp, (last & ~3) + 4) | (1 if reply else 3)
        self._last_stamp, self._last_skew = stamp, skew
        sequence = self._content_sent * 2 + content
        self._content_sent += content
        return Envelope(self.salt, self.id, stamp, sequence, body)

    def change_salt(self) -> None:
        """Change the salt to one that the client does not know yet."""
        self.salt = int.from_bytes(secrets.token_bytes(8), "little", signed=True)

    def set_clock(self, skew: float) -> None:
        """Set our clock this many seconds ahead, and forget the message ids that lie in its future.

        They belong to clients that followed a fast clock; no later message of theirs could have a higher id.
        """
        if skew == self._skew:
            return
        self._skew = skew
        now = int((self._clock() + max(skew, 0)) * 2**32)
        self._seen = {msg_id: seq_no for msg_id, seq_no in self._seen.items() if msg_id <= now}
        self._newest = max(self._seen.items(), default=(0, 0))

    def _check_id(self, msg_id: int, seq_no: int) -> None:
        if msg_id % 4:
            raise BadMessage(msg_id, seq_no, NOT_DIVISIBLE_BY_FOUR)
        age = self._clock() - msg_id / 2**32
        if self._skew:
            age = min(age, age + self._skew, key=abs)
        if age > MAX_AGE_SECONDS:
            raise BadMessage(msg_id, seq_no, TOO_OLD)
        if age < -MAX_LEAD_SECONDS:
            raise BadMessage(msg_id, seq_no, TOO_NEW)

    def _check_sequence(self, message: IncomingMessage) -> None:
        """Check that a later id has a later number; only messages that need no acknowledgement may share one."""
        newest_id, newest_seq = self._newest
        if message.msg_id > newest_id:
            if not _may_follow(newest_seq, message.seq_no):
                raise BadMessage(message.msg_id, message.seq_no, SEQUENCE_TOO_LOW)
            return
        for msg_id, seq_no in self._seen.items():
            if msg_id > message.msg_id and not _may_follow(message.seq_no, seq_no):
                raise BadMessage(message.msg_id, message.seq_no, SEQUENCE_TOO_HIGH)
            if msg_id < message.msg_id and not _may_follow(seq_no, message.seq_no):
                raise BadMessage(message.msg_id, message.seq_no, SEQUENCE_TOO_LOW)


def check_parity(message: IncomingMessage, value: Any) -> None:
    """Check that requests have odd sequence numbers and acknowledgements even ones. Raises BadMessage."""
    if isinstance(value, LAYER_REQUESTS):
        return
    if tl.is_request(value) and message.seq_no % 2 == 0:
        raise BadMessage(message.msg_id, message.seq_no, ODD_EXPECTED)
    if isinstance(value, types.MsgsAck) and message.seq_no % 2:
        raise BadMessage(message.msg_id, message.seq_no, EVEN_EXPECTED)


def _may_follow(earlier: int, later: int) -> bool:
    return earlier < later or (earlier == later and later % 2 == 0)


def _open_container(outer: IncomingMessage) -> list[IncomingMessage]:
    def invalid() -> BadMessage:
        return BadMessage(outer.msg_id, outer.seq_no, INVALID_CONTAINER)

    if len(outer.body) < 8:
        raise invalid()
    (count,) = struct.unpack_from("<i", outer.body, 4)
    if not 0 <= count <= MAX_CONTAINER_MESSAGES:
        raise invalid()
    messages, position = [], 8
    for _ in range(count):
        if position + 16 > len(outer.body):
            raise invalid()
        msg_id, seq_no, length = struct.unpack_from("<qii", outer.body, position)
        body = outer.body[position + 16 : position + 16 + length]
        nested = body[:4] == struct.pack("<I", tl.CONTAINER)
        if length < 4 or len(body) != length or msg_id >= outer.msg_id or nested:
            raise invalid()
        messages.append(IncomingMessage(msg_id, seq_no, body))
        position += 16 + length
    if position != len(outer.body):
        raise invalid()
    return messages
