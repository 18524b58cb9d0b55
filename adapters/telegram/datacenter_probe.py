"""Is the datacenter there at all? Asked without an account: a nonce goes out, and must come back.

``req_pq_multi`` is the first message of a key exchange. It needs no key and changes nothing, yet only a datacenter
that works can answer it: a port that accepts and a backend that is dead are told apart.
"""

import asyncio
import logging
import secrets
import time
from typing import Any, Literal

import anyio
from attrs import frozen
from telethon.network import MTProtoPlainSender
from telethon.tl.functions import ReqPqMultiRequest
from telethon.tl.types import ResPQ

from adapters.telegram.proxy import Proxy, connection_class

CLOSE_SECONDS = 1.0


class _Quiet(dict[str, logging.Logger]):
    """Loggers that keep to themselves: that nobody answers is what this is here to find out."""

    def __missing__(self, name: str) -> logging.Logger:
        logger = logging.getLogger("holdfast.telethon.datacenter_probe")
        logger.setLevel(logging.CRITICAL + 1)
        return logger


DatacenterState = Literal["answers", "accepts", "dark"]
"""The datacenter answers; somebody takes the connection, but is no datacenter that works; or there is nobody."""


@frozen
class DatacenterProbeResult:
    """What was found; ``clock`` is the datacenter's time less ours, in seconds, if it answered."""

    state: DatacenterState
    clock: float | None = None


class _Heard:
    """A connection that remembers the last packet that came."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.packet = b""

    async def send(self, data: bytes) -> None:
        await self._connection.send(data)

    async def recv(self) -> bytes:
        self.packet = await self._connection.recv()
        return self.packet


async def probe_datacenter(address: tuple[int, str, int], proxy: Proxy | None, *, timeout: float) -> DatacenterState:
    """Look what is at ``address`` (id, host, port), within ``timeout`` seconds."""
    return (await inspect_datacenter(address, proxy, timeout=timeout)).state


async def inspect_datacenter(
    address: tuple[int, str, int], proxy: Proxy | None, *, timeout: float
) -> DatacenterProbeResult:
    """Look what is at ``address``, and what time it is there.

    The number of an answer begins with the time (core.telegram.org/mtproto/description#message-identifier-msg-id).
    """
    dc_id, host, port = address
    loggers = _Quiet()
    connection: Any = connection_class(proxy)(host, port, dc_id, loggers=loggers, proxy=proxy)
    heard, nonce = _Heard(connection), secrets.randbits(127)
    found: DatacenterState = "dark"
    try:
        with anyio.fail_after(timeout):
            await connection.connect(timeout=timeout)
            found = "accepts"
            answer = await MTProtoPlainSender(heard, loggers=loggers).send(ReqPqMultiRequest(nonce))
        if not isinstance(answer, ResPQ) or answer.nonce != nonce:
            return DatacenterProbeResult(found)
        return DatacenterProbeResult("answers", int.from_bytes(heard.packet[8:16], "little") / 2**32 - time.time())
    except Exception:  # whatever came, it is no answer
        return DatacenterProbeResult(found)
    finally:
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await connection.disconnect()
            # A connection that the other side has closed is disconnecting by itself, in tasks of its own.
            if tasks := {task for task in (connection._send_task, connection._recv_task) if task is not None}:
                await asyncio.wait(tasks)
