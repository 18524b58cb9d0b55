"""The datacenter probe: finds out, without an account, whether a datacenter works. A nonce goes out and must come back.

``req_pq_multi`` is the first message of a key exchange. It needs no key and changes nothing, yet only a datacenter
that works can answer it: that tells a working datacenter from a port that accepts before a dead backend.
"""

import asyncio
import logging
import secrets
import time
from typing import Any, Literal

import anyio
from attrs import frozen
from telethon.errors import InvalidBufferError
from telethon.network import MTProtoPlainSender
from telethon.tl.functions import ReqPqMultiRequest
from telethon.tl.types import ResPQ

from adapters.telegram.classify import TRANSPORT_ERRORS, ProxyFailed
from adapters.telegram.proxy import Proxy, connection_class

CLOSE_TIMEOUT = 1.0


class _SilentLoggers(dict[str, logging.Logger]):
    """Loggers without output: a datacenter that does not answer is a result of the probe, and no news."""

    def __missing__(self, name: str) -> logging.Logger:
        logger = logging.getLogger("holdfast.telethon.datacenter_probe")
        logger.setLevel(logging.CRITICAL + 1)
        return logger


DatacenterState = Literal["answers", "accepts", "refuses", "dark"]
"""The datacenter answers; the port accepts connections, but no working datacenter answers; the datacenter or the proxy
answers that it does not want us (as −429 does); or nothing accepts."""


@frozen
class DatacenterProbeResult:
    """The result of a probe; ``clock`` is the datacenter's time minus this machine's, in seconds, if it answered."""

    state: DatacenterState
    clock: float | None = None


class _PacketRecorder:
    """A connection that keeps the last packet that it received."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.packet = b""

    async def send(self, data: bytes) -> None:
        await self._connection.send(data)

    async def recv(self) -> bytes:
        self.packet = await self._connection.recv()
        return self.packet


def _is_refusal(exc: Exception) -> bool:
    """Return whether a failure is an answer: a transport error of the datacenter, or the rejection of a proxy."""
    of_transport = isinstance(exc, InvalidBufferError) and exc.code in TRANSPORT_ERRORS
    return of_transport or (isinstance(exc, ProxyFailed) and exc.refused)


async def probe_datacenter(address: tuple[int, str, int], proxy: Proxy | None, *, timeout: float) -> DatacenterState:
    """Probe the datacenter at ``address`` (id, host, port), within ``timeout`` seconds."""
    return (await inspect_datacenter(address, proxy, timeout=timeout)).state


async def inspect_datacenter(
    address: tuple[int, str, int], proxy: Proxy | None, *, timeout: float
) -> DatacenterProbeResult:
    """Probe the datacenter at ``address``, and compare its clock with this machine's.

    The number of an answer begins with the time (core.telegram.org/mtproto/description#message-identifier-msg-id).
    """
    dc_id, host, port = address
    loggers = _SilentLoggers()
    connection: Any = connection_class(proxy)(host, port, dc_id, loggers=loggers, proxy=proxy)
    recorder, nonce = _PacketRecorder(connection), secrets.randbits(127)
    found: DatacenterState = "dark"
    try:
        with anyio.fail_after(timeout):
            await connection.connect(timeout=timeout)
            found = "accepts"
            answer = await MTProtoPlainSender(recorder, loggers=loggers).send(ReqPqMultiRequest(nonce))
        if not isinstance(answer, ResPQ) or answer.nonce != nonce:
            return DatacenterProbeResult(found)
        return DatacenterProbeResult("answers", int.from_bytes(recorder.packet[8:16], "little") / 2**32 - time.time())
    except Exception as exc:  # whatever was received, it is not an answer
        return DatacenterProbeResult("refuses" if _is_refusal(exc) else found)
    finally:
        with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await connection.disconnect()
            # Telethon's connection disconnects by itself when the other side has closed it, in tasks of its own.
            own = (getattr(connection, "_send_task", None), getattr(connection, "_recv_task", None))
            if tasks := {task for task in own if task is not None}:
                await asyncio.wait(tasks)
