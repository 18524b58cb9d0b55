"""Lines of a pipe whose other end may write anything: each is bounded, and what is torn by an end is told apart."""

from collections.abc import Iterator
from typing import Final

from attrs import define, field

MAX_BYTES: Final = 1_000_000
"""Of one line; the rest of a longer one is left out."""


@define
class PipeLines:
    """Makes lines of chunks."""

    _parts: bytearray = field(factory=bytearray, init=False)
    _skipping: bool = field(default=False, init=False)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that a chunk completes, without their ends."""
        *whole, rest = chunk.split(b"\n")
        for each in whole:
            self._add(each)
            yield bytes(self._parts)
            self._parts.clear()
            self._skipping = False
        self._add(rest)

    def rest(self) -> bytes:
        """Return the line that was never ended, and forget it."""
        left = bytes(self._parts)
        self._parts.clear()
        return left

    def _add(self, part: bytes) -> None:
        if not self._skipping:
            self._parts += part[: MAX_BYTES - len(self._parts)]
            self._skipping = len(self._parts) >= MAX_BYTES
