"""The protocol between a command and a running engine: a request is a line of JSON, and so is its answer.

``{"do": "pause", "account": "News *"}`` is answered by ``{"ok": true, "accounts": [{"account", "done", "said"}]}``,
``{"do": "reload", "config": "/etc/holdfast.yaml", "dry_run": true}`` by ``{"ok": true, "applied", "difference",
"lines"}``.
``{"do": "request", "program": "reporter", "account": "Account 1", "layer": 200}`` is answered by ``{"ok": true,
"account", "datacenter", "in_flight"}``; after that both sides send the frames of ``engine/remote/frames.py``.
A request that the engine refuses is answered by ``{"ok": false, "kind", "error"}``.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from attrs import frozen

MAX_REQUEST_BYTES: Final = 4096
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
MAX_PATTERN: Final = 256
"""Characters in an account's name or pattern."""
MAX_ADDRESS_BYTES: Final = 100
"""Length of a socket's address that every system accepts; Linux allows 107 bytes, macOS 103."""


class Verb(StrEnum):
    """The commands; ``pause``, ``hold``, ``resume`` and ``retry`` need an account."""

    INFO = "info"
    MEMORY = "memory"
    """Say what each account has in memory."""
    JOBS = "jobs"
    """Read the jobs again: some were added, retried or cancelled."""
    PAUSE = "pause"
    HOLD = "hold"
    """Pause until the connection that asks for it is closed, as it is when its process ends, however it does."""
    RESUME = "resume"
    RETRY = "retry"
    RELOAD = "reload"
    """Read the config again, and apply it unless it is a dry run."""
    REPORT = "report"
    """Say how this worker is: asked by its parent."""
    METRICS = "metrics"
    """Return the series of this worker: asked by its parent."""
    REQUEST = "request"
    """Let another program send requests with an account, by frames on this connection."""


WITHOUT_ACCOUNT: Final = (Verb.INFO, Verb.JOBS, Verb.MEMORY, Verb.REPORT, Verb.METRICS)


class RefusalReason(StrEnum):
    """Why the engine did nothing."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_ACCOUNT = "unknown_account"
    BUSY = "busy"
    FAILED = "failed"
    BAD_CONFIG = "bad_config"
    """The config, or a module in it, cannot be used; nothing was applied."""
    REFUSED = "refused"
    """What is asked for cannot be done while the engine runs; nothing of it was."""
    ELSEWHERE = "elsewhere"
    """Another node has the account; the answer has its data directory, if that is on this machine."""


@frozen
class Request:
    """One command. ``account`` is a name or a pattern of names; ``config`` and ``dry_run`` are those of a reload.

    ``program`` and ``layer`` are what a program calls itself, and the version of Telegram's protocol that it speaks.
    """

    do: Verb
    account: str = ""
    config: str = ""
    """The absolute path of the config that the command was given."""
    dry_run: bool = False
    program: str = ""
    layer: int = 0


@frozen
class Unwritten:
    """What the engine knows and could not store yet, so that no other process sees it in the database."""

    rows: int
    why: str


@frozen
class CommandOutcome:
    """What a command did to one account: ``done`` if the account is as the command demands, and a sentence."""

    account: str
    done: bool
    said: str


class BadRequest(Exception):
    """The line is not a request; the text says what a request looks like."""


def parse_request(line: bytes) -> Request:
    """Return the request in a line. Raises ``BadRequest`` for any other line, and nothing else."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest('a request is one JSON object on one line, such as {"do": "info"}') from None
    if not isinstance(values, dict) or values.get("do") not in tuple(Verb):
        raise BadRequest(f"a request is a JSON object whose 'do' is one of {', '.join(Verb)}")
    verb = Verb(values["do"])
    if verb is Verb.RELOAD:
        return _parse_reload(values)
    if verb is Verb.REQUEST:
        return _parse_program(values)
    alone = verb in WITHOUT_ACCOUNT
    if values.keys() - {"do"} != (set() if alone else {"account"}):
        raise BadRequest(f"'{verb}' takes {'nothing else' if alone else 'an account, and nothing else'}")
    account = values.get("account", "")
    if not isinstance(account, str) or len(account) > MAX_PATTERN:
        raise BadRequest(f"'account' is a name or a pattern of at most {MAX_PATTERN} characters")
    return Request(verb, account)


def _parse_reload(values: dict[str, Any]) -> Request:
    """Return a request for a reload. Raises ``BadRequest``."""
    config, dry_run = values.get("config"), values.get("dry_run")
    fits = isinstance(config, str) and "\0" not in config and isinstance(dry_run, bool)
    if values.keys() != {"do", "config", "dry_run"} or not fits:
        raise BadRequest("'reload' takes 'config', the path of a config, and 'dry_run', true or false")
    return Request(Verb.RELOAD, config=str(config), dry_run=bool(dry_run))


def _parse_program(values: dict[str, Any]) -> Request:
    """Return the request of a program to be let in. Raises ``BadRequest``."""
    program, account, layer = values.get("program"), values.get("account"), values.get("layer")
    texts = all(isinstance(each, str) and 0 < len(each) <= MAX_PATTERN for each in (program, account))
    if values.keys() != {"do", "program", "account", "layer"} or not texts or type(layer) is not int:
        raise BadRequest(f"'request' takes 'program' and 'account', names of at most {MAX_PATTERN} characters, 'layer'")
    return Request(Verb.REQUEST, account=str(account), program=str(program), layer=layer)


def encode_request(request: Request) -> bytes:
    """Return a request as a line."""
    values: dict[str, Any] = {"do": request.do}
    if request.do is Verb.RELOAD:
        values |= {"config": request.config, "dry_run": request.dry_run}
    elif request.do is Verb.REQUEST:
        values |= {"program": request.program, "account": request.account, "layer": request.layer}
    elif request.do not in WITHOUT_ACCOUNT:
        values["account"] = request.account
    return encode_line(values)


def encode_line(values: dict[str, Any]) -> bytes:
    """Return an object as a line of JSON (ASCII)."""
    return json.dumps(values).encode() + b"\n"


def refuse(kind: RefusalReason, sentence: str) -> dict[str, Any]:
    """Return the answer to a request that is refused."""
    return {"ok": False, "kind": kind, "error": sentence}


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Yield an address of the socket at ``path`` for as long as it takes to bind or to connect.

    The kernel limits the length of an address. A longer path is reached through a symbolic link to its directory, which
    lies in a temporary directory.
    """
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield str(path)
        return
    import tempfile  # noqa: PLC0415 - few paths are that long

    with tempfile.TemporaryDirectory(prefix="holdfast-") as directory:
        short = Path(directory, "d")
        short.symlink_to(path.parent, target_is_directory=True)
        yield str(short / path.name)
