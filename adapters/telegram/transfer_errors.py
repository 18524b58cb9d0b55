"""What goes wrong with a transfer by itself, as sentences for people."""

from pathlib import Path

from adapters.redaction import redacted


class TransferFailed(Exception):
    """A file cannot be transferred; the text is one sentence that says why, and what to do."""

    for_people = True


class TransferRefused(TransferFailed):
    """The engine does not do this, however often it is tried: the file, or the place, is its own."""


class FileUnavailable(TransferFailed):
    """The datacenter does not have, or does not give, the file."""


def unusable(path: Path, exc: OSError, doing: str) -> TransferFailed:
    """Return the failure of an operation on a local file."""
    why = (exc.strerror or str(exc) or type(exc).__name__).lower()
    return TransferFailed(
        f"{redacted(str(path))} cannot be {doing} ({why}); see that this user may, or give another path"
    )
