"""Writes an archive of everything, while the engine runs.

Session files are copied first, then ``engine.db``, then the sandbox. A session that is older than the journal is asked
for what it has missed, and nothing is lost; one that is newer would have got updates of which the journal knows
nothing. An account's login must be the same in both: it is looked at again after the journal was copied, and what has
changed is copied once more. Claims of logins and locks are not copied: they belong to processes.
"""

import gzip
import hashlib
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from attrs import frozen

from adapters.archive import manifest as manifests
from adapters.archive.errors import ArchiveError, Unsettled, is_full, room_of
from adapters.archive.manifest import ArchiveMember, LeftOut, Manifest, Role
from adapters.files import read_file
from adapters.session import file as sessions
from adapters.session.backup import NO_LOGIN, copy_session, flaw_of, open_recovered, take_name
from adapters.sqlite.copy import copy_database, sync_file
from adapters.sqlite.errors import StorageError, unusable
from adapters.sqlite.schema import check_owner, schema_version

ROUNDS: Final = 5
"""How often what has changed meanwhile is copied again."""
LEVEL: Final = 4
"""How hard gzip tries: twice as fast as by default, for a few percent of size."""
UNFINISHED: Final = ".unfinished"
ABANDONED_SECONDS: Final = 3600.0
"""Age at which an unfinished archive is taken for one that a dead process has left."""


@frozen(kw_only=True)
class Source:
    """A file that belongs into an archive."""

    role: Role
    path: Path
    name: str
    """Its name in the archive."""
    place: str
    """As ``Member.place``."""
    account: str = ""


@frozen(kw_only=True)
class Packed:
    """An archive that was written."""

    path: Path
    size: int
    """In bytes."""
    manifest: Manifest


def pack(sources: Sequence[Source], target: Path, *, program: str) -> Packed:
    """Write an archive of these files into a new file for this user alone, which gets its name when it is durable.

    A session that cannot be copied is left out, and the manifest says why. Raises ``ArchiveError``,
    ``DatabaseUnusable`` for an ``engine.db`` that cannot be copied, and ``OSError``.
    """
    if os.path.lexists(target):
        raise ArchiveError(f"{target}: there is a file already, and it is not overwritten; give another name")
    with _workshop(target) as directory, _telling_of_a_full_disk(target):
        made = time.time()
        copies, left_out = _copy_all(sources, directory)
        found = Manifest(
            program=program,
            made=made,
            schema=_schema(directory / "engine.db"),
            members=tuple(_member(source, directory / source.name) for source in copies),
            left_out=left_out,
        )
        unfinished = directory / "archive"
        _write(unfinished, found, directory)
        size = unfinished.stat().st_size
        try:
            take_name(unfinished, target)
        except FileExistsError:
            text = f"{target}: another program has just made this file, and it is not overwritten; give another name"
            raise ArchiveError(text) from None
        sessions.sync_directory(target.absolute().parent)
    return Packed(path=target, size=size, manifest=found)


@contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """Make a private directory beside the target for the block; remove those that dead processes left."""
    parent = target.absolute().parent
    for left in parent.glob(f".*{UNFINISHED}"):
        with suppress(OSError):
            if left.name.startswith(".holdfast-") and time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left)
    directory = Path(tempfile.mkdtemp(prefix=".holdfast-", suffix=UNFINISHED, dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _telling_of_a_full_disk(target: Path) -> Iterator[None]:
    """Tell which disk is full: files that are only read need no room."""
    try:
        yield
    except (OSError, StorageError, sqlite3.Error) as exc:
        if not is_full(exc):
            raise
        raise ArchiveError(
            f"{target}: there is no room for the copies, which are made beside it ({room_of(target)}); free some "
            "space, or give a path on another disk"
        ) from exc


# --- copies ----------------------------------------------------------------------------------------------------------


def _copy_all(sources: Sequence[Source], directory: Path) -> tuple[list[Source], tuple[LeftOut, ...]]:
    """Copy everything that can be copied; return it, and what is left out."""
    by_role = {role: [source for source in sources if source.role is role] for role in Role}
    left_out: dict[str, LeftOut] = {}
    stamps: dict[Source, sessions.StatStamp] = {}
    for source in by_role[Role.SESSION]:
        _copy_session(source, directory, stamps, left_out)
    for _ in range(ROUNDS):
        for source in by_role[Role.DATABASE]:
            _copy_database(source, directory)
        changed = [source for source in by_role[Role.SESSION] if _has_another_login(source, directory, stamps)]
        if not changed:
            break
        for source in changed:
            _copy_session(source, directory, stamps, left_out)
    else:
        raise Unsettled(
            f"{changed[0].path}: its login, or that of {len(changed) - 1} others, changed while it was copied, "
            f"{ROUNDS} times; nothing is backed up, so try again when nobody logs in"
        )
    for role in (Role.SANDBOX, Role.PUBLIC_KEY, Role.CONFIG):
        for source in by_role[role]:
            (_copy_database if source.name.endswith(".db") else _copy_plain)(source, directory)
    ordered = [source for role in (Role.CONFIG, Role.PUBLIC_KEY, Role.SESSION, Role.DATABASE, Role.SANDBOX)
               for source in by_role[role]]  # fmt: skip
    return [each for each in ordered if (directory / each.name).exists()], tuple(left_out.values())


def _copy_session(
    source: Source, directory: Path, stamps: dict[Source, sessions.StatStamp], left_out: dict[str, LeftOut]
) -> None:
    """Copy a session, or note why it is left out."""
    target = directory / source.name
    _clear(target)
    left_out.pop(source.account, None)
    stamps[source] = sessions.stat_stamp(source.path)
    why, expected = "", False
    try:
        if not source.path.exists():
            why, expected = f"{source.path}: there is no such file yet", True
        else:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            copy_session(source.path, target)
            _keep_mode(source.path, target)
            flaw = flaw_of(target)
            why, expected = (f"{source.path}: {flaw}", flaw == NO_LOGIN) if flaw is not None else ("", False)
    except StorageError as exc:
        if is_full(exc):
            raise
        why = str(exc)
    except sqlite3.Error as exc:
        if is_full(exc) or (error := unusable(source.path, exc)) is None:
            raise
        why = str(error)
    except PermissionError as exc:
        why = f"{source.path}: {(exc.strerror or 'it cannot be read').lower()}"
    if why:
        _clear(target)
        left_out[source.account] = LeftOut(account=source.account, why=why, expected=expected)


def _keep_mode(source: Path, target: Path) -> None:
    """Give a copy a write-ahead log if the session has one: ``doctor`` would miss it after a restore."""
    if read_file(source.resolve(), 20)[18:] == b"\2\2":  # SQLite's header
        with closing(sessions.connect(target, mode="rw", timeout=sessions.OPEN_TIMEOUT)) as copy:
            copy.execute("pragma journal_mode = wal")


def _has_another_login(source: Source, directory: Path, stamps: dict[Source, sessions.StatStamp]) -> bool:
    """Return whether a session's login has changed since it was copied; what else it knows may be newer."""
    if stamps[source] == sessions.stat_stamp(source.path):
        return False
    return _key_of(source.path) != _key_of(directory / source.name)


def _key_of(session: Path) -> bytes:
    with suppress(StorageError, sqlite3.Error, OSError), closing(open_recovered(session)) as database:
        return sessions.load_identity(database).key
    return b""


def _copy_database(source: Source, directory: Path) -> None:
    target = directory / source.name
    _clear(target)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    if source.path.exists():
        if source.role is Role.DATABASE:
            check_owner(source.path)
        copy_database(source.path, target)
        if (why := flaw_of_database(target)) is not None:
            raise ArchiveError(
                f"{source.path}: {why}, so nothing is backed up; restore an earlier backup, or start with an empty one"
            )


def _copy_plain(source: Source, directory: Path) -> None:
    target = directory / source.name
    target.parent.mkdir(mode=0o700, exist_ok=True)
    content = read_file(source.path.resolve(), manifests.MAX_CONFIG)
    if source.role is Role.PUBLIC_KEY and (block := manifests.PEM.search(content)) is not None:
        content = block[0]  # without what is written around it, which nobody reads
    target.write_bytes(content)


def flaw_of_database(path: Path) -> str | None:
    """Return what SQLite finds wrong with a complete file that nobody has open; None if it is intact. Writes nothing.

    It takes as long as reading all of the file.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as database:
            found = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.Error as exc:
        return f"the database is damaged ({exc})"
    return None if found == "ok" else "the database is damaged"


def _clear(target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    sessions.remove(target)


def _schema(database: Path) -> int | None:
    if not database.exists():
        return None
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?immutable=1", uri=True)) as read:
        return schema_version(read, database)


# --- the file --------------------------------------------------------------------------------------------------------


def _member(source: Source, copy: Path) -> ArchiveMember:
    with copy.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ArchiveMember(
        name=source.name, role=source.role, place=source.place, account=source.account,
        size=copy.stat().st_size, sha256=digest,
    )  # fmt: skip


def _write(path: Path, found: Manifest, directory: Path) -> None:
    """Write the archive, and make it durable. Raises ``OSError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        zipped = gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=raw, mtime=int(found.made))
        with zipped, tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as tar:
            content = manifests.encode(found)
            _add(tar, manifests.NAME, len(content), BytesIO(content), found.made)
            for member in found.members:
                with (directory / member.name).open("rb") as file:
                    _add(tar, member.name, member.size, file, found.made)
                (directory / member.name).unlink()  # the room is for the archive
    sync_file(path)


def _add(tar: tarfile.TarFile, name: str, size: int, content: IO[bytes], at: float) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(at)
    tar.addfile(entry, content)


def sources_of_sessions(found: Iterable[tuple[str, Path]], place: "PlaceOf") -> Iterator[Source]:
    """Yield the sessions of accounts, given by name and path, as they are called in an archive."""
    for number, (account, path) in enumerate(found, 1):
        yield Source(
            role=Role.SESSION, path=path, name=f"sessions/{number:04}.session", place=place(path), account=account
        )


@frozen
class PlaceOf:
    """Says where a file belongs, seen from the config: relative to its directory, or absolute outside of it."""

    folder: Path
    """The config's directory, without links."""

    def __call__(self, path: Path) -> str:
        """Return the place of a file."""
        with suppress(ValueError):
            return path.relative_to(self.folder).as_posix()
        return path.as_posix()
