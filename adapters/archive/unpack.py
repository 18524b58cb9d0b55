"""Reads an archive, which may be hostile: nothing in it decides where something is written, or how much.

Only the manifest's files are taken, in its order, each a plain file of exactly the size that it says; everything else
(links, devices, directories, other names, longer headers) ends the reading. What may be read next is set before each
step, so neither a header nor what the archive unpacks to can take more memory or disk than that.
"""

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from attrs import define, field

from adapters.archive import manifest as manifests
from adapters.archive.errors import ArchiveTooNew, BadArchive
from adapters.archive.manifest import ArchiveMember, Manifest

CHUNK: Final = 1 << 20
HEADERS: Final = 64 * 1024
"""Bytes that a file's headers may have; those of an archive that this program wrote have 512."""
MAX_RATIO: Final = 200
"""How many times as long as the archive its files may be: an ``engine.db`` is 5 to 20 times as long."""
RATIO_FROM: Final = 64 * 1024 * 1024
"""Bytes from which that is asked."""
_DAMAGED: Final = "it is no archive of Holdfast's, or it is damaged ({}); choose another file"

Open = Callable[[ArchiveMember], IO[bytes]]


class _Overlong(Exception):
    """The archive wants to be read further than it may be."""


@define(eq=False)
class _Metered:
    """What the archive unpacks to, forward only, and never more than ``allowance`` bytes before that is set again."""

    source: gzip.GzipFile
    allowance: int = 0
    _at: int = field(default=0, init=False)

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes. Raises ``_Overlong``."""
        if not 0 <= size <= self.allowance:
            raise _Overlong
        content = self.source.read(size)
        self.allowance -= len(content)
        self._at += len(content)
        return content

    def tell(self) -> int:
        """Return how much was read."""
        return self._at

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """Read on to a place. Raises ``_Overlong`` for one that lies behind."""
        if whence != io.SEEK_SET or place < self._at:
            raise _Overlong
        while self._at < place and self.read(min(CHUNK, place - self._at)):
            pass
        return self._at


def read_manifest(archive: Path) -> Manifest:
    """Return what an archive says of itself; only its beginning is read. Raises ``BadArchive`` and ``OSError``."""
    with _opened(archive) as (tar, meter, size):
        return _manifest(tar, meter, size)


def unpack(archive: Path, opened: Open, *, expected: Manifest) -> None:
    """Write the files of an archive, and check that each is what the manifest says, to the last bit.

    ``opened`` returns the open file for each of them. ``expected`` is the manifest that was read before: an archive
    that has another one now was replaced meanwhile. Raises ``BadArchive``, ``ArchiveTooNew`` and ``OSError``.
    """
    with _opened(archive) as (tar, meter, size):
        if _manifest(tar, meter, size) != expected:
            raise BadArchive("it was replaced while it was read; try again")
        for member in expected.members:
            _next(tar, meter, member.name, member.size)
            with opened(member) as file:
                digest = hashlib.sha256()
                for chunk in _content(meter, member.size):
                    digest.update(chunk)
                    file.write(chunk)
                if digest.hexdigest() != member.sha256:
                    raise BadArchive(f"{member.name} in it is not what was backed up; choose another archive")
                file.flush()
                os.fsync(file.fileno())
        meter.allowance = HEADERS
        if tar.next() is not None:
            raise BadArchive("it has files of which its manifest says nothing; nothing of it is restored")


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[tarfile.TarFile, _Metered, int]]:
    """Open an archive; every error of what it is made of becomes a sentence that begins with its path."""
    descriptor = os.open(archive, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):  # asked before Python makes a file of it, which a directory refuses
        os.close(descriptor)
        raise BadArchive(f"{archive}: this is no file; give the path of an archive that 'backup' has made")
    with os.fdopen(descriptor, "rb") as raw:
        try:
            with gzip.GzipFile(fileobj=raw, mode="rb") as zipped:
                meter = _Metered(zipped, HEADERS)
                # Without compression of its own, because that is measured here.
                with tarfile.open(fileobj=meter, mode="r:") as tar:  # type: ignore[call-overload]  # reads and seeks
                    yield tar, meter, found.st_size
        except _Overlong:
            text = f"{archive}: it unpacks to more than it says, or its headers do; nothing of it is restored"
            raise BadArchive(text) from None
        except ArchiveTooNew as exc:
            raise ArchiveTooNew(f"{archive}: {exc}") from exc.__cause__
        except BadArchive as exc:
            raise BadArchive(f"{archive}: {exc}") from exc.__cause__
        except (gzip.BadGzipFile, zlib.error, EOFError, tarfile.TarError) as exc:
            raise BadArchive(f"{archive}: {_DAMAGED.format(exc)}") from exc
        except (ValueError, IndexError, OverflowError, RecursionError) as exc:  # what tarfile makes of odd headers
            raise BadArchive(f"{archive}: {_DAMAGED.format(type(exc).__name__)}") from exc


def _manifest(tar: tarfile.TarFile, meter: _Metered, archive_size: int) -> Manifest:
    size = _next(tar, meter, manifests.NAME, None)
    if size > manifests.MAX_BYTES:
        raise BadArchive("its manifest is longer than any; choose another file")
    found = manifests.decode(b"".join(_content(meter, size)))
    if found.size > RATIO_FROM and found.size > MAX_RATIO * archive_size:
        raise BadArchive(
            f"it would unpack to {found.size // archive_size} times its size, as no backup does; nothing of it is "
            "restored"
        )
    return found


def _next(tar: tarfile.TarFile, meter: _Metered, name: str, size: int | None) -> int:
    """Go on to the next file, which must be this one, and return its size."""
    meter.allowance = HEADERS
    entry = tar.next()  # the first call returns what opening has read
    if entry is None:
        raise BadArchive(f"{name} is missing in it: it was cut short, or is no archive of Holdfast's")
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.sparse or entry.pax_headers:
        raise BadArchive("it has a link, a device or something else that is no plain file; nothing of it is restored")
    if entry.name != name:
        raise BadArchive("it has files of which its manifest says nothing, or has them in another order")
    if size is not None and entry.size != size:
        raise BadArchive(f"{name} in it has another size than its manifest says; nothing of it is restored")
    meter.allowance = entry.size
    return entry.size


def _content(meter: _Metered, size: int) -> Iterator[bytes]:
    """Yield the content of the file that was gone to."""
    meter.allowance = left = size
    while left:
        chunk = meter.read(min(CHUNK, left))
        if not chunk:
            raise BadArchive("it was cut short; choose another archive")
        left -= len(chunk)
        yield chunk
