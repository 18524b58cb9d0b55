"""Directories and disks: there, this user's alone, writable, with space."""

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


def directory(about: str, path: Path, *, fix: bool) -> Iterator[Finding]:
    """Say whether a directory can be used; one that does not exist is made by ``run``."""
    if not path.exists():
        above = existing(path)
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            yield Finding(about, True, f"{path} does not exist yet; run makes it")
        else:
            text = f"{path} does not exist and cannot be made in {above}"
            yield Finding(about, False, text, command("ls", "-ld", above))
        return
    if not path.is_dir():
        yield Finding(about, False, f"{path} is a file where a directory should be", command("ls", "-ld", path))
        return
    faults = list(private(about, path, fix=fix))
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        faults.append(Finding(about, False, f"{path} cannot be written by this user", _writable(path)))
    yield from faults or [Finding(about, True, f"{path} can be written, and is its owner's alone")]


def private(about: str, path: Path, *, fix: bool) -> Iterator[Finding]:
    """Say so if others than its owner can use a file or directory; ``fix`` makes it its owner's alone."""
    mode = loose_permissions(path)
    if mode is None:
        return
    text = f"{path} can be used by others (mode {mode:o})"
    if path.is_dir() and is_shared(path):
        yield Finding(about, None, f"{text}, and is not this program's alone; give sessions a directory of their own")
        return
    closed = mode & 0o700
    mend = command("chmod", f"{closed:o}", path)
    if not fix:
        yield Finding(about, False, text, mend)
        return
    try:
        path.chmod(closed)
    except OSError as exc:
        why = (exc.strerror or type(exc).__name__).lower()
        yield Finding(about, False, f"{text}, and that cannot be changed ({why})", f"sudo {mend}")
    else:
        yield Finding(about, True, f"{path} is its owner's alone now", fixed=True)


def writable(about: str, path: Path) -> Iterator[Finding]:
    """Say so if this user cannot write a file."""
    if not os.access(path, os.R_OK | os.W_OK):
        yield Finding(about, False, f"{path} cannot be read and written by this user", _writable(path))


def space(paths: Iterable[Path]) -> Iterator[Finding]:
    """Say how much is free on each disk on which something lies."""
    disks: dict[int, Path] = {}
    for path in map(existing, paths):
        disks.setdefault(path.stat().st_dev, path)
    for path in disks.values():
        free = shutil.disk_usage(path).free
        enough = free >= MIN_FREE_BYTES
        text = f"{free / 10**6:,.0f} MB are free for {path}"
        yield Finding("disk", enough, text, "" if enough else f"free some space; see: {command('df', '-h', path)}")


def existing(path: Path) -> Path:
    """Return a path, or the nearest directory above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def _writable(path: Path) -> str:
    own = path.stat().st_uid == os.geteuid()
    return command("chmod", "u+rwX", path) if own else command("sudo", "chown", os.geteuid(), path)
