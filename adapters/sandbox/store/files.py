"""The files of a datacenter: those of messages, and those that clients send in parts. Contents are never in memory.

A file that the owner of the sandbox asks for by its size alone is computed from a number when it is read; every other
one is on the disk.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from hashlib import sha256, shake_128
from itertools import count
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

MAX_SENT_BYTES: Final = 1024 * 1024 * 1024
"""Of all parts that were sent and belong to no message yet; when it is reached, the oldest files go."""
BLOCK: Final = 64 * 1024
"""Bytes that are computed at once."""
SMALL_PHOTO: Final = 2048
"""Bytes of the small size of a photo."""
MAX_EPOCHS: Final = 1000

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, dc INTEGER NOT NULL, size INTEGER NOT NULL, name TEXT NOT NULL, mime TEXT NOT NULL,
    photo INTEGER NOT NULL, guarded INTEGER NOT NULL, seed INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS message_files (
    owner INTEGER NOT NULL, message INTEGER NOT NULL, file INTEGER NOT NULL, PRIMARY KEY (owner, message)
) STRICT;
"""


def generated(seed: int, offset: int, length: int) -> bytes:
    """Return a part of the endless content that a number means."""
    first, last = offset // BLOCK, (offset + max(length, 1) - 1) // BLOCK
    blocks = b"".join(shake_128(f"{seed}:{number}".encode()).digest(BLOCK) for number in range(first, last + 1))
    return blocks[offset - first * BLOCK :][:length]


@frozen(kw_only=True)
class StoredFile:
    """A file, and the datacenter that it is in."""

    id: int
    dc_id: int
    size: int
    name: str = ""
    mime: str = "application/octet-stream"
    photo: bool = field(default=False, converter=bool)
    guarded: bool = field(default=True, converter=bool)
    """Whether reading it takes the reference that is in its message."""
    seed: int | None = None
    """What its content is computed from; None if that is on the disk."""

    def access_hash_for(self, viewer: int) -> int:
        """Return the access hash with which this viewer may name the file."""
        digest = sha256(f"file:{viewer}:{self.id}".encode()).digest()
        return int.from_bytes(digest[:8], "little", signed=True)

    def reference_for(self, viewer: int, epoch: int) -> bytes:
        """Return the reference that a message has for this viewer; those of earlier epochs have expired."""
        return sha256(f"reference:{viewer}:{self.id}:{epoch}".encode()).digest()[:20]


@define
class SentParts:
    """The parts of a file that a client sends, one after the other in a file, in the order in which they came."""

    path: Path
    places: dict[int, tuple[int, int]] = field(factory=dict)
    """Where each part begins, and its length."""
    size: int = 0

    def add(self, part: int, data: bytes) -> None:
        """Add a part; one that comes again takes the place of the earlier one."""
        with self.path.open("ab") as file:
            file.write(data)
        self.places[part] = self.size, len(data)
        self.size += len(data)


@define
class FileStore:
    """The part of the store that holds files; it shares the store's database."""

    _db: sqlite3.Connection
    _given: Path | None
    """Where contents are kept; without one, in a temporary directory that goes with the store."""
    _made: Path | None = field(default=None, init=False)
    _files: dict[int, StoredFile] = field(factory=dict, init=False)
    _of_messages: dict[tuple[int, int], int] = field(factory=dict, init=False)
    _sent: dict[tuple[int, int], SentParts] = field(factory=dict, init=False)
    _spools: "count[int]" = field(factory=count, init=False)
    epoch: int = field(default=0, init=False)
    """How often the references of all files have expired."""

    def __attrs_post_init__(self) -> None:
        names = ("id", "dc_id", "size", "name", "mime", "photo", "guarded", "seed")
        for row in self._db.execute("SELECT id, dc, size, name, mime, photo, guarded, seed FROM files"):
            self._files[row[0]] = StoredFile(**dict(zip(names, row, strict=True)))
        for owner, message, file in self._db.execute("SELECT owner, message, file FROM message_files"):
            self._of_messages[owner, message] = file

    def close(self) -> None:
        """Delete what only this run needs."""
        for sent in self._sent.values():
            sent.path.unlink(missing_ok=True)
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)

    @property
    def any_in_messages(self) -> bool:
        """Whether some message has a file."""
        return bool(self._of_messages)

    def get(self, number: int) -> StoredFile | None:
        """Return the file with this number."""
        return self._files.get(number)

    def of_message(self, owner: int, message: int) -> StoredFile | None:
        """Return the file of a message; the owner of its number is a channel, or an account."""
        number = self._of_messages.get((owner, message))
        return None if number is None else self._files[number]

    def attach(self, owner: int, message: int, file: StoredFile) -> None:
        """Make a file part of a message."""
        self._db.execute("INSERT INTO message_files VALUES (?, ?, ?)", (owner, message, file.id))
        self._of_messages[owner, message] = file.id

    def put(self, make: Callable[[int], StoredFile], content: bytes | None = None) -> StoredFile:
        """Store the file that ``make`` returns for a number, with its content unless that is computed."""
        file = make(len(self._files) + 1)
        if content is not None:
            self._path(file.id).write_bytes(content)
        row = (file.id, file.dc_id, file.size, file.name, file.mime, file.photo, file.guarded, file.seed)
        self._db.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._files[file.id] = file
        return file

    def read(self, file: StoredFile, offset: int, length: int) -> bytes:
        """Return a part of a file's content, less of it at the end."""
        length = max(0, min(length, file.size - offset))
        if not length:
            return b""
        if file.seed is not None:
            return generated(file.seed, offset, length)
        with self._path(file.id).open("rb") as content:
            content.seek(offset)
            return content.read(length)

    def whole(self, file: StoredFile) -> bytes:
        """Return all of a file, for a test."""
        return self.read(file, 0, file.size)

    # Files that clients send

    def was_sent(self, sender: int, random_id: int) -> bool:
        """Return whether the sender has sent a message under this number, anywhere."""
        private = "SELECT 1 FROM messages WHERE account = ? AND random_id = ?"
        posted = "SELECT 1 FROM channel_messages WHERE sender = ? AND random_id = ?"
        return any(self._db.execute(query, (sender, random_id)).fetchone() for query in (private, posted))

    def add_part(self, account: int, number: int, part: int, data: bytes) -> None:
        """Add a part of a file that a client sends under a number of its own."""
        sent = self._sent.get((account, number))
        if sent is None:
            sent = self._sent[account, number] = SentParts(self._directory() / f"sent-{next(self._spools)}")
        sent.add(part, data)
        while len(self._sent) > 1 and sum(each.size for each in self._sent.values()) > MAX_SENT_BYTES:
            self._sent.pop(next(iter(self._sent))).path.unlink(missing_ok=True)

    def sent_parts(self, account: int, number: int) -> list[int]:
        """Return the lengths of the parts that have come, by number; a missing one has none."""
        sent = self._sent.get((account, number))
        if sent is None:
            return []
        return [sent.places.get(part, (0, 0))[1] for part in range(max(sent.places) + 1)]

    def take_sent(self, account: int, number: int, make: Callable[[int], StoredFile]) -> StoredFile:
        """Make a file of the parts that a client has sent, and forget them."""
        sent = self._sent.pop((account, number))
        file = self.put(make)
        with sent.path.open("rb") as parts, self._path(file.id).open("wb") as content:
            for _, (place, length) in sorted(sent.places.items()):
                parts.seek(place)
                content.write(parts.read(length))
        sent.path.unlink()
        return file

    def md5_source(self, account: int, number: int) -> bytes:
        """Return all parts of a small file, in order."""
        sent = self._sent[account, number]
        content = sent.path.read_bytes()
        return b"".join(content[place : place + length] for _, (place, length) in sorted(sent.places.items()))

    def _path(self, number: int) -> Path:
        return self._directory() / f"file-{number}"

    def _directory(self) -> Path:
        if self._given is not None:
            self._given.mkdir(exist_ok=True)
            return self._given
        if self._made is None:
            self._made = Path(tempfile.mkdtemp(prefix="holdfast-sandbox-"))
            os.chmod(self._made, 0o700)
        return self._made
