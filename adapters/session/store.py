"""What a session's memory is read from and written behind to: Telethon's file, or rows of a database."""

from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

from adapters.session.address import Address
from adapters.session.contents import Contents
from adapters.session.failures import SessionObserver
from adapters.session.file import StatStamp


class SessionStore(Protocol):
    """One session in use. Change ``contents``, then call ``touch`` or ``flush``; ``LiveFile`` is one."""

    contents: Contents

    @property
    def name(self) -> str:
        """The name in log lines: the account's, or the file's."""

    @property
    def where(self) -> Path | str:
        """The file, or what names the rows, without a secret."""

    @property
    def owned(self) -> bool:
        """Whether this process may write it now."""

    @property
    def is_current(self) -> bool:
        """Whether this process owns it and nobody else has written to it. Cheap."""

    @property
    def agrees(self) -> bool:
        """Whether it certainly is as it was last read or written here. Cheap."""

    def open(self, *, create: bool, adopt: bool = False) -> bool:
        """Own it, and read it unless memory agrees with it; return whether memory was replaced. Blocks.

        Another login than memory has is read if ``adopt``. Raises ``SessionError`` (``SessionReplaced`` unless
        ``adopt``), ``StorageError``, and ``FileNotFoundError`` if it is missing and is not to be created.
        """

    def touch(self) -> bool:
        """Have what differs written soon; return False, and do nothing, if it is not owned and may be opened again."""

    def flush(self) -> "Future[None]":
        """Return a future that is done when all that differs now is durable."""

    def close(self) -> "Future[None]":
        """Have everything written and let go of it; return a future of that."""

    def delete(self) -> bool:
        """Delete it; return whether that succeeded. Blocks for a moment."""

    def read_entities(
        self, column: int, values: Sequence[Any], known: Container[int], timeout: float
    ) -> list[tuple[Any, ...]]:
        """Return the entities that decide about these values of a column; see ``adapters.session.recall``.

        Those of ``known`` numbers count for nothing when the first with a phone or a name is looked for. Raises
        ``StorageError`` if they cannot be read within ``timeout`` seconds.
        """


StoreMaker = Callable[[SessionObserver], SessionStore]
"""Makes a store that is not open yet, and tells the observer what keeps it from being written."""


class SessionPlace(Protocol):
    """Where the session of one account is, whether it is open or not."""

    @property
    def name(self) -> str:
        """The account's name."""

    @property
    def where(self) -> Path | str:
        """The file, or what names the rows, without a secret."""

    def make(self, report: SessionObserver) -> SessionStore:
        """Return a store that is not open yet; see ``StoreMaker``."""

    def known_login(self) -> str:
        """Return the fingerprint of the key if it is known without reading; otherwise nothing."""

    def read_login(self) -> tuple[str, int | None]:
        """Return the fingerprint of the key, empty without one, and the user, if it says which. Blocks."""

    def read_address(self) -> Address | None:
        """Return number, host and port of the datacenter; None if it names none. Blocks."""

    def stamp(self) -> StatStamp:
        """Return what changes whenever somebody writes to the session. Blocks for a moment."""
