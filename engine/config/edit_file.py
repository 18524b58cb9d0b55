"""Writes an edited config in the place of the one before: whole or not at all, and only if an engine would take it."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.config.document import MAX_SIZE
from engine.config.load import ConfigError, load

if TYPE_CHECKING:
    from engine.config.types import Config

BACKUP: Final = ".bak"
"""What is added to the name of a config for the copy of what it was before the last edit."""


class EditRefused(Exception):
    """The file was not changed; the text is a sentence."""


def edit_file(path: Path, change: Callable[[str], str]) -> "Config":
    """Change the text of a config file, and return the config that it is then.

    What cannot be used is not written. The file keeps its mode and owner, a link stays a link, and what the file was
    is beside it under the name that ends in ``.bak``. Raises ``ConfigError``, ``EditRefused``, ``OSError``, and what
    ``change`` raises.
    """
    real = Path(os.path.realpath(path))  # what a link names is changed; relative paths in it start at the link
    before = _read(real)
    try:
        text = before.decode("utf-8")
    except UnicodeDecodeError:
        raise EditRefused(f"{path}: the file is not UTF-8; save it as UTF-8, and try again") from None
    after = change(text).encode("utf-8")
    if len(after) > MAX_SIZE:
        raise EditRefused(f"{path}: with this the file is larger than {MAX_SIZE:,} bytes, the most that it may have")
    config = _checked(path, after)
    if _read(real) != before:
        raise EditRefused(f"{path}: somebody else has changed the file in this moment; look at it, and try again")
    _put(real.with_name(real.name + BACKUP), before, real)
    _put(real, after, real)
    return config


def _checked(path: Path, content: bytes) -> "Config":
    """Return the config that a file with this content would be. Raises ``ConfigError``, which names the file."""
    trial = path.absolute().with_name(f".{path.name}.{os.getpid()}.yaml")
    _write(trial, content, 0o600)
    try:
        return load(trial)
    except ConfigError as exc:
        raise ConfigError(path, [each.replace(trial.name, path.name) for each in exc.problems]) from None
    finally:
        trial.unlink(missing_ok=True)


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
