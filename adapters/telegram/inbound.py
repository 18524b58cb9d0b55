"""What a datacenter or a proxy may cost this client, before and while it is decoded.

A frame is bounded in size before it is read, and in time while it is; what it may unpack to, how many objects it may
have and how deep they may nest is bounded by ``adapters.tl_reader``. A message that took long is paid for: its sender
reads on only after the loop had as much time for others. Small ones add up: all others have their turn every few
milliseconds, and a connection that goes on like this is read more slowly, until the datacenter has to wait.
"""

import asyncio
import time
from typing import Any, Final

from telethon.crypto import AES
from telethon.network import authenticator, mtprotoplainsender, mtprotosender, mtprotostate

from adapters.telegram.key_exchange import bound_key_exchange
from adapters.telegram.lean import UpdateQueue
from adapters.tl_reader import BoundedReader, HostileData, objects_in

MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
"""Bytes of one frame. Telegram's own have up to one mebibyte and a little."""
BLOCK_BYTES: Final = 16
FRAME_SECONDS: Final = 60.0
"""How long the rest of a frame may take after its first bytes."""
HEAVY_SECONDS: Final = 0.01
"""A message that takes longer is paid for by itself."""
SHARE: Final = 0.25
"""The part of the loop's time that the heavy messages of one connection get."""
MAX_PAUSE: Final = 5.0
TURN_SECONDS: Final = 0.005
"""How long the messages of one connection may take until all others have their turn."""
LIGHT_SHARE: Final = 0.5
"""The part of the loop's time that they get in the long run."""
BURST_SECONDS: Final = 0.5
"""How much they may take beyond that in a burst."""


def bound_reader() -> None:
    """Have Telethon decode with ``BoundedReader``, in the whole process: it names its own reader in these modules."""
    for module in (authenticator, mtprotoplainsender, mtprotosender, mtprotostate):
        assert hasattr(module, "BinaryReader"), module
        module.BinaryReader = BoundedReader


def bound_cipher() -> None:
    """Have Telethon decrypt whole blocks only, in the whole process.

    What follows the last whole block is padding of the transport, or a stranger's: the number of a key is not secret,
    so anybody on the way can send bytes under it. The cipher in Rust ends the program upon half a block, by an
    exception that is no ``Exception``. Whether what is left is genuine is checked afterwards, as always.
    """
    decrypt = AES.decrypt_ige

    def decrypt_blocks(cipher_text: bytes, key: bytes, iv: bytes) -> Any:
        return decrypt(cipher_text[: len(cipher_text) // BLOCK_BYTES * BLOCK_BYTES], key, iv)

    AES.decrypt_ige = staticmethod(decrypt_blocks)


class HostileFrame(HostileData, ConnectionError):
    """A frame whose length no honest peer announces. Telethon ends the connection without a traceback."""


class FrameTimeout(TimeoutError):
    """A frame began and did not become complete."""


class FrameSource:
    """Where one frame is read from: a stream whose reads are bounded in size and, after the first, in time."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._deadline: float | None = None

    async def readexactly(self, n: int) -> bytes:
        """Read so many bytes. Raises ``HostileFrame``, ``FrameTimeout``, and what the stream raises."""
        if not 0 <= n <= MAX_FRAME_BYTES:
            raise HostileFrame(f"a frame claims to have {n:,} bytes")
        if self._deadline is None:
            data: bytes = await self._source.readexactly(n)
            self._deadline = asyncio.get_running_loop().time() + FRAME_SECONDS
            return data
        try:
            async with asyncio.timeout_at(self._deadline) as limit:
                return bytes(await self._source.readexactly(n))
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise FrameTimeout(f"a frame of {n:,} bytes was not complete within {FRAME_SECONDS:g} s") from exc


class InboundAccount:
    """The part of a sender's message layer that knows what messages have cost, and what the sender waits for that."""

    updates: "UpdateQueue | None" = None
    """The updates of the client that wait to be handled."""
    _spent = 0.0
    """By the last message."""
    _turn = 0.0
    """Since all others had their turn."""
    _debt = 0.0
    """Beyond the share."""
    _paid_at = 0.0

    def decrypt_message_data(self, body: bytes) -> Any:
        """Decrypt a message, and account for it. Raises ``HostileData``."""
        began = time.perf_counter()
        try:
            message = super().decrypt_message_data(body)  # type: ignore[misc]  # Telethon's
        finally:
            self._spent += time.perf_counter() - began
        if message is not None and (updates := self.updates) is not None:
            updates.objects = objects_in(message.obj) + (0 if updates.empty() else updates.objects)
        return message

    def add(self, seconds: float) -> None:
        """Add what processing a message has taken."""
        self._spent += seconds

    def pause(self) -> float | None:
        """Return how many seconds the sender has to wait before it reads on, 0 being a turn of all others.

        None says that it may read on at once. Begins a new account.
        """
        spent, self._spent = self._spent, 0.0
        if spent > HEAVY_SECONDS:
            return min(MAX_PAUSE, spent * (1 / SHARE - 1))
        self._turn += spent
        if self._turn <= TURN_SECONDS:
            return None
        now = time.perf_counter()
        self._debt = max(0.0, self._debt - (now - self._paid_at) * LIGHT_SHARE) + self._turn
        self._turn, self._paid_at = 0.0, now
        return min(MAX_PAUSE, max(0.0, self._debt - BURST_SECONDS) / LIGHT_SHARE)


bound_reader()
bound_cipher()
bound_key_exchange()
