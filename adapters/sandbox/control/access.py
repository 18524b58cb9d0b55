"""Who may give commands: whoever can read a file that only the sandbox's user can read.

The control port is open to every user and every program of the machine, and commands hand out logins. So a connection
begins with a line that holds the token.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from attrs import field, frozen

from adapters.sandbox.errors import SandboxError

TOKEN_FILE: Final = "control.token"
TOKEN_BYTES: Final = 16


@frozen
class ControlToken:
    """The token, and the file that holds it for as long as the sandbox runs."""

    file: Path
    value: str = field(repr=False)


@contextmanager
def token_file(directory: Path | None) -> Iterator[ControlToken]:
    """Write a new token into a file of mode 600 in the directory, or with None in a temporary one, for the block.

    A file, a link or a FIFO of that name is replaced, never followed. Raises SandboxError when it cannot be written.
    """
    value = secrets.token_hex(TOKEN_BYTES)
    temporary = None
    try:
        if directory is None:
            temporary = directory = Path(tempfile.mkdtemp(prefix="holdfast-sandbox-"))  # mode 700
        path = directory / TOKEN_FILE
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(value + "\n")
    except OSError as error:
        raise SandboxError(
            f"The sandbox cannot write {directory}/{TOKEN_FILE} ({error.strerror}); check the directory."
        ) from error
    try:
        yield ControlToken(path.absolute(), value)
    finally:
        with suppress(OSError):
            path.unlink()
            if temporary is not None:
                temporary.rmdir()
