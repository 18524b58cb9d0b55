"""The side of the command: one request, one answer, then it hangs up."""

import json
import socket
import time
from pathlib import Path
from typing import Any

from engine.control.protocol import MAX_ANSWER_BYTES, Request, encode, reachable

CONNECT_TIMEOUT = 5.0
"""Seconds that the engine gets to pick up."""


class EngineSilent(Exception):
    """Nobody listens at the socket, or there is no answer; the text says which."""


def ask(path: Path, request: Request, *, timeout: float) -> dict[str, Any]:
    """Return the engine's answer, which must come within ``timeout`` seconds. Raises ``EngineSilent``."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(CONNECT_TIMEOUT)
            with reachable(path) as address:
                line.connect(address)
            line.sendall(encode(request))
            answer = json.loads(_read_line(line, time.monotonic() + timeout))
    except TimeoutError:
        raise EngineSilent(
            f"the engine does not answer; what was asked may still be done (waited {timeout:g} s)"
        ) from None
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise EngineSilent(f"{path}: the engine cannot be reached ({why.lower()})") from exc
    if not isinstance(answer, dict):
        raise EngineSilent(f"{path}: whoever answers there is no engine")
    return answer


def _read_line(line: socket.socket, until: float) -> bytes:
    read = bytearray()
    while not read.endswith(b"\n"):
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        line.settimeout(left)
        chunk = line.recv(65536)
        if not chunk:
            raise ConnectionError("it ended before it answered")
        read += chunk
        if len(read) > MAX_ANSWER_BYTES:
            raise ValueError("its answer is too long")
    return bytes(read)
