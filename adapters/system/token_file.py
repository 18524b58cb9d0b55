"""The file with a token: made once for this user alone, and read only while nobody else can read or write it."""

import errno
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from adapters.files import open_file

_BYTES: Final = 32
"""Of a token that is made."""
_MAX_FILE: Final = 4096
_TOKEN: Final = re.compile(r"[A-Za-z0-9_~.-]{16,256}")
"""What can stand in a link as it is, and cannot be guessed."""


class TokenUnusable(Exception):
    """A file with a token cannot be used; the text is a sentence with its path, and never has what is in it."""


def read_or_make_token(path: Path) -> str:
    """Return the token in a file; one that does not exist is made with a new token. Blocks. Raises ``TokenUnusable``.

    The file appears whole or not at all, and of two programs that make it at once, one does: both get one token.
    """
    try:
        try:
            return _read(path)
        except FileNotFoundError:
            _make(path)
            return _read(path)
    except OSError as exc:
        advice = "; make its directory, or name another file" if exc.errno == errno.ENOENT else ""
        raise TokenUnusable(f"{path}: the token cannot be kept there ({_why(exc)}){advice}") from exc


def read_token(path: Path) -> str | None:
    """Return the token in a file, None if there is no such file. Blocks. Raises ``TokenUnusable``."""
    try:
        return _read(path)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise TokenUnusable(f"{path}: the token cannot be read ({_why(exc)})") from exc


def _read(path: Path) -> str:
    descriptor = open_file(path, os.O_RDONLY)
    try:
        found, content = os.fstat(descriptor), os.read(descriptor, _MAX_FILE)
    finally:
        os.close(descriptor)
    if found.st_uid not in (0, os.geteuid()):
        raise TokenUnusable(f"{path}: the file belongs to another user, who knows the token; delete it")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise TokenUnusable(
            f"{path}: other users may read or change the token (its mode is {stat.S_IMODE(found.st_mode):o}); "
            "delete it, and a new one is made, or take it from them: chmod 600"
        )
    token = content.strip()
    if not token:
        raise TokenUnusable(f"{path}: the file is empty; delete it, and one with a new token is made")
    if not _TOKEN.fullmatch(text := token.decode("latin-1")):
        raise TokenUnusable(
            f"{path}: must be one word of 16 to 256 letters, digits, and - _ . ~; delete the file, and one with a new "
            "token is made"
        )
    return text


def _make(path: Path) -> None:
    """Make the file, unless another program makes it at this moment."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _why(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()
