"""A home with everything that an engine needs, and archives that were tampered with."""

import gzip
import hashlib
import io
import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import define

from adapters.archive.manifest import Role
from adapters.archive.pack import Packed, PlaceOf, Source, pack, sources_of_sessions
from adapters.archive.restore import Restored, restore
from adapters.sqlite.jobs import NewJob, add
from tests.adapters.session.support import telethons

CONFIG = "accounts: here is what no test reads\n"
Entry = tuple[tarfile.TarInfo, bytes]


@define
class Home:
    """A config, its sessions and its journal."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def database(self) -> Path:
        return self.path / "data" / "engine.db"

    @property
    def sessions(self) -> list[Path]:
        return [self.path / "sessions" / f"account{number}.session" for number in (1, 2)]

    def fill(self) -> "Home":
        """Write everything."""
        self.path.mkdir()
        self.config.write_text(CONFIG, "utf-8")
        self.sessions[0].parent.mkdir(parents=True)
        self.database.parent.mkdir()
        for number, session in enumerate(self.sessions):
            telethons(session, key=bytes([number + 1]) * 256, entities=3)
        self.add_job("first")
        return self

    def add_job(self, text: str) -> None:
        add(self.database, [NewJob(kind="send", data={"to": "@x", "text": text})])

    def jobs(self) -> list[str]:
        with closing(sqlite3.connect(self.database)) as database:
            return [json.loads(row[0])["text"] for row in database.execute("SELECT data FROM jobs ORDER BY id")]

    def sources(self) -> list[Source]:
        place = PlaceOf(self.path.resolve())
        found = [Source(role=Role.CONFIG, path=self.config, name="config.yaml", place="")]
        found += sources_of_sessions([(path.stem, path) for path in self.sessions], place)
        found.append(
            Source(role=Role.DATABASE, path=self.database, name="engine.db", place=place(self.database.resolve()))
        )
        return found

    def pack(self, target: Path) -> Packed:
        return pack(self.sources(), target, program="holdfast 0.1.0")

    def restore(self, archive: Path, **options: Any) -> Restored:
        return restore(archive, self.config, **options)

    def content(self) -> dict[str, str]:
        """Return what each file has, by its path; the locks and logs beside them are nobody's data."""
        return {
            path.relative_to(self.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and path.suffix not in (".lock", ".turn") and not path.name.endswith(("-shm", "-wal"))
        }

    def left(self) -> list[str]:
        """Return the names of files that nothing but a program that was killed leaves."""
        return [path.name for path in self.path.rglob("*") if "unfinished" in path.name or "restoring" in path.name]


def entries(archive: Path) -> list[Entry]:
    """Return the files of an archive."""
    with tarfile.open(archive) as tar:
        return [(entry, file.read() if (file := tar.extractfile(entry)) else b"") for entry in tar.getmembers()]


def write(archive: Path, content: list[Entry], form: int = tarfile.GNU_FORMAT) -> Path:
    """Write files as an archive."""
    with tarfile.open(archive, "w:gz", format=form) as tar:
        for entry, data in content:
            tar.addfile(entry, io.BytesIO(data) if data or entry.isreg() else None)
    return archive


def with_manifest(archive: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change what an archive says of itself."""
    content = entries(archive)
    said = json.loads(content[0][1])
    change(said)
    data = json.dumps(said).encode()
    content[0][0].size = len(data)
    content[0] = (content[0][0], data)
    return write(archive, content)


def with_file(archive: Path, name: str, data: bytes) -> Path:
    """Put another content in the place of a file, and have the manifest agree."""
    content = [(entry, data if entry.name == name else old) for entry, old in entries(archive)]
    for entry, new in content:
        entry.size = len(new)
    write(archive, content)

    def agree(said: dict[str, Any]) -> None:
        [member] = [each for each in said["members"] if each["name"] == name]
        member |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    return with_manifest(archive, agree)


def recompress(archive: Path, change: Callable[[bytes], bytes]) -> Path:
    """Change what an archive unpacks to."""
    archive.write_bytes(gzip.compress(change(gzip.decompress(archive.read_bytes()))))
    return archive
