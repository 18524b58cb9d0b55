"""Puts the files of an archive in their places: all are written and checked first, then each takes its name at once.

What was there is kept under another name. A file that is there already as the archive has it is left alone, so that a
restore that was killed is simply given again: until it is done, a mark keeps engines from running on the data.
"""

import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from attrs import frozen

from adapters.archive.checks import check_content
from adapters.archive.errors import ArchiveError, ArchiveTooNew, BadArchive, DataInUse, ForeignOwner, is_full, room_of
from adapters.archive.manifest import ArchiveMember, Manifest, Role
from adapters.archive.marker import remove_mark, set_mark
from adapters.archive.unpack import read_manifest, unpack
from adapters.files import COMPANIONS, read_file
from adapters.session.file import sync_directory
from adapters.session.owner import OwnerLock
from adapters.sqlite.connect import create_directories
from adapters.sqlite.schema import VERSION
from adapters.system import EngineLock
from adapters.system.kernel_locks import users_of

UNFINISHED: Final = ".restoring"
CLAIM_SECONDS: Final = 2.0
"""How long a command may go on with ``engine.db`` before it counts as a program that uses it."""
_ORDER: Final = (Role.SESSION, Role.PUBLIC_KEY, Role.SANDBOX, Role.DATABASE, Role.CONFIG)
"""The config comes last: it says where the others are."""
_SQLITE: Final = b"SQLite format 3\0"


@frozen(kw_only=True)
class Target:
    """A file of an archive, and where it belongs on this machine."""

    member: ArchiveMember
    path: Path

    @property
    def unfinished(self) -> Path:
        """The file that is written beside it first."""
        return self.path.with_name(f".{self.path.name}{UNFINISHED}")


@frozen(kw_only=True)
class Placed:
    """A file that was put in its place."""

    target: Target
    aside: Path | None
    """Where the file is now that was there; None if there was none."""


@frozen(kw_only=True)
class Restored:
    """What a restore did."""

    manifest: Manifest
    placed: tuple[Placed, ...]
    same: tuple[Target, ...]
    """Those that were there already, just as the archive has them."""
    waiting_jobs: int
    """Jobs in the restored ``engine.db`` that are not over."""


def restore(archive: Path, config: Path, *, trusted: Collection[Path] = (), locks: Collection[Path] = ()) -> Restored:
    """Put everything that is in an archive in its place, seen from the path of a config that need not exist yet.

    A file outside of the config's directory is written only where ``trusted``, the files that the config on this
    machine names, has it. ``locks`` are the engine locks of the data that this config uses now.

    Raises ``ArchiveError``, ``LockHeld`` and ``SessionHeld`` if something uses the data, ``StorageError`` and
    ``OSError``; unless the sentence says so, nothing was replaced.
    """
    manifest = _read(archive)
    targets = find_targets(archive, manifest, config, trusted)
    database = next((target for target in targets if target.member.role is Role.DATABASE), None)
    directories = {lock.parent: lock for lock in locks if lock.parent.is_dir()}
    if database is not None:
        directories.setdefault(database.path.parent, database.path.parent / "engine.lock")
    _check_owners(targets)
    _check_space(archive, targets)
    with ExitStack() as held:
        for directory, lock in directories.items():
            create_directories(directory)
            held.enter_context(EngineLock(lock).held(time.time()))
        _check_unused(targets, held)
        with _staged(archive, manifest, targets):
            files = [(target.member, target.unfinished) for target in targets]
            waiting = check_content(archive, manifest, files)
            for directory in directories:
                set_mark(directory, archive)
                sync_directory(directory)
            placed, same = _place(targets)
        for directory in directories:
            remove_mark(directory)
            sync_directory(directory)
    return Restored(manifest=manifest, placed=tuple(placed), same=tuple(same), waiting_jobs=waiting)


def _read(archive: Path) -> Manifest:
    manifest = read_manifest(archive)
    if manifest.schema is not None and manifest.schema > VERSION:
        raise ArchiveTooNew(
            f"{archive}: the engine.db in it has schema {manifest.schema}, and this version of the program knows "
            f"{VERSION}; restore it with the version that wrote it ({manifest.program}), or a newer one"
        )
    return manifest


def find_targets(archive: Path, manifest: Manifest, config: Path, trusted: Collection[Path]) -> list[Target]:
    """Return where each file belongs; raise ``BadArchive`` for one that may not be written there."""
    folder = Path(os.path.realpath(config.absolute().parent))
    allowed = {os.path.realpath(path) for path in trusted}
    targets: dict[str, Target] = {}
    for member in manifest.members:
        if member.role is Role.CONFIG:
            place = os.path.realpath(config.absolute())
        else:
            place = os.path.realpath(folder / member.place)  # the links on the way are the operator's own
            if place not in allowed and (why := _why_named_first(member, folder)):
                raise BadArchive(
                    f"{archive}: it has a file for {member.place}, {why}, and which no config there names; if it "
                    f"belongs there, take the config out first: tar -xzOf {archive} config.yaml > {config}"
                )
        if place in targets:
            raise BadArchive(f"{archive}: it has two files for {place}; nothing of it is restored")
        targets[place] = Target(member=member, path=Path(place))
    return list(targets.values())


def _why_named_first(member: ArchiveMember, folder: Path) -> str:
    """Return why only the config that is there may say that a file belongs in its place; empty for all others."""
    if member.place.startswith("/"):
        return f"which is not below {folder}"
    if member.role is Role.PUBLIC_KEY and any(part.startswith(".") for part in member.place.split("/")):
        return "which other programs may read"  # sessions and databases have names of their own
    return ""


# --- before anything is replaced -------------------------------------------------------------------------------------


def _check_owners(targets: Iterable[Target]) -> None:
    """Raise ``ForeignOwner`` where root would make files in the directory of a user, who could not read them."""
    if os.geteuid() != 0:
        return
    for target in targets:
        parent = next(each for each in target.path.parents if each.is_dir())
        if owner := parent.stat().st_uid:
            raise ForeignOwner(
                f"{parent}: this directory belongs to {_user(owner)}, who could not read what root restores there; "
                "give 'restore' as that user"
            )


def _user(number: int) -> str:
    with suppress(ImportError, KeyError):
        import pwd  # noqa: PLC0415 - for a sentence alone, and not everywhere

        return pwd.getpwuid(number).pw_name
    return f"user {number}"


def _check_space(archive: Path, targets: Iterable[Target]) -> None:
    """Raise ``ArchiveError`` where the disk has no room for the files beside those that are there."""
    needed: dict[int, tuple[int, Path]] = {}
    for target in targets:
        parent = next(each for each in target.path.parents if each.is_dir())
        device = parent.stat().st_dev
        needed[device] = (needed.get(device, (0, parent))[0] + target.member.size, parent)
    for size, parent in needed.values():
        free = shutil.disk_usage(parent).free
        if size > free:
            raise ArchiveError(
                f"{archive}: its files need {size:,} bytes, and {parent} has {free:,} free; free some space"
            )


def _check_unused(targets: Sequence[Target], held: ExitStack) -> None:
    """Hold the locks of all sessions; raise ``SessionHeld`` or ``DataInUse`` if a program uses a file."""
    for target in targets:
        create_directories(target.path.parent)
        if target.member.role is Role.SESSION:
            lock = OwnerLock(target.path)
            held.callback(lock.release)
            lock.acquire()
    databases = [target.path for target in targets if target.member.is_database and target.path.exists()]
    for path, user in users_of(databases).items():
        raise _in_use(path, f"process {user}")
    for path in databases:
        if path.name == "engine.db":
            with _claimed(path, moves=False):
                pass


def _in_use(path: Path, user: str) -> DataInUse:
    return DataInUse(f"{path}: {user} has this file open; end that program, and restore again: nothing was replaced")


@contextmanager
def _claimed(database: Path, *, moves: bool) -> Iterator[None]:
    """Keep other programs from a database for the block; a damaged one cannot be kept.

    If the block ``moves`` it, it has no log any more: SQLite would remove one by its name when it closes the file,
    which has another name by then. Raises ``DataInUse``.
    """
    connection = None
    give_up = time.monotonic() + CLAIM_SECONDS
    while connection is None and read_file(database, len(_SQLITE)) == _SQLITE:  # of another one it would take the log
        with suppress(sqlite3.DatabaseError):
            connection = sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None)
        if connection is None:
            break
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # or those that only have a log open go unnoticed
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
            if moves:
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("PRAGMA locking_mode = NORMAL")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # lets the lock and its journal go
                connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as exc:
            connection.close()
            connection = None
            if getattr(exc, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                break
            if time.monotonic() > give_up:
                raise _in_use(database, "another program") from exc
            time.sleep(0.05)
    try:
        yield
    finally:
        if connection is not None:
            connection.close()


@contextmanager
def _staged(archive: Path, manifest: Manifest, targets: Sequence[Target]) -> Iterator[None]:
    """Write all files beside their places for the block, durable; what is left of them at its end is removed."""
    paths = {target.member.name: target.unfinished for target in targets}

    def opened(member: ArchiveMember) -> IO[bytes]:
        path = paths[member.name]
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        return os.fdopen(descriptor, "wb")

    try:
        try:
            unpack(archive, opened, expected=manifest)
        except OSError as exc:
            if not is_full(exc):
                raise
            place = targets[0].path
            text = (
                f"{archive}: there is no room for its files ({room_of(place)}); free some space: nothing was replaced"
            )
            raise ArchiveError(text) from exc
        yield
    finally:
        for path in paths.values():
            for suffix in ("", *COMPANIONS):
                with suppress(OSError):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)


# --- replacing -------------------------------------------------------------------------------------------------------


def _place(targets: Iterable[Target]) -> tuple[list[Placed], list[Target]]:
    """Give each file its name; return those that got it, and those whose place had the same file already."""
    placed, same = [], []
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    for target in sorted(targets, key=lambda each: _ORDER.index(each.member.role)):
        if _is_same(target):
            same.append(target)
            target.path.chmod(0o600)
        elif target.member.is_database and target.path.exists():
            with _claimed(target.path, moves=True):
                placed.append(Placed(target=target, aside=_replace(target, stamp)))
        else:
            placed.append(Placed(target=target, aside=_replace(target, stamp)))
    return placed, same


def _is_same(target: Target) -> bool:
    """Return whether the file is there as the archive has it, with nothing in a log beside it."""
    with suppress(OSError):
        if target.path.is_symlink() or target.path.stat().st_size != target.member.size:
            return False
        for suffix in COMPANIONS:
            beside = target.path.with_name(target.path.name + suffix)
            if _has_content(beside):
                return False
        with target.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == target.member.sha256
    return False


def _replace(target: Target, stamp: str) -> Path | None:
    """Put the new file in the place of what is there, in one step, and return where that is now. Raises ``OSError``."""
    aside = _free_name(target.path, stamp)
    found = os.path.lexists(target.path)
    if found and not os.path.lexists(aside):
        try:
            os.link(target.path, aside, follow_symlinks=False)  # it has its name until the new one takes it
        except OSError:  # no hard links here
            target.path.rename(aside)
    for suffix in COMPANIONS:  # SQLite would take them for the new file's
        beside = target.path.with_name(target.path.name + suffix)
        with suppress(FileNotFoundError):
            if _has_content(beside):
                beside.rename(aside.with_name(aside.name + suffix))
            else:
                beside.unlink()
    target.unfinished.rename(target.path)
    sync_directory(target.path.parent)
    return aside if found else None


def _has_content(companion: Path) -> bool:
    """Return whether there is something of the database in a file beside it; a finished journal begins with zeros."""
    if companion.name.endswith("-shm"):
        return False
    with suppress(FileNotFoundError), companion.open("rb") as file:
        return file.read(1) not in (b"", b"\0")
    return False


def _free_name(path: Path, stamp: str) -> Path:
    """Return a name for what is at a path now; the one that it has already, if a restore was killed just then."""
    with suppress(OSError):
        here = os.lstat(path)
        for each in path.parent.iterdir() if here.st_nlink > 1 else ():
            if each.name.startswith(f"{path.name}.aside-") and os.path.samestat(each.lstat(), here):
                return each
    number = 1
    while True:
        aside = path.with_name(f"{path.name}.aside-{stamp}{f'-{number}' if number > 1 else ''}")
        if not any(os.path.lexists(aside.with_name(aside.name + suffix)) for suffix in ("", *COMPANIONS)):
            return aside
        number += 1
