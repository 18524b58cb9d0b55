"""The words between a command and a running engine: one JSON object a line, one answer a line.

``{"do": "pause", "account": "News *"}`` is answered by ``{"ok": true, "accounts": [{"account", "done", "said"}]}``,
what cannot be heard at all by ``{"ok": false, "kind", "error"}``.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from attrs import asdict, frozen

MAX_REQUEST_BYTES: Final = 4096
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
MAX_PATTERN: Final = 256
"""Characters of an account's name or pattern."""
MAX_ADDRESS_BYTES: Final = 100
"""What every system takes as a socket's address; Linux has room for 107 bytes, macOS for 103."""


class Verb(StrEnum):
    """What can be asked for; all but ``info`` and ``jobs`` need an account."""

    INFO = "info"
    JOBS = "jobs"
    """Look at the jobs again: some were added, retried or cancelled."""
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"


ALONE: Final = (Verb.INFO, Verb.JOBS)


class RefusalReason(StrEnum):
    """Why nothing was done."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_ACCOUNT = "unknown_account"
    BUSY = "busy"
    FAILED = "failed"


@frozen
class Request:
    """One wish. ``account`` is a name or a glob of names."""

    do: Verb
    account: str = ""


@frozen
class CommandOutcome:
    """What came of a wish for one account: whether it is as was asked, and a sentence about it."""

    account: str
    done: bool
    said: str


class BadRequest(Exception):
    """A line that is no request; the text says what one is."""


def parse(line: bytes) -> Request:
    """Return the request that a line holds. Raises ``BadRequest`` for any other line, and nothing else."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest('a request is one JSON object on one line, such as {"do": "info"}') from None
    if not isinstance(said, dict) or said.get("do") not in tuple(Verb):
        raise BadRequest(f"a request is a JSON object whose 'do' is one of {', '.join(Verb)}")
    verb = Verb(said["do"])
    alone = verb in ALONE
    if said.keys() - {"do"} != (set() if alone else {"account"}):
        raise BadRequest(f"'{verb}' takes {'nothing else' if alone else 'an account, and nothing else'}")
    account = said.get("account", "")
    if not isinstance(account, str) or len(account) > MAX_PATTERN:
        raise BadRequest(f"'account' is a name or a pattern of at most {MAX_PATTERN} characters")
    return Request(verb, account)


def encode(request: Request) -> bytes:
    """Return the line of a request."""
    said = {"do": request.do} if request.do in ALONE else asdict(request)
    return line_of(said)


def line_of(said: dict[str, Any]) -> bytes:
    """Return an object as a line (ASCII)."""
    return json.dumps(said).encode() + b"\n"


def no(kind: RefusalReason, sentence: str) -> dict[str, Any]:
    """Return the answer that nothing was done."""
    return {"ok": False, "kind": kind, "error": sentence}


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Yield an address of the socket at ``path``, for as long as it takes to bind or to connect.

    The kernel's addresses are short. A longer path is gone round by a link to its directory, in a directory of ours.
    """
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-") as place:
        short = Path(place, "d")
        short.symlink_to(path.parent, target_is_directory=True)
        yield str(short / path.name)
