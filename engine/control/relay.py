"""Commands that go on to another process: the parent of workers asks them over their sockets."""

import json
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from engine.control.client import CONNECT_TIMEOUT, EngineHangs, EngineSilent
from engine.control.protocol import MAX_ANSWER_BYTES, Request, encode_request, short_address

_FAILURES: Final = (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, ValueError)


async def ask(path: Path, request: Request, *, timeout: float) -> dict[str, Any]:
    """Return the answer of the process that listens at a socket. Raises ``EngineSilent``."""
    answer, connection = await ask_and_hold(path, request, timeout=timeout)
    await anyio.aclose_forcefully(connection)
    return answer


async def ask_and_hold(path: Path, request: Request, *, timeout: float) -> tuple[dict[str, Any], SocketStream]:
    """Do what ``ask`` does, and return the connection, too, which is to be closed. Raises ``EngineSilent``."""
    connection: SocketStream | None = None
    try:
        with anyio.fail_after(CONNECT_TIMEOUT), short_address(path) as address:
            connection = await anyio.connect_unix(address)
        with anyio.fail_after(timeout):
            await connection.send(encode_request(request))
            line = await BufferedByteReceiveStream(connection).receive_until(b"\n", MAX_ANSWER_BYTES)
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("its answer is no object")
    except BaseException as exc:
        if connection is not None:
            await anyio.aclose_forcefully(connection)
        if isinstance(exc, TimeoutError):
            raise EngineHangs(f"{path}: no answer came within {timeout:g} s") from exc
        if isinstance(exc, (*_FAILURES, anyio.DelimiterNotFound)):
            raise EngineSilent(f"{path}: it cannot be reached ({exc})") from exc
        raise
    return answer, connection
