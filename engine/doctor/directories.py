"""Checks of directories and disks: whether they exist, are private and writable, and have space."""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from adapters.session.inspect import is_shared, loose_permissions
from engine.console.shell import command
from engine.doctor.findings import Finding

MIN_FREE_BYTES: Final = 100 * 10**6
"""Bytes that should be free."""


def check_directory(about: str, path: Path, *, fix: bool) -> Iterator[Finding]:
    """Yield whether a directory can be used; ``run`` creates one that does not exist."""
    if not path.exists():
        above = nearest_existing(path)
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            yield Finding(about, True, f"{path} does not exist yet; run creates it")
        else:
            text = f"{path} does not exist and cannot be created in {above}"
            yield Finding(about, False, text, command("ls", "-ld", above))
        return
    if not path.is_dir():
        yield Finding(about, False, f"{path} is a file where a directory should be", command("ls", "-ld", path))
        return
    faults = list(check_private(about, path, fix=fix))
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        faults.append(Finding(about, False, f"{path} cannot be written by this user", _write_remedy(path)))
    yield from faults or [Finding(about, True, f"{path} can be written, and is private to its owner")]


def check_private(about: str, path: Path, *, fix: bool) -> Iterator[Finding]:
    """Yield a finding if other users can use a file or directory; ``fix`` makes it private to its owner."""
    mode = loose_permissions(path)
    if mode is None:
        return
    text = f"{path} can be used by others (mode {mode:o})"
    if path.is_dir() and is_shared(path):
        yield Finding(about, None, f"{text}, and other programs use it too; give sessions a directory of their own")
        return
    closed = mode & 0o700
    remedy = command("chmod", f"{closed:o}", path)
    if not fix:
        yield Finding(about, False, text, remedy)
        return
    try:
        path.chmod(closed)
    except OSError as exc:
        why = (exc.strerror or type(exc).__name__).lower()
        yield Finding(about, False, f"{text}, and that cannot be changed ({why})", f"sudo {remedy}")
    else:
        yield Finding(about, True, f"{path} is private to its owner now", fixed=True)


def check_writable(about: str, path: Path) -> Iterator[Finding]:
    """Yield a finding if this user cannot write a file."""
    if not os.access(path, os.R_OK | os.W_OK):
        yield Finding(about, False, f"{path} cannot be read and written by this user", _write_remedy(path))


def check_space(paths: Iterable[Path]) -> Iterator[Finding]:
    """Yield the free space of each disk that holds one of ``paths``."""
    disks: dict[int, Path] = {}
    for path in map(nearest_existing, paths):
        disks.setdefault(path.stat().st_dev, path)
    for path in disks.values():
        free = shutil.disk_usage(path).free
        enough = free >= MIN_FREE_BYTES
        text = f"{free / 10**6:,.0f} MB are free for {path}"
        yield Finding("disk", enough, text, "" if enough else f"free some space; see: {command('df', '-h', path)}")


def nearest_existing(path: Path) -> Path:
    """Return a path if it exists, else the nearest directory above it that does."""
    return next(each for each in (path, *path.parents) if each.exists())


def _write_remedy(path: Path) -> str:
    found = path.stat()
    own = found.st_uid == os.geteuid()
    if own and found.st_mode & 0o600 == 0o600:  # not its mode: an attribute (chattr), or a disk that is read-only
        return "; ".join((command("lsattr", "-d", path), command("findmnt", "-T", path)))
    return command("chmod", "u+rwX", path) if own else command("sudo", "chown", os.geteuid(), path)
