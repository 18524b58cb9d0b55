"""The files of a sandbox, in memory."""

from typing import Final

from attrs import define, field, frozen

MAX_BYTES: Final = 64 * 1024 * 1024
"""Of all parts that were sent; when it is reached, the oldest files go."""


@frozen(repr=False)
class StoredFile:
    """A file, and the datacenter that it is in."""

    dc_id: int
    data: bytes


@define
class Files:
    """The files of a sandbox."""

    stored: dict[int, StoredFile] = field(factory=dict)
    """By the number that a document has."""
    sent: dict[tuple[int, int], dict[int, bytes]] = field(factory=dict)
    """The parts of each file that a client sends, by account and the client's own number."""

    def put(self, data: bytes, dc_id: int) -> int:
        """Put a file into a datacenter; return its number."""
        number = len(self.stored) + 1
        self.stored[number] = StoredFile(dc_id, data)
        return number

    def add_part(self, account: int, file: int, part: int, data: bytes) -> None:
        """Add a part of a file that a client sends."""
        self.sent.setdefault((account, file), {})[part] = data
        while len(self.sent) > 1 and sum(len(p) for parts in self.sent.values() for p in parts.values()) > MAX_BYTES:
            self.sent.pop(next(iter(self.sent)))
