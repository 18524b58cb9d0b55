"""Looks into the files of an archive, which are complete and have been written by anybody, before they are used."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from adapters.archive.errors import ArchiveTooNew, BadArchive
from adapters.archive.manifest import MAX_PEM, PEM, ArchiveMember, Manifest, Role
from adapters.archive.pack import flaw_of_database
from adapters.files import read_file
from adapters.session.backup import flaw_of
from adapters.session.errors import SessionTooNew
from adapters.session.schema import schema_of
from adapters.sqlite.errors import JournalTooNew
from adapters.sqlite.schema import schema_version


def check_content(archive: Path, manifest: Manifest, files: Iterable[tuple[ArchiveMember, Path]]) -> int:
    """Raise ``BadArchive`` or ``ArchiveTooNew`` unless each file is what it is said to be; return the waiting jobs."""
    waiting = 0
    for member, path in files:
        name = member.name
        if member.is_database and (why := flaw_of_database(path)) is not None:
            raise BadArchive(f"{archive}: {name} in it cannot be used ({why}); choose another archive")
        if member.role is Role.SESSION:
            _check_session(archive, name, path)
        elif member.role is Role.DATABASE:
            waiting = _check_database(archive, path, manifest.schema)
        elif name.endswith(".pem") and not PEM.fullmatch(read_file(path, MAX_PEM)):
            raise BadArchive(f"{archive}: {name} in it is no key; choose another archive")
    return waiting


def _check_session(archive: Path, name: str, path: Path) -> None:
    try:
        with _at_rest(path) as read:
            schema_of(read, path)
    except SessionTooNew as exc:
        text = f"{archive}: {name} in it was written by a newer Telethon; restore it with the Holdfast that wrote it"
        raise ArchiveTooNew(text) from exc
    except Exception as exc:
        raise BadArchive(f"{archive}: {name} in it is no session; choose another archive") from exc
    if (why := flaw_of(path)) is not None:
        raise BadArchive(f"{archive}: {name} in it cannot be used ({why}); choose another archive")


def _check_database(archive: Path, path: Path, schema: int | None) -> int:
    """Return how many jobs wait in a database, or run."""
    try:
        with _at_rest(path) as read:
            if schema_version(read, path) != schema:
                raise BadArchive(f"{archive}: the engine.db in it has another schema than its manifest says")
            with suppress(sqlite3.Error):  # of a schema that has none
                count = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')"
                return int(read.execute(count).fetchone()[0])
    except BadArchive:
        raise
    except JournalTooNew as exc:
        text = f"{archive}: a newer Holdfast wrote the engine.db in it; restore it with that version, or a newer one"
        raise ArchiveTooNew(text) from exc
    except Exception as exc:
        raise BadArchive(f"{archive}: the engine.db in it is none of Holdfast's; choose another archive") from exc
    return 0


@contextmanager
def _at_rest(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a complete file that nobody else has open, and leave nothing beside it."""
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as read:
        yield read
