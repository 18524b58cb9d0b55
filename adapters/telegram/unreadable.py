"""What a datacenter sends that the installed Telethon cannot read: new constructors, and broken ones.

Telethon drops a whole packet for one message that it cannot read, logs its bytes, or reconnects because of it. Here
every other message of the packet is read, a request with such an answer raises ``UnreadableAnswer``, and no text has a
byte of it.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from attrs import define
from telethon import __version__
from telethon.crypto import AES
from telethon.errors import TypeNotFoundError
from telethon.tl.core import GzipPacked, MessageContainer, RpcResult
from telethon.tl.core.tlmessage import TLMessage

from adapters.log_events import event_logger
from adapters.tl_reader import BoundedReader, DecodingBudget, HostileData

ADVICE: Final = "update Holdfast, and Telethon with it"
MAX_SAID: Final = 32
"""Different things that cannot be read of which an account's log speaks; all are counted."""
MAX_MESSAGES: Final = 1024
"""Messages of one container that are read; a datacenter may send as many."""
_ENVELOPE: Final = struct.Struct("<qqqii")
"""Salt, session, number, sequence and length, in front of a message."""
_CONTAINER: Final = MessageContainer.CONSTRUCTOR_ID.to_bytes(4, "little")
_HEADER: Final = struct.Struct("<qii")

log = event_logger("holdfast.handlers")


class UnreadableAnswer(ValueError):
    """Telethon cannot read what the datacenter sent. The text is one sentence, without any of what was sent."""


@define(eq=False)
class UnreadableCount:
    """Counts what one account could not read, and says each kind of it once."""

    account: str
    count: int = 0
    _said: frozenset[str] = frozenset()

    def note(self, exc: Exception) -> str:
        """Count something unreadable; return in a few words what it is."""
        self.count += 1
        what = describe_unreadable(exc)
        if what not in self._said and len(self._said) < MAX_SAID:
            self._said |= {what}
            log.warning("unreadable", account=self.account, what=what, count=self.count)
        return what


def describe_unreadable(exc: Exception) -> str:
    """Return what cannot be read, without any of it."""
    if isinstance(exc, TypeNotFoundError):
        return f"a constructor {exc.invalid_constructor_id:08x} that Telethon {__version__} does not know"
    return f"a message that Telethon {__version__} cannot read ({type(exc).__name__})"


def open_message(state: Any, packet: bytes) -> tuple[int, int, bytes]:
    """Return number, sequence and content of a message that Telethon has decrypted and checked, but could not read."""
    key, vector = state._calc_key(state.auth_key.key, packet[8:24], False)
    plain = AES.decrypt_ige(packet[24:], key, vector)
    _, _, number, sequence, length = _ENVELOPE.unpack_from(plain)
    return number, sequence, plain[_ENVELOPE.size : _ENVELOPE.size + max(length, 0)]


def read_messages(
    number: int, sequence: int, content: bytes, *, inner: bool = False, budget: DecodingBudget | None = None
) -> Iterator[Any]:
    """Yield each message in a content: a ``TLMessage``, or the exception with which it cannot be read and its number.

    A result of a request that cannot be unpacked is yielded empty, so that the request fails and does not wait. Raises
    ``HostileData`` when all of it together would cost too much.
    """
    budget = budget or DecodingBudget()
    code = int.from_bytes(content[:4], "little")
    if code == MessageContainer.CONSTRUCTOR_ID and not inner:
        yield from _read_container(content, budget)
        return
    if code == GzipPacked.CONSTRUCTOR_ID and not inner:
        with suppress(ValueError, BufferError, struct.error):
            reader = BoundedReader(content)
            reader.read(4)
            unpacked = budget.unpack(reader.tgread_bytes())
            if unpacked[:4] == _CONTAINER:
                yield from _read_container(unpacked, budget)
                return
    try:
        yield TLMessage(number, sequence, BoundedReader(content, budget).tgread_object())
    except HostileData:
        raise
    except Exception as exc:
        if code == RpcResult.CONSTRUCTOR_ID and len(content) >= 12:
            yield TLMessage(number, sequence, RpcResult(int.from_bytes(content[4:12], "little"), b"", None))
        else:
            yield number, exc


def _read_container(content: bytes, budget: DecodingBudget) -> Iterator[Any]:
    count = int.from_bytes(content[4:8], "little", signed=True)
    position = 8
    for _ in range(min(count, MAX_MESSAGES)):
        if position + _HEADER.size > len(content):
            return
        number, sequence, length = _HEADER.unpack_from(content, position)
        position += _HEADER.size
        if length < 0:
            return
        yield from read_messages(number, sequence, content[position : position + length], inner=True, budget=budget)
        position += length
