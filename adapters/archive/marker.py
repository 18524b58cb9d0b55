"""The mark of a restore that has begun: no engine runs on data of two moments."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from adapters.archive.errors import RestoreUnfinished
from adapters.files import read_file

NAME: Final = "restore.unfinished"
"""The name of the mark, in the data directory; the archive's path is in it."""


def set_mark(directory: Path, archive: Path) -> None:
    """Say durably that files of this data are being replaced. Raises ``OSError``."""
    descriptor = os.open(directory / NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.fsencode(archive.absolute()))
        file.flush()
        os.fsync(descriptor)


def remove_mark(directory: Path) -> None:
    """Say that all of it is replaced. Raises ``OSError``."""
    (directory / NAME).unlink(missing_ok=True)


def check_mark(directory: Path) -> None:
    """Raise ``RestoreUnfinished`` if a restore of this data was interrupted."""
    if not os.path.lexists(directory / NAME):
        return
    archive = "the archive"
    with suppress(OSError):
        archive = os.fsdecode(read_file(directory / NAME)) or archive
    raise RestoreUnfinished(
        f"{directory}: a restore of this data was interrupted, so some files are the backup's and some are not; give "
        f"'restore' again, with {archive}"
    )
