"""The command's side of the socket: it connects, sends one request, reads one answer and closes."""

import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine import paths
from engine.control.protocol import (
    MAX_ANSWER_BYTES,
    CommandOutcome,
    Request,
    Unwritten,
    Verb,
    encode_request,
    short_address,
)
from states.waits import RequestWait

if TYPE_CHECKING:  # what asks the engine to look needs the outline alone
    from engine.config import Config

CONNECT_TIMEOUT: Final = 5.0
"""Seconds that the engine has to accept the connection."""
BEYOND_GRACE_TIMEOUT: Final = 40.0
"""Seconds to wait beyond the grace of ``shutting_down``. The engine itself gives up on a command before that."""


class EngineSilent(Exception):
    """The socket does not accept a connection, or no answer came; the text says which."""


class EngineHangs(EngineSilent):
    """The engine took the connection, and no answer came in time."""


class CommandRefused(Exception):
    """The engine refuses the command; ``kind`` is a ``RefusalReason``, and the text is the engine's sentence."""

    def __init__(self, kind: str | None, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def ask_to_look(directory: Path, *, timeout: float) -> Unwritten | None:
    """Have the engine on this data read the jobs again, and look at its database. Raises as ``send_command`` does.

    Returns what the engine could not store: what is read from the database then is older.
    """
    return look(directory, timeout=timeout)[0]


def look(directory: Path, *, timeout: float) -> tuple[Unwritten | None, dict[str, tuple[RequestWait, ...]]]:
    """Do what ``ask_to_look`` does; return besides which requests wait in place, by account."""
    answer = ask(directory / paths.SOCKET, Request(Verb.JOBS), timeout=timeout)
    _outcomes(answer)
    given = answer.get("waits")
    waits = {name: _waits(found) for name, found in given.items()} if isinstance(given, dict) else {}
    match answer.get("unwritten"):
        case {"rows": int(rows), "why": str(why)}:
            return Unwritten(rows, why), waits
    return None, waits


def _waits(found: Any) -> tuple[RequestWait, ...]:
    """Return what an engine says of one account; what another version says otherwise is left out."""
    made = []
    for each in found if isinstance(found, list) else ():
        match each:
            case [str(request), int() | float() as until, int(count)]:
                made.append(RequestWait(request, float(until), count))
    return tuple(made)


def ask_memory(directory: Path, *, timeout: float) -> dict[str, Any]:
    """Return what each account of the engine on this data has in memory, by its name. Raises as ``send_command``.

    An engine of an earlier version refuses.
    """
    answer = ask(directory / paths.SOCKET, Request(Verb.MEMORY), timeout=timeout)
    _outcomes(answer)
    found = answer.get("memory")
    return {name: each for name, each in found.items() if isinstance(each, dict)} if isinstance(found, dict) else {}


def send_command(config: "Config", verb: Verb, account: str = "") -> list[CommandOutcome]:
    """Send a command to the engine that runs on the config's data; return its outcome for each account.

    ``account`` is a name or a pattern of names. It waits longer than the engine may take. Raises ``EngineSilent``, and
    ``CommandRefused`` if the engine did nothing.
    """
    timeout = config.states.shutting_down.grace + BEYOND_GRACE_TIMEOUT
    return send_to(config.storage.directory, verb, account, timeout=timeout)


def send_to(directory: Path, verb: Verb, account: str, *, timeout: float) -> list[CommandOutcome]:
    """Send a command to the engine on this data, which has ``timeout`` seconds. Raises as ``send_command`` does."""
    return _outcomes(ask(directory / paths.SOCKET, Request(verb, account), timeout=timeout))


def hold(config: "Config", account: str) -> tuple[CommandOutcome, socket.socket]:
    """Have the engine pause an account until the socket is closed, which the end of this process does as well.

    Raises as ``send_command`` does.
    """
    path = config.storage.directory / paths.SOCKET
    timeout = config.states.shutting_down.grace + BEYOND_GRACE_TIMEOUT
    with ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX))
        (outcome,) = _outcomes(_exchange(connection, path, Request(Verb.HOLD, account), timeout))
        stack.pop_all()
        return outcome, connection


def _outcomes(answer: dict[str, Any]) -> list[CommandOutcome]:
    if not answer.get("ok"):
        raise CommandRefused(answer.get("kind"), str(answer.get("error")))
    return [CommandOutcome(each["account"], each["done"], each["said"]) for each in answer.get("accounts", ())]


def ask(path: Path, request: Request, *, timeout: float) -> dict[str, Any]:
    """Return the engine's answer, which must come within ``timeout`` seconds. Raises ``EngineSilent``."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            return _exchange(connection, path, request, timeout)
    except OSError as exc:  # no descriptor for a socket
        raise EngineSilent(f"{path}: the engine cannot be reached ({(exc.strerror or str(exc)).lower()})") from exc


def _exchange(connection: socket.socket, path: Path, request: Request, timeout: float) -> dict[str, Any]:
    try:
        connection.settimeout(CONNECT_TIMEOUT)
        with short_address(path) as address:
            connection.connect(address)
        connection.sendall(encode_request(request))
        answer = json.loads(_read_line(connection, time.monotonic() + timeout))
    except TimeoutError:
        raise EngineHangs(
            f"the engine does not answer; what was asked may still be done (waited {timeout:g} s)"
        ) from None
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise EngineSilent(f"{path}: the engine cannot be reached ({why.lower()})") from exc
    if not isinstance(answer, dict):
        raise EngineSilent(f"{path}: what answers there is not an engine")
    return answer


def _read_line(connection: socket.socket, until: float) -> bytes:
    """Return a line; ``until`` is on the monotonic clock."""
    received = bytearray()
    while not received.endswith(b"\n"):
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("it closed the connection before it answered")
        received += chunk
        if len(received) > MAX_ANSWER_BYTES:
            raise ValueError("its answer is too long")
    return bytes(received)
