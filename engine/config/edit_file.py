"""Writes an edited config in the place of the one before: whole or not at all, and only if an engine would take it."""

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.config.document import MAX_SIZE
from engine.config.load import config_of

if TYPE_CHECKING:
    from engine.config.types import Config

BACKUP: Final = ".bak"
"""What is added to the name of a config for the copy of what it was before the last edit."""
_OTHERS: Final = 10.0
"""Seconds to wait for other edits of files in the same directory."""


class EditRefused(Exception):
    """The file was not changed; the text is a sentence."""


def edit_file(path: Path, change: Callable[[str], str]) -> "Config":
    """Change the text of a config file, and return the config that it is then.

    What cannot be used is not written. The file keeps its mode and owner, a link stays a link, and what the file was
    is beside it under the name that ends in ``.bak``. Edits at the same time come one after another. Raises
    ``ConfigError``, ``EditRefused``, and what ``change`` raises.
    """
    real = Path(os.path.realpath(path))  # what a link names is changed; relative paths in it start at the link
    if not real.is_file():
        raise EditRefused(f"{path}: only a file on a disk can be edited")
    try:
        with _alone(real):
            return _edit(path, real, change)
    except PermissionError as exc:
        where = f"{real.parent} cannot be written to ({(exc.strerror or 'not allowed').lower()})"
        raise EditRefused(f"{path}: {where}, and the file is replaced as a whole; see to its permissions") from None
    except OSError as exc:
        why = (exc.strerror or type(exc).__name__).lower()
        raise EditRefused(f"{path}: the file could not be replaced ({why}); it is as it was") from None


def _edit(path: Path, real: Path, change: Callable[[str], str]) -> "Config":
    before = _read(real)
    try:
        text = before.decode("utf-8")
    except UnicodeDecodeError:
        raise EditRefused(f"{path}: the file is not UTF-8; save it as UTF-8, and try again") from None
    after = change(text).encode("utf-8")
    if len(after) > MAX_SIZE:
        raise EditRefused(f"{path}: with this the file is larger than {MAX_SIZE:,} bytes, the most that it may have")
    config = config_of(path, after)
    if _read(real) != before:
        raise EditRefused(f"{path}: somebody else has changed the file in this moment; look at it, and try again")
    _put(real.with_name(real.name + BACKUP), before, real)
    _put(real, after, real)
    return config


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold off other edits in the block, by a lock on the directory: the file itself is another one after each."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        give_up = time.monotonic() + _OTHERS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise EditRefused(f"{path}: another edit is under way; wait for its end, and try again") from None
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_SIZE + 1)
    if len(content) > MAX_SIZE:
        raise EditRefused(f"{path}: the file is larger than {MAX_SIZE:,} bytes, the most that a config may have")
    return content


def _put(path: Path, content: bytes, like: Path) -> None:
    """Put a file in place at once, with the mode and, where that is allowed, the owner of another."""
    found = like.stat()
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        _write(new, content, stat.S_IMODE(found.st_mode))
        with suppress(PermissionError):
            os.chown(new, found.st_uid, found.st_gid)
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
